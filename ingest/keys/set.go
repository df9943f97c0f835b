package keys

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"trunkline/ingest/outbound"
)

// When keys are fetched, and how long they are kept.
const (
	maxFresh   = 24 * time.Hour  // between two fetches
	minFresh   = 5 * time.Minute // between two that the answers ask for
	earlyPause = time.Minute     // between two that unknown keys ask for
	firstRetry = 2 * time.Second // after a failed fetch; doubles
	lastRetry  = 5 * time.Minute // where it ends
	grace      = time.Hour       // for a key that is published no more
	maxTried   = 16              // keys for one signature
)

// Options are what a [Set] needs.
type Options struct {
	Static []Key  // of the configuration
	URL    string // of a JWK Set; empty: there is none

	Transport http.RoundTripper // default: that of [outbound.NewClient]
	Now       func() time.Time  // default: time.Now
	Logger    *slog.Logger      // default: none
	// Changed is called after a fetch that brought a new key, Fetched after every
	// fetch. Default: nobody is told.
	Changed func()
	Fetched func(error)
}

// Set is the keys by which one sender is known. Its methods may be called
// concurrently.
type Set struct {
	o      Options
	client *http.Client
	wake   chan struct{}

	mu        sync.Mutex
	entries   []*entry // those of the configuration first
	etag      string
	tried     bool // a fetch ended, or there is nothing to fetch
	loaded    bool // one succeeded, or there is nothing to fetch
	attempted time.Time
	early     bool
	flight    *flight
	failures  int
}

// entry is a key and what is known of its use.
type entry struct {
	Key
	static    bool
	firstSeen time.Time
	lastUsed  time.Time
	removed   time.Time // when it was found to be published no more
}

// flight is a fetch that somebody waits for.
type flight struct {
	done chan struct{}
	err  error
}

// NewSet returns a set with the keys of the configuration. Published ones come
// with [Set.Run].
func NewSet(o Options) *Set {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Changed == nil {
		o.Changed = func() {}
	}
	if o.Fetched == nil {
		o.Fetched = func(error) {}
	}
	s := &Set{o: o, client: newClient(o.Transport), wake: make(chan struct{}, 1), tried: o.URL == "", loaded: o.URL == ""}
	for _, k := range o.Static {
		s.entries = append(s.entries, &entry{Key: k, static: true, firstSeen: o.Now()})
	}
	return s
}

// Loaded reports whether all keys are there that the set knows of: until the
// first fetch, a signature that does not verify proves nothing.
func (s *Set) Loaded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loaded
}

// Tried reports whether the first fetch has ended, well or not.
func (s *Set) Tried() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tried
}

// Candidates returns the keys to try for a signature that names kid, which may
// be empty, at most 16: those of that name first, for they are the likeliest. A
// sender may know our secrets by other names, so the rest is tried as well. known
// tells whether there is one of that name.
func (s *Set) Candidates(kid string) (candidates []Key, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	for _, e := range s.entries {
		if e.expired(now) {
			continue
		}
		candidates = append(candidates, e.Key)
		known = known || e.ID == kid
	}
	slices.SortStableFunc(candidates, func(a, b Key) int {
		rank := func(k Key) int {
			if k.ID == kid {
				return 0
			}
			return 1
		}
		return cmp.Compare(rank(a), rank(b))
	})
	return candidates[:min(len(candidates), maxTried)], known
}

func (e *entry) expired(now time.Time) bool {
	return !e.removed.IsZero() && now.Sub(e.removed) > grace
}

// Used notes that a credential was verified with the key.
func (s *Set) Used(k Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if e.same(k) {
			e.lastUsed = s.o.Now()
		}
	}
}

// Info is what may be told of a key: no secrets.
type Info struct {
	ID        string    `json:"kid"`
	Algorithm Algorithm `json:"alg"`
	Source    string    `json:"source"` // configured or published
	FirstSeen time.Time `json:"first_seen"`
	LastUsed  time.Time `json:"last_used,omitzero"`
	// KeptUntil is when a key that is published no more stops to verify.
	KeptUntil time.Time `json:"kept_until,omitzero"`
}

// List tells of every key that verifies now.
func (s *Set) List() []Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Info
	for _, e := range s.entries {
		if e.expired(s.o.Now()) {
			continue
		}
		i := Info{ID: e.ID, Algorithm: e.Algorithm, Source: "published", FirstSeen: e.firstSeen.UTC(), LastUsed: e.lastUsed.UTC()}
		if e.static {
			i.Source = "configured"
		}
		if !e.removed.IsZero() {
			i.KeptUntil = e.removed.Add(grace).UTC()
		}
		all = append(all, i)
	}
	return all
}

