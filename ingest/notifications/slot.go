package notifications

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"trunkline/ingest/outbound"
)

// slot is the place of one channel among a client's. Its channels follow each
// other; its goroutine alone uses it, but for want.
type slot struct {
	c     *Client
	wants chan wanted // the newest only

	now      wanted
	has      []topic  // what is subscribed
	denied   []string // templates for which a permission is missing
	covered  time.Time
	expanded time.Time // when has was all there was
	attempts int       // in a row that failed
	lives    int       // channels it had
	reason   Reason    // of the next gap
}

// wanted are the topics that were there at a time.
type wanted struct {
	topics []topic
	at     time.Time
}

func newSlot(c *Client, since time.Time) *slot {
	return &slot{c: c, wants: make(chan wanted, 1), covered: since, expanded: since, reason: Unread}
}

// want replaces what the slot was told before. One goroutine calls it.
func (s *slot) want(w wanted) {
	select {
	case <-s.wants:
	default:
	}
	s.wants <- w
}

// keep keeps a channel subscribed until ctx is done.
func (s *slot) keep(ctx context.Context) {
	s.now = <-s.wants
	var of *socket
	for ctx.Err() == nil {
		next, err := s.succeed(ctx, of)
		if err != nil {
			outbound.Sleep(ctx, s.failed(ctx, err))
			continue
		}
		of = next
		s.watch(ctx, of)
	}
	if of != nil {
		of.stop()
	}
}

// failed tells of what does not mend itself, and returns the time until the next
// attempt.
func (s *slot) failed(ctx context.Context, err error) time.Duration {
	code, _ := errors.AsType[answered](err)
	refused := code/100 == 4 && code != http.StatusUnauthorized && code != http.StatusTooManyRequests && code != http.StatusNotFound
	refused = refused || errors.Is(err, outbound.ErrRefused)
	delay := s.c.backoff(s.attempts)
	if s.attempts++; ctx.Err() == nil && (refused || s.attempts%alarming == 0) {
		s.c.o.Alarm(fmt.Errorf("notifications are not read: %w", err))
	}
	if refused {
		return s.c.o.Timing.Refused
	}
	return delay
}

// errUnproven is why a channel was of no use.
var errUnproven = errors.New("the socket ended before it answered a ping")

// alarming are the failures in a row that an operator is told of.
const alarming = 3

