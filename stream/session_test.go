package stream

import (
	"testing"
	"time"
)

// Commits take at most a third of the time, until they come every half second; a
// configured interval above that stands.
func TestSlowCommitsComeLessOften(t *testing.T) {
	for _, c := range []struct{ least, commit, want time.Duration }{
		{100 * time.Millisecond, 0, 100 * time.Millisecond},
		{100 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond},
		{100 * time.Millisecond, 80 * time.Millisecond, 160 * time.Millisecond},
		{100 * time.Millisecond, time.Minute, 500 * time.Millisecond},
		{time.Second, time.Minute, time.Second},
	} {
		if got := nextInterval(c.least, c.commit); got != c.want {
			t.Errorf("nextInterval(%v, %v) = %v, want %v", c.least, c.commit, got, c.want)
		}
	}
}
