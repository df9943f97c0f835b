package sse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"trunkline/ingest/outbound"
)

// transport answers requests without a network, so that time can be faked.
type transport func(r *http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// script is a body that gives its pieces, each after a time, and then ends; the
// piece "..." lasts until the request is given up.
type script struct {
	gone   <-chan struct{} // closed when the request is given up
	pieces []piece
	rest   string
	read   int
}

type piece struct {
	after time.Duration
	text  string
}

func (s *script) Read(p []byte) (int, error) {
	for s.rest == "" {
		if len(s.pieces) == 0 {
			return 0, io.EOF
		}
		next := s.pieces[0]
		if s.pieces = s.pieces[1:]; next.text == "..." {
			next.after = 1 << 62
		}
		select {
		case <-time.After(next.after):
		case <-s.gone:
			return 0, context.Canceled
		}
		s.rest = next.text
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	s.read += n
	return n, nil
}

func (s *script) Close() error { return nil }

// respond returns an answer with the status, or a stream of the pieces.
func respond(r *http.Request, code int, headers http.Header, pieces ...piece) *http.Response {
	if headers == nil {
		headers = http.Header{}
	}
	if code == http.StatusOK {
		headers.Set("Content-Type", "text/event-stream")
	}
	return &http.Response{StatusCode: code, Header: headers, Request: r, Body: &script{gone: r.Context().Done(), pieces: pieces}}
}

func retryAfter(s string) http.Header { return http.Header{"Retry-After": {s}} }

// TestDelays holds the delays between connections against the table of answers,
// with the random number one half.
func TestDelays(t *testing.T) {
	fail := func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }
	answers := func(code int, headers http.Header) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) { return respond(r, code, headers), nil }
	}
	streams := func(text string) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) {
			return respond(r, 200, nil, piece{0, text}), nil
		}
	}
	const event = "data: a\n\n"
	tests := []struct {
		name     string
		failures int
		answers  []func(*http.Request) (*http.Response, error) // the last one again and again
		want     []time.Duration
	}{
		{"after the end of a stream", 3, slices.Repeat(list(streams(event)), 1), seconds(3, 3, 3, 3, 3)},
		{"after a fault of the network", 9, list(fail), seconds(3, 3, 3)},
		{"after 5xx, doubling up to the cap", 99, list(answers(503, nil)), seconds(1, 2, 4, 8, 16, 30, 30, 30)},
		{"after 5xx, anew once the stream was of use", 99, list(answers(503, nil), answers(503, nil), streams(event), answers(503, nil)), seconds(1, 2, 3, 1, 2)},
		{"after 5xx, base set by retry", 99, list(streams("retry: 10000\n\n"+event), answers(503, nil)), seconds(3, 5, 10, 20, 30)},
		{"after 5xx, a base of 0 is no invitation", 99, list(streams("retry: 0\n\n"+event), answers(503, nil)), []time.Duration{3 * time.Second, 500 * time.Millisecond, time.Second}},
		{"after 429", 99, list(answers(429, retryAfter("100"))), seconds(101, 102, 104)},
		{"after 429 with a date", 99, list(answers(429, retryAfter("Sat, 01 Jan 2000 00:02:00 GMT")), answers(429, nil)), seconds(121, 2, 4)},
		{"after 429, longer than the breaker", 1, list(answers(429, retryAfter("100"))), seconds(101, 102, 120, 240)},
		{"after 429 that asks for ever", 99, list(answers(429, retryAfter("999999999"))), seconds(3601)},
		{"after 401 at once, then as after 5xx", 99, list(answers(401, nil)), seconds(0, 1, 2, 4)},
		{"after 401, each time anew", 99, list(answers(401, nil), streams(event), answers(401, nil)), seconds(0, 3, 0, 1)},
		{"after 403", 3, list(answers(403, nil)), seconds(300, 300, 300)},
		{"after 404", 3, list(answers(404, nil)), seconds(300, 300)},
		{"after 204", 3, list(answers(204, nil)), seconds(600, 600)},
		{"three failures open the breaker", 3, list(answers(503, nil)), seconds(1, 2, 30, 60, 120, 240, 300, 300)},
		{"three ends without an event too", 3, list(streams(": hb\n\n")), seconds(3, 3, 30, 60)},
		{"two do not", 3, list(fail, fail, streams(event), fail, fail, streams(event)), seconds(3, 3, 3, 3, 3, 3, 3)},
		{"a probe of use closes it", 2, list(fail, fail, fail, streams(event), fail, fail), seconds(3, 30, 60, 3, 3, 30, 60)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				var times []time.Time
				c := newClient(t, Options{
					URL: "http://vendor", Handle: newLog("").handle, Tokens: &tokens{}, Failures: tt.failures,
					Random: func() float64 { return 0.5 },
					HTTP: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
						times = append(times, time.Now())
						if len(times) > len(tt.want) {
							stop()
						}
						return tt.answers[min(len(times), len(tt.answers))-1](r)
					})},
				})
				c.Run(ctx)
				var got []time.Duration
				for i := range times[1:] {
					got = append(got, times[i+1].Sub(times[i]))
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("delays, -want +got:\n%s", diff)
				}
			})
		})
	}
}

