package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"trunkline/topology"
)

// edge is what the simulators talk to in these tests: it keeps what it took.
type edge struct {
	mu     sync.Mutex
	random *rand.Rand
	bodies map[string]int // elements taken, by their bytes
	ids    int
	fail   func(e *edge, w http.ResponseWriter, take func()) bool // true when it answered
	check  func(r *http.Request, body []byte) error
	errs   []error
}

func startEdge(t *testing.T, e *edge) string {
	t.Helper()
	e.random = rand.New(rand.NewPCG(1, 2))
	e.bodies = map[string]int{}
	s := httptest.NewServer(e)
	t.Cleanup(s.Close)
	return s.URL
}

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.check != nil {
		if err := e.check(r, body); err != nil {
			e.errs = append(e.errs, err)
		}
	}
	elements := []json.RawMessage{body}
	if body[0] == '[' {
		if err := json.Unmarshal(body, &elements); err != nil {
			e.errs = append(e.errs, fmt.Errorf("array: %w", err))
		}
	}
	take := func() {
		for _, el := range elements {
			e.bodies[string(el)]++
		}
	}
	if e.fail != nil && e.fail(e, w, take) {
		return
	}
	take()
	e.ids++
	fmt.Fprintf(w, `{"status":"accepted","events":%d,"ingest_id":"r-%d"}`, len(elements), e.ids)
}

