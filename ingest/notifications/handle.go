package notifications

import (
	"context"
	"fmt"
	"time"
)

// message is what a slot tells, in its order.
type message struct {
	slot     *slot
	frame    *Frame    // nil: none
	gap      *Gap      // nil: none
	covered  time.Time // what was sent until then is in earlier messages; zero: as before
	expanded time.Time // the slot has the topics of then; zero: as before
	size     int64
}

// frameSize is what a frame takes besides its bytes.
const frameSize = 128

// offer hands m over. It waits while too much waits before it, and reports false
// when ctx is done.
func (c *Client) offer(ctx context.Context, m message) bool {
	m.size = frameSize
	if m.frame != nil {
		m.size += int64(len(m.frame.Body))
	}
	if c.room.Acquire(ctx, m.size) != nil {
		return false
	}
	select {
	case c.messages <- m:
		return true
	case <-ctx.Done():
		c.room.Release(m.size)
		return false
	}
}

// batch is what is committed next.
type batch struct {
	frames []Frame
	bytes  int
	size   int64 // with all else that takes room
	urgent bool  // a gap was told: what is covered moved because of it
}

// handle takes the messages and commits them in batches, a transaction each.
func (c *Client) handle(ctx context.Context) error {
	var b batch
	reached := coverage{}
	var committed, at time.Time
	linger := time.NewTimer(0)
	defer linger.Stop()
	<-linger.C
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-c.messages:
			if b.size == 0 {
				linger.Reset(c.o.Timing.Linger)
			}
			c.take(&b, reached, m)
			if len(b.frames) < c.o.MaxFrames && b.bytes < c.o.MaxBatch && b.size < c.o.Buffer/2 {
				continue
			}
		case <-linger.C:
		}
		covered := reached.until()
		quiet := !b.urgent && c.o.Now().Sub(at) < c.o.Timing.Commit
		if len(b.frames) > 0 || !quiet && covered.After(committed) {
			if err := c.o.Handle(ctx, b.frames, covered); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("handle frames: %w", err)
			}
			committed, at = covered, c.o.Now()
		}
		c.room.Release(b.size)
		b = batch{}
	}
}

// take adds a message to a batch. A gap is told before what is covered moves
// over it: who dies in between tells it again.
func (c *Client) take(b *batch, reached coverage, m message) {
	b.size += m.size
	if m.frame != nil {
		b.frames = append(b.frames, *m.frame)
		b.bytes += len(m.frame.Body)
	}
	if m.gap != nil {
		c.o.Gap(*m.gap)
		b.urgent = true
	}
	of := reached[m.slot]
	if !m.covered.IsZero() {
		of.covered = m.covered
	}
	if !m.expanded.IsZero() {
		of.expanded = m.expanded
	}
	reached[m.slot] = of
}

// coverage is how far each slot is known to be complete: by what it was sent,
// and by the topics it has.
type coverage map[*slot]struct{ covered, expanded time.Time }

// until is the time until which nothing is missing.
func (c coverage) until() (t time.Time) {
	for _, of := range c {
		for _, at := range []time.Time{of.covered, of.expanded} {
			if t.IsZero() || at.Before(t) {
				t = at
			}
		}
	}
	return t
}
