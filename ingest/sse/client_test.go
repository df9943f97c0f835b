package sse

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// log is where a test's handler commits to.
type log struct {
	mu       sync.Mutex
	ids      []string // of the events; their data where a test gives them no ids
	batches  int
	position string
}

func newLog(position string) *log { return &log{position: position} }

func (l *log) handle(_ context.Context, events []Event, position string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		l.ids = append(l.ids, e.ID+"="+string(e.Data))
	}
	l.batches++
	l.position = position
	return nil
}

func (l *log) taken() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.ids...)
}

// tokens gives token-1 until it is dropped, then token-2 and so on.
type tokens struct {
	mu      sync.Mutex
	dropped []string
}

func (t *tokens) Token(context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("token-%d", len(t.dropped)+1), nil
}

func (t *tokens) Drop(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropped = append(t.dropped, token)
}

// atOnce is the timing of a client that a loopback server tests: no delays that
// matter.
var atOnce = Timing{
	ReconnectMin: time.Millisecond, ReconnectMax: 2 * time.Millisecond, Backoff: time.Millisecond, BackoffMax: 2 * time.Millisecond,
	Probe: time.Millisecond, ProbeMax: time.Millisecond, Refused: time.Millisecond, Stopped: time.Millisecond, PollEvery: time.Millisecond,
}

func newClient(t testing.TB, o Options) *Client {
	t.Helper()
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// An answer is what a loopback server does with one connection.
type answer func(w http.ResponseWriter, r *http.Request)

// stream answers 200 and text, and ends cleanly.
func stream(text string) answer {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		fmt.Fprint(w, text)
	}
}

