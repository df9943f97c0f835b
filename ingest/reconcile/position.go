package reconcile

import (
	"maps"
	"time"
)

// positions are how far the lists of a tenant were read, by name.
type positions map[string]position

// position is how far a list was read.
type position struct {
	At time.Time `json:"at"` // in the vendor's time; the next run begins a little before it
	// Covered is when the run began that reached it or found nothing after it, in
	// ours: nothing from before is missing.
	Covered   time.Time `json:"covered"`
	UpdatedAt time.Time `json:"updated_at"`
}

// with returns the positions with another one for a list.
func (p positions) with(list string, at position) positions {
	all := maps.Clone(p)
	all[list] = at
	return all
}

// since returns where a run begins, and how much time before that neither an earlier
// run nor this one covers. It is never longer ago than lookBack. A list that was never
// read begins there: nobody promised what was before.
func (p position) since(now time.Time, overlap, lookBack time.Duration) (since time.Time, uncovered time.Duration) {
	floor := now.Add(-lookBack)
	if !p.Covered.IsZero() {
		uncovered = max(0, floor.Sub(p.Covered))
	}
	if since = p.At.Add(-overlap); since.Before(floor) {
		since = floor
	}
	return since, uncovered
}
