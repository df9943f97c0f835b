package outbound

import (
	"context"
	"time"
)

// Sleep waits for d and reports true, or false as soon as ctx is done.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Doubled returns how long to stay away after failures in a row, counted from 0:
// first, twice that, and so on, most at the most.
func Doubled(first, most time.Duration, failures int) time.Duration {
	return min(first<<min(failures, 16), most)
}

// Spread returns a time from low up to high, so that those who failed together do
// not come back together. random returns numbers from [0,1).
func Spread(low, high time.Duration, random func() float64) time.Duration {
	return low + time.Duration(random()*float64(high-low))
}
