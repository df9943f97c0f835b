package reconcile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"trunkline/event"
	"trunkline/ingest"
	"trunkline/ingest/outbound"
	"trunkline/vendors"
	mapcxone "trunkline/vendors/cxone"
	mapgenesys "trunkline/vendors/genesys"
)

// committedLog is a log of a source: what was committed survives it.
type committedLog struct {
	mu       sync.Mutex
	records  []ingest.Record
	position []byte
	fate     func() int // of an append: 1 is refused, 2 is committed and not answered
}

func (l *committedLog) Position() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.position
}

func (l *committedLog) Append(_ context.Context, records []ingest.Record, position []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	fate := 0
	if l.fate != nil {
		fate = l.fate()
	}
	if fate == 1 {
		return errors.New("fenced")
	}
	l.records = append(l.records, records...)
	l.position = position
	if fate == 2 {
		return errors.New("connection reset")
	}
	return nil
}

const (
	window   = 48 * time.Hour
	lookBack = window - window/10
)

func options(vendor string, m vendors.Mapper, url string, lists ...string) Options {
	return Options{Vendor: vendor, Tenant: "acme", Mapper: m, URL: url, Lists: lists, Window: window}
}

func mustNew(t *testing.T, o Options) *Reconciler {
	t.Helper()
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// lives runs a reconciler in a process that is killed and loses its log at any time, round by round,
// while change is called. In the end the vendor is quiet and nothing fails.
func lives(t *testing.T, seed uint64, o Options, log *committedLog, v *simulated, rounds int, change func()) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	v.asked = func(since time.Time) {
		// I3: what lies before the dedup window would be taken for new.
		if earliest := time.Now().Add(-window); since.Before(earliest) {
			t.Errorf("asked for what changed since %s, want not before %s", since, earliest)
		}
	}
	o.HTTP = &http.Client{Transport: outbound.NewBudget(v, outbound.DefaultPerMinute, time.Now)}
	o.Random = rng.Float64
	var last Result
	o.Tell = func(_ string, r Result) { last = r }
	r := mustNew(t, o)
	log.fate = func() int {
		if v.quiet {
			return 0
		}
		return rng.IntN(60)
	}
	live := func(d time.Duration) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		if err := r.Run(ctx, log); err != nil && !errors.Is(err, errAppend) {
			t.Error(err)
		}
	}
	for range rounds {
		change()
		live(time.Duration(rng.Int64N(int64(16 * time.Minute))))
		time.Sleep(time.Duration(rng.Int64N(int64(20 * time.Minute)))) // nobody reads
	}
	v.mu.Lock()
	v.quiet = true
	v.mu.Unlock()
	live(30 * time.Minute)
	if last.Err != nil {
		t.Errorf("the last run failed: %v", last.Err)
	}
}

// told returns the keys of the records of a log by their bodies, and checks that the
// same body has the same key whenever it came, another one another.
func told(t *testing.T, log *committedLog) map[string]string {
	t.Helper()
	keys, bodies := map[string]string{}, map[string]string{}
	for _, r := range log.records {
		body := string(r.Value)
		if key, ok := keys[body]; ok && key != r.Key {
			t.Fatalf("%s is %s and %s", body, key, r.Key)
		}
		if other, ok := bodies[r.Key]; ok && other != body {
			t.Fatalf("%s is %s and %s", r.Key, body, other)
		}
		keys[body], bodies[r.Key] = r.Key, body
	}
	return keys
}

// Every update that the vendor still knows is in the log, whatever page it stood on and
// whatever failed meanwhile, and comes with the same id each time.
//
// Seen failing with a list read once that moved, with the position of the last page,
// with the position written before the last page, and with an append taken for done
// that failed.
func TestEveryUpdateIsRead(t *testing.T) {
	for seed := range uint64(16) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a, log := newAgents(seed), &committedLog{}
				lives(t, seed, options("cxone", mapcxone.Mapper(), "https://api.example/services/v33.0", "agents"), log, &a.simulated, 4, a.change)
				keys := told(t, log)
				for id, body := range a.latest {
					if key := keys[body]; !strings.HasPrefix(key, fmt.Sprintf("cxone/acme/user/%d#", id)) {
						t.Errorf("agent %d: %s is %q in the log", id, body, key)
					}
				}
			})
		})
	}
}