func list[T any](of ...T) []T { return of }

func seconds(n ...int) []time.Duration {
	var all []time.Duration
	for _, s := range n {
		all = append(all, time.Duration(s)*time.Second)
	}
	return all
}

// TestReconnectIsSpread checks that the delay after a disconnect is uniform from
// 1 to 5 s, and one after 5xx from nothing to its ceiling.
func TestReconnectIsSpread(t *testing.T) {
	c := newClient(t, Options{URL: "http://vendor", Handle: newLog("").handle, Failures: 1 << 30, Random: rand.New(rand.NewPCG(7, 7)).Float64})
	for _, tt := range []struct {
		outcome   Outcome
		low, high float64 // seconds
	}{{Disconnected, 1, 5}, {Silent, 1, 5}, {Unavailable, 0, 2}, {RateLimited, 0, 2}} {
		const n = 4000
		var parts [4]int
		for range n {
			c.attempts = 0
			at := (c.next(End{Outcome: tt.outcome}).Seconds() - tt.low) / (tt.high - tt.low)
			if at < 0 || at >= 1 {
				t.Fatalf("%s: %v of the way from %v to %v s", tt.outcome, at, tt.low, tt.high)
			}
			parts[int(at*4)]++
		}
		for _, got := range parts {
			if got < n/4-n/20 || got > n/4+n/20 {
				t.Errorf("%s: %v delays in the quarters, want about %d each", tt.outcome, parts, n/4)
			}
		}
	}
}

// TestWatchdog checks that bytes keep a connection, that nothing else does, and
// that a handler may take its time.
func TestWatchdog(t *testing.T) {
	hang := piece{0, "..."}
	tests := []struct {
		name   string
		pieces []piece
		want   time.Duration
	}{
		{"no byte at all", []piece{hang}, 45 * time.Second},
		{"heartbeats", append(slices.Repeat([]piece{{44 * time.Second, ":\n"}}, 10), hang), 485 * time.Second},
		{"single bytes of an event", []piece{{44 * time.Second, "d"}, {44 * time.Second, "a"}, {44 * time.Second, "t"}, hang}, 177 * time.Second},
		{"silence after an event", []piece{{10 * time.Second, "data: quick\n\n"}, hang}, 55 * time.Second},
		{"silence while the handler is slow", []piece{{0, "data: slow\n\n"}, {30 * time.Second, "data: quick\n\n"}, hang}, 10 * time.Minute},
		{"a slow handler is not silence", []piece{{0, "data: slow\n\n"}, {0, "data: quick\n\n"}, {0, "data: quick\n\n"}, hang}, 10*time.Minute + 45*time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				start := time.Now()
				c := newClient(t, Options{
					URL: "http://vendor", MaxBatch: 1,
					Handle: func(ctx context.Context, events []Event, _ string) error {
						if string(events[0].Data) == "slow" {
							outbound.Sleep(ctx, 10*time.Minute)
						}
						return ctx.Err()
					},
					HTTP: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
						return respond(r, 200, nil, tt.pieces...), nil
					})},
					Ended: func(e End) {
						if got := time.Since(start); e.Outcome != Silent || got != tt.want {
							t.Errorf("%s after %v, want silent after %v", e.Outcome, got, tt.want)
						}
						stop()
					},
				})
				c.Run(ctx)
			})
		})
	}
	t.Run("no answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			start := time.Now()
			c := newClient(t, Options{
				URL: "http://vendor", Handle: newLog("").handle,
				HTTP: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
					<-r.Context().Done()
					return nil, r.Context().Err()
				})},
				Ended: func(e End) {
					if got := time.Since(start); e.Outcome != Silent || got != 45*time.Second {
						t.Errorf("%s after %v, want silent after 45 s", e.Outcome, got)
					}
					stop()
				},
			})
			c.Run(ctx)
		})
	})
}

