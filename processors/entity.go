package processors

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/lovoo/goka"

	"trunkline/codecs"
	"trunkline/event"
	"trunkline/state"
	"trunkline/stream"
	"trunkline/topology"
	"trunkline/vendors"
)

// Entity eats working events and keeps one row per entity: its image and the
// events that wait for their turn. It emits, in event-time order, the change of
// each applied event with `before` from the row; what comes too late goes to
// late-events (I4, I5).
//
// Rows are keyed by entity key. Ticks release what is due by the logs' clocks, and
// end the interactions that nothing was heard of for their retention.
func Entity(c Config) *goka.GroupGraph {
	s := &entityStage{outputs{c}}
	edges := goka.Edges{
		goka.Input(topology.EventsTopic, asBytes, s.hold),
		goka.Input(topology.Ticks, stream.TickCodec{}, s.release),
		goka.Persist(asBytes),
		goka.Output(topology.Changes, asBytes),
		goka.Output(topology.LateEventsTopic, asBytes),
		goka.Output(topology.FatesTopic, asBytes),
		goka.Output(topology.DeadLettersTopic, asBytes),
	}
	if c.Layout.SeedProjection {
		edges = append(edges, goka.Output(topology.SeedTopic, asBytes))
	}
	return goka.DefineGroup(topology.EntityGroup, edges...)
}

type entityStage struct{ outputs }

// hold takes one working event into its entity's reorder buffer. Marks only
// carry a clock, which the runtime has read already.
func (s *entityStage) hold(ctx goka.Context, msg any) {
	r := recordOf(ctx, msg)
	if r.headers[event.HeaderMark] != nil {
		return
	}
	row := s.row(ctx)
	var step step
	err := pure(func() {
		e, err := codecs.UnmarshalEvent(r.body)
		if err != nil {
			step.outs = []output{s.letter(&r, event.Undecodable, err)}
			return
		}
		if !row.Hold(s.held(&e, r.body)) {
			s.tell(&step, &e, event.FateDuplicate, "held")
			return
		}
		if e.Key.Interaction() {
			row.SeenMs = max(row.SeenMs, e.Origin.Raw.AppendMs)
		}
		step = s.advance(e.Key, row, "", 0)
	})
	if err != nil {
		step = stepOf(s.letter(&r, event.MapperPanic, err))
	}
	s.finish(ctx, step)
}

// release is called when the clock of a log has moved past a due time of the
// row: of an event that it holds, or of the row itself.
func (s *entityStage) release(ctx goka.Context, msg any) {
	tick := tickOf(ctx, msg)
	row := s.row(ctx)
	var step step
	key, err := event.ParseKey(ctx.Key())
	if err == nil {
		err = pure(func() {
			step = s.advance(key, row, tick.Clock, tick.NowMs)
			if tick.Clock == clockOf(ctx, key) {
				s.age(&step, tick.NowMs)
				// It asked by the rules of an earlier run: it asks again.
				step.changed = step.changed || asked(ctx.Value(), tick)
			}
		})
	}
	if err != nil {
		ctx.Fail(fmt.Errorf("release held events: %w", err))
	}
	s.finish(ctx, step)
}

// asked reports whether a stored row has a timer that the tick is for.
func asked(row any, tick stream.Tick) bool {
	b, _ := row.([]byte)
	return slices.ContainsFunc(state.EntityTimers(b), func(t state.Timer) bool { return t.Clock == tick.Clock && t.AtMs <= tick.NowMs })
}

// clockOf is the log whose time decides how old a row is: the partition of its
// vendor's raw topic in which the entity's records stand. A record that was
// re-keyed into it stands elsewhere, but another log's time says nothing of what
// may still come here.
func clockOf(ctx goka.Context, key event.Key) string {
	return fmt.Sprintf("%s/%d", topology.RawTopic(key.Vendor), ctx.Partition())
}

// step is what one message does to a row: its next state and what is emitted.
type step struct {
	key     event.Key
	row     state.Entity
	changed bool
	drop    bool
	outs    []output
}

func stepOf(outs ...output) step { return step{outs: outs} }

// finish writes and emits a step; nothing before it touched goka's context but
// to read.
func (s *entityStage) finish(ctx goka.Context, step step) {
	switch {
	case step.drop:
		ctx.Delete()
	case step.changed:
		ctx.SetValue(step.row.Encode(clockOf(ctx, step.key), s.rules(step.key)))
	}
	send(ctx, step.outs)
}

func (s *entityStage) row(ctx goka.Context) state.Entity {
	b, ok := ctx.Value().([]byte)
	if !ok {
		return state.Entity{}
	}
	row, err := state.DecodeEntity(b)
	if err != nil {
		ctx.Fail(err) // our own row: going on would forge `before`
	}
	return row
}

func (s *entityStage) rules(key event.Key) state.Rules {
	rules := state.Rules{MarkerMs: s.Layout.DedupWindow.Milliseconds(), EmitUnchanged: s.EmitUnchanged}
	if key.Interaction() {
		rules.IdleMs = s.InteractionRetention.Milliseconds()
	}
	return rules
}

func (s *entityStage) held(e *event.Event, body []byte) state.Held {
	hold := s.ConfigHold
	if e.Key.Interaction() {
		hold = s.InteractionHold
	}
	return state.Held{
		Order: e.Order(), Clock: e.Origin.LogSource, DueMs: e.Origin.LogMs + hold.Milliseconds(),
		Count: e.Key.CountsChanges(), Body: body,
	}
}

