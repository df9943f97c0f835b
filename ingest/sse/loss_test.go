package sse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// numbered returns event i as a vendor sends it, in one of the ways that mean
// the same, and dataOf its data.
func numbered(i int, random *rand.Rand) string {
	end := []string{"\n", "\r", "\r\n"}[random.IntN(3)]
	lines := []string{fmt.Sprintf("id: %d", i), "event: routing.queued"}
	for line := range strings.SplitSeq(dataOf(i), "\n") {
		lines = append(lines, "data: "+line)
	}
	if random.IntN(2) == 0 {
		slices.Reverse(lines[:2])
	}
	if random.IntN(4) == 0 {
		lines = append(lines, ": hb", "retry: 2000")
	}
	return strings.Join(lines, end) + end + end
}

func dataOf(i int) string {
	return fmt.Sprintf("{\"n\":%d,%s\n\"end\":true}", i, strings.Repeat(" ", i%97))
}

// ledger is a consumer that commits events and position together, as one
// transaction does.
type ledger struct {
	mu       sync.Mutex
	seen     map[int]bool
	inOrder  []int // without duplicates
	position string
	at       int // the last event when the position moved
	faults   []string
}

func newLedger() *ledger { return &ledger{seen: map[int]bool{}, position: "0"} }

func (l *ledger) take(i int) {
	if !l.seen[i] {
		l.seen[i] = true
		l.inOrder = append(l.inOrder, i)
	}
}

func (l *ledger) handle(_ context.Context, events []Event, position string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.at
	for _, e := range events {
		i, err := strconv.Atoi(e.ID)
		if err != nil || string(e.Data) != dataOf(i) || e.Type != "routing.queued" || e.Cut != 0 {
			l.faults = append(l.faults, fmt.Sprintf("event %q: %q", e.ID, e.Data))
			continue
		}
		l.take(i)
		last = i
	}
	if position != l.position {
		l.position, l.at = position, last
	}
	return nil
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.seen)
}

func (l *ledger) where() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.position
}

// check reports what is missing, damaged or out of order.
func (l *ledger) check(t *testing.T, n int, ordered bool) {
	t.Helper()
	for i := 1; i <= n; i++ {
		if !l.seen[i] {
			t.Errorf("event %d is missing", i)
		}
	}
	if len(l.seen) != n || len(l.faults) > 0 {
		t.Errorf("%d events, want %d; damaged: %.500q", len(l.seen), n, l.faults)
	}
	if ordered && !slices.IsSorted(l.inOrder) {
		t.Errorf("the order of first arrival is not that of the stream")
	}
}

// TestKilledStream kills a stream 200 times at random bytes, in turn by an end
// and by a reset of the connection, while commits fail and the client itself is
// replaced now and then. Nothing may be missing, nothing be damaged, and nothing
// be double after dedup by id.
func TestKilledStream(t *testing.T) {
	const events, kills = 1500, 200
	for seed := range uint64(3) {
		passed := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 4))
			var mu sync.Mutex
			killed := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				after, _ := strconv.Atoi(r.Header.Get("Last-Event-Id"))
				var text strings.Builder
				if random.IntN(3) == 0 {
					text.WriteString(bom)
				}
				for i := max(1, after+1-random.IntN(3)); i <= events; i++ { // some twice
					text.WriteString(numbered(i, random))
				}
				stream := text.String()
				last := killed == kills
				if !last {
					killed++
					stream = stream[:min(len(stream), random.IntN(1500))]
				}
				abort, size := random.IntN(2) == 0, 1+random.IntN(500)
				mu.Unlock()

				w.Header().Set("Content-Type", "text/event-stream")
				for piece := range slices.Chunk([]byte(stream), size) {
					fmt.Fprint(w, string(piece))
					w.(http.Flusher).Flush()
				}
				switch {
				case last:
					<-r.Context().Done()
				case abort:
					panic(http.ErrAbortHandler)
				}
			}))
			defer server.Close()

			l := newLedger()
			fails := rand.New(rand.NewPCG(seed, 5))
			within, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			for l.count() < events && within.Err() == nil {
				ctx, stop := context.WithCancel(within)
				c := newClient(t, Options{
					URL: server.URL, Position: l.where(), Failures: 1 << 30, Timing: atOnce,
					Handle: func(ctx context.Context, events []Event, position string) error {
						switch fails.IntN(20) {
						case 0:
							stop() // the client is killed before the commit
							return ctx.Err()
						case 1, 2:
							return errors.New("no broker")
						}
						return l.handle(ctx, events, position)
					},
				})
				go func() {
					for ctx.Err() == nil && l.count() < events {
						time.Sleep(time.Millisecond)
					}
					stop()
				}()
				c.Run(ctx)
			}
			if killed != kills {
				t.Errorf("killed %d times, want %d", killed, kills)
			}
			l.check(t, events, true)
		})
		if !passed {
			return
		}
	}
}

