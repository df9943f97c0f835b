package app

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"trunkline/ingest"
	"trunkline/stream"
	"trunkline/topology"
)

// memoryTopic is a topic of two partitions. Its lock is that of all that a test
// shares with the quarantine, but for synctest nothing orders them.
type memoryTopic struct {
	mu       sync.Mutex
	records  [2][]stream.Record
	letters  []string // bodies of dead letters
	reads    int      // records that were read
	fail     error
	verifies []string // prefixes of the ids of deliveries that do
	released []string
	logs     strings.Builder
}

func (m *memoryTopic) Append(_ context.Context, records []stream.Outgoing) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	for _, r := range records {
		if r.Topic == string(topology.DeadLettersTopic) {
			m.letters = append(m.letters, string(r.Value))
			continue
		}
		p := int32(len(r.Key) % 2)
		m.records[p] = append(m.records[p], stream.Record{
			Topic: r.Topic, Partition: p, Offset: int64(len(m.records[p])), Key: []byte(r.Key), Value: r.Value, Time: time.Now(),
		})
	}
	return nil
}

func (m *memoryTopic) read(_ context.Context, from offsets, fn func(stream.Record) error) error {
	m.mu.Lock()
	var found []stream.Record
	for p, records := range m.records {
		found = append(found, records[from[int32(p)]:]...)
	}
	m.reads += len(found)
	fail := m.fail
	m.mu.Unlock()
	if fail != nil {
		return fail
	}
	for _, r := range found {
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

// share runs f in the lock.
func (m *memoryTopic) share(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// sweeper is a quarantine over the topic.
func (m *memoryTopic) sweeper() *quarantine {
	q := newQuarantine(stream.Config{}, nil, 24*time.Hour, slog.New(slog.NewTextHandler(&m.logs, nil)))
	q.appender, q.read = m, m.read
	q.release = func(_ context.Context, d ingest.Deferred) (ingest.Verdict, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, prefix := range m.verifies {
			if prefix == "fault" {
				return ingest.Held, errors.New("no broker")
			}
			if strings.HasPrefix(d.ID, prefix) {
				m.released = append(m.released, d.ID+" "+string(d.Body))
				return ingest.Released, nil
			}
		}
		if strings.HasPrefix(d.ID, "never") {
			return ingest.Expired, nil
		}
		return ingest.Held, nil
	}
	return q
}

// sweep runs the quarantine until stop.
func sweep(t *testing.T, q *quarantine) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); q.run(ctx) }()
	return func() { cancel(); <-done }
}

// TestQuarantine follows deliveries from Put to their release or end, over two
// edges and a restart, and counts what is read.
func TestQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memoryTopic{}
		q := m.sweeper()
		stop := sweep(t, q)
		put := func(ids ...string) {
			t.Helper()
			for _, id := range ids {
				if err := q.Put(t.Context(), ingest.Deferred{ID: id, Body: []byte("body of " + id)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		check := func(want ...string) {
			t.Helper()
			synctest.Wait()
			m.share(func() {
				if slices.Sort(m.released); !slices.Equal(m.released, want) {
					t.Errorf("released %q, want %q", m.released, want)
				}
				m.released = nil
			})
		}
		synctest.Wait()
		put("late1", "new1", "new22", "forged")
		m.share(func() { m.verifies = []string{"late"} })
		check()
		time.Sleep(sweepInterval)
		check("late1 body of late1")

		m.share(func() { m.reads = 0 })
		time.Sleep(time.Hour)
		check()
		m.share(func() {
			if m.reads > 1 { // the record that says late1 is done with
				t.Errorf("%d records read while nothing changed", m.reads)
			}
		})
		m.share(func() { m.verifies = []string{"new"} })
		check()
		q.keysChanged()
		check("new1 body of new1", "new22 body of new22")
		q.keysChanged()
		check()

		// Another edge, or this one restarted, knows what is done with.
		stop()
		m.share(func() { m.verifies = []string{"late", "new"} })
		other := m.sweeper()
		if err := other.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		check()
		if _, ok := other.waiting["forged"]; !ok || len(other.waiting) != 1 {
			t.Errorf("waiting: %v", other.waiting)
		}

		time.Sleep(23 * time.Hour)
		put("never", "new3")
		m.share(func() { m.verifies = []string{"fault"} })
		if err := other.sweep(t.Context()); err == nil {
			t.Error("a release that fails is no error")
		}
		m.share(func() { m.verifies = []string{"new", "forged"} })
		if err := other.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		check("new3 body of new3")
		if strings.Count(m.logs.String(), "never verified") != 2 || strings.Count(m.logs.String(), "count=1") != 2 {
			t.Errorf("the end of two is not told: %s", m.logs.String())
		}
		if want := []string{"body of forged", "body of never"}; !slices.Equal(m.letters, want) {
			t.Errorf("dead letters %q, want %q", m.letters, want)
		}
		other.keysChanged()
		if err := other.sweep(t.Context()); err != nil || len(other.waiting) != 0 {
			t.Errorf("waiting: %v, %v", other.waiting, err)
		}
		check()
	})
}

// TestQuarantineOutage tells of an outage once, and goes on after it.
func TestQuarantineOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memoryTopic{fail: errors.New("no broker")}
		q := m.sweeper()
		defer sweep(t, q)()
		if err := q.Put(t.Context(), ingest.Deferred{ID: "a"}); err == nil {
			t.Error("kept without a broker")
		}
		time.Sleep(10 * sweepInterval)
		synctest.Wait()
		m.share(func() { m.fail = nil })
		if err := q.Put(t.Context(), ingest.Deferred{ID: "a"}); err != nil {
			t.Fatal(err)
		}
		bad, err := json.Marshal("no delivery")
		if err != nil {
			t.Fatal(err)
		}
		if err := q.write(t.Context(), "bad", bad); err != nil {
			t.Fatal(err)
		}
		m.share(func() { m.verifies = []string{"a"} })
		time.Sleep(2 * sweepInterval)
		synctest.Wait()
		if len(m.released) != 1 || len(q.waiting) != 0 {
			t.Errorf("released %q, waiting %v", m.released, q.waiting)
		}
		if n := strings.Count(m.logs.String(), "\n"); n != 3 {
			t.Errorf("%d lines in the log, want one when it fails, one when it is back, one of what cannot be read: %s", n, m.logs.String())
		}
	})
}
