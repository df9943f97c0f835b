package stream

import (
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// claim forwards the records of one assigned partition through the gate to the
// stage, with the ticks that are due between them.
type claim struct {
	sarama.ConsumerGroupClaim
	s   *session
	out chan *sarama.ConsumerMessage

	mu       sync.Mutex
	handled  sync.Cond
	position int64    // next offset to commit
	waiting  []moment // log times of the records in flight, in order
	clocks   map[string]int64

	// For idleness: what the log said last, and when we were done with it.
	lastMs  int64 // highest append time, epoch ms; 0 is unknown
	quiet   time.Time
	settled bool // the present silence was announced
}

type moment struct {
	clock string
	ms    int64
}

func newClaim(s *session, inner sarama.ConsumerGroupClaim, position int64) *claim {
	c := &claim{
		ConsumerGroupClaim: inner, s: s, out: make(chan *sarama.ConsumerMessage),
		position: position, clocks: map[string]int64{}, quiet: s.e.opts.now(),
	}
	c.handled.L = &c.mu
	return c
}

// Messages is the channel that goka reads.
func (c *claim) Messages() <-chan *sarama.ConsumerMessage { return c.out }

func (c *claim) at() topicPartition { return topicPartition{c.Topic(), c.Partition()} }

// forward runs until the session ends.
func (c *claim) forward() {
	for {
		select {
		case <-c.s.ctx.Done():
			return
		case msg, ok := <-c.ConsumerGroupClaim.Messages():
			if !ok {
				return
			}
			if !c.sendDue(msg) || !c.send(msg) {
				return
			}
		}
	}
}

// sendDue moves the clock that msg carries and sends the ticks that are due by
// it, ahead of msg. What is released, and when, so depends on nothing but what
// stands in the log (I7).
func (c *claim) sendDue(msg *sarama.ConsumerMessage) bool {
	now, ok := c.s.e.opts.logTime(msg)
	if !ok {
		return true
	}
	// Clocks of broker leaders differ: a log's time never goes back.
	now.ms = max(now.ms, c.clocks[now.clock])
	c.clocks[now.clock] = now.ms

	if c.mayFallDue(now) && !c.waitHandled() {
		return false
	}
	store := c.s.e.tables.of(c.Partition())
	if store == nil {
		return true
	}
	due, err := store.Due(now.clock, now.ms)
	if err != nil {
		c.s.fail(fmt.Errorf("find what is due in %s/%d: %w", c.Topic(), c.Partition(), err))
		return false
	}
	for _, key := range due {
		if !c.send(Tick{now.clock, now.ms}.message(c.s.e.opts.Tick, c.Partition(), key)) {
			return false
		}
	}
	return true
}

// mayFallDue reports whether a record in flight could set a timer that is due
// by now; in dense traffic none can.
func (c *claim) mayFallDue(now moment) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.waiting {
		if w.clock == now.clock && w.ms+c.s.e.opts.MinHold.Milliseconds() <= now.ms {
			return true
		}
	}
	return false
}

func (c *claim) waitHandled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiting) > 0 && c.s.ctx.Err() == nil {
		c.handled.Wait()
	}
	return c.s.ctx.Err() == nil
}

// send passes one message to the stage; false when the session has ended.
func (c *claim) send(msg *sarama.ConsumerMessage) bool {
	if !c.s.gate.enter() {
		return false
	}
	if msg.Topic == c.Topic() { // no tick
		w, _ := c.s.e.opts.logTime(msg)
		c.mu.Lock()
		c.waiting = append(c.waiting, w)
		c.lastMs = max(c.lastMs, msg.Timestamp.UnixMilli())
		c.settled = false
		c.mu.Unlock()
	}

	select {
	case c.out <- msg:
		return true
	case <-c.s.ctx.Done():
		return false
	}
}

// done counts one record as handled; next is the offset to commit. Records of a
// partition are handled in the order they were sent. Ticks are not counted
// here: what they release set its timers when it came.
func (c *claim) done(next int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = c.waiting[1:]
	c.position = next
	c.quiet = c.s.e.opts.now()
	c.handled.Broadcast()
}

// next is the offset to commit.
func (c *claim) next() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.position
}

// highest is the highest append time that was forwarded, epoch ms.
func (c *claim) highest() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastMs
}

// wake releases whoever waits for handled records when the session ends.
func (c *claim) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handled.Broadcast()
}