// Every audit is in the log, also one that the vendor tells of late, under its own id.
//
// Seen failing without overlap, with the first page only, and with the position
// written before the last page.
func TestEveryAuditIsRead(t *testing.T) {
	for seed := range uint64(16) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, log := newAuditLog(seed), &committedLog{}
				o := options("genesys", mapgenesys.Mapper(), "https://api.example", "Routing")
				o.Async = seed%2 == 1
				lives(t, seed, o, log, &l.simulated, 8, l.change)
				ids := map[string]bool{}
				for _, key := range told(t, log) {
					_, id, _ := strings.Cut(key, "#")
					ids[id] = true
				}
				for _, a := range l.all {
					if !ids[a.id] {
						t.Errorf("audit %s of %s is not in the log", a.id, a.at)
					}
				}
			})
		})
	}
}

// transport answers every call with one function.
type transport func(r *http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func says(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

// The vendors' own pages become records that their mappers read, each with its bytes.
//
// Seen failing with a topic hint for audits.
func TestPagesOfTheVendors(t *testing.T) {
	tests := []struct {
		vendor, list, sample, key string
		format                    event.Format
		hint                      string
	}{
		{"genesys", "AnalyticsReporting", "genesys/testdata/R8.json", "genesys/acme/exports/11f27f54-e941-42dc-9319-107175e2190e#583cae9f-87d6-4bce-a5eb-6b133184405b", event.GenesysAuditQuery, ""},
		{"cxone", "agents", "cxone/testdata/R12.json", "cxone/acme/user/218903#", event.CXonePoll, "agents"},
		{"cxone", "contacts/completed", "cxone/testdata/R13.json", "cxone/acme/conversation/427000000001#", event.CXonePoll, "contacts/completed"},
	}
	for _, tt := range tests {
		t.Run(tt.sample, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				page, err := os.ReadFile("../../vendors/" + tt.sample)
				if err != nil {
					t.Fatal(err)
				}
				o := options(tt.vendor, map[string]vendors.Mapper{"genesys": mapgenesys.Mapper(), "cxone": mapcxone.Mapper()}[tt.vendor], "https://api.example", tt.list)
				o.Async = true
				o.HTTP = &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
					switch {
					case strings.HasSuffix(r.URL.Path, "servicemapping"):
						return says(200, `{"services":[{"name":"`+tt.list+`"}]}`), nil
					case r.Method == http.MethodPost:
						return says(202, `{"id":"t","state":"Succeeded"}`), nil
					case r.URL.Query().Has("skip"):
						return says(204, ""), nil
					}
					return says(200, string(page)), nil
				})}
				log := &committedLog{}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := mustNew(t, o).Run(ctx, log); err != nil {
					t.Fatal(err)
				}
				if len(log.records) != 1 {
					t.Fatalf("%d records, want 1", len(log.records))
				}
				r := log.records[0]
				headers := map[string][]byte{}
				for _, h := range r.Headers {
					headers[h.Key] = h.Value
				}
				raw := event.RawOf(headers, r.Value)
				if !strings.HasPrefix(r.Key, tt.key) || !bytes.Contains(page, r.Value) || raw.Format != tt.format || raw.Transport != event.Poll || raw.TopicHint != tt.hint || raw.SigStatus != "none" {
					t.Errorf("record %q: %+v", r.Key, raw)
				}
			})
		})
	}
}

// run gives a reconciler of one list some time with a vendor, and returns what it logged
// and told.
func run(t *testing.T, o Options, log *committedLog, vendor transport, d time.Duration) (text string, results []Result) {
	t.Helper()
	var lines bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&lines, nil))
	o.HTTP = &http.Client{Transport: vendor}
	o.Tell = func(_ string, r Result) { results = append(results, r) }
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := mustNew(t, o).Run(ctx, log); err != nil {
		t.Fatal(err)
	}
	return lines.String(), results
}