// silence answers 200 and text, and no more until the client goes away.
func silence(text string) answer {
	return func(w http.ResponseWriter, r *http.Request) {
		stream(text)(w, r)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
}

// reset answers 200 and text and breaks the connection.
func reset(text string) answer {
	return func(w http.ResponseWriter, r *http.Request) {
		stream(text)(w, r)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

func status(code int, headers ...string) answer {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
	}
}

// TestScenarios runs a client that resumes after 41 against a loopback server
// that gives one answer after the other, and the last one again and again. Every
// scenario is one that a library for this format was seen failing at, or a row of
// the table of answers.
func TestScenarios(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another host was called") }))
	defer elsewhere.Close()
	large := strings.Repeat("x", 100<<10)

	tests := []struct {
		name     string
		answers  []answer
		events   []string
		resumes  []string // Last-Event-ID of each connection, "-" for none
		outcomes []Outcome
		position string
	}{
		{
			"the stream ends in mid-line", []answer{stream("id: 42\ndata: a\n\nid: 43\ndata: {\"x"), silence("id: 43\ndata: b\n\n")},
			[]string{"42=a", "43=b"}, []string{"41", "42"}, []Outcome{Disconnected}, "43",
		},
		{
			"the stream ends after a whole line", []answer{stream("id: 42\ndata: a\n"), silence("id: 42\ndata: a\n\n")},
			[]string{"42=a"}, []string{"41", "41"}, []Outcome{Disconnected}, "42",
		},
		{
			"it comes back after a clean end", []answer{stream("id: 42\ndata: a\n\n"), stream("id: 43\ndata: b\n\n"), silence("")},
			[]string{"42=a", "43=b"}, []string{"41", "42", "43"}, []Outcome{Disconnected, Disconnected}, "43",
		},
		{
			"a connection without an event leaves the position", []answer{stream(""), stream(": hb\n\n"), reset(""), silence("id: 42\ndata: a\n\n")},
			[]string{"42=a"}, []string{"41", "41", "41", "41"}, []Outcome{Disconnected, Disconnected, Disconnected}, "42",
		},
		{
			"the connection is reset in mid-event", []answer{reset("id: 42\ndata: a\n\nid: 43\ndata: b\n"), silence("id: 43\ndata: b\n\n")},
			[]string{"42=a", "43=b"}, []string{"41", "42"}, []Outcome{Disconnected}, "43",
		},
		{
			"503", []answer{status(503), status(500), silence("id: 42\ndata: a\n\n")},
			[]string{"42=a"}, []string{"41", "41", "41"}, []Outcome{Unavailable, Unavailable}, "42",
		},
		{
			"429", []answer{status(429, "Retry-After", "0"), silence("id: 42\ndata: a\n\n")},
			[]string{"42=a"}, []string{"41", "41"}, []Outcome{RateLimited}, "42",
		},
		{
			"204", []answer{status(204), silence("id: 42\ndata: a\n\n")},
			[]string{"42=a"}, []string{"41", "41"}, []Outcome{Stopped}, "42",
		},
		{
			"a byte order mark", []answer{silence("\uFEFFdata: a\nid: 42\n\n")},
			[]string{"42=a"}, []string{"41"}, nil, "42",
		},
		{
			"an id without an event", []answer{stream("id: 43\n\n"), silence("")},
			nil, []string{"41", "43"}, []Outcome{Disconnected}, "43",
		},
		{
			"an empty id", []answer{stream("id: 42\ndata: a\n\nid\ndata: b\n\n"), silence("")},
			[]string{"42=a", "=b"}, []string{"41", "-"}, []Outcome{Disconnected}, "",
		},
		{
			"another content type", []answer{
				func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "id: 42\ndata: a\n\n") },
				func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Encoding", "br")
					stream("id: 42\ndata: a\n\n")(w, r)
				},
				silence("id: 42\ndata: b\n\n"),
			},
			[]string{"42=b"}, []string{"41", "41", "41"}, []Outcome{Unavailable, Unavailable}, "42",
		},
		{
			"an event of 100 KB", []answer{silence("id: 42\ndata: " + large + "\n\nid: 43\ndata: b\n\n")},
			[]string{"42=" + large, "43=b"}, []string{"41"}, nil, "43",
		},
		{
			"an event too large to keep", []answer{stream("id: 42\ndata: " + strings.Repeat("y", 150<<10) + "\n\nid: 43\ndata: b\n\n"), silence("")},
			[]string{"42=" + strings.Repeat("y", 128<<10), "43=b"}, []string{"41", "43"}, []Outcome{Disconnected}, "43",
		},
		{
			"silence", []answer{silence("id: 42\ndata: a\n\nid: 43\ndata: b"), silence("id: 43\ndata: b\n\n")},
			[]string{"42=a", "43=b"}, []string{"41", "42"}, []Outcome{Silent}, "43",
		},
		{
			"the token is rotated", []answer{
				func(w http.ResponseWriter, r *http.Request) { requireToken(t, w, r, "token-1"); status(401)(w, r) },
				func(w http.ResponseWriter, r *http.Request) {
					requireToken(t, w, r, "token-2")
					stream("id: 42\ndata: a\n\n")(w, r)
				},
				func(w http.ResponseWriter, r *http.Request) { requireToken(t, w, r, "token-2"); silence("")(w, r) },
			},
			[]string{"42=a"}, []string{"41", "41", "42"}, []Outcome{Unauthorized, Disconnected}, "42",
		},
		{
			"the position is too old", []answer{status(410), stream("data: a\n\n"), status(410), silence("id: 50\ndata: b\n\n")},
			[]string{"=a", "50=b"}, []string{"41", "-", "-", "-"}, []Outcome{Expired, Disconnected, Refused}, "50",
		},
		{
			"412 says the same", []answer{status(412), silence("id: 50\ndata: b\n\n")},
			[]string{"50=b"}, []string{"41", "-"}, []Outcome{Expired}, "50",
		},
		{
			"403, 404", []answer{status(403), status(404), silence("id: 42\ndata: a\n\n")},
			[]string{"42=a"}, []string{"41", "41", "41"}, []Outcome{Refused, Refused}, "42",
		},
		{
			"a redirect", []answer{status(307, "Location", "/other"), silence("id: 42\ndata: a\n\n")},
			[]string{"42=a"}, []string{"41", "41"}, nil, "42",
		},
		{
			"a redirect to another host", []answer{status(307, "Location", elsewhere.URL), silence("id: 42\ndata: a\n\n")},
			[]string{"42=a"}, []string{"41", "41"}, []Outcome{Refused}, "42",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var mu sync.Mutex
			var resumes []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				n := len(resumes)
				resumes = append(resumes, orDash(r.Header["Last-Event-Id"]))
				mu.Unlock()
				if accept, control := r.Header.Get("Accept"), r.Header.Get("Cache-Control"); accept != "text/event-stream" || control != "no-store" {
					t.Errorf("Accept %q, Cache-Control %q", accept, control)
				}
				tt.answers[min(n, len(tt.answers)-1)](w, r)
			}))
			defer server.Close()
			defer stop()

			committed := newLog("41")
			var outcomes []Outcome
			timing := atOnce
			if tt.name == "silence" {
				timing.Watchdog = time.Second
			}
			c := newClient(t, Options{
				URL: server.URL + "/stream?topics=conversation,routing", Position: "41", Tokens: &tokens{},
				Handle: committed.handle, MaxEvent: 128 << 10, Failures: 100, Timing: timing,
				Ended: func(e End) { outcomes = append(outcomes, e.Outcome) },
			})
			done := make(chan struct{})
			go func() { c.Run(ctx); close(done) }()
			// The scenario is over when its last connection stands and all its
			// events are committed.
			waitFor(t, func() bool {
				mu.Lock()
				defer mu.Unlock()
				return len(resumes) >= len(tt.resumes) && len(committed.taken()) >= len(tt.events) && committed.at() == tt.position
			})
			stop()
			<-done
			got := committed.taken()
			if diff := cmp.Diff(tt.events, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("events, -want +got:\n%.2000s", diff)
			}
			if diff := cmp.Diff(tt.resumes, resumes); diff != "" {
				t.Errorf("Last-Event-ID of the connections, -want +got:\n%s", diff)
			}
			if diff := cmp.Diff(tt.outcomes, outcomes, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("outcomes, -want +got:\n%s", diff)
			}
		})
	}
}

