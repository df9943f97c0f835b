package outbound

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// DefaultPerMinute is the budget of calls for a credential that the vendor
// limits to 300: a fifth is left to others who use it.
const DefaultPerMinute = 240

// Budget is a transport that spreads the calls made with one credential, so that
// a vendor's limit per minute is not met, and that stays away for as long as an
// answer 429 asks. The answer itself goes to the caller. It is safe for
// concurrent use.
type Budget struct {
	base    http.RoundTripper
	now     func() time.Time
	limiter *rate.Limiter

	mu    sync.Mutex
	until time.Time // no call before
}

// NewBudget returns a budget of perMinute calls, an eighth of which may be made
// at once. now is the clock that tells how far away a date in Retry-After is.
func NewBudget(base http.RoundTripper, perMinute int, now func() time.Time) *Budget {
	return &Budget{
		base: base, now: now,
		limiter: rate.NewLimiter(rate.Limit(float64(perMinute)/60), max(1, perMinute/8)),
	}
}

// RoundTrip implements [http.RoundTripper]. It waits for its turn as long as the
// context of r allows.
func (b *Budget) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := b.wait(r.Context()); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // its content goes nowhere
		}
		return nil, fmt.Errorf("wait for the budget of calls: %w", err)
	}
	resp, err := b.base.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusTooManyRequests {
		pause, ok := RetryAfter(resp.Header, b.now())
		if !ok {
			pause = time.Minute // the window of the vendor's limit
		}
		b.mu.Lock()
		if until := b.now().Add(pause); until.After(b.until) {
			b.until = until
		}
		b.mu.Unlock()
	}
	return resp, err
}

func (b *Budget) wait(ctx context.Context) error {
	for {
		if err := b.limiter.Wait(ctx); err != nil {
			return err
		}
		b.mu.Lock()
		left := b.until.Sub(b.now())
		b.mu.Unlock()
		if left <= 0 {
			return nil
		}
		// The turn is lost: those who wait here must not go together then.
		if !Sleep(ctx, left) {
			return ctx.Err()
		}
	}
}

// maxRetryAfter bounds what Retry-After can ask for: more is a mistake of the
// sender, and would silence us for ever.
const maxRetryAfter = time.Hour

// RetryAfter returns how long the header Retry-After asks to stay away, in
// seconds or as a date (RFC 9110, 10.2.3), one hour at most, and whether it
// stands there and can be read.
func RetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter), true
	}
	if date, err := http.ParseTime(text); err == nil {
		return min(max(0, date.Sub(now)), maxRetryAfter), true
	}
	return 0, false
}
