package state

import (
	"trunkline/event"
)

// Entity is the row of one entity: its last image, the order of the event that
// made it, and the events that still wait for their turn. A deleted entity
// stays as a marker (no image) for the dedup window, so that an update that
// arrives after its delete is late and no resurrection.
type Entity struct {
	Live    bool   // whether the entity exists
	Partial bool   // no full image was seen yet
	Image   []byte // canonical JSON; nil unless Live
	Version event.Version

	// Applied is the order of the last applied event; zero before the first.
	Applied   event.Order
	EventType string         // of the last applied event
	Raw       event.Position // of the last applied event

	// Changes counts the changes this row emitted and SequenceUs is the event
	// time of the last, never going back; together they are the change's
	// source.sequence.
	Changes    int64
	SequenceUs int64

	// SeenMs is the append time of the last event that reached an interaction,
	// whatever became of it: its retention counts from there. Zero for all others,
	// and in a row of an earlier version, which counts from its next event.
	SeenMs int64

	// DeletedMs is the append time of the delete that left this marker, or the
	// moment at which the entity's retention was over.
	DeletedMs int64

	// HighestMs is the highest event time that arrived; less grace it is the
	// entity's watermark.
	HighestMs int64
	Held      []Held
}

// Known reports whether the row says anything about the entity.
func (r *Entity) Known() bool { return r.Applied.EventID != "" }

// Side returns the entity as one side of a change, nil when it does not exist.
func (r *Entity) Side() *event.Image {
	if !r.Live {
		return nil
	}
	side := &event.Image{Name: imageName(r.Image), Data: r.Image}
	if version := r.Version; version.Known {
		side.Version = &version.N // a copy: the row goes on
	}
	return side
}

// Outcome is what applying one event did. Exactly one of Change, Rejected and
// Fate tells it.
type Outcome struct {
	Change   *event.Change   // FateChange
	Fate     event.FateKind  // unchanged, duplicate or late
	Rejected *event.Rejected // the event does not fit the row; a dead letter
}

// Rules are the choices that applying an event depends on.
type Rules struct {
	MarkerMs      int64 // how long a deleted row stays, by append time
	IdleMs        int64 // retention without an event, by append time; 0 is for ever
	EmitUnchanged bool  // emit a change although before equals after
}

// Apply returns the row after e and what that means to readers. The row itself
// stays as it is, so that a caller can still refuse the outcome. e must be next
// in order or late; Apply tells which (I4). `before` is the row's image, so it
// equals the previous `after` by construction (I5).
func (r Entity) Apply(e *event.Event, rules Rules) (Entity, Outcome) {
	if r.Forgotten(e.Origin.Raw.AppendMs, rules) {
		r = Entity{Held: r.Held, HighestMs: r.HighestMs, SeenMs: r.SeenMs}
	}
	if r.Known() && e.Order().Compare(r.Applied) <= 0 {
		if e.ID == r.Applied.EventID {
			return r, Outcome{Fate: event.FateDuplicate}
		}
		return r, Outcome{Fate: event.FateLate}
	}
	if e.Op == event.Delete {
		return r.delete(e)
	}
	return r.upsert(e, rules)
}

// Forgotten reports whether the row is a marker whose time is over.
func (r *Entity) Forgotten(appendMs int64, rules Rules) bool {
	return !r.Live && r.DeletedMs > 0 && appendMs-r.DeletedMs > rules.MarkerMs
}

func (r Entity) delete(e *event.Event) (Entity, Outcome) {
	marker := r.Known() && !r.Live
	change := r.change(e, event.Delete)
	if change.Before = r.Side(); change.Before == nil {
		change.Before = &event.Image{} // key only: nothing is known
	}
	r.applied(e)
	r.bury(e.Origin.Raw.AppendMs)
	if marker {
		return r, Outcome{Fate: event.FateUnchanged}
	}
	return r.emitted(change), Outcome{Change: change}
}

// bury leaves the marker of what has ended at a moment of its log.
func (r *Entity) bury(ms int64) {
	r.Live, r.Partial, r.Image, r.Version = false, false, nil, event.Version{}
	r.DeletedMs = ms
}

// Idle reports whether the entity's retention is over: it lives, and when the
// clock of its log stands at nowMs nothing was heard of it for longer.
func (r *Entity) Idle(nowMs int64, rules Rules) bool {
	return r.Live && len(r.Held) == 0 && r.expires(rules) && nowMs-r.SeenMs > rules.IdleMs
}

func (r *Entity) expires(rules Rules) bool { return rules.IdleMs > 0 && r.SeenMs > 0 }

// Expire ends an idle entity with a change of its own: id names it. Its time is
// the moment at which the retention was over, not that of the record which moved
// the clock there (I7), and not before the last event of a vendor whose clock is
// ahead (I4). The marker keeps the order of the last event: an event that is
// newer than that creates the entity anew, an older one is late.
func (r Entity) Expire(key event.Key, id string, rules Rules) (Entity, *event.Change) {
	over := r.SeenMs + rules.IdleMs
	change := r.change(&event.Event{
		ID: id, Key: key, Type: key.Type + ".expired", TsMs: max(over, r.Applied.TsMs),
	}, event.Delete)
	change.Before, change.Cause = r.Side(), event.CauseIdle
	r.bury(over)
	return r.emitted(change), change
}

func (r Entity) upsert(e *event.Event, rules Rules) (Entity, Outcome) {
	image, err := mergeImage(r.Image, e.Image, e.Partial)
	if err != nil {
		return r, Outcome{Rejected: event.Reject(event.Unmergeable, "merge the image into its row: %v", err)}
	}
	op := event.Update
	switch {
	case !r.Live && e.Op == event.Read:
		op = event.Read
	case !r.Live:
		op = event.Create
	}
	change := r.change(e, op)
	change.Before = r.Side()
	if op == event.Read {
		change.Snapshot = "incremental"
	}

	same := r.Live && string(image) == string(r.Image)
	full := e.Image != nil && !e.Partial
	version := r.Version
	if e.Version.Known || full && !same {
		version = e.Version
	}
	unchanged := same && version == r.Version
	r.applied(e)
	r.Partial = !full && (r.Partial || !r.Live)
	r.Live, r.Image, r.Version, r.DeletedMs = true, image, version, 0
	if unchanged && !rules.EmitUnchanged {
		return r, Outcome{Fate: event.FateUnchanged}
	}
	change.After = r.Side()
	return r.emitted(change), Outcome{Change: change}
}

// change starts the change that e makes of r; r is still the row before it.
func (r *Entity) change(e *event.Event, op event.Op) *event.Change {
	return &event.Change{
		Key: e.Key, Op: op, TsMs: e.TsMs, Snapshot: "false",
		SequenceUs: max(r.SequenceUs, e.TsMs*1000), SequenceN: r.Changes + 1,
		EventID: e.ID, EventType: e.Type, Raw: e.Origin.Raw,
	}
}

func (r *Entity) applied(e *event.Event) {
	r.Applied, r.EventType, r.Raw = e.Order(), e.Type, e.Origin.Raw
}

func (r Entity) emitted(c *event.Change) Entity {
	r.Changes, r.SequenceUs = c.SequenceN, c.SequenceUs
	return r
}