// TestSimulatorDelivers proves that against an edge that refuses, hangs up
// before or after it took the bytes, all is delivered at least once, and that
// the counts tell what happened.
func TestSimulatorDelivers(t *testing.T) {
	for _, vendor := range topology.Vendors {
		t.Run(vendor, func(t *testing.T) {
			var refused, dropped int
			e := &edge{fail: func(e *edge, w http.ResponseWriter, take func()) bool {
				switch e.random.IntN(10) {
				case 0:
					refused++
					w.Header().Set("Retry-After", "2")
					w.WriteHeader(http.StatusServiceUnavailable)
				case 1:
					dropped++
					panic(http.ErrAbortHandler)
				case 2:
					dropped++
					take()
					panic(http.ErrAbortHandler)
				default:
					return false
				}
				return true
			}}
			url := startEdge(t, e)

			ids := map[string]bool{}
			var accepted []Delivery
			s, err := NewSimulator(SimulatorConfig{
				Vendor: vendor, Tenant: "acme", EdgeURL: url, Token: "t", Seed: 5, Events: 2000,
				Accepted: func(a Acceptance) {
					if ids[a.IngestID] || a.IngestID == "" || a.Status != "accepted" {
						t.Errorf("got acceptance %q %q", a.IngestID, a.Status)
					}
					ids[a.IngestID] = true
					accepted = append(accepted, a.Deliveries...)
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			var waits waitLog
			s.wait = waits.wait
			report, err := s.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}

			if report.Sent != 2000 || report.Accepted != 2000 || len(accepted) != 2000 {
				t.Errorf("got %d sent, %d accepted, %d told of, want 2000 each", report.Sent, report.Accepted, len(accepted))
			}
			kinds, total := map[DeliveryKind]int{}, 0
			for _, d := range accepted {
				kinds[d.Kind]++
				if e.bodies[string(d.Body)] == 0 {
					t.Errorf("the edge never took %s", d.Body)
				}
			}
			for kind, n := range report.Kinds {
				if total += n; n != kinds[kind] {
					t.Errorf("%s: reported %d, accepted %d", kind, n, kinds[kind])
				}
			}
			if total != 2000 {
				t.Errorf("kinds add up to %d, want 2000", total)
			}
			want := RequestOutcomes{OK: len(ids), Failed: refused, Unknown: dropped, Resent: refused + dropped}
			if report.Requests != want || refused == 0 || dropped == 0 {
				t.Errorf("requests: got %+v, want %+v", report.Requests, want)
			}
			if got := waits.atLeast(2 * time.Second); got < refused {
				t.Errorf("%d pauses of the 2 s that the edge asked for, want %d", got, refused)
			}
			if len(e.errs) > 0 {
				t.Error(errors.Join(e.errs...))
			}
		})
	}
}

// TestSimulatorSendsAll proves that a run of any length is sent to its end, also
// when it ends inside an array.
func TestSimulatorSendsAll(t *testing.T) {
	url := startEdge(t, &edge{})
	for n := range 40 {
		s, err := NewSimulator(SimulatorConfig{Vendor: topology.CXone, Tenant: "acme", EdgeURL: url, Seed: int64(n), Events: n + 1})
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if r.Accepted != n+1 {
			t.Errorf("got %d accepted, want %d", r.Accepted, n+1)
		}
	}
}

// waitLog is a clock that does not take its time.
type waitLog struct {
	mu     sync.Mutex
	pauses []time.Duration
}

func (l *waitLog) wait(ctx context.Context, d time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pauses = append(l.pauses, d)
	return ctx.Err()
}

func (l *waitLog) atLeast(d time.Duration) (n int) {
	for _, p := range l.pauses {
		if p >= d {
			n++
		}
	}
	return n
}

// TestSimulatorRequests proves address, credentials and content type.
func TestSimulatorRequests(t *testing.T) {
	paths := map[string]string{
		topology.Genesys: "/v1/ingest/genesys/acme%2F1/events",
		topology.CXone:   "/v1/ingest/cxone/acme%2F1/webhook",
	}
	at := time.Unix(1795312200, 0)
	for vendor, path := range paths {
		arrays := 0
		e := &edge{check: func(r *http.Request, body []byte) error {
			if body[0] == '[' {
				arrays++
			}
			got := fmt.Sprint(r.Method, r.URL.EscapedPath(), r.Header.Get("Content-Type"), r.Header.Get("Authorization"), r.Header.Get("X-CXone-Signature"))
			want := fmt.Sprint("POST", path, "application/json", "Bearer dev-token", Sign("secret", at, body))
			if got != want {
				return fmt.Errorf("got request %q, want %q", got, want)
			}
			return nil
		}}
		s, err := NewSimulator(SimulatorConfig{
			Vendor: vendor, Tenant: "acme/1", EdgeURL: startEdge(t, e) + "/", Token: "dev-token", SigningSecret: "secret",
			Events: 300, Now: func() time.Time { return at },
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(e.errs) > 0 {
			t.Error(e.errs[0])
		}
		if arrays == 0 {
			t.Errorf("%s: no request carried an array", vendor)
		}
	}
}

// TestSign pins the signature to the vectors of document 3.3.6.
func TestSign(t *testing.T) {
	const body = `{"eventId":"6f1c2a34-0b7e-4d0a-9a53-0f5a2b7c9d10","eventType":"CALL_STARTED","tenantId":"11e85da0-f32c-7e10-898c-0242ac110003","timestamp":"2026-11-22T01:50:00.123Z","data":{"contactId":"427000000001","masterContactId":"427000000001","direction":"inbound","mediaType":"voice","ani":"+13175550100","dnis":"+18005550199"}}`
	for secret, want := range map[string]string{
		"webhook_secret_rotation_key": "t=1795312200,v1=a91784a3a6795502c7d4c8cb737c0c418751710cacdeb0c69c897b0be167ccb5",
		"previous_webhook_secret":     "t=1795312200,v1=06b9a2889df7a885828e47356d590868aeaf77ddd386602332baa2f6eb95797f",
	} {
		if got := Sign(secret, time.Unix(1795312200, 0), []byte(body)); got != want {
			t.Errorf("%s: got %s, want %s", secret, got, want)
		}
	}
}

// TestSimulatorRefused proves that what is refused for good is not sent again.
func TestSimulatorRefused(t *testing.T) {
	e := &edge{fail: func(_ *edge, w http.ResponseWriter, _ func()) bool {
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}}
	s, err := NewSimulator(SimulatorConfig{Vendor: topology.Genesys, Tenant: "acme", EdgeURL: startEdge(t, e), Events: 50})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Accepted != 0 || r.Sent != 50 || r.Requests.Resent != 0 || r.Requests.Failed == 0 {
		t.Errorf("got %+v, want 50 sent, none accepted, none sent again", r)
	}
}

// TestSimulatorStops proves that an endless simulator ends with its context,
// keeps its rate until then, and leaves no request behind.
func TestSimulatorStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	e := &edge{}
	url := startEdge(t, e)
	clock := time.Unix(1795312200, 0)
	var slept time.Duration
	s, err := NewSimulator(SimulatorConfig{
		Vendor: topology.CXone, Tenant: "acme", EdgeURL: url, Rate: 100, Now: func() time.Time { return clock },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.wait = func(ctx context.Context, d time.Duration) error { // as if nothing took time
		if slept = max(slept, d); slept >= 5*time.Second {
			cancel()
		}
		return ctx.Err()
	}
	r, err := s.Run(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want canceled", err)
	}
	if r.Sent < 450 || r.Sent > 520 {
		t.Errorf("got %d sent in 5 s, want about 500", r.Sent)
	}
}

func TestNewSimulator(t *testing.T) {
	good := SimulatorConfig{Vendor: topology.CXone, Tenant: "acme", EdgeURL: "http://127.0.0.1:1"}
	tests := []struct {
		name  string
		with  func(*SimulatorConfig)
		valid bool
	}{
		{"good", func(*SimulatorConfig) {}, true},
		{"vendor", func(c *SimulatorConfig) { c.Vendor = "avaya" }, false},
		{"url", func(c *SimulatorConfig) { c.EdgeURL = "edge" }, false},
		{"tenant", func(c *SimulatorConfig) { c.Tenant = "" }, false},
		{"rate", func(c *SimulatorConfig) { c.Rate = -1 }, false},
		{"events", func(c *SimulatorConfig) { c.Events = -1 }, false},
	}
	for _, tt := range tests {
		cfg := good
		tt.with(&cfg)
		if _, err := NewSimulator(cfg); (err == nil) != tt.valid {
			t.Errorf("%s: got error %v, want valid %t", tt.name, err, tt.valid)
		}
	}
}
