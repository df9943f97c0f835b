package stream

import (
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lovoo/goka"
)

// I2: offsets, rows and outputs move together, so a stage that counts emits each
// number once, also over restarts.
//
// Seen failing with s.committed left unset after a commit, and with
// producer.begin taken out of boundaries.
func TestCountsEachRecordOnceOverRestarts(t *testing.T) {
	cfg := config(t, startBroker(t).Addr(), "p1")
	createCounterTopics(t, cfg)
	in := newInput(t, cfg)
	for range 3 {
		p := start(t, cfg, options(countGraph()))
		in.append(t, 500)
		in.counted(t)
		if err := p.Ready(); err != nil {
			t.Error(err)
		}
		p.stop(t)
		if diff := cmp.Diff(fold(t, cfg), localRows(t, cfg)); diff != "" {
			t.Errorf("rows on disk (-changelog +disk):\n%s", diff)
		}
	}
	in.verify(t, cfg)
}

// I6, trap 7: a stage that panics is rebuilt with growing back-off; once it
// behaves nothing is lost or doubled, and Ready told meanwhile.
//
// Seen failing with stageErr ignored by Consume (never rebuilt), and with the
// transaction of the panic committed.
func TestPanickingStageIsRebuilt(t *testing.T) {
	cfg := config(t, startBroker(t).Addr(), "p1")
	createCounterTopics(t, cfg)
	in := newInput(t, cfg)
	var handled, panics atomic.Int32
	graph := countGraphWith(func(ctx goka.Context, msg any) {
		count(ctx, msg)
		if handled.Add(1) > 100 && panics.Load() < 2 {
			panics.Add(1)
			panic("a bug of the stage")
		}
	})
	p := start(t, cfg, options(graph))
	in.append(t, 300)
	until(t, "the stage panicked", func() bool { return panics.Load() > 0 })
	until(t, "the processor is not ready", func() bool { return !p.ready() })
	in.counted(t)
	until(t, "the processor is ready", p.ready)
	p.stop(t)
	if got := panics.Load(); got != 2 {
		t.Errorf("the stage panicked %d times, want 2", got)
	}
	in.verify(t, cfg)
	if diff := cmp.Diff(fold(t, cfg), localRows(t, cfg)); diff != "" {
		t.Errorf("rows on disk (-changelog +disk):\n%s", diff)
	}
}
