package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"trunkline/drift"
	"trunkline/event"
	"trunkline/stream"
	"trunkline/topology"
)

// Figures are written once a minute and at the end, whatever the number of events: no
// event costs a record. What could not be written comes with the next time; that
// Kafka is away stops nothing, and not the end.
//
// Seen failing without the write at the end, and without the ticker.
func TestDriftIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counts := drift.NewTable("p1")
		observe := func() {
			e := &event.Event{Key: event.Key{Vendor: topology.Genesys, Tenant: "acme"}, Type: "t", Metadata: map[string]string{"x_a": "1"}}
			for range 1000 {
				counts.Observe(e)
			}
		}
		var mu sync.Mutex
		var written []int // records of each time
		away := false
		l := driftLog{counts: counts, logger: slog.New(slog.DiscardHandler), append: func(ctx context.Context, records []stream.Outgoing) error {
			if away {
				<-ctx.Done()
				return ctx.Err()
			}
			mu.Lock()
			defer mu.Unlock()
			written = append(written, len(records))
			for _, r := range records {
				if r.Topic != "drift" || r.Key == "" || r.Value == nil {
					t.Errorf("got record %+v", r)
				}
			}
			return nil
		}}
		check := func(when string, want int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(written) != want || want > 0 && written[want-1] != 2 {
				t.Errorf("%s: got %v records, want %d times the type and its field", when, written, want)
			}
		}
		failed := errors.New("of the work")
		err := l.during(t.Context(), func() error {
			observe()
			time.Sleep(59 * time.Second)
			check("within a minute", 0)
			time.Sleep(time.Second)
			check("after a minute", 1)
			time.Sleep(time.Hour)
			check("without events", 1)
			observe()
			return failed
		})
		if check("after the end", 2); !errors.Is(err, failed) {
			t.Errorf("got %v, want what the work returned", err)
		}
		away = true
		began := time.Now()
		err = l.during(t.Context(), func() error {
			observe()
			time.Sleep(90 * time.Second)
			return nil
		})
		if took := time.Since(began); err != nil || took != 90*time.Second+driftEnd {
			t.Errorf("with Kafka away: got %v after %s", err, took)
		}
		away = false
		err = l.during(t.Context(), func() error { return nil })
		if check("back again", 3); err != nil {
			t.Error(err)
		}
	})
}