// model is a vendor that has one event a second, and everything that can go
// wrong with it, in the time of a bubble.
type model struct {
	random   *rand.Rand
	start    time.Time
	events   int
	memory   int // events that a stream remembers
	knowsIDs bool
	givenUp  bool // by the client
	outage   time.Time
}

func (m *model) now() int {
	return min(m.events, int(time.Since(m.start)/time.Second))
}

// chance is true once in n calls, until all events have been for a while.
func (m *model) chance(n int) bool {
	return time.Since(m.start) < time.Duration(m.events)*2*time.Second && m.random.IntN(n) == 0
}

func (m *model) RoundTrip(r *http.Request) (*http.Response, error) {
	if m.chance(8) {
		m.outage = time.Now().Add(time.Duration(m.random.IntN(600)) * time.Second)
	}
	if time.Now().Before(m.outage) || m.chance(5) {
		switch code := []int{0, 503, 429, 401, 403, 204}[m.random.IntN(6)]; code {
		case 0:
			return nil, errors.New("connection refused")
		case 429:
			return respond(r, code, retryAfter("40")), nil
		default:
			return respond(r, code, nil), nil
		}
	}
	next := m.now() + 1
	if id := r.Header.Get("Last-Event-Id"); id != "" {
		after, _ := strconv.Atoi(id)
		switch {
		case after < m.now()-m.memory:
			return respond(r, 410, nil), nil
		case m.givenUp && m.chance(2): // it forgot this client: the stream begins now
		default:
			next = after + 1
		}
	}
	resp := respond(r, 200, nil)
	left := 1 << 30
	if m.chance(1) {
		left = m.random.IntN(20_000)
	}
	resp.Body = &liveBody{gone: r.Context().Done(), m: m, next: next, left: left, random: rand.New(rand.NewPCG(m.random.Uint64(), 7))}
	return resp, nil
}

func (m *model) poll(l *ledger) func(context.Context, string) (string, error) {
	return func(_ context.Context, after string) (string, error) {
		if m.chance(4) {
			return "", errors.New("no answer")
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		from := l.at - 5 // an overlap
		if m.knowsIDs && after != "" {
			from, _ = strconv.Atoi(after)
		}
		for i := max(1, from+1); i <= m.now(); i++ {
			l.take(i)
		}
		l.at = m.now()
		if !m.knowsIDs {
			return "", nil
		}
		l.position = strconv.Itoa(m.now())
		return l.position, nil
	}
}

// liveBody gives events when they happen and heartbeats between, until left
// bytes have been sent.
type liveBody struct {
	gone   <-chan struct{} // closed when the request is given up
	m      *model
	next   int
	left   int
	rest   string
	random *rand.Rand
}

func (b *liveBody) Read(p []byte) (int, error) {
	for b.rest == "" {
		if b.next > b.m.now() {
			select {
			case <-time.After(time.Second):
			case <-b.gone:
				return 0, context.Canceled
			}
		}
		if b.rest = ":\n"; b.next <= b.m.now() {
			b.rest = numbered(b.next, b.random)
			b.next++
		}
	}
	if b.left <= 0 {
		return 0, []error{io.EOF, io.ErrUnexpectedEOF}[b.next%2]
	}
	n := copy(p[:min(len(p), b.left)], b.rest)
	b.rest = b.rest[n:]
	b.left -= n
	return n, nil
}

func (b *liveBody) Close() error { return nil }

// TestNothingIsLost runs a client against a vendor that fails in every way of the
// table of answers: it breaks streams, has outages, forgets positions, forgets
// clients that gave it up, and does not answer polls; commits fail, and clients
// are replaced. All events must be there in the end.
func TestNothingIsLost(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 6))
			m := &model{
				random: random, start: time.Now(), events: 2000, memory: []int{30, 300, 10_000}[random.IntN(3)], knowsIDs: random.IntN(2) == 0,
			}
			l := newLedger()
			for l.count() < m.events && time.Since(m.start) < 24*time.Hour {
				ctx, stop := context.WithTimeout(t.Context(), time.Duration(1+random.IntN(3000))*time.Second)
				m.givenUp = false
				c := newClient(t, Options{
					URL: "http://vendor", Position: l.where(), Tokens: &tokens{}, HTTP: &http.Client{Transport: m}, Random: random.Float64,
					Poll: m.poll(l),
					Handle: func(ctx context.Context, events []Event, position string) error {
						if m.chance(50) {
							return errors.New("no broker")
						}
						return l.handle(ctx, events, position)
					},
					Polling: func(on bool) { m.givenUp = on },
				})
				c.Run(ctx)
				stop()
			}
			l.check(t, m.events, false)
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
