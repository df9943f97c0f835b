package keys

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// vendor publishes keys without a network, so that time can be virtual.
type vendor struct {
	mu      sync.Mutex
	keys    []string // ids; a leading - flags it as revoked
	control string
	fail    bool
	takes   time.Duration
	asked   []time.Time
	etags   []string
}

func (v *vendor) RoundTrip(r *http.Request) (*http.Response, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked = append(v.asked, time.Now())
	v.etags = append(v.etags, r.Header.Get("If-None-Match"))
	time.Sleep(v.takes)
	if v.fail {
		return nil, errors.New("no route")
	}
	etag := `"` + strings.Join(v.keys, " ") + `"`
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Etag": {etag}, "Cache-Control": {v.control}}, Request: r}
	if r.Header.Get("If-None-Match") == etag {
		resp.StatusCode = http.StatusNotModified
		resp.Body = http.NoBody
		return resp, nil
	}
	var jwks []string
	for _, id := range v.keys {
		name, revoked := strings.CutPrefix(id, "-")
		jwks = append(jwks, fmt.Sprintf(`{"kty":"oct","kid":%q,"k":%q,"revoked":%v}`, name, base64.RawURLEncoding.EncodeToString([]byte("secret of "+name)), revoked))
	}
	resp.Body = io.NopCloser(strings.NewReader(`{"keys":[` + strings.Join(jwks, ",") + `]}`))
	return resp, nil
}

func (v *vendor) publish(keys ...string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keys = keys
}

// fetches are the times of the fetches after the start.
func (v *vendor) fetches(start time.Time) []time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	var after []time.Duration
	for _, at := range v.asked {
		after = append(after, at.Sub(start))
	}
	return after
}

