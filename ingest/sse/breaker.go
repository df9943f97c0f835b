package sse

import "time"

// breaker decides when a stream is given up for polling and how often it is
// tried again. It belongs to one client and is not safe for concurrent use.
type breaker struct {
	threshold   int           // failures in a row that open it
	first, most time.Duration // between probes, doubling

	open     bool
	failures int
	probe    time.Duration // until the next probe, while failures keep it open
}

// fail counts a connection that was of no use.
func (b *breaker) fail() {
	b.failures++
	if b.open = b.open || b.failures >= b.threshold; b.open {
		b.probe = min(max(2*b.probe, b.first), b.most)
	}
}

// trip opens it at once: more tries would not help.
func (b *breaker) trip() { b.open = true }

func (b *breaker) succeed() { b.open, b.failures, b.probe = false, 0, 0 }