// advance applies, in order, everything that may leave the buffer.
func (s *entityStage) advance(key event.Key, row state.Entity, clock string, nowMs int64) step {
	next := step{key: key, row: row, changed: clock == ""}
	bounds := state.Reorder{GraceMs: s.Grace.Milliseconds(), MaxHeld: maxHeld, MaxBytes: maxHeldBytes}
	for {
		released := next.row.Release(clock, nowMs, bounds)
		if len(released) == 0 {
			return next
		}
		next.changed = true
		for _, h := range released {
			s.apply(&next, h)
		}
	}
}

// apply makes one event a change, or tells why it is none. An outcome that
// cannot be written leaves the row as it was.
func (s *entityStage) apply(step *step, h state.Held) {
	e, err := codecs.UnmarshalEvent(h.Body)
	if err != nil {
		panic(err) // it was decoded when it was held
	}
	row, outcome := step.row.Apply(&e, s.rules(step.key))
	switch {
	case outcome.Rejected != nil:
		step.outs = append(step.outs, s.letterOf(&e, outcome.Rejected))
		return
	case outcome.Fate == event.FateLate:
		out, err := s.late(&e, step.row.Applied, step.row.Raw)
		if err != nil {
			step.outs = append(step.outs, s.letterOf(&e, event.Reject(event.InvalidField, "%v", err)))
			return
		}
		step.outs = append(step.outs, out)
	case outcome.Change != nil:
		outs, err := s.change(outcome.Change, e.Origin.IngestID)
		if err != nil {
			step.outs = append(step.outs, s.letterOf(&e, event.Reject(event.InvalidField, "%v", err)))
			return
		}
		if rejected := tooLarge(&row, outs); rejected != nil {
			step.outs = append(step.outs, s.letterOf(&e, rejected))
			return
		}
		step.outs = append(step.outs, outs...)
	default:
		s.tell(step, &e, outcome.Fate, "")
	}
	step.row = row
}

// age ends an entity of which nothing was heard for its retention, and drops a
// marker whose time is over. It comes after what the same tick released, which
// may have given the row life, and may have done so too long ago already: a
// clock can leap.
func (s *entityStage) age(step *step, nowMs int64) {
	rules := s.rules(step.key)
	if step.row.Idle(nowMs, rules) {
		row, change := step.row.Expire(step.key, expiryID(step.key, step.row.Applied), rules)
		outs, err := s.change(change, "")
		if err != nil {
			panic(err) // the image was written when it was an after
		}
		step.row, step.changed, step.outs = row, true, append(step.outs, outs...)
	}
	step.drop = step.row.Forgotten(nowMs, rules) && len(step.row.Held) == 0
}

// expiryID is the event id of the expiry that follows the event of the given
// order: one for each, so that a replay finds the same (I7).
func expiryID(key event.Key, last event.Order) string {
	version := ""
	if last.Version.Known {
		version = strconv.FormatInt(last.Version.N, 10)
	}
	return vendors.ContentID(key.String(), strconv.FormatInt(last.TsMs, 10), version, string(last.Op), last.EventID)
}

// tooLarge refuses what no topic takes, before anything of it is emitted.
func tooLarge(row *state.Entity, outs []output) *event.Rejected {
	if len(row.Image) > topology.MaxBodyBytes {
		return event.Reject(event.TooLarge, "the merged image takes %d bytes, %d are allowed", len(row.Image), topology.MaxBodyBytes)
	}
	for _, o := range outs {
		if len(o.value) > topology.MaxRecordBytes {
			return event.Reject(event.TooLarge, "the change takes %d bytes, %d are allowed", len(o.value), topology.MaxRecordBytes)
		}
	}
	return nil
}

func (s *entityStage) tell(step *step, e *event.Event, kind event.FateKind, reason string) {
	out, err := s.fate(event.Fate{
		Kind: kind, Raw: e.Origin.Raw, IngestID: e.Origin.IngestID, EventID: e.ID, Reason: reason,
	}, event.RecordKey(e.Key, e.ID))
	if err != nil {
		out = s.letterOf(e, event.Reject(event.InvalidField, "%v", err))
	}
	step.outs = append(step.outs, out)
}

// letter is the dead letter of a record that is no working event.
func (s *entityStage) letter(r *record, reason event.Reason, err error) output {
	return s.deadLetter(topology.EntityGroup, event.Reject(reason, "%v", err), r.raw, r.key, r.headers, orEmpty(r.body))
}

// letterOf is the dead letter of an event that its row refuses. The original
// bytes stand at its raw position; the letter carries its image.
func (s *entityStage) letterOf(e *event.Event, why *event.Rejected) output {
	headers := goka.Headers{
		event.HeaderIngestID:  []byte(e.Origin.IngestID),
		event.HeaderVendor:    []byte(e.Key.Vendor),
		event.HeaderTenant:    []byte(e.Key.Tenant),
		event.HeaderTransport: []byte(e.Origin.Transport),
		event.HeaderFormat:    []byte(e.Origin.Format),
	}
	headers = merge(headers, codecs.LineageHeaders(e.Origin.Lineage)...)
	return s.deadLetter(topology.EntityGroup, why, e.Origin.Raw, event.RecordKey(e.Key, e.ID), headers, orEmpty(e.Image))
}
