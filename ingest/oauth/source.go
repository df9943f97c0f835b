// Package oauth gets the tokens with which the vendors' APIs are called, keeps
// them for as long as they are good, and puts them on calls.
package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"trunkline/ingest/outbound"
)

// Options are what a [Source] needs. Zero values of the optional ones stand for
// the default named beside them.
type Options struct {
	Grant Grant // required
	// Scopes are asked for where the grant can ask, and every one of them must be
	// among those of a token, where the vendor names those. Default: none.
	Scopes []string
	HTTP   *http.Client // default: [outbound.NewClient]
	// Alarm is told of every request for a token that failed, with the time for
	// which the last token is still good, 0 when nothing can be called any more;
	// and, with nil, when there is a token again. It is called by one goroutine
	// at a time and must not call the source. Default: nobody is told.
	Alarm func(err error, left time.Duration)
	Now   func() time.Time // default: time.Now
}

// Source keeps the token of one credential. It asks for a new one when a token
// is wanted and the old one is near its end. One request is under way at most;
// meanwhile the old token is given for as long as it is good. It is safe for
// concurrent use.
type Source struct {
	fetch func(ctx context.Context, f fetcher, last token) (token, error) // holds the credential
	by    fetcher
	alarm func(err error, left time.Duration)
	turn  chan struct{} // held by who asks for a token

	mu      sync.Mutex
	token   token
	renewAt time.Time
	ends    time.Time
	failure error     // of the last request
	retryAt time.Time // no request before, after a failure
}

const (
	// timeout bounds a token request.
	timeout = 30 * time.Second
	// failurePause is how long a failure is told to all who ask.
	failurePause = time.Second
)

// NewSource checks the options and returns a source. Its error joins all faults.
func NewSource(o Options) (*Source, error) {
	if o.HTTP == nil {
		o.HTTP = outbound.NewClient()
	}
	if o.Alarm == nil {
		o.Alarm = func(error, time.Duration) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	faults := []error{errors.New("grant: is missing")}
	if o.Grant != nil {
		faults = o.Grant.faults()
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("configure tokens: %w", err)
	}
	return &Source{
		fetch: o.Grant.fetch, by: fetcher{http: o.HTTP, scopes: o.Scopes, now: o.Now}, alarm: o.Alarm, turn: make(chan struct{}, 1),
	}, nil
}

// Token returns a token that is good, as far as the vendor said.
func (s *Source) Token(ctx context.Context) (string, error) {
	access, renew, good := s.kept()
	switch {
	case !renew:
		return access, nil
	case good:
		select {
		case s.turn <- struct{}{}:
		default: // another caller renews it
			return access, nil
		}
	default:
		select {
		case s.turn <- struct{}{}:
		case <-ctx.Done():
			return "", fmt.Errorf("wait for a token: %w", ctx.Err())
		}
	}
	defer func() { <-s.turn }()
	return s.renew(ctx)
}

// Drop says that the vendor refused the token: it is not given again, nor is
// anything used that came with it.
func (s *Source) Drop(access string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token.access.open() == access { // else there is a newer one already
		s.token, s.renewAt, s.ends = token{}, time.Time{}, time.Time{}
	}
}

// Left returns how long the token is good; 0 when there is none.
func (s *Source) Left() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(0, s.ends.Sub(s.by.now()))
}

// kept returns the token, whether it is to be renewed, and whether it is good.
func (s *Source) kept() (access string, renew, good bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.by.now()
	return s.token.access.open(), !now.Before(s.renewAt), now.Before(s.ends)
}

// renew asks for a new token, unless another caller just did. It is called by
// who holds the turn.
func (s *Source) renew(ctx context.Context) (string, error) {
	access, renew, good := s.kept()
	if !renew {
		return access, nil
	}
	s.mu.Lock()
	last, failure, wait := s.token, s.failure, s.by.now().Before(s.retryAt)
	s.mu.Unlock()
	err := failure
	if !wait {
		var t token
		bounded, cancel := context.WithTimeout(ctx, timeout)
		t, err = s.fetch(bounded, s.by, last)
		cancel()
		if err == nil {
			err = s.missing(t)
		}
		if err == nil {
			return s.keep(t, failure != nil), nil
		}
		if ctx.Err() != nil { // the caller's affair: the next one asks anew
			return "", fmt.Errorf("get token: %w", err)
		}
		err = s.fail(err)
	}
	if good {
		return access, nil
	}
	return "", err
}

// missing names the scopes that the token should have and has not.
func (s *Source) missing(t token) error {
	var none []string
	for _, scope := range s.by.scopes {
		if t.scopes != nil && !slices.Contains(t.scopes, scope) {
			none = append(none, scope)
		}
	}
	if len(none) == 0 {
		return nil
	}
	return fmt.Errorf("token lacks the scope %s: grant it to the client at the vendor", strings.Join(none, " and "))
}

// keep stores a new token and returns it.
func (s *Source) keep(t token, failed bool) string {
	now := s.by.now()
	s.mu.Lock()
	s.token, s.ends, s.renewAt = t, now.Add(t.lifetime), now.Add(renewAfter(t.lifetime))
	s.failure, s.retryAt = nil, time.Time{}
	s.mu.Unlock()
	if failed {
		s.alarm(nil, t.lifetime)
	}
	return t.access.open()
}

// renewAfter is 80 % of the lifetime, and a minute before its end at the latest;
// but a quarter of it at least, for else a token of a minute would never be kept.
func renewAfter(lifetime time.Duration) time.Duration {
	return max(min(lifetime*8/10, lifetime-time.Minute), lifetime/4)
}

// fail stores why there is no new token and returns it.
func (s *Source) fail(err error) error {
	err = fmt.Errorf("get token: %w", err)
	pause := failurePause
	var no *answerError
	if errors.As(err, &no) {
		pause = max(pause, no.retryAfter)
	}
	now := s.by.now()
	s.mu.Lock()
	s.failure, s.retryAt = err, now.Add(pause)
	left := max(0, s.ends.Sub(now))
	s.mu.Unlock()
	s.alarm(err, left)
	return err
}