func (l *log) at() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.position
}

func orDash(values []string) string {
	if len(values) == 0 {
		return "-"
	}
	return strings.Join(values, ",")
}

func requireToken(t *testing.T, _ http.ResponseWriter, r *http.Request, want string) {
	t.Helper()
	if got := r.Header.Get("Authorization"); got != "Bearer "+want {
		t.Errorf("Authorization %q, want %s", got, want)
	}
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Error("waited 30 s in vain")
			return
		}
	}
}

// TestOptions checks that what cannot work is refused, in words that hold no
// secret.
func TestOptions(t *testing.T) {
	handle := newLog("").handle
	tests := []struct {
		name string
		o    Options
		want []string
	}{
		{"good", Options{URL: "https://api.example.com/stream", Handle: handle}, nil},
		{"nothing", Options{}, []string{"url: is", "handle: is missing"}},
		{"no host", Options{URL: "/stream", Handle: handle}, []string{"want http or https and a host"}},
		{"a secret in what is no URL", Options{URL: "https://user:hunter2@a b/", Handle: handle}, []string{"url: cannot be read"}},
		{"a secret in the URL", Options{URL: "ftp://user:hunter2@host/", Handle: handle}, []string{"url: is"}},
		{"a position no header carries", Options{URL: "http://host", Handle: handle, Position: "4\n1"}, []string{"position: is"}},
		{"delays upside down", Options{URL: "http://host", Handle: handle, Timing: Timing{ReconnectMin: time.Minute}}, []string{"reconnect min: is 1m0s"}},
	}
	for _, tt := range tests {
		_, err := NewClient(tt.o)
		if (err == nil) != (tt.want == nil) {
			t.Errorf("%s: got error %v", tt.name, err)
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: got error %v, want %q and no secret", tt.name, err, want)
			}
		}
	}
}
