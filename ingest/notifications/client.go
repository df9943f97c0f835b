// Package notifications reads the Notifications API of Genesys Cloud. The vendor
// repeats nothing: what it sends while nobody reads is gone. So a client tells
// each stretch of time of which events may be missing to one who can fetch them
// by other means.
package notifications

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"trunkline/ingest/outbound"
)

// Frame is what the vendor sent in one message of a socket.
type Frame struct {
	Body []byte // unchanged
	At   time.Time
}

// Gap is a stretch of time, by our clock, of which events may be missing. An
// event from before may come late at the vendor: who fetches should begin a
// little earlier.
type Gap struct {
	From, To time.Time
	Reason   Reason
}

// Reason is why events may be missing. The set is closed: it is a metric label.
type Reason string

// The reasons.
const (
	Unread       Reason = "unread"       // nobody read: between two owners, or before the first
	Disconnected Reason = "disconnected" // a socket ended before its successor was subscribed
	Unsubscribed Reason = "unsubscribed" // the vendor ended a subscription or revoked the token
	Discovered   Reason = "discovered"   // what is subscribed anew was there before we knew, or were allowed
	Oversized    Reason = "oversized"    // a frame was larger than we take
)

// Client keeps a tenant's channels.
type Client struct {
	o    Options
	url  *url.URL
	api  api
	room *semaphore.Weighted // bytes that may yet be read ahead

	messages  chan message  // of all sockets, to who handles them
	successor chan struct{} // held while a channel more than ours is open
	lost      chan struct{} // a channel was; holds one
}

// NewClient checks the options and returns a client. Its error joins all faults.
func NewClient(o Options) (*Client, error) {
	o = o.withDefaults()
	u, err := o.check()
	if err != nil {
		return nil, err
	}
	return &Client{
		o: o, url: u, api: api{url: o.URL, http: o.HTTP, timeout: o.Timing.Call}, room: semaphore.NewWeighted(o.Buffer),
		messages: make(chan message, 2*o.MaxFrames), successor: make(chan struct{}, 1), lost: make(chan struct{}, 1),
	}, nil
}

// Run reads until ctx is done, and returns nil, or until Handle fails.
func (c *Client) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	since := c.o.Covered
	if since.IsZero() {
		since = c.o.Now()
	}
	var managed sync.WaitGroup
	managed.Go(func() { c.manage(ctx, since) })
	err := c.handle(ctx)
	cancel()
	managed.Wait()
	return err
}

// manage finds the topics, again and again, and keeps a slot for each thousand.
func (c *Client) manage(ctx context.Context, since time.Time) {
	var slots []*slot
	var shared [][]topic
	var running sync.WaitGroup
	defer running.Wait()
	for attempts, told := 0, 0; ctx.Err() == nil; {
		at := c.o.Now()
		topics, err := c.expand(ctx)
		if err != nil {
			if ctx.Err() == nil {
				c.o.Alarm(fmt.Errorf("topics are not up to date: %w", err))
			}
			outbound.Sleep(ctx, c.backoff(attempts))
			attempts++
			continue
		}
		attempts = 0
		var left []topic
		if shared, left = share(shared, topics); len(left) > 0 && len(left) != told {
			c.o.Alarm(tooMany(len(topics), left))
		}
		told = len(left)
		for i, of := range shared {
			if i == len(slots) {
				s := newSlot(c, since)
				slots = append(slots, s)
				c.offer(ctx, message{slot: s, covered: since, expanded: since})
				running.Go(func() { s.keep(ctx) })
			}
			slots[i].want(wanted{topics: slices.Clone(of), at: at})
		}
		since = at
		if !slices.ContainsFunc(c.o.Topics, isTemplate) {
			return // there is nothing new to be found
		}
		timer := time.NewTimer(c.o.Timing.Expand)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-c.lost:
			outbound.Sleep(ctx, c.o.Timing.ExpandMin)
		}
		timer.Stop()
	}
}

// backoff returns an exponential delay with full jitter.
func (c *Client) backoff(attempts int) time.Duration {
	return outbound.Spread(0, outbound.Doubled(c.o.Timing.Backoff, c.o.Timing.BackoffMax, attempts), c.o.Random)
}
