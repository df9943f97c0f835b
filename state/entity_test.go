package state

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/event"
)

// randomEvent is an event of one user, close in order to its like.
func randomEvent(g *rand.Rand, id string) event.Event {
	o := randomOrder(g, id)
	e := event.Event{
		ID: id, Key: event.Key{Vendor: "genesys", Tenant: "acme", Type: "user", ID: "u-1"},
		Type: "config.user.updated", Op: o.Op, TsMs: o.TsMs, Version: o.Version, Partial: g.IntN(2) == 0,
	}
	if g.IntN(6) > 0 {
		e.Image = []byte(render(fewMembers(g)))
	}
	e.Origin.Raw = event.Position{Topic: "raw.genesys", Offset: g.Int64N(1000), AppendMs: o.TsMs}
	return e
}

// fewMembers makes images that are often equal.
func fewMembers(g *rand.Rand) map[string]string {
	ms := map[string]string{}
	for _, name := range []string{"a", "name", "name "} {
		if g.IntN(2) == 0 {
			ms[name] = []string{`1`, `"x"`}[g.IntN(2)]
		}
	}
	return ms
}

func describe(o Outcome) string {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func describeRow(r Entity) string {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// life is an entity as its events tell it, kept in the plainest way.
type life struct {
	known, live, full bool
	members           map[string]string
	version           event.Version
	applied           event.Order
	deletedMs         int64
}

// tell returns what an event is to the entity: a fate, or the op of its change.
func (l *life) tell(e *event.Event, members map[string]string, rules Rules) string {
	if l.known && !l.live && e.Origin.Raw.AppendMs > l.deletedMs+rules.MarkerMs {
		*l = life{}
	}
	if l.known && e.Order().Compare(l.applied) <= 0 {
		if e.ID == l.applied.EventID {
			return string(event.FateDuplicate)
		}
		return string(event.FateLate)
	}
	was := *l
	l.known, l.applied = true, e.Order()
	if e.Op == event.Delete {
		*l = life{known: true, applied: l.applied, deletedMs: e.Origin.Raw.AppendMs}
		if was.known && !was.live {
			return string(event.FateUnchanged)
		}
		return "d"
	}
	l.live, l.members = true, maps.Clone(was.members)
	if members != nil && !e.Partial {
		l.members, l.full = members, true
		if !was.live || !maps.Equal(was.members, members) {
			l.version = e.Version
		}
	}
	if l.members == nil {
		l.members = map[string]string{}
	}
	maps.Copy(l.members, members)
	if e.Version.Known {
		l.version = e.Version
	}
	switch {
	case was.live && maps.Equal(was.members, l.members) && was.version == l.version && !rules.EmitUnchanged:
		return string(event.FateUnchanged)
	case was.live:
		return "u"
	case e.Op == event.Read:
		return "r"
	default:
		return "c"
	}
}

// TestApplyHistories applies random histories, with duplicates, late events,
// partial images and forgotten markers, and holds against the plain life:
// `before` is the previous `after` and stands in every u and d (I5), the
// sequence never goes back, late and duplicate events leave the row untouched
// (I4), and nothing that was emitted changes afterwards.
func TestApplyHistories(t *testing.T) {
	for seed := range uint64(100) {
		g := rand.New(rand.NewPCG(seed, 8))
		rules := Rules{MarkerMs: 20, EmitUnchanged: seed%3 == 0}
		held := []Held{{Order: event.Order{TsMs: 1, EventID: "held"}, Body: []byte("b")}}
		row := Entity{Held: held, HighestMs: 7}
		var want life
		var after *event.Image // of the last change
		var last event.Change
		var changes []*event.Change
		var told []string
		var past []event.Event
		appendMs := int64(1000)

		for i := range 80 {
			var e event.Event
			var members map[string]string
			if i > 0 && g.IntN(6) == 0 {
				e = past[g.IntN(len(past))]
			} else {
				e = randomEvent(g, fmt.Sprintf("e-%02d", i))
				e.TsMs += int64(i) // mostly in order
			}
			if e.Image != nil {
				members = parse(t, e.Image)
			}
			past = append(past, e)
			appendMs += g.Int64N(8)
			e.Origin.Raw.AppendMs = appendMs

			if row.Forgotten(appendMs, rules) {
				last = event.Change{}
			}
			was := describeRow(row)
			next, got := row.Apply(&e, rules)
			if describeRow(row) != was {
				t.Fatalf("seed %d: Apply changed its receiver", seed)
			}
			kind, c := string(got.Fate), got.Change
			if c != nil {
				kind = string(c.Op)
			}
			if wanted := want.tell(&e, members, rules); kind != wanted || got.Rejected != nil {
				t.Fatalf("seed %d: event %d %+v: got %s, want %s\nrow %s", seed, i, e, describe(got), wanted, was)
			}
			if (kind == "late" || kind == "duplicate") && describeRow(next) != was {
				t.Fatalf("seed %d: a %s event touched the row:\n%s\n%s", seed, kind, was, describeRow(next))
			}
			if diff := cmp.Diff(want.image(), next.Side()); diff != "" {
				t.Fatalf("seed %d: event %d: row (-want +got):\n%s", seed, i, diff)
			}
			if got, want := next.Partial, want.live && !want.full; got != want {
				t.Fatalf("seed %d: event %d: partial: got %v, want %v", seed, i, got, want)
			}
			if diff := cmp.Diff(held, next.Held); diff != "" || next.HighestMs != 7 {
				t.Fatalf("seed %d: event %d touched the buffer: %s", seed, i, diff)
			}
			row = next
			if c == nil {
				if diff := cmp.Diff(after, row.Side()); diff != "" {
					t.Fatalf("seed %d: a %s event changed what readers see:\n%s", seed, kind, diff)
				}
				continue
			}

			before := after
			if c.Op == event.Delete && before == nil {
				before = &event.Image{} // key only
			}
			if diff := cmp.Diff(before, c.Before); diff != "" {
				t.Fatalf("seed %d: change %d: before is not the previous after (-want +got):\n%s", seed, len(changes), diff)
			}
			if (c.Op == event.Update) != (c.Before != nil && c.After != nil) || (c.Op == event.Delete) != (c.After == nil) {
				t.Fatalf("seed %d: a %s has before %v, after %v", seed, c.Op, c.Before, c.After)
			}
			if c.SequenceUs < last.SequenceUs || c.SequenceN != last.SequenceN+1 || c.SequenceUs < e.TsMs*1000 {
				t.Fatalf("seed %d: sequence goes from %d/%d to %d/%d", seed, last.SequenceUs, last.SequenceN, c.SequenceUs, c.SequenceN)
			}
			if c.EventID != e.ID || c.Raw != e.Origin.Raw || c.TsMs != e.TsMs || c.Key != e.Key {
				t.Fatalf("seed %d: the change tells of another event: %+v", seed, c)
			}
			after, last = want.image(), *c
			changes, told = append(changes, c), append(told, describe(got))
		}
		for i, c := range changes {
			if got := describe(Outcome{Change: c}); got != told[i] {
				t.Fatalf("seed %d: change %d was %s when it was emitted, is %s", seed, i, told[i], got)
			}
		}
	}
}

func (l *life) image() *event.Image {
	if !l.live {
		return nil
	}
	image := &event.Image{Data: []byte(render(l.members))}
	if l.members["name"] == `"x"` {
		x := "x"
		image.Name = &x
	}
	if l.version.Known {
		image.Version = &l.version.N
		n := l.version.N
		image.Version = &n
	}
	return image
}

func parse(t *testing.T, image []byte) map[string]string {
	t.Helper()
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(image, &raw); err != nil {
		t.Fatal(err)
	}
	ms := map[string]string{}
	for name, value := range raw {
		ms[name] = string(value)
	}
	return ms
}

// TestApply tells the rules one by one.
func TestApply(t *testing.T) {
	const marker = 1000
	// at is an event at a moment, appended at the same.
	at := func(ms int64, op event.Op, image string) event.Event {
		return event.Event{
			ID: fmt.Sprintf("%s-%d", op, ms), Op: op, TsMs: ms, Image: orNil(image),
			Origin: event.Origin{Raw: event.Position{Topic: "raw.genesys", AppendMs: ms}},
		}
	}
	appended := func(e event.Event, ms int64) event.Event { e.Origin.Raw.AppendMs = ms; return e }
	versioned := func(e event.Event, n int64) event.Event { e.Version = event.Version{N: n, Known: true}; return e }
	partial := func(e event.Event) event.Event { e.Partial = true; return e }
	created := at(100, event.Create, `{"a":1}`)
	deleted := at(200, event.Delete, "")

	tests := []struct {
		name   string
		events []event.Event
		emit   bool
		want   string // outcome of the last event: op or fate, before > after
	}{
		{"create", []event.Event{created}, false, `c - > {"a":1}`},
		{"update of the unknown is a create", []event.Event{at(1, event.Update, `{"a":1}`)}, false, `c - > {"a":1}`},
		{"read of the unknown", []event.Event{at(1, event.Read, `{"a":1}`)}, false, `r incremental - > {"a":1}`},
		{"create of the known is an update", []event.Event{created, at(101, event.Create, `{"a":2}`)}, false, `u {"a":1} > {"a":2}`},
		{"read of the known is an update", []event.Event{created, at(101, event.Read, `{"a":2}`)}, false, `u {"a":1} > {"a":2}`},
		{"full image replaces", []event.Event{created, at(101, event.Update, `{"b":2}`)}, false, `u {"a":1} > {"b":2}`},
		{"partial image merges", []event.Event{created, partial(at(101, event.Update, `{"b":2}`))}, false, `u {"a":1} > {"a":1,"b":2}`},
		{"unmergeable", []event.Event{created, partial(at(101, event.Update, `[]`))}, false, `unmergeable`},
		{"no-op", []event.Event{created, at(101, event.Update, `{"a":1}`)}, false, `unchanged`},
		{"no-op by a partial image", []event.Event{created, partial(at(101, event.Update, `{"a":1}`))}, false, `unchanged`},
		{"no-op, emitted", []event.Event{created, at(101, event.Update, `{"a":1}`)}, true, `u {"a":1} > {"a":1}`},
		{"new version only", []event.Event{versioned(created, 1), versioned(at(101, event.Update, `{"a":1}`), 2)}, false, `u {"a":1}@1 > {"a":1}@2`},
		{"no-op without version", []event.Event{versioned(created, 1), at(101, event.Update, `{"a":1}`)}, false, `unchanged`},
		{"no-op without version, emitted", []event.Event{versioned(created, 1), at(101, event.Update, `{"a":1}`)}, true, `u {"a":1}@1 > {"a":1}@1`},
		{"full image without version", []event.Event{versioned(created, 1), at(101, event.Update, `{"a":2}`)}, false, `u {"a":1}@1 > {"a":2}`},
		{"no image keeps the version", []event.Event{versioned(created, 1), at(101, event.Update, "")}, false, `unchanged`},
		{"partial image keeps the version", []event.Event{versioned(created, 1), partial(at(101, event.Update, `{"b":2}`))}, false, `u {"a":1}@1 > {"a":1,"b":2}@1`},
		{"delete", []event.Event{versioned(created, 1), deleted}, false, `d {"a":1}@1 > -`},
		{"delete of the unknown", []event.Event{deleted}, false, `d key > -`},
		{"second delete", []event.Event{created, deleted, at(201, event.Delete, "")}, false, `unchanged`},
		{"second delete, emitted or not", []event.Event{created, deleted, at(201, event.Delete, "")}, true, `unchanged`},
		{"older than the marker", []event.Event{created, deleted, at(199, event.Update, `{"a":2}`)}, false, `late`},
		{"older than the second delete", []event.Event{created, deleted, at(300, event.Delete, ""), at(250, event.Update, `{"a":2}`)}, false, `late`},
		{"newer than the marker", []event.Event{created, deleted, at(201, event.Update, `{"a":2}`)}, false, `c - > {"a":2}`},
		{"partial after the marker", []event.Event{created, deleted, partial(at(201, event.Update, `{"b":2}`))}, false, `c - > {"b":2}`},
		{"older, marker about to be forgotten", []event.Event{created, deleted, appended(at(199, event.Update, `{"a":2}`), 200+marker)}, false, `late`},
		{"older, marker forgotten", []event.Event{created, deleted, appended(at(199, event.Update, `{"a":2}`), 201+marker)}, false, `c - > {"a":2}`},
		{"delete, marker forgotten", []event.Event{created, deleted, at(201+marker, event.Delete, "")}, false, `d key > -`},
		{"older", []event.Event{created, at(99, event.Update, `{"a":2}`)}, false, `late`},
		{"again", []event.Event{created, created}, false, `duplicate`},
		{"again after another", []event.Event{created, at(101, event.Update, `{"a":2}`), created}, false, `late`},
		{"again after its deletion", []event.Event{created, deleted, deleted}, false, `duplicate`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var row Entity
			var outcome Outcome
			for _, e := range tt.events {
				row, outcome = row.Apply(&e, Rules{MarkerMs: marker, EmitUnchanged: tt.emit})
			}
			if got := brief(outcome); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestExpire tells what becomes of an entity that nothing is heard of: the change
// of its end, and what its marker says of an event that comes later.
func TestExpire(t *testing.T) {
	key := event.Key{Vendor: "genesys", Tenant: "acme", Type: event.TypeConversation, ID: "c1"}
	rules := Rules{MarkerMs: 1000, IdleMs: 5000}
	told := func(ms, appendMs int64, image string) *event.Event {
		return &event.Event{
			ID: fmt.Sprintf("e-%d", ms), Key: key, Op: event.Update, TsMs: ms, Image: []byte(image),
			Origin: event.Origin{Raw: event.Position{Topic: "raw.genesys", AppendMs: appendMs}},
		}
	}
	live := func(ms int64) Entity {
		row, _ := Entity{SeenMs: 100}.Apply(told(ms, 100, `{"name":"x"}`), rules)
		row, _ = row.Apply(told(ms+1, 100, `{"name":"y"}`), rules)
		return row
	}

	idle := live(50)
	for nowMs, want := range map[int64]bool{5100: false, 5101: true, 1 << 40: true} {
		if got := idle.Idle(nowMs, rules); got != want {
			t.Errorf("at %d: idle: got %t, want %t", nowMs, got, want)
		}
	}
	never := map[string]struct {
		change func(*Entity)
		rules  Rules
	}{
		"a configuration resource":    {func(*Entity) {}, Rules{MarkerMs: 1000}},
		"a row of an earlier version": {func(r *Entity) { r.SeenMs = 0 }, rules},
		"a marker":                    {func(r *Entity) { r.Live = false }, rules},
		"one that holds events":       {func(r *Entity) { r.Held = []Held{{}} }, rules},
	}
	for name, tt := range never {
		row := live(50)
		if tt.change(&row); row.Idle(1<<40, tt.rules) {
			t.Errorf("%s is idle", name)
		}
	}

	y := "y"
	for _, ts := range []int64{50, 7000} { // one of a vendor whose clock is ahead
		row := live(ts)
		marker, got := row.Expire(key, "id", rules)
		want := &event.Change{
			Key: key, Op: event.Delete, Before: &event.Image{Name: &y, Data: []byte(`{"name":"y"}`)},
			TsMs: max(5100, ts+1), Snapshot: "false", SequenceUs: max(5100, ts+1) * 1000, SequenceN: 3,
			EventID: "id", EventType: "conversation.expired", Cause: event.CauseIdle,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("change (-want +got):\n%s", diff)
		}
		if marker.Side() != nil || marker.Applied != row.Applied || marker.DeletedMs != 5100 || marker.Changes != 3 {
			t.Errorf("got row %+v, want a marker of %+v", marker, row.Applied)
		}
		for _, later := range []struct {
			e    *event.Event
			want string
		}{
			{told(ts, 5200, `{}`), "late"},
			{told(ts+1, 5200, `{}`), "duplicate"},
			{told(ts+2, 5200, `{}`), "c - > {}"}, // before the expiry, but nothing newer was heard
			{told(ts, 6101, `{}`), "c - > {}"},   // the marker is forgotten
		} {
			if _, got := marker.Apply(later.e, rules); brief(got) != later.want {
				t.Errorf("after the expiry of %s, event %s: got %s, want %s", row.Applied.EventID, later.e.ID, brief(got), later.want)
			}
		}
	}
}

func brief(o Outcome) string {
	side := func(image *event.Image) string {
		switch {
		case image == nil:
			return "-"
		case image.Data == nil:
			return "key"
		case image.Version != nil:
			return fmt.Sprintf("%s@%d", image.Data, *image.Version)
		}
		return string(image.Data)
	}
	switch {
	case o.Rejected != nil:
		return string(o.Rejected.Reason)
	case o.Change == nil:
		return string(o.Fate)
	case o.Change.Snapshot != "false":
		return fmt.Sprintf("%s %s %s > %s", o.Change.Op, o.Change.Snapshot, side(o.Change.Before), side(o.Change.After))
	}
	return fmt.Sprintf("%s %s > %s", o.Change.Op, side(o.Change.Before), side(o.Change.After))
}