// TestReadAhead checks that a handler is given all that was read while it was
// busy, and that no more is read ahead than its limits allow.
func TestReadAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		const perEvent, maxBatch = 1000, 100_000
		event := "data: " + strings.Repeat("x", perEvent) + "\n\n"
		body := &script{pieces: []piece{{0, strings.Repeat(event, 10_000)}}}
		var sizes []int
		c := newClient(t, Options{
			URL: "http://vendor", MaxBatch: maxBatch,
			HTTP: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
				body.gone = r.Context().Done()
				resp := respond(r, 200, nil)
				resp.Body = body
				return resp, nil
			})},
			Handle: func(ctx context.Context, events []Event, _ string) error {
				outbound.Sleep(ctx, time.Second)
				synctest.Wait()
				sizes = append(sizes, len(events))
				handled := 0
				for _, n := range sizes {
					handled += n
				}
				if ahead := body.read - handled*len(event); ahead > 2*maxBatch+2*32<<10 {
					t.Errorf("%d bytes are read ahead of the handler", ahead)
				}
				return nil
			},
			Ended: func(End) { stop() },
		})
		c.Run(ctx)
		total := 0
		for _, n := range sizes {
			total += n
		}
		if total != 10_000 || len(sizes) > 10_000*len(event)/maxBatch*2 {
			t.Errorf("%d events in %d batches of %v", total, len(sizes), sizes)
		}
	})
}

// TestHerd cuts 1,000 streams at once and checks that never more of them connect
// within a second than the limiter lets pass, and that all come back.
func TestHerd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams, perSecond = 1000, 20
		ctx, stop := context.WithCancel(t.Context())
		cut := time.Now().Add(5 * time.Minute)
		var at []time.Time // of connections; there is one processor in a bubble's order of events
		record := make(chan time.Time)
		recorded := make(chan struct{})
		go func() {
			defer close(recorded)
			for {
				select {
				case now := <-record:
					at = append(at, now)
				case <-ctx.Done():
					return
				}
			}
		}()
		limiter := outbound.NewLimiter(perSecond)
		random := rand.New(rand.NewPCG(3, 3))
		clients := make(chan struct{})
		for range streams {
			seed := random.Uint64()
			c := newClient(t, Options{
				URL: "http://vendor", Handle: newLog("").handle, Limiter: limiter, Random: rand.New(rand.NewPCG(seed, 0)).Float64,
				HTTP: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
					record <- time.Now()
					beats := slices.Repeat([]piece{{30 * time.Second, ":\n"}}, 1000)
					if left := time.Until(cut); left > 0 {
						beats = append(beats[:int(left/(30*time.Second))], piece{left % (30 * time.Second), ":\n"})
					}
					return respond(r, 200, nil, beats...), nil
				})},
			})
			go func() { c.Run(ctx); clients <- struct{}{} }()
		}
		time.Sleep(10 * time.Minute)
		stop()
		for range streams {
			<-clients
		}
		<-recorded
		if len(at) != 2*streams {
			t.Errorf("%d connections, want each of %d streams to come back once", len(at), streams)
		}
		for i := perSecond + 1; i < len(at); i++ {
			if within := at[i].Sub(at[i-perSecond-1]); within < time.Second {
				t.Fatalf("%d connections within %v", perSecond+2, within)
			}
		}
		if last := at[len(at)-1].Sub(cut); last > (streams/perSecond+6)*time.Second {
			t.Errorf("the last stream is back %v after the cut", last)
		}
	})
}

