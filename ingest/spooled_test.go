package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"trunkline/event"
	"trunkline/ingest/redacted"
	"trunkline/ingest/spool"
)

// memorySpool drains at once.
type memorySpool struct {
	log  RawLog
	fill float64
	err  error
}

func (s *memorySpool) Append(queue string, entry []byte) error {
	if s.err != nil {
		return s.err
	}
	return DrainTo(s.log)(context.Background(), queue, [][]byte{entry})
}

func (s *memorySpool) Fill(string) float64 { return s.fill }

// spooledPost is a delivery of a tenant whose events go over the spool.
func spooledPost(body string) *http.Request {
	return post("/v1/ingest/genesys/disk/events", body, "Authorization", "Bearer disk-token")
}

// spooledOptions returns the options of an edge with such a tenant.
func spooledOptions(log RawLog) Options {
	o := options(log)
	o.Tenants = append(o.Tenants, Tenant{ID: "disk", Vendors: []string{"genesys"}, Auth: Auth{"genesys": {Tokens: []redacted.Text{"disk-token"}}}})
	return o
}

// I1: while Kafka is away every delivery is answered 200 and none is lost when the
// edge ends; the next one drains them in their order, each record as it would have
// been without the spool.
//
// Seen failing: with headers left out of the entry, and with the entries handed out
// in another order.
func TestSpoolOutlivesEdgeWhileKafkaIsAway(t *testing.T) {
	dir := t.TempDir()
	var log memoryLog
	var away atomic.Bool
	away.Store(true)
	log.fail = func(context.Context) error {
		if away.Load() {
			return errors.New("no broker answers")
		}
		return nil
	}
	live := func(send func(e *Edge, s *spool.Spool)) {
		s, err := spool.Open(spool.Options{Dir: dir, Queues: []string{"disk", "strict", "fresh"}, Drain: DrainTo(&log)})
		if err != nil {
			t.Fatal(err)
		}
		o := spooledOptions(&log)
		o.Spool = s
		ctx, cancel := context.WithCancel(t.Context())
		drained := make(chan struct{})
		go func() { s.Run(ctx, 0); close(drained) }()
		send(newEdge(t, o), s)
		cancel()
		<-drained
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	body := func(n int) string {
		return fmt.Sprintf(`{"resourceType":"user","eventType":"updated","resourceId":"u%d"}`, n)
	}
	for life := range 3 {
		live(func(e *Edge, _ *spool.Spool) {
			for i := range 50 {
				if got := answerTo(e, spooledPost("["+body(100*life+2*i)+","+body(100*life+2*i+1)+"]")); got.StatusCode != http.StatusOK {
					t.Fatalf("answer while Kafka is away: %d", got.StatusCode)
				}
			}
		})
	}
	if n := len(log.taken()); n != 0 {
		t.Fatalf("%d records in the log while Kafka is away", n)
	}
	away.Store(false)
	live(func(_ *Edge, s *spool.Spool) {
		for end := time.Now().Add(20 * time.Second); s.Stats()["disk"].Entries > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the spool does not drain")
			}
		}
	})
	var direct memoryLog
	o := spooledOptions(&direct)
	o.Tenants[len(o.Tenants)-1].Ack = AckKafka
	e := newEdge(t, o)
	for i := range 150 {
		answerTo(e, spooledPost("["+body(2*i)+","+body(2*i+1)+"]"))
	}
	if diff := cmp.Diff(direct.taken(), log.taken()); diff != "" {
		t.Errorf("records over the spool differ from those of the log alone (-direct +spooled):\n%.2000s", diff)
	}
}

// A full spool is answered before the body is read, and the later the sender is to
// come back the fuller the spool.
//
// Seen failing: with fill never asked, and with one bound for every Retry-After.
func TestSpoolThatCannotTakeMore(t *testing.T) {
	for _, c := range []struct {
		name  string
		spool memorySpool
		retry int
	}{
		{"full before the body", memorySpool{fill: 1}, 30},
		{"full by the time it is written", memorySpool{fill: 0.99, err: fmt.Errorf("queue: %w", spool.ErrFull)}, 29},
		{"disk fails", memorySpool{fill: 0, err: errors.New("input/output error")}, 1},
		{"half full and slow", memorySpool{fill: 0.5, err: errors.New("slow")}, 15},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := spooledOptions(&memoryLog{})
			o.Spool = &c.spool
			var read bool
			r := spooledPost(`{"resourceType":"user"}`)
			r.Body = readTold{r.Body, &read}
			o.Random = func(n int) int { return n - 1 } // the longest
			got := answerTo(newEdge(t, o), r)
			if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") != strconv.Itoa(c.retry) {
				t.Errorf("got %d, Retry-After %s; want 503, %d", got.StatusCode, got.Header.Get("Retry-After"), c.retry)
			}
			if full := c.spool.fill == 1; read == full {
				t.Errorf("body was read: %t", read)
			}
		})
	}
}

// FuzzEntry: no bytes end the process, and what is read is written back the same.
func FuzzEntry(f *testing.F) {
	f.Add(encodeEntry([]Record{{Topic: "raw.genesys", Key: "k#1", Value: []byte("{}"), Headers: []event.Header{{Key: "vendor", Value: []byte("genesys")}}}, {}}))
	f.Add([]byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		records, err := decodeEntry(b)
		if err != nil {
			return
		}
		again, err := decodeEntry(encodeEntry(records))
		if err != nil || !bytes.Equal(encodeEntry(again), encodeEntry(records)) {
			t.Errorf("read %v, then %v, %v", records, again, err)
		}
	})
}

// readTold tells whether a body was read.
type readTold struct {
	io.ReadCloser
	read *bool
}

func (r readTold) Read(b []byte) (int, error) {
	*r.read = true
	return r.ReadCloser.Read(b)
}
