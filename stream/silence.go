package stream

import "time"

// watchSilence tells the stage when a log has nothing more to say for now. A
// partition that was handled up to its end, asked at least Quiet after its last
// record, gets one tick whose time lies MaxHold after that record: everything
// held for it may go. Any record that still comes was appended later than that,
// as far as the clocks of broker leaders agree within the margin by which Quiet
// exceeds MaxHold. A replay meets that record instead and releases alike (I7).
func (s *session) watchSilence() {
	ticker := time.NewTicker(max(s.e.opts.Quiet/10, 5*time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
		}
		for _, c := range s.quietClaims() {
			if !s.announce(c) {
				return
			}
		}
	}
}

// quietClaims lists the partitions that have been silent for long enough.
func (s *session) quietClaims() []*claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	var quiet []*claim
	for _, c := range s.claims {
		if c.silentFor(s.e.opts.Quiet) {
			quiet = append(quiet, c)
		}
	}
	return quiet
}

// announce asks the broker whether the partition really was handled to its end
// and, if so, sends the tick; false when the session has ended.
func (s *session) announce(c *claim) bool {
	e, err := findEnd(s.e.client, c.Topic(), c.Partition())
	if err != nil || e.open || !c.settle(e) {
		c.restartSilence()
		return s.ctx.Err() == nil
	}
	if c.highest() == 0 { // an empty log: nothing waits for it
		return true
	}
	clock := c.at().String()
	tick := Tick{Clock: clock, NowMs: c.highest() + s.e.opts.MaxHold.Milliseconds()}
	return c.send(tick.message(s.e.opts.Tick, c.Partition(), clock))
}

// silentFor reports whether the claim waits for its silence to be announced.
func (c *claim) silentFor(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.settled && len(c.waiting) == 0 && c.s.e.opts.now().Sub(c.quiet) >= d
}

// settle notes the end of the log; false when there is more to handle before it.
func (c *claim) settle(e end) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) > 0 || c.position < e.next {
		return false
	}
	c.lastMs = max(c.lastMs, e.appendMs)
	c.settled = true
	return true
}

func (c *claim) restartSilence() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quiet = c.s.e.opts.now()
}
