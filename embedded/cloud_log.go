package embedded

import (
	"fmt"
	"strconv"
	"sync"
	"time"
)

// entry is one event of a cloud's log.
type entry struct {
	message
	n        int       // its number, from 1
	at       time.Time // when it was told
	body     []byte    // as it is delivered or streamed
	streamed bool      // it goes out on the stream, and is not delivered
	event    string    // its name on the stream
}

// cloudLog is what happened at a cloud. It can be followed from any place that it
// still holds.
type cloudLog struct {
	base int64 // makes ids of one cloud's life unlike those of another's
	kept int   // entries held; 0 = all

	mu       sync.Mutex
	entries  []entry
	first    int // number of entries[0]
	streamed int
	grown    chan struct{} // closed, and replaced, when there is more
}

func newCloudLog(base time.Time, kept int) *cloudLog {
	return &cloudLog{base: base.UnixMilli() << 20, kept: kept, first: 1, grown: make(chan struct{})}
}

func (l *cloudLog) append(e entry) entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.n, e.at = l.first+len(l.entries), time.Now()
	l.entries = append(l.entries, e)
	if e.streamed {
		l.streamed++
	}
	if drop := len(l.entries) - l.kept; l.kept > 0 && drop >= l.kept { // seldom, for it copies
		l.entries = append([]entry(nil), l.entries[drop:]...)
		l.first += drop
	}
	close(l.grown)
	l.grown = make(chan struct{})
	return e
}

// from returns up to limit entries from number n on that fit, the number to go on
// from, and what is closed when there are more.
func (l *cloudLog) from(n, limit int, fits func(entry) bool) (es []entry, next int, grown <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = max(n, l.first)
	for ; n < l.first+len(l.entries) && len(es) < limit; n++ {
		if e := l.entries[n-l.first]; fits(e) {
			es = append(es, e)
		}
	}
	return es, n, l.grown
}

// all returns the entries that fit.
func (l *cloudLog) all(fits func(entry) bool) []entry {
	es, _, _ := l.from(0, int(^uint(0)>>1), fits)
	return es
}

func (l *cloudLog) count() (told, streamed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first - 1 + len(l.entries), l.streamed
}

// id names the entry n on the stream and in pages.
func (l *cloudLog) id(n int) string { return fmt.Sprintf("%016x", l.base+int64(n)) }

// after returns the number that follows the entry with an id, if that is one of
// the newest that may be resumed after; 0 of them: all that are held.
func (l *cloudLog) after(id string, newest int) (n int, ok bool) {
	at, err := strconv.ParseInt(id, 16, 64)
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.first + len(l.entries)
	least := l.first
	if newest > 0 {
		least = max(least, end-newest)
	}
	// Ids of an earlier life are lower: all that is here came after them.
	n = int(max(at, l.base)-l.base) + 1
	return n, err == nil && n >= least && n <= end
}

// end is the number of the next entry.
func (l *cloudLog) end() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first + len(l.entries)
}

// oldest is the number of the first of the newest entries.
func (l *cloudLog) oldest(newest int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.first, l.first+len(l.entries)-newest)
}
