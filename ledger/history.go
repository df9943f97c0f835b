package ledger

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"

	"trunkline/codecs"
	"trunkline/event"
)

// entity is what the ledger knows of one entity, images as hashes.
type entity struct {
	known      bool   // a change was seen
	image      uint64 // what the last change left
	tsMs       int64  // event time of the last change
	sequenceUs int64
	sequenceN  int64
	row        uint64 // the image in the table
}

// debt is the tombstone that a delete still lacks: it has the same raw position,
// or a cause as well.
type debt struct {
	raw, at event.Position
	caused  bool
}

func (d debt) example(key string) Example {
	x := Example{Entity: key, Record: d.at.String()}
	if d.raw.Topic != "" {
		x.Raw = d.raw.String()
	}
	return x
}

// eventID is a hash of entity and event id: 10 M of them must fit in memory. Two
// of 10 M collide with a probability of 3 in a million.
type eventID uint64

var seed = maphash.MakeSeed()

// noImage is the hash of no image: of what never was, or was deleted.
const noImage = 0

func (l *Ledger) entity(key string) *entity {
	e := l.entities[key]
	if e == nil {
		e = new(entity)
		l.entities[key] = e
	}
	return e
}

// follow takes the next change of an entity: it is the fate of its raw record
// (I3), stands in order (I4), and its before is what the last one left (I5).
func (l *Ledger) follow(r Record, c *event.Change) {
	l.report.Changes++
	key := c.Key.String()
	e := l.entity(key)
	raw, caused, checked := l.origin(r)
	found := func(f *Finding, format string, args ...any) {
		x := Example{Entity: key, Record: r.position().String(), IngestID: string(r.Headers[event.HeaderIngestID])}
		if raw.Topic != "" {
			x.Raw = raw.String()
		}
		x.Detail = fmt.Sprintf(format, args...)
		l.note(f, x)
	}
	switch {
	case !caused:
		l.addOutput(r, event.FateChange)
	case c.Op == event.Delete && c.Key.Interaction():
		l.report.Caused++
	default:
		found(&l.report.NoRaw, "only the d of an interaction is idle, this is a %s", c.Op)
	}
	if d, owing := l.owed[key]; owing {
		l.note(&l.report.MissingTombstones, d.example(key))
		delete(l.owed, key)
	}
	if again := l.repeats(key, c.EventID, raw); again && checked {
		found(&l.report.DuplicateChanges, "its event or raw record has a change already")
	}
	if checked {
		if detail := l.contradiction(e, c); detail != "" {
			found(&l.report.BeforeMismatches, "%s", detail)
		}
		if c.TsMs < e.tsMs && e.known {
			found(&l.report.OutOfOrder, "event time %d after %d", c.TsMs, e.tsMs)
		}
		if (c.SequenceUs < e.sequenceUs || c.SequenceUs == e.sequenceUs && c.SequenceN < e.sequenceN) && e.known {
			found(&l.report.SequenceBack, "[%d,%d] after [%d,%d]", c.SequenceUs, c.SequenceN, e.sequenceUs, e.sequenceN)
		}
		if c.Op == event.Delete {
			l.owed[key] = debt{raw: raw, at: r.position(), caused: caused}
		}
	}
	// The next change is checked against what the topic says, right or wrong, so
	// that one defect is one finding.
	e.known, e.image = true, imageHash(c.After)
	e.sequenceUs, e.sequenceN = c.SequenceUs, c.SequenceN
	if !caused {
		// What ends an idle entity is no event: the next must be newer than the last.
		e.tsMs = c.TsMs
	}
}

// origin returns where r comes from: a raw position, or a cause of its own in
// place of one. What comes from before the range is not checked. A cause that
// nobody knows is none: the change then lacks its raw record (I3).
func (l *Ledger) origin(r Record) (raw event.Position, caused, checked bool) {
	raw, located := event.PositionOf(r.Headers)
	if !located && event.Cause(r.Headers[event.HeaderCause]) == event.CauseIdle {
		return event.Position{}, true, true
	}
	return raw, false, l.covers(raw)
}

// repeats notes a change and reports whether its event or its raw record had one
// already. raw is zero for a change that follows from no raw record.
func (l *Ledger) repeats(key, id string, raw event.Position) bool {
	again := false
	if id != "" {
		h := eventID(maphash.String(seed, key+"#"+id))
		_, again = l.eventIDs[h]
		l.eventIDs[h] = struct{}{}
	}
	if raw.Topic == "" || !l.covers(raw) {
		return again
	}
	return l.changedBefore(raw) || again
}

// contradiction says in which way c does not follow from e; empty when it does
// (I5).
func (l *Ledger) contradiction(e *entity, c *event.Change) string {
	// The first change in a range can follow from what is compacted away.
	unknown := l.cfg.From != nil && !e.known
	live := e.image != noImage
	switch c.Op {
	case event.Create, event.Read:
		switch {
		case c.Before != nil:
			return fmt.Sprintf("%s with a before", c.Op)
		case c.After == nil:
			return fmt.Sprintf("%s without an after", c.Op)
		case live:
			return fmt.Sprintf("%s of an entity that lives", c.Op)
		}
	case event.Update:
		switch {
		case c.Before == nil || c.Before.Data == nil:
			return "u without a full before"
		case c.After == nil:
			return "u without an after"
		case unknown:
		case imageHash(c.Before) != e.image:
			return "before is not the previous after"
		}
	case event.Delete:
		switch {
		case c.Before == nil:
			return "d without a before"
		case c.After != nil:
			return "d with an after"
		case unknown:
		case live && imageHash(c.Before) != e.image:
			return "before is not the previous after"
		case !live && (c.Before.Data != nil || c.Before.Name != nil || c.Before.Version != nil):
			return "d with a before, of an entity without a state"
		}
	default:
		return fmt.Sprintf("unknown op %q", c.Op)
	}
	return ""
}

// bury takes a tombstone: it follows a delete and has its raw position, so it is
// no fate of its own.
func (l *Ledger) bury(r Record, k event.Key) {
	l.report.Tombstones++
	key := k.String()
	raw, caused, checked := l.origin(r)
	if caused && l.cfg.From != nil && !l.entity(key).known {
		checked = false // its delete may stand before the range
	}
	d, owing := l.owed[key]
	switch {
	case owing && d.raw.Same(raw) && d.caused == caused:
		delete(l.owed, key)
	case checked:
		l.note(&l.report.GhostTombstones, debt{raw: raw, at: r.position()}.example(key))
	}
	e := l.entity(key)
	e.known, e.image = true, noImage
}

// imageHash tells images apart. Text that a change cannot carry is
// replaced as codecs does, so that rows compare equal with what was written.
func imageHash(i *event.Image) uint64 {
	if i == nil {
		return noImage
	}
	var h maphash.Hash
	h.SetSeed(seed)
	if i.Name != nil {
		name, _ := codecs.SanitiseText(*i.Name)
		writeSized(&h, []byte(name))
	}
	h.WriteByte('|')
	if i.Version != nil {
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(*i.Version)))
	}
	h.WriteByte('|')
	if i.Data != nil {
		data, _ := codecs.SanitiseJSON(i.Data)
		writeSized(&h, data)
	}
	return h.Sum64()
}

func writeSized(h *maphash.Hash, b []byte) {
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(b))))
	h.Write(b)
}