// TestBreaker checks what is polled, and when: from the committed position while
// the stream is given up, and once more between its first event and the handling
// of it.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		start := time.Now()
		var got []string
		note := func(format string, args ...any) {
			got = append(got, fmt.Sprintf("%v ", time.Since(start))+fmt.Sprintf(format, args...))
		}
		polls, connections := 0, 0
		c := newClient(t, Options{
			URL: "http://vendor", Position: "41", Random: func() float64 { return 0.5 },
			Timing: Timing{PollEvery: 20 * time.Second},
			HTTP: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
				connections++
				note("connect %s", orDash(r.Header["Last-Event-Id"]))
				switch connections {
				case 1:
					return respond(r, 200, nil, piece{0, "id: 42\ndata: a\n\n"}), nil
				case 2, 3, 4, 5:
					return respond(r, 503, nil), nil
				default:
					return respond(r, 200, nil, piece{5 * time.Second, "id: 60\ndata: b\n\n"}, piece{40 * time.Second, "id: 61\ndata: c\n\n"}, piece{0, "..."}), nil
				}
			})},
			Handle: func(_ context.Context, events []Event, position string) error {
				note("handle %d to %s", len(events), position)
				if position == "61" {
					stop()
				}
				return nil
			},
			Poll: func(_ context.Context, after string) (string, error) {
				polls++
				note("poll %s", after)
				if polls == 2 {
					return "", errors.New("no answer")
				}
				return fmt.Sprintf("%d", 42+polls), nil
			},
			Polling: func(on bool) { note("polling %v", on) },
			Alarm:   func(err error) { note("%v", err) },
		})
		c.Run(ctx)
		want := []string{
			"0s connect 41", "0s handle 1 to 42",
			"3s connect 42", "4s connect 42", "6s connect 42",
			"6s polling true", "6s poll 42", "26s poll 43", "26s poll: no answer", // then for 10 s
			"36s connect 43",
			"36s poll 43", "56s poll 45", "1m16s poll 46", // for 60 s
			"1m36s connect 47",
			"1m41s poll 47", "1m41s handle 1 to 60", "1m41s polling false",
			"2m21s handle 1 to 61",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// TestOverlapIsOwed checks that a stream is handled although the overlapping
// poll fails, that the poll is tried again from where it should have begun, and
// that the position waits for it.
func TestOverlapIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var polled []string
		committed := newLog("41")
		down := true
		c := newClient(t, Options{
			URL: "http://vendor", Position: "41", Failures: 1, Handle: committed.handle,
			HTTP: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
				if down {
					return nil, errors.New("connection refused")
				}
				return respond(r, 200, nil, append([]piece{{0, "id: 50\ndata: a\n\n"}, {10 * time.Second, "id: 51\ndata: b\n\n"}}, slices.Repeat([]piece{{10 * time.Second, ":\n"}}, 1000)...)...), nil
			})},
			Poll: func(_ context.Context, after string) (string, error) {
				polled = append(polled, after+" at "+committed.at())
				if down = false; len(polled) < 5 {
					return "", errors.New("no answer")
				}
				return "55", committed.handle(ctx, nil, "55")
			},
		})
		go c.Run(ctx)
		time.Sleep(time.Hour)
		synctest.Wait()
		want := slices.Repeat([]string{"41 at 41"}, 5)
		if taken := committed.taken(); !slices.Equal(polled, want) || committed.at() != "55" || !slices.Equal(taken, list("50=a", "51=b")) {
			t.Errorf("polled from %q, committed %q at %s; want %q, both events and 55", polled, taken, committed.at(), want)
		}
	})
}

// TestOverlapIsSettled checks when a poll that overlaps with a stream is enough:
// not before an event that follows it is committed, nor while a connection would
// begin anywhere for want of a position.
func TestOverlapIsSettled(t *testing.T) {
	beat := piece{10 * time.Second, ":\n"}
	fail := func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }
	expire := func(r *http.Request) (*http.Response, error) { return respond(r, 410, nil), nil }
	streams := func(pieces ...piece) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) { return respond(r, 200, nil, pieces...), nil }
	}
	tests := []struct {
		name     string
		answers  []func(*http.Request) (*http.Response, error)
		failures int // of the handler
		until    time.Duration
		want     []string
	}{
		{
			"an event that was not committed", list(fail, streams(piece{0, "id: 90\ndata: a\n\n"}), streams(piece{5 * time.Second, "id: 90\ndata: a\n\n"}, piece{0, "..."})), 1, time.Minute,
			[]string{
				"0s connect 41", "0s poll 41", "15s poll 41",
				"30s connect 41", "30s poll 41", "30s fail to handle 90", "30s poll 41",
				"31s connect 41", "36s poll 41", "36s handle 90",
			},
		},
		{
			"a quiet stream without a position", list(expire, streams(append(slices.Repeat([]piece{beat}, 5), piece{0, "id: 90\ndata: a\n\n"}, beat, beat, beat, piece{0, "id: 91\ndata: b\n\n"}, piece{0, "..."})...)), 0, 115 * time.Second,
			[]string{
				"0s connect 41", "0s poll ", "15s poll ",
				"30s connect -", "1m0s poll ", "1m15s poll ", "1m20s handle 41", "1m30s poll ", "1m50s handle 91",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithTimeout(t.Context(), tt.until)
				defer stop()
				start, connections, handled := time.Now(), 0, 0
				var got []string
				note := func(format string, args ...any) {
					got = append(got, fmt.Sprintf("%v ", time.Since(start))+fmt.Sprintf(format, args...))
				}
				c := newClient(t, Options{
					URL: "http://vendor", Position: "41", Failures: 1, Random: func() float64 { return 0.5 },
					HTTP: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
						note("connect %s", orDash(r.Header["Last-Event-Id"]))
						connections++
						return tt.answers[min(connections, len(tt.answers))-1](r)
					})},
					Handle: func(_ context.Context, _ []Event, position string) error {
						if handled++; handled <= tt.failures {
							note("fail to handle %s", position)
							return errors.New("no broker")
						}
						note("handle %s", position)
						return nil
					},
					Poll: func(_ context.Context, after string) (string, error) {
						note("poll %s", after)
						return "", nil // it knows no ids
					},
				})
				c.Run(ctx)
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		})
	}
}

