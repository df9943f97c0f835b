package embedded

// Faults is what goes wrong at a cloud. Shares are of 1; which events they hit
// follows from the seed.
type Faults struct {
	Drop      float64 // of deliveries: never sent
	Duplicate float64 // of deliveries: sent twice
	Reorder   float64 // of deliveries: sent after the next one
	Forge     float64 // of deliveries: beside them goes one that somebody else made

	Refuse     float64 // of calls: answered RefuseWith
	RefuseWith int     // a status, such as 429 or 503

	Mute bool // no heartbeats

	// The next Cuts streams are cut, each after fewer than CutWithin bytes: in the
	// middle of an event or between two, by the end or by a reset of the connection.
	Cuts      int
	CutWithin int
}

// SetFaults replaces what goes wrong from now on.
func (c *Cloud) SetFaults(f Faults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = f
}

// Faults returns what goes wrong now.
func (c *Cloud) Faults() Faults {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.faults
}

// Sever ends all streams and channels at once, as maintenance does.
func (c *Cloud) Sever() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.connections)
	c.connections = make(chan struct{})
}

// severed is closed when the connections of now end.
func (c *Cloud) severed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connections
}

// RevokeTokens makes every token invalid that was given so far.
func (c *Cloud) RevokeTokens() { c.tokens.revoke() }

// RotateKeys publishes a new signing key, signs with it from now on, and leaves
// of the others only the last one published.
func (c *Cloud) RotateKeys() { c.keys.rotate() }

// nextCut returns after how many bytes the next stream is cut, and whether by a
// reset; n < 0: it is not.
func (c *Cloud) nextCut() (n int, reset bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.faults.Cuts == 0 {
		return -1, false
	}
	c.faults.Cuts--
	c.report.Cut++
	return c.random.IntN(c.faults.CutWithin), c.random.IntN(2) == 0
}