// What a vendor refuses or answers amiss is told once with its cure, leaves the
// position, and quotes nothing of the vendor's (I10).
//
// Seen failing with the header told whole, with the URL of a call told, with a failure
// told each time, and with the host of a link not compared.
func TestFailures(t *testing.T) {
	const secret = "Anna Ruiz"
	page := func(more string) string {
		return `{"lastPollTime":"2026-11-22T01:50:00.678Z","agents":[{"agentId":1}]` + more + `}`
	}
	tests := []struct {
		name   string
		vendor string
		answer func(r *http.Request) *http.Response // nil: the connection breaks off
		want   string
	}{
		{"no permission", "genesys", func(*http.Request) *http.Response { return says(403, secret) }, "audits:audit:view"},
		{"no such service", "genesys", func(*http.Request) *http.Response { return says(200, `{"services":[{"name":"Other"}]}`) }, "is no service whose audits the vendor offers"},
		{"token refused", "cxone", func(*http.Request) *http.Response { return says(401, secret) }, "credential of api"},
		{"no permission for a list", "cxone", func(*http.Request) *http.Response { return says(403, "") }, "role with the permission"},
		{"code", "cxone", func(*http.Request) *http.Response {
			return says(400, "", "icStatusDescription", "InvalidDate: "+secret)
		}, "answered 400, code InvalidDate"},
		{"prose", "cxone", func(*http.Request) *http.Response { return says(400, "", "icStatusDescription", secret+" is no date") }, "answered 400"},
		{"no JSON", "cxone", func(*http.Request) *http.Response { return says(200, "<html>"+secret) }, "no JSON"},
		{"no list", "cxone", func(*http.Request) *http.Response { return says(200, `{"lastPollTime":"2026-11-22T01:50:00.678Z"}`) }, "0 lists"},
		{"no time", "cxone", func(*http.Request) *http.Response { return says(200, `{"agents":[]}`) }, "lastPollTime"},
		{"another host", "cxone", func(*http.Request) *http.Response {
			return says(200, page(`,"_links":{"next":"https://evil.example/agents"}`))
		}, "another host"},
		{"the same page for ever", "cxone", func(*http.Request) *http.Response { return says(200, page("")) }, "the same page again"},
		{"too large", "cxone", func(*http.Request) *http.Response { return says(200, `{"agents":["`+strings.Repeat("x", maxPage)) }, "larger than"},
		{"a link that breaks off", "cxone", func(r *http.Request) *http.Response {
			if r.URL.Query().Has("from") {
				return nil
			}
			return says(200, page(`,"_links":{"next":"/agents?from=Anna"}`))
		}, "connection reset"},
		{"away", "cxone", func(*http.Request) *http.Response { return says(503, secret) }, "answered 503"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options("cxone", mapcxone.Mapper(), "https://api.example", "agents")
				if tt.vendor == "genesys" {
					o = options("genesys", mapgenesys.Mapper(), "https://api.example", "Routing")
				}
				log := &committedLog{}
				var calls int
				text, results := run(t, o, log, func(r *http.Request) (*http.Response, error) {
					calls++
					if answer := tt.answer(r); answer != nil {
						return answer, nil
					}
					return nil, errors.New("connection reset")
				}, 30*time.Minute)
				if n := strings.Count(text, "level=ERROR"); n != 1 || !strings.Contains(text, tt.want) {
					t.Errorf("logged %d errors, want 1 that says %q: %s", n, tt.want, text)
				}
				if strings.Contains(text, "Anna") || strings.Contains(text, "evil") {
					t.Errorf("quotes the vendor: %s", text)
				}
				var at positions
				if log.position != nil && (json.Unmarshal(log.position, &at) != nil || !at["agents"].At.IsZero()) {
					t.Errorf("the position moved: %s", log.position)
				}
				if len(results) < 3 || calls > 100 {
					t.Errorf("%d runs and %d calls in half an hour", len(results), calls)
				}
			})
		})
	}
}

