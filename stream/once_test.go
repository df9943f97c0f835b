package stream

import (
	"testing"

	"github.com/google/go-cmp/cmp"
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
