package state

import (
	"cmp"
	"slices"

	"trunkline/event"
)

// Held is an event that waits in the reorder buffer of its entity.
type Held struct {
	Order event.Order
	Clock string // the log that orders it: its raw topic/partition
	DueMs int64  // on that clock: append time + hold
	Count bool   // its version counts every change; see event.Key.CountsChanges
	Body  []byte // the working event as it came
}

// Reorder bounds the buffer of one entity.
type Reorder struct {
	GraceMs  int64 // how far an event may trail the highest event time
	MaxHeld  int   // events
	MaxBytes int
}

// Hold puts an event into the buffer. It returns false when the buffer already
// holds that event id.
func (r *Entity) Hold(h Held) bool {
	if slices.ContainsFunc(r.Held, func(g Held) bool { return g.Order.EventID == h.Order.EventID }) {
		return false
	}
	at, _ := slices.BinarySearchFunc(r.Held, h, byOrder)
	r.Held = slices.Insert(slices.Clip(r.Held), at, h)
	r.HighestMs = max(r.HighestMs, h.Order.TsMs)
	return true
}

func byOrder(a, b Held) int {
	return cmp.Or(a.Order.Compare(b.Order), cmp.Compare(a.DueMs, b.DueMs))
}

// Release takes out, in order, what may leave: an event leaves when the
// watermark passed it, when its clock reached its due time, when its vendor
// version directly follows the row's, or when the buffer is over its bounds.
// Everything of lower order leaves with it, or it would be late (I4).
//
// clock and nowMs tell which log's clock moved and to where; an event's arrival
// passes an empty clock. The result depends on nothing but the log (I7).
func (r *Entity) Release(clock string, nowMs int64, c Reorder) []Held {
	watermark := r.HighestMs - c.GraceMs
	last := -1
	for i, h := range r.Held {
		switch {
		case h.Order.TsMs <= watermark,
			h.Clock == clock && h.DueMs <= nowMs,
			h.Count && h.Order.Version.Next(r.Version) && i == last+1:
			last = i
		}
	}
	released := slices.Clip(r.Held[:last+1])
	r.Held = slices.Clone(r.Held[last+1:])
	bytes := 0
	for _, h := range r.Held {
		bytes += len(h.Body)
	}
	for len(r.Held) > c.MaxHeld || bytes > c.MaxBytes {
		released = append(released, r.Held[0])
		bytes -= len(r.Held[0].Body)
		r.Held = r.Held[1:]
	}
	return released
}
