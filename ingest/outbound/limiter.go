package outbound

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/time/rate"
)

// Limiter spreads the connections that all clients sharing it make to one host,
// so that those which ended together do not come back together. It is safe for
// concurrent use.
type Limiter struct {
	perSecond rate.Limit

	mu    sync.Mutex
	hosts map[string]*rate.Limiter // those of the configuration
}

// NewLimiter returns a limiter that lets one connection to a host pass every
// 1/perSecond seconds, in the order in which they were asked for.
func NewLimiter(perSecond float64) *Limiter {
	return &Limiter{perSecond: rate.Limit(perSecond), hosts: map[string]*rate.Limiter{}}
}

// Wait returns nil when a connection to the host may be made, else why it never
// may.
func (l *Limiter) Wait(ctx context.Context, host string) error {
	l.mu.Lock()
	of := l.hosts[host]
	if of == nil {
		of = rate.NewLimiter(l.perSecond, 1)
		l.hosts[host] = of
	}
	l.mu.Unlock()
	if err := of.Wait(ctx); err != nil {
		return fmt.Errorf("wait to connect: %w", err)
	}
	return nil
}