// WantNew asks for an early fetch, after a signature by a key that is not among
// those known. It returns at once; there is one such fetch a minute at most.
func (s *Set) WantNew() {
	s.mu.Lock()
	s.early = true
	s.mu.Unlock()
	s.signal()
}

// Refresh fetches the keys now, or joins a fetch under way, and returns its
// error. It waits for a running [Set.Run].
func (s *Set) Refresh(ctx context.Context) error {
	if s.o.URL == "" {
		return nil
	}
	s.mu.Lock()
	f := s.flight
	if f == nil {
		f = &flight{done: make(chan struct{})}
		s.flight = f
	}
	s.mu.Unlock()
	s.signal()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Set) signal() {
	select {
	case s.wake <- struct{}{}:
	default: // it is awake
	}
}

// Run fetches the published keys at once, every 24 h or when the answer says,
// and when asked to, until ctx ends. What was fetched is kept when a fetch fails.
func (s *Set) Run(ctx context.Context) {
	if s.o.URL == "" {
		<-ctx.Done()
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := s.o.Now()
	for {
		select {
		case <-ctx.Done():
			s.land(errors.New("fetch keys: shutting down"))
			return
		case <-timer.C:
		case <-s.wake:
			if forced, due := s.asked(next); !forced {
				next = due
				timer.Reset(next.Sub(s.o.Now()))
				continue
			}
		}
		next = s.fetch(ctx)
		timer.Reset(next.Sub(s.o.Now()))
	}
}

// asked reports whether somebody waits for a fetch, and if not when the next one
// is due.
func (s *Set) asked(next time.Time) (forced bool, due time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if early := s.attempted.Add(earlyPause); s.early && early.Before(next) {
		next = early
	}
	s.early = false
	return s.flight != nil, next
}

// fetch replaces the published keys and returns when to do so again.
func (s *Set) fetch(ctx context.Context) time.Time {
	s.mu.Lock()
	etag := s.etag
	s.attempted, s.early = s.o.Now(), false
	s.mu.Unlock()
	p, err := fetch(ctx, s.client, s.o.URL, etag)
	if ctx.Err() != nil {
		return s.o.Now()
	}
	fresh := cmp.Or(p.fresh, maxFresh)
	changed := false
	s.mu.Lock()
	now := s.o.Now()
	s.tried = true
	switch {
	case err != nil:
		fresh = outbound.Doubled(firstRetry, lastRetry, s.failures)
		s.failures++
		if s.failures == 1 {
			s.o.Logger.Error("keys cannot be fetched: verifying with those known", "error", err)
		}
	default:
		if s.failures > 0 {
			s.o.Logger.Info("keys are fetched again")
		}
		s.failures, s.loaded, s.etag = 0, true, p.etag
		if !p.unchanged {
			changed = s.replace(p, now)
		}
	}
	s.mu.Unlock()
	s.land(err)
	s.o.Fetched(err)
	if changed {
		s.o.Changed()
	}
	return now.Add(min(fresh, maxFresh))
}

// replace takes over what was published. Keys that are gone verify for the time
// of grace, for deliveries signed with them are still on their way; revoked ones
// end at once.
func (s *Set) replace(p published, now time.Time) (changed bool) {
	has := func(ks []Key, k Key) bool { return slices.ContainsFunc(ks, k.same) }
	s.entries = slices.DeleteFunc(s.entries, func(e *entry) bool {
		return !e.static && (has(p.revoked, e.Key) || e.expired(now))
	})
	for _, e := range s.entries {
		switch {
		case e.static:
		case has(p.current, e.Key):
			e.removed = time.Time{}
		case e.removed.IsZero():
			e.removed = now
		}
	}
	for _, k := range p.current {
		if !slices.ContainsFunc(s.entries, func(e *entry) bool { return !e.static && e.same(k) }) {
			s.entries = append(s.entries, &entry{Key: k, firstSeen: now})
			changed = true
		}
	}
	// The newest first after those of the configuration: what is in its grace is
	// the first to be cut off when there are too many.
	slices.SortStableFunc(s.entries, func(a, b *entry) int {
		rank := func(e *entry) int {
			switch {
			case e.static:
				return 0
			case e.removed.IsZero():
				return 1
			default:
				return 2
			}
		}
		return cmp.Compare(rank(a), rank(b))
	})
	return changed
}

// land tells those who wait how the fetch ended.
func (s *Set) land(err error) {
	s.mu.Lock()
	f := s.flight
	s.flight = nil
	s.mu.Unlock()
	if f != nil {
		f.err = err
		close(f.done)
	}
}
