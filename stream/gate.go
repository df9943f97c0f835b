package stream

import "sync"

// gate stands between the brokers' records and the stage. While it is open,
// every record that enters is counted until the stage has handled it; at a
// boundary it closes and waits until nothing is in flight, so that offsets,
// rows and outputs of a transaction belong to the same records (I2).
type gate struct {
	mu       sync.Mutex
	changed  sync.Cond
	closed   bool
	ended    bool
	inflight int
}

func newGate() *gate {
	g := &gate{}
	g.changed.L = &g.mu
	return g
}

// enter counts one record in; false when the session has ended.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.closed && !g.ended {
		g.changed.Wait()
	}
	if g.ended {
		return false
	}
	g.inflight++
	return true
}

// leave counts one record out.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inflight--
	g.changed.Broadcast()
}

// close lets nothing more in and waits until nothing is in flight; false when
// the session ended first, since then queued records are dropped unhandled.
func (g *gate) close() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for g.inflight > 0 && !g.ended {
		g.changed.Wait()
	}
	return !g.ended
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = false
	g.changed.Broadcast()
}

// end releases everyone who waits, for good.
func (g *gate) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	g.changed.Broadcast()
}