// succeed opens a channel, subscribes it, and only when it answers lets go of the
// elder, if there is one. Between the two nothing is missing if the elder answers a
// ping that left after its successor's answer.
func (s *slot) succeed(ctx context.Context, elder *socket) (*socket, error) {
	select {
	case s.c.successor <- struct{}{}:
		defer func() { <-s.c.successor }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	next, err := s.c.connect(ctx, s)
	if err != nil {
		return nil, err
	}
	s.newest()
	denied, err := s.subscribe(ctx, next.id)
	if err != nil {
		_ = next.conn.CloseNow() // nothing was read from it
		return nil, err
	}
	early, err := next.prove(ctx)
	if err != nil {
		_ = next.conn.CloseNow() // what was read is in the gap
		return nil, err
	}
	at := s.c.o.Now()
	seamless := false
	if elder != nil {
		seamless = elder.covers(ctx, at)
		elder.stop()
		s.covered = elder.covered()
	}
	s.subscribed(ctx, at, denied, seamless)
	next.start(ctx, s.covered, early)
	if s.lives++; s.lives > 1 && !seamless {
		select {
		case s.c.lost <- struct{}{}:
		default:
		}
	}
	return next, nil
}

// newest takes what is wanted now.
func (s *slot) newest() {
	select {
	case s.now = <-s.wants:
	default:
	}
}

// subscribed notes that a channel was subscribed at a time, and tells the gap
// before it, if there is one.
func (s *slot) subscribed(ctx context.Context, at time.Time, denied []string, seamless bool) {
	has := slices.DeleteFunc(slices.Clone(s.now.topics), func(t topic) bool { return slices.Contains(denied, t.template) })
	known := make(map[topic]bool, len(s.has))
	for _, t := range s.has {
		known[t] = true
	}
	grown := slices.ContainsFunc(has, func(t topic) bool { return !known[t] })
	m := message{slot: s, expanded: s.now.at}
	from := at
	if !seamless {
		from, m.covered, s.covered = s.covered, at, at
	} else {
		s.reason = Discovered
	}
	if grown && s.expanded.Before(from) {
		from = s.expanded
	}
	if from.Before(at) {
		m.gap = &Gap{From: from, To: at, Reason: s.reason}
	}
	s.has, s.denied, s.expanded, s.reason = has, denied, s.now.at, Disconnected
	s.c.offer(ctx, m)
}

// watch returns when the channel needs a successor.
func (s *slot) watch(ctx context.Context, of *socket) {
	extend := time.NewTicker(of.extend)
	defer extend.Stop()
	for {
		var due bool
		select {
		case <-ctx.Done():
			return
		case <-of.ended:
			delay := outbound.Spread(s.c.o.Timing.ReconnectMin, s.c.o.Timing.ReconnectMax, s.c.o.Random)
			if of.proven() {
				s.attempts = 0
			} else {
				delay += s.failed(ctx, errUnproven)
			}
			outbound.Sleep(ctx, delay)
			return
		case s.reason = <-of.closing:
			return
		case <-extend.C:
			due = true
		case s.now = <-s.wants:
			due = len(s.denied) > 0 || !slices.Equal(s.has, s.now.topics)
		}
		if !due {
			s.expanded = s.now.at
			s.c.offer(ctx, message{slot: s, expanded: s.expanded})
			continue
		}
		denied, err := s.subscribe(ctx, of.id)
		if err != nil {
			of.rest(ctx, s.failed(ctx, err)) // meanwhile it is read on
			return
		}
		s.attempts = 0
		s.subscribed(ctx, s.c.o.Now(), denied, true)
	}
}

// subscribe gives the channel the topics that are wanted. One missing permission
// fails all: then it is found out which of the templates are denied, and the
// others are subscribed.
func (s *slot) subscribe(ctx context.Context, channel string) (denied []string, err error) {
	err = s.c.api.subscribe(ctx, channel, s.now.topics)
	if code, _ := errors.AsType[answered](err); code != http.StatusForbidden {
		return nil, err
	}
	templates := templatesOf(s.now.topics)
	for _, template := range templates {
		of := s.now.topics[slices.IndexFunc(s.now.topics, func(t topic) bool { return t.template == template })]
		one := s.c.api.add(ctx, channel, of)
		if code, _ := errors.AsType[answered](one); code == http.StatusForbidden {
			denied = append(denied, template)
		} else if one != nil {
			return nil, one
		}
	}
	if len(denied) == 0 {
		return nil, s.c.api.subscribe(ctx, channel, s.now.topics) // a single topic of many, or granted just now
	}
	if !slices.Equal(denied, s.denied) {
		s.c.o.Alarm(s.missing(ctx, denied))
	}
	allowed := slices.DeleteFunc(slices.Clone(s.now.topics), func(t topic) bool { return slices.Contains(denied, t.template) })
	return denied, s.c.api.subscribe(ctx, channel, allowed)
}

// missing names the permissions that are missing for templates.
func (s *slot) missing(ctx context.Context, denied []string) error {
	of, err := s.c.api.permissions(ctx)
	errs := make([]error, len(denied))
	for i, template := range denied {
		switch {
		case err != nil:
			errs[i] = fmt.Errorf("%s is not subscribed: %w; which one is not known: %w", template, errDenied, err)
		case len(of[template]) == 0:
			errs[i] = fmt.Errorf("%s is not subscribed: %w; the vendor does not say which", template, errDenied)
		default:
			errs[i] = fmt.Errorf("%s is not subscribed: %w; grant the client one that holds %q", template, errDenied, of[template])
		}
	}
	return errors.Join(errs...)
}
