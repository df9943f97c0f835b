// Package sse reads a vendor's event streams (Server-Sent Events) so that none
// of their events is lost: a stream resumes after the last event that was
// committed, and what a stream cannot give is polled.
package sse

import (
	"context"
	"fmt"
	"time"

	"trunkline/ingest/outbound"
)

// Client keeps one stream. Its goroutine calls the functions of the options one
// at a time.
type Client struct {
	o       Options
	host    string
	breaker breaker

	position  string // after which a connection resumes: all before it is durable
	committed string // the position that the caller keeps
	attempts  int    // since a connection was of use
	renewed   bool   // the token of the last attempt was refused
	base      time.Duration

	// A stream that was given up may not give all that came meanwhile. What may
	// be missing is owed until a poll has overlapped with the stream.
	owed     bool
	pollFrom string // where that poll begins
	lost     bool   // nothing may be streamed before a poll by time succeeded
}

// NewClient checks the options and returns a client. Its error joins all faults.
func NewClient(o Options) (*Client, error) {
	o = o.withDefaults()
	host, err := o.host()
	if err != nil {
		return nil, err
	}
	return &Client{
		o: o, host: host, position: o.Position, committed: o.Position, base: o.Timing.Backoff,
		breaker: breaker{threshold: o.Failures, first: o.Timing.Probe, most: o.Timing.ProbeMax},
	}, nil
}

// Run streams and polls until ctx is done.
func (c *Client) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if c.lost && !c.poll(ctx) {
			outbound.Sleep(ctx, c.backoff())
			continue
		}
		end := c.stream(ctx)
		if ctx.Err() != nil {
			return
		}
		c.o.Ended(end)
		c.pause(ctx, c.next(end))
	}
}

// next draws the consequences of a connection's end and returns the time until
// the next one.
func (c *Client) next(end End) time.Duration {
	renew := end.Outcome == Unauthorized && !c.renewed
	c.renewed = end.Outcome == Unauthorized
	switch end.Outcome {
	case Unauthorized:
		if renew {
			return 0
		}
	case Unhandled:
		return c.backoff() // the vendor did not fail
	case Refused:
		c.o.Alarm(end.Err)
		c.giveUp(c.breaker.trip)
		return max(c.o.Timing.Refused, end.retryAfter)
	case Stopped:
		c.giveUp(c.breaker.trip)
		return max(c.o.Timing.Stopped, end.retryAfter)
	case Expired:
		c.o.Alarm(end.Err)
		c.position, c.pollFrom, c.owed, c.lost = "", "", true, true
	}
	var delay time.Duration
	switch end.Outcome {
	case Disconnected, Silent, Expired:
		delay = outbound.Spread(c.o.Timing.ReconnectMin, c.o.Timing.ReconnectMax, c.o.Random)
	default:
		delay = c.backoff()
	}
	delay += end.retryAfter
	if end.Proven {
		return delay
	}
	if c.giveUp(c.breaker.fail); c.breaker.open {
		return max(delay, c.breaker.probe)
	}
	return delay
}

// giveUp moves the breaker and, if that opens it, begins to poll.
func (c *Client) giveUp(move func()) {
	before := c.breaker.open
	move()
	if before || !c.breaker.open {
		return
	}
	if !c.owed {
		c.owed, c.pollFrom = true, c.position
	}
	c.o.Polling(true)
}

// proven notes that a connection is of use.
func (c *Client) proven() {
	if c.breaker.open {
		c.o.Polling(false)
	}
	c.breaker.succeed()
	c.attempts = 0
}

// backoff returns an exponential delay with full jitter.
func (c *Client) backoff() time.Duration {
	ceiling := outbound.Doubled(c.base, c.o.Timing.BackoffMax, c.attempts)
	c.attempts++
	return outbound.Spread(0, ceiling, c.o.Random)
}

// pause waits for d and polls meanwhile if the stream is given up.
func (c *Client) pause(ctx context.Context, d time.Duration) {
	for due := c.o.Now().Add(d); d > 0 && ctx.Err() == nil; d = due.Sub(c.o.Now()) {
		if c.breaker.open {
			c.poll(ctx)
			d = min(due.Sub(c.o.Now()), c.o.Timing.PollEvery)
		}
		outbound.Sleep(ctx, d)
	}
}

// poll reports whether all that the stream did not give is durable.
func (c *Client) poll(ctx context.Context) bool {
	from := c.position
	if c.owed {
		from = c.pollFrom
	}
	reached, err := c.o.Poll(ctx, from)
	if err != nil {
		if ctx.Err() == nil {
			c.o.Alarm(fmt.Errorf("poll: %w", err))
		}
		return false
	}
	if reached != "" { // else the way of polling knows no ids
		c.position, c.committed, c.pollFrom = reached, reached, reached
	}
	c.lost = false
	return true
}