// running starts a set of one configured key and the vendor's, and returns the
// time of its first fetch.
func running(t *testing.T, v *vendor, o Options) (*Set, time.Time) {
	t.Helper()
	o.URL, o.Transport = "https://keys.example/jwks", v
	o.Static = []Key{static(t, "own", "x")}
	s := NewSet(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	start := time.Now()
	synctest.Wait()
	return s, start
}

func ids(s *Set) string {
	all, _ := s.Candidates("")
	var names []string
	for _, k := range all {
		names = append(names, k.ID)
	}
	return strings.Join(names, " ")
}

func TestFetchTimes(t *testing.T) {
	const h = time.Hour
	tests := []struct {
		name string
		v    *vendor
		do   func(*Set, *vendor)
		want []time.Duration
	}{
		{"start and daily", &vendor{}, func(*Set, *vendor) { time.Sleep(49 * h) }, []time.Duration{0, 24 * h, 48 * h}},
		{"as the answer says", &vendor{control: "max-age=7200"}, func(*Set, *vendor) { time.Sleep(5 * h) }, []time.Duration{0, 2 * h, 4 * h}},
		{"never later than daily", &vendor{control: "max-age=8640000"}, func(*Set, *vendor) { time.Sleep(25 * h) }, []time.Duration{0, 24 * h}},
		{"unknown keys, again and again", &vendor{}, func(s *Set, _ *vendor) {
			for range 1800 {
				time.Sleep(100 * time.Millisecond)
				s.WantNew()
			}
		}, []time.Duration{0, 60 * time.Second, 120 * time.Second, 180 * time.Second}},
		{"unknown key after a while", &vendor{}, func(s *Set, _ *vendor) {
			time.Sleep(h)
			s.WantNew()
			time.Sleep(25 * h)
		}, []time.Duration{0, h, 25 * h}},
		{"failures", &vendor{fail: true}, func(s *Set, _ *vendor) {
			time.Sleep(15 * time.Second)
		}, []time.Duration{0, 2 * time.Second, 6 * time.Second, 14 * time.Second}},
		{"failures for long", &vendor{fail: true}, func(s *Set, v *vendor) {
			time.Sleep(20 * h)
			v.mu.Lock()
			defer v.mu.Unlock()
			v.asked = v.asked[len(v.asked)-1:]
			if last := time.Since(v.asked[0]); last > 5*time.Minute {
				t.Errorf("the last fetch was %v ago", last)
			}
			v.asked = nil
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.v.keys = []string{"a"}
				s, start := running(t, tt.v, Options{})
				tt.do(s, tt.v)
				synctest.Wait()
				if got := tt.v.fetches(start); !slices.Equal(got, tt.want) {
					t.Errorf("fetches at %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// TestOneFetchForAll shows that who asks while a fetch is under way waits for
// that one.
func TestOneFetchForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{keys: []string{"a"}}
		s, start := running(t, v, Options{})
		v.takes = 3 * time.Second
		time.Sleep(time.Minute)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				s.WantNew()
				if err := s.Refresh(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got, want := v.fetches(start), []time.Duration{0, time.Minute}; !slices.Equal(got, want) {
			t.Errorf("fetches at %v, want %v", got, want)
		}
		v.fail = true
		if err := s.Refresh(t.Context()); err == nil {
			t.Error("a failed fetch is no error")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Refresh(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v from a fetch that takes too long", err)
		}
	})
}

// TestRotation follows the keys through a rotation, an outage, and a revocation.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{keys: []string{"a"}}
		var logs strings.Builder
		changed := 0
		s, start := running(t, v, Options{
			Logger: slog.New(slog.NewTextHandler(&logs, nil)), Changed: func() { changed++ },
		})
		refresh := func(keys ...string) {
			t.Helper()
			v.publish(keys...)
			if err := s.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		check := func(want string) {
			t.Helper()
			if got := ids(s); got != want {
				t.Errorf("after %v: keys %q, want %q", time.Since(start), got, want)
			}
		}
		check("own a")
		refresh("b")
		check("own b a")
		time.Sleep(time.Hour)
		check("own b a")
		time.Sleep(time.Second)
		check("own b")

		v.fail = true
		if err := s.Refresh(t.Context()); err == nil {
			t.Error("a failed fetch is no error")
		}
		time.Sleep(time.Hour)
		check("own b")
		v.fail = false
		refresh("b", "c")
		check("own b c")
		refresh("c")
		check("own c b")
		refresh("b", "c") // it is back
		time.Sleep(2 * time.Hour)
		check("own c b")
		refresh("-b", "c")
		check("own c")
		if changed != 3 {
			t.Errorf("told %d times of new keys, want 3", changed)
		}
		if n := strings.Count(logs.String(), "\n"); n != 2 {
			t.Errorf("%d lines in the log, want one when fetches began to fail and one when they ended: %s", n, logs.String())
		}
		if got := v.etags[:2]; !slices.Equal(got, []string{"", `"a"`}) {
			t.Errorf("sent ETags %q", got)
		}
	})
}

// TestKeyWithOneName keeps the old key of a name in grace next to the new.
func TestKeyWithOneName(t *testing.T) {
	current := static(t, "k", "new")
	before := static(t, "k", "old")
	s := NewSet(Options{})
	s.replace(published{current: []Key{before}}, time.Now())
	s.replace(published{current: []Key{current}}, time.Now())
	if all, known := s.Candidates("k"); !known || len(all) != 2 || !all[0].same(current) || !all[1].same(before) {
		t.Errorf("got %d keys", len(all))
	}
}

func TestCandidates(t *testing.T) {
	var many []Key
	for i := range 40 {
		many = append(many, static(t, fmt.Sprint("k", i), fmt.Sprint("secret ", i)))
	}
	s := NewSet(Options{Static: many[:2]})
	s.replace(published{current: many[2:]}, time.Now())
	for kid, want := range map[string]string{"": "k0", "k39": "k39", "nobody's": "k0"} {
		got, known := s.Candidates(kid)
		if len(got) != 16 || got[0].ID != want || known != (kid == "k39") {
			t.Errorf("%q: got %d keys, the first %v, known %v", kid, len(got), got[0], known)
		}
	}
}

func TestList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{keys: []string{"a"}}
		s, start := running(t, v, Options{})
		time.Sleep(time.Minute)
		all, _ := s.Candidates("a")
		s.Used(all[0])
		v.publish("b")
		if err := s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		start = start.UTC()
		want := []Info{
			{ID: "own", Algorithm: HS256, Source: "configured", FirstSeen: start},
			{ID: "b", Algorithm: HS256, Source: "published", FirstSeen: start.Add(time.Minute)},
			{ID: "a", Algorithm: HS256, Source: "published", FirstSeen: start, LastUsed: start.Add(time.Minute), KeptUntil: start.Add(time.Minute + time.Hour)},
		}
		if got := s.List(); !slices.Equal(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// TestLoaded shows from when on a signature that does not verify proves
// something.
func TestLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if !NewSet(Options{}).Loaded() {
			t.Error("a set without a URL waits for keys")
		}
		v := &vendor{keys: []string{"a"}, fail: true}
		s, _ := running(t, v, Options{})
		if s.Loaded() {
			t.Error("loaded without a fetch")
		}
		v.mu.Lock()
		v.fail = false
		v.mu.Unlock()
		time.Sleep(3 * time.Second)
		v.mu.Lock()
		v.fail = true
		v.mu.Unlock()
		time.Sleep(30 * time.Hour)
		if !s.Loaded() {
			t.Error("not loaded after a fetch")
		}
	})
}