// TestExpired checks that a stream whose past is lost does not go on before a
// poll by time has fetched it.
func TestExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var got []string
		polls := 0
		c := newClient(t, Options{
			URL: "http://vendor", Position: "41", Random: func() float64 { return 0.5 },
			HTTP: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
				got = append(got, "connect "+orDash(r.Header["Last-Event-Id"]))
				if r.Header.Get("Last-Event-Id") != "" {
					return respond(r, 412, nil), nil
				}
				return respond(r, 200, nil, piece{0, "id: 90\ndata: a\n\n"}, piece{0, "..."}), nil
			})},
			Handle: func(_ context.Context, _ []Event, position string) error {
				got = append(got, "handle "+position)
				stop()
				return nil
			},
			Poll: func(_ context.Context, after string) (string, error) {
				got = append(got, fmt.Sprintf("poll %q", after))
				if polls++; polls < 3 {
					return "", errors.New("no answer")
				}
				return "", nil // it knows no ids
			},
			Alarm: func(err error) { got = append(got, "alarm "+err.Error()) },
		})
		c.Run(ctx)
		want := []string{
			"connect 41", "alarm open stream: answered 412",
			`poll ""`, "alarm poll: no answer", `poll ""`, "alarm poll: no answer", `poll ""`,
			"connect -", `poll ""`, "handle 90",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// TestUnhandled checks that events which were not committed come again, and that
// their vendor is not blamed.
func TestUnhandled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var resumes []string
		calls := 0
		c := newClient(t, Options{
			URL: "http://vendor", Position: "41",
			HTTP: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
				resumes = append(resumes, orDash(r.Header["Last-Event-Id"]))
				return respond(r, 200, nil, piece{0, "id: 42\ndata: a\n\n"}, piece{time.Second, "id: 43\ndata: b\n\n"}, piece{0, "..."}), nil
			})},
			Handle: func(context.Context, []Event, string) error {
				if calls++; calls == 2 || calls > 3 && calls < 20 { // 43 at first
					return errors.New("no broker")
				}
				if calls == 20 {
					stop()
				}
				return nil
			},
			Polling: func(bool) { t.Error("the stream is given up") },
		})
		c.Run(ctx)
		if want := append([]string{"41", "42", "42"}, slices.Repeat([]string{"42"}, 15)...); !slices.Equal(resumes, want) {
			t.Errorf("resumed after %q, want %q", resumes, want)
		}
	})
}

// TestNoSecrets checks that what a client reports does not hold its token.
func TestNoSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var reported bytes.Buffer
		n := 0
		c := newClient(t, Options{
			URL: "http://user:token-1@vendor", Handle: newLog("").handle, Tokens: &tokens{}, Failures: 2,
			HTTP: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
				if n++; n > 20 {
					stop()
				}
				codes := []int{401, 403, 500, 200, 429, 410}
				if n%7 == 0 {
					return nil, errors.New("connection refused")
				}
				return respond(r, codes[n%len(codes)], nil), nil
			})},
			Ended: func(e End) { fmt.Fprintf(&reported, "%+v %v\n", e, e.Err) },
			Alarm: func(err error) { fmt.Fprintln(&reported, err) },
		})
		c.Run(ctx)
		if reported.Len() == 0 || strings.Contains(reported.String(), "token-") {
			t.Errorf("reported: %s", reported.String())
		}
	})
}