// A run begins within the dedup window; what lies before it is told once. A list in
// which nothing happens for long is no gap.
//
// Seen failing without the cut, with the age of the position for that of the run, and
// with the gap told each time.
func TestLookBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Between the beginnings of two runs, the tries of a call included.
		const longest = DefaultEvery*11/10 + 10*time.Second
		log := &committedLog{}
		o := options("cxone", mapcxone.Mapper(), "https://api.example", "agents")
		var since time.Time
		begin := time.Now()
		status := 200
		vendor := func(r *http.Request) (*http.Response, error) {
			at, err := time.Parse(pollTime, r.URL.Query().Get("updatedSince"))
			if err != nil {
				return nil, err
			}
			since = at
			if r.URL.Query().Has("skip") {
				return says(204, ""), nil
			}
			return says(status, `{"agents":[],"lastPollTime":"`+time.Now().UTC().Format(pollTime)+`"}`), nil
		}
		if text, _ := run(t, o, log, vendor, time.Minute); text != "" || !since.Equal(begin.Add(-lookBack)) {
			t.Errorf("the first run asks for what is new since %s and logs %q", since, text)
		}
		status = 204
		if text, _ := run(t, o, log, vendor, 2*lookBack); text != "" || time.Since(since) > lookBack+longest {
			t.Errorf("in a list without changes: asked since %s, logged %q", since, text)
		}
		time.Sleep(lookBack + 3*time.Hour)
		status = 500
		text, results := run(t, o, log, vendor, time.Hour)
		if strings.Count(text, "cannot reach back") != 1 || !strings.Contains(text, "dedup_window") || results[0].Uncovered.Round(time.Hour) != 3*time.Hour || results[1].Uncovered != 0 {
			t.Errorf("after a gap: told %v, logged %s", results[:2], text)
		}
		if time.Since(since) > lookBack+longest {
			t.Errorf("after a gap: asked since %s", since)
		}
	})
}

// A run that takes long ends before dedup forgets what it began with.
//
// Seen failing without the bound.
func TestRunEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options("cxone", mapcxone.Mapper(), "https://api.example", "agents")
		run(t, o, &committedLog{}, func(r *http.Request) (*http.Response, error) {
			select {
			case <-time.After(time.Minute):
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
			since, err := time.Parse(pollTime, r.URL.Query().Get("updatedSince"))
			if err != nil || time.Since(since) > window {
				t.Errorf("asks at %s for what changed since %s: %v", time.Now(), since, err)
			}
			query := r.URL.Query()
			query.Set("page", query.Get("page")+"1")
			return says(200, `{"lastPollTime":"2026-11-22T01:50:00.678Z","agents":[],"_links":{"next":"/agents?`+query.Encode()+`"}}`), nil
		}, window/5)
	})
}

// Runs come at start, when they are due, and at once when somebody asks.
//
// Seen failing with nobody heard, and without the run at start.
func TestRunsWhenAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wake := make(chan struct{}, 1)
		o := options("cxone", mapcxone.Mapper(), "https://api.example", "agents/states", "contacts/active")
		o.Wake = wake
		var runs []time.Duration
		begin := time.Now()
		go func() {
			time.Sleep(time.Minute)
			wake <- struct{}{}
		}()
		run(t, o, &committedLog{}, func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/agents/states") {
				runs = append(runs, time.Since(begin))
			}
			return says(204, ""), nil
		}, 8*time.Minute)
		if len(runs) != 3 || runs[0] != 0 || runs[1] != time.Minute || (runs[2]-runs[1]-DefaultEvery).Abs() > DefaultEvery/10 {
			t.Errorf("runs at %v, want 0, 1 m and about 6 m", runs)
		}
	})
}

// An interval older than what the vendor answers at once is executed.
//
// Seen failing with its age not asked.
func TestOldIntervalIsExecuted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options("genesys", mapgenesys.Mapper(), "https://api.example", "Routing")
		o.Window = 20 * 24 * time.Hour
		var posts []string
		run(t, o, &committedLog{}, func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				posts = append(posts, r.URL.Path)
				return says(200, `{"id":"t","state":"Succeeded","entities":[]}`), nil
			}
			return says(200, `{"services":[{"name":"Routing"}],"entities":[]}`), nil
		}, 6*time.Minute)
		if len(posts) != 2 || posts[0] != audits || posts[1] != audits+"/realtime" {
			t.Errorf("queries %v, want one executed and then one answered at once", posts)
		}
	})
}
