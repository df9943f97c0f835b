package processors_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lovoo/goka"

	"trunkline/codecs"
	"trunkline/event"
	"trunkline/processors"
	"trunkline/state"
	"trunkline/stream"
	"trunkline/topology"
)

// entityRun feeds the entity stage as the runtime does: the ticks that a log
// time makes due come ahead of the record that carries it (I7).
type entityRun struct {
	*stage
	logTime func(header func(string) []byte) (clock string, ms int64, ok bool)
	clocks  map[string]int64
	offset  int64
	seen    []emission

	// lags leaves the stage behind for as long as the runtime may: what it was sent
	// waits until a record in flight could set a timer that the next makes due.
	lags    bool
	minHold int64
	flight  []func()
	sent    map[string]int64 // log time of the first record in flight, by clock
}

func startEntityRun(t testing.TB, c processors.Config) *entityRun {
	t.Helper()
	opts := processors.Stages(c)[1]
	return &entityRun{
		stage: start(t, opts), logTime: opts.LogTime, clocks: map[string]int64{},
		minHold: opts.MinHold.Milliseconds(), sent: map[string]int64{},
	}
}

func (r *entityRun) do(f func()) {
	if r.flight = append(r.flight, f); !r.lags {
		r.land()
	}
}

// land handles what is in flight.
func (r *entityRun) land() {
	for _, f := range r.flight {
		f()
	}
	r.flight = nil
	clear(r.sent)
}

// record delivers a record of `events` and what is due ahead of it.
func (r *entityRun) record(key string, body []byte, headers goka.Headers) {
	r.t.Helper()
	clock, ms := r.ticks(headers)
	r.offset++
	at := event.Position{Topic: string(topology.EventsTopic), Partition: 3, Offset: r.offset, AppendMs: ms + 1000}
	if _, earlier := r.sent[clock]; !earlier {
		r.sent[clock] = ms
	}
	r.do(func() { r.seen = append(r.seen, r.deliver(at, key, body, headers)...) })
}

// ticks delivers what a record with the given headers makes due, and returns its
// log time.
func (r *entityRun) ticks(headers goka.Headers) (clock string, ms int64) {
	r.t.Helper()
	clock, ms, ok := r.logTime(func(name string) []byte { return headers[name] })
	if !ok {
		r.t.Fatalf("no log time in %v", headers)
	}
	r.clocks[clock] = max(r.clocks[clock], ms)
	if first, some := r.sent[clock]; some && first+r.minHold <= r.clocks[clock] {
		r.land()
	}
	due, err := r.store.Due(clock, r.clocks[clock])
	if err != nil {
		r.t.Fatal(err)
	}
	tick := stream.Tick{Clock: clock, NowMs: r.clocks[clock]}
	for _, key := range due {
		r.do(func() { r.seen = append(r.seen, r.tick(key, tick, 3)...) })
	}
	return clock, ms
}

func (r *entityRun) event(e event.Event) {
	r.t.Helper()
	body, err := codecs.MarshalEvent(nil, &e)
	if err != nil {
		r.t.Fatal(err)
	}
	r.record(e.Key.String(), body, headersOf(e))
}

func (r *entityRun) mark(clock string, ms int64) {
	r.t.Helper()
	r.record(clock, []byte{}, goka.Headers{
		event.HeaderMark: []byte("true"), event.HeaderLogSource: []byte(clock), event.HeaderLogMs: fmt.Append(nil, ms),
	})
}

// headersOf are those that normalise gives the working event.
func headersOf(e event.Event) goka.Headers {
	return merge(goka.Headers{
		event.HeaderRun: []byte("run-1"), event.HeaderIngestID: []byte(e.Origin.IngestID),
		event.HeaderLogSource: []byte(e.Origin.LogSource), event.HeaderLogMs: fmt.Append(nil, e.Origin.LogMs),
	}, e.Origin.Raw.Headers())
}

func (r *entityRun) row(key event.Key) (row state.Entity, ok bool) {
	r.t.Helper()
	b, ok := r.rows()[key.String()]
	if !ok {
		return state.Entity{}, false
	}
	row, err := state.DecodeEntity(b)
	if err != nil {
		r.t.Fatal(err)
	}
	return row, true
}

// working is an update of user u1 on raw.genesys/3, timed after t0 in ms; its
// appending is also its offset.
func working(id string, ts, appended int64, image string, change ...func(*event.Event)) event.Event {
	at := event.Position{Topic: "raw.genesys", Partition: 3, Offset: appended, AppendMs: t0 + appended}
	e := event.Event{
		ID: id, Key: event.Key{Vendor: topology.Genesys, Tenant: "acme", Type: "user", ID: "u1"},
		Type: "config.user.updated", Op: event.Update, TsMs: t0 + ts, TsSource: event.TsEvent, Image: []byte(image),
		Origin: event.Origin{
			IngestID: fmt.Sprintf("request-%d/0", appended), Transport: event.Push, Format: event.GenesysSeed,
			ReceivedMs: at.AppendMs - 5, Raw: at, LogSource: "raw.genesys/3", LogMs: at.AppendMs,
		},
	}
	for _, f := range change {
		f(&e)
	}
	if len(e.Image) == 0 {
		e.Image = nil
	}
	return e
}

func partial(e *event.Event) { e.Partial = true }
func deleted(e *event.Event) { e.Op, e.Type = event.Delete, "config.user.deleted" }
func found(e *event.Event)   { e.Op = event.Read }
func ofFlow(e *event.Event)  { e.Key.Type = "flow" }
func ofConversation(e *event.Event) {
	e.Key.Type = event.TypeConversation
}

func version(n int64) func(*event.Event) {
	return func(e *event.Event) { e.Version = event.Version{N: n, Known: true} }
}

// changeOf decodes a change; ok is false for a tombstone.
func changeOf(t testing.TB, e emission) (c event.Change, ok bool) {
	t.Helper()
	vendor, _, _ := strings.Cut(string(e.Headers[stream.ToTopic]), ".")
	if e.Value == nil {
		k, err := codecs.DecodeKey(codecs.FormatJSON, vendor, []byte(e.Key))
		if err != nil {
			t.Fatal(err)
		}
		return event.Change{Key: k}, false
	}
	c, err := codecs.DecodeChange(codecs.FormatJSON, []byte(e.Key), e.Value)
	if err != nil {
		t.Fatal(err)
	}
	return c, true
}

// told renders what the entity stage emitted.
func told(t testing.TB, es []emission) []string {
	t.Helper()
	var got []string
	for _, e := range es {
		if e.Stream != topology.Changes {
			got = append(got, outcome(t, e))
			continue
		}
		c, ok := changeOf(t, e)
		if want := topology.ChangeTopic(c.Key); string(e.Headers[stream.ToTopic]) != want || string(e.Headers[stream.PartitionBy]) != c.Key.String() {
			t.Errorf("change of %s on %s by %s, want %s by the entity key", c.Key, e.Headers[stream.ToTopic], e.Headers[stream.PartitionBy], want)
		}
		if !ok {
			got = append(got, "tombstone "+c.Key.ID)
			continue
		}
		side := func(i *event.Image) string {
			switch {
			case i == nil:
				return "-"
			case i.Data == nil:
				return "key"
			default:
				return string(i.Data)
			}
		}
		got = append(got, fmt.Sprintf("%s %s: %s → %s", c.Op, c.EventID, side(c.Before), side(c.After)))
	}
	return got
}

// mark stands for a mark of raw.genesys/3 in the histories below, in ms after t0.
type mark int64

func TestEntity(t *testing.T) {
	const over = mark(1 << 40) // everything is due
	win := window.Milliseconds()
	big := func(member string) string {
		return `{"` + member + `":"` + strings.Repeat("x", 600<<10) + `"}`
	}
	tests := map[string]struct {
		history []any // event.Event, mark
		want    []string
	}{
		"held until the log moves past the hold": {
			[]any{working("a", 0, 0, `{"n":1}`), mark(499)}, nil,
		},
		"released by a tick": {
			[]any{working("a", 0, 0, `{"n":1}`), mark(500)},
			[]string{`c a: - → {"n":1}`},
		},
		"released by a record of another entity": {
			[]any{working("a", 0, 0, `{"n":1}`), working("b", 0, 500, `{}`, ofFlow)},
			[]string{`c a: - → {"n":1}`},
		},
		"an interaction is held for less": {
			[]any{working("a", 0, 0, `{"n":1}`, ofConversation), working("b", 0, 0, `{}`), mark(100)},
			[]string{`c a: - → {"n":1}`},
		},
		"another log's clock releases nothing": {
			[]any{working("a", 0, 0, `{"n":1}`), working("b", 0, 9000, `{}`, ofFlow, func(e *event.Event) { e.Origin.LogSource = "raw.genesys/4" })},
			nil,
		},
		"released by the watermark": {
			[]any{working("a", 0, 0, `{"n":1}`), working("b", 499, 1, `{"n":2}`), working("c", 500, 2, `{"n":3}`)},
			[]string{`c a: - → {"n":1}`},
		},
		"released by the next version": {
			[]any{
				working("a", 0, 0, `{"n":1}`, version(1)), mark(500),
				working("c", 9, 510, `{"n":3}`, version(3)), working("b", 8, 511, `{"n":2}`, version(2)),
			},
			[]string{`c a: - → {"n":1}`, `u b: {"n":1} → {"n":2}`, `u c: {"n":2} → {"n":3}`},
		},
		"a version that counts no changes waits": {
			[]any{
				working("a", 0, 0, `{"n":1}`, version(1), ofFlow), mark(500),
				working("b", 8, 511, `{"n":2}`, version(2), ofFlow), mark(1000),
			},
			[]string{`c a: - → {"n":1}`},
		},
		"ordered by event time": {
			[]any{working("b", 20, 0, `{"n":2}`), working("c", 30, 1, `{"n":3}`), working("a", 10, 2, `{"n":1}`), over},
			[]string{`c a: - → {"n":1}`, `u b: {"n":1} → {"n":2}`, `u c: {"n":2} → {"n":3}`},
		},
		"what overtakes takes along": {
			[]any{working("b", 20, 0, `{"n":2}`), working("a", 10, 499, `{"n":1}`), mark(500)},
			[]string{`c a: - → {"n":1}`, `u b: {"n":1} → {"n":2}`},
		},
		"late": {
			[]any{working("b", 20, 0, `{"n":2}`), mark(500), working("a", 10, 501, `{"n":1}`), over, working("c", 30, 502, `{"n":3}`), over},
			[]string{`c b: - → {"n":2}`, `late a at 10, b was at 20`, `u c: {"n":2} → {"n":3}`},
		},
		"the last applied event again": {
			[]any{working("a", 10, 0, `{"n":1}`), over, working("a", 10, 501, `{"n":1}`), over},
			[]string{`c a: - → {"n":1}`, `duplicate`},
		},
		"a held event again": {
			[]any{working("a", 10, 0, `{"n":1}`), working("a", 10, 1, `{"n":1}`), over},
			[]string{`duplicate held`, `c a: - → {"n":1}`},
		},
		"unchanged": {
			[]any{working("a", 10, 0, `{"n":1}`), working("b", 20, 1, `{"n":1}`), over, working("c", 15, 2, `{"n":2}`), over},
			[]string{`c a: - → {"n":1}`, `unchanged`, `late c at 15, b was at 20`},
		},
		"partial images": {
			[]any{
				working("a", 10, 0, `{"b":[1.0],"c":1}`, partial), working("b", 20, 1, `{"a":"x","c":2e0}`, partial),
				working("c", 30, 2, `{"z":0}`), working("d", 40, 3, `{"z":null}`, partial), over,
			},
			[]string{
				`c a: - → {"b":[1.0],"c":1}`, `u b: {"b":[1.0],"c":1} → {"a":"x","b":[1.0],"c":2e0}`,
				`u c: {"a":"x","b":[1.0],"c":2e0} → {"z":0}`, `u d: {"z":0} → {"z":null}`,
			},
		},
		"found by reconciliation": {
			[]any{working("a", 10, 0, `{"n":1}`, found), working("b", 20, 1, `{"n":2}`, found), over},
			[]string{`r a: - → {"n":1}`, `u b: {"n":1} → {"n":2}`},
		},
		"deleted": {
			[]any{working("a", 10, 0, `{"n":1}`), working("b", 20, 1, ``, deleted), over},
			[]string{`c a: - → {"n":1}`, `d b: {"n":1} → -`, `tombstone u1`},
		},
		"deleted without known state": {
			[]any{working("b", 20, 1, `{"n":1}`, deleted), mark(501)},
			[]string{`d b: key → -`, `tombstone u1`},
		},
		"deleted twice": {
			[]any{working("b", 20, 1, ``, deleted), working("c", 30, 2, ``, deleted), mark(502)},
			[]string{`d b: key → -`, `tombstone u1`, `unchanged`},
		},
		"delete and update of the same millisecond": {
			[]any{working("a", 20, 1, ``, deleted), working("b", 20, 2, `{"n":1}`), mark(502)},
			[]string{`c b: - → {"n":1}`, `d a: {"n":1} → -`, `tombstone u1`},
		},
		"an older update after the delete": {
			[]any{working("b", 20, 1, ``, deleted), mark(501), working("a", 10, 600, `{"n":1}`), mark(1100)},
			[]string{`d b: key → -`, `tombstone u1`, `late a at 10, b was at 20`},
		},
		"a newer update after the delete": {
			[]any{working("b", 20, 1, ``, deleted), mark(501), working("c", 30, 600, `{"n":1}`), mark(1100)},
			[]string{`d b: key → -`, `tombstone u1`, `c c: - → {"n":1}`},
		},
		"an older update in the last moment of the marker": {
			[]any{working("b", 20, 0, ``, deleted), mark(501), working("a", 10, win, `{"n":1}`), over},
			[]string{`d b: key → -`, `tombstone u1`, `late a at 10, b was at 20`},
		},
		"an older update after the marker's time": {
			[]any{working("b", 20, 0, ``, deleted), mark(501), working("a", 10, win+1, `{"n":1}`), over},
			[]string{`d b: key → -`, `tombstone u1`, `c a: - → {"n":1}`},
		},
		"a newer update in the last moment of the marker stays": {
			[]any{
				working("b", 20, 0, ``, deleted), mark(501),
				working("c", 30, win, `{"n":1}`), mark(win + 500), working("d", 40, win+600, `{"n":2}`), over,
			},
			[]string{`d b: key → -`, `tombstone u1`, `c c: - → {"n":1}`, `u d: {"n":1} → {"n":2}`},
		},
		"a mark alone": {
			[]any{over}, nil,
		},
		"too large by merging": {
			[]any{working("a", 10, 0, big("a"), partial), working("b", 20, 1, big("b"), partial), working("c", 30, 2, `{"z":0}`), over},
			[]string{"c a: - → " + big("a"), "u c: " + big("a") + ` → {"z":0}`, "dead letter too_large"},
		},
		"image that does not fit": {
			[]any{working("a", 10, 0, `{"n":1}`), working("b", 20, 1, `["no object"]`, partial), working("c", 30, 2, `{"z":0}`, partial), over},
			[]string{`c a: - → {"n":1}`, `u c: {"n":1} → {"n":1,"z":0}`, `dead letter unmergeable`},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := startEntityRun(t, config(t))
			for _, step := range tt.history {
				switch step := step.(type) {
				case event.Event:
					r.event(step)
				case mark:
					r.mark("raw.genesys/3", t0+int64(step))
				}
			}
			if diff := cmp.Diff(tt.want, told(t, r.seen)); diff != "" {
				t.Errorf("outputs (-want +got):\n%s", diff)
			}
		})
	}
}

// A deleted row stays as a marker for the dedup window; the tick that follows
// drops it, unless something was held.
func TestEntityMarker(t *testing.T) {
	r := startEntityRun(t, config(t))
	e := working("b", 20, 0, ``, deleted)
	r.event(e)
	expired := t0 + window.Milliseconds() + 1
	for _, step := range []struct {
		ms   int64
		want bool
	}{{t0 + 500, true}, {expired - 1, true}, {expired, false}} {
		r.mark("raw.genesys/3", step.ms)
		row, ok := r.row(e.Key)
		if ok != step.want {
			t.Errorf("at %d: row is there: %t, want %t", step.ms-t0, ok, step.want)
		}
		if ok && (row.Live || row.Image != nil || row.Applied != e.Order()) {
			t.Errorf("at %d: row %+v, want a marker of %v", step.ms-t0, row, e.Order())
		}
	}
}

// Everything that a change tells beside its images, on the key that its
// tombstone has too.
func TestEntityChange(t *testing.T) {
	r := startEntityRun(t, config(t))
	update := working("a", 10, 7, `{"name":"Ann","n":1}`, version(4))
	remove := working("b", 20, 8, ``, deleted)
	r.event(update)
	r.event(remove)
	r.mark("raw.genesys/3", t0+600)
	if len(r.seen) != 3 || r.seen[1].Key != r.seen[2].Key || r.seen[2].Value != nil {
		t.Fatalf("got %q, want a c, a d and a tombstone on the key of the d", told(t, r.seen))
	}
	name, four := "Ann", int64(4)
	image := &event.Image{Name: &name, Version: &four, Data: update.Image}
	want := []event.Change{
		{Op: event.Create, After: image, TsMs: t0 + 10, SequenceN: 1, EventID: "a", EventType: update.Type, Raw: update.Origin.Raw},
		{Op: event.Delete, Before: image, TsMs: t0 + 20, SequenceN: 2, EventID: "b", EventType: remove.Type, Raw: remove.Origin.Raw},
	}
	for i, w := range want {
		w.Key, w.Snapshot, w.SequenceUs, w.Processed, w.Raw.AppendMs = update.Key, "false", w.TsMs*1000, processed.UnixNano(), 0
		got, _ := changeOf(t, r.seen[i])
		if diff := cmp.Diff(w, got); diff != "" {
			t.Errorf("change %d (-want +got):\n%s", i, diff)
		}
		if at, ok := event.PositionOf(r.seen[i].Headers); !ok || at.Offset != w.Raw.Offset || at.AppendMs != t0+w.Raw.Offset {
			t.Errorf("change %d tells position %v", i, at)
		}
	}
}

func TestEntityEmitsUnchanged(t *testing.T) {
	c := config(t)
	c.EmitUnchanged = true
	r := startEntityRun(t, c)
	r.event(working("a", 10, 0, `{"n":1}`))
	r.event(working("b", 20, 1, `{"n":1}`))
	r.mark("raw.genesys/3", t0+600)
	if diff := cmp.Diff([]string{`c a: - → {"n":1}`, `u b: {"n":1} → {"n":1}`}, told(t, r.seen)); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
}

// Each change of a Genesys configuration resource is projected, and no other; where
// the layout has no topic for it, none is. Seen failing with headers that the change
// and its projection share, and with interactions projected.
func TestEntityProjects(t *testing.T) {
	others := map[bool][]string{}
	for _, on := range []bool{true, false} {
		c := config(t)
		c.Layout.SeedProjection = on
		var err error
		if c.Seed, err = codecs.NewSeedCodec(string(topology.SeedTopic), codecs.SchemaIDs{Key: 1, Value: 2}); err != nil {
			t.Fatal(err)
		}
		r := startEntityRun(t, c)
		kept := working("a", 10, 0, `{"n":1}`)
		r.event(kept)
		r.event(working("same", 20, 1, `{"n":1}`))
		r.event(working("b", 30, 2, ``, deleted))
		r.event(working("talk", 10, 3, `{"n":1}`, ofConversation))
		r.event(working("other", 10, 4, `{"n":1}`, func(e *event.Event) { e.Key.Vendor = topology.CXone }))
		r.mark("raw.genesys/3", t0+600)
		var got []string
		for _, e := range r.seen {
			if e.Stream != topology.SeedTopic {
				others[on] = append(others[on], told(t, []emission{e})...)
				continue
			}
			if k, err := codecs.DecodeKey(codecs.FormatAvro, topology.Genesys, []byte(e.Key)); err != nil || k != kept.Key {
				t.Errorf("key of %v, %v, want %v", k, err, kept.Key)
			}
			if e.Headers[stream.ToTopic] != nil || string(e.Headers[stream.PartitionBy]) != kept.Key.String() {
				t.Errorf("sent to %q by %q, want by the entity key", e.Headers[stream.ToTopic], e.Headers[stream.PartitionBy])
			}
			if e.Value == nil {
				got = append(got, "tombstone")
				continue
			}
			record, err := c.Seed.Decode(e.Value)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(record["op"], " ", record["ts_ms"]))
		}
		var want []string
		if on {
			want = []string{fmt.Sprint("c ", t0+10), fmt.Sprint("d ", t0+30), "tombstone"}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("projection is on: %t (-want +got):\n%s", on, diff)
		}
	}
	if diff := cmp.Diff(others[false], others[true]); diff != "" {
		t.Errorf("other outputs without and with the projection (-without +with):\n%s", diff)
	}
}

// A late event is told as the bus tells events, with both orders and positions
// (I4).
func TestEntityLate(t *testing.T) {
	c := config(t)
	r := startEntityRun(t, c)
	newer, older := working("b", 20, 1, `{"n":2}`, version(2)), working("a", 10, 600, `{"n":1}`, version(1))
	r.event(newer)
	r.mark("raw.genesys/3", t0+501)
	before := r.rows()
	r.seen = nil
	r.event(older)
	r.mark("raw.genesys/3", t0+1100)
	if len(r.seen) != 1 || r.seen[0].Stream != topology.LateEventsTopic {
		t.Fatalf("got %q, want one late event", told(t, r.seen))
	}
	if diff := cmp.Diff(before, r.rows()); diff != "" {
		t.Errorf("the row changed (-before +after):\n%s", diff)
	}
	got, err := codecs.ParseLate(r.seen[0].Headers)
	if err != nil {
		t.Fatal(err)
	}
	want := codecs.Late{
		Raw: older.Origin.Raw, Key: "genesys/acme/user/u1#a", IngestID: "request-600/0", Run: "run-1",
		Own: older.Order(), Row: newer.Order(), RowRaw: newer.Origin.Raw,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("late event (-want +got):\n%s", diff)
	}
	canonical, err := c.Canonical[string(topology.LateEventsTopic)].Codec.Decode(r.seen[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	if canonical.EventID != "a" || canonical.Payload["n"] != "1" || r.seen[0].Key != want.Key {
		t.Errorf("late event %q: %+v", r.seen[0].Key, canonical)
	}
}

// I6: an internal record that cannot be read is a dead letter, and the row of
// its key stays as it was.
func TestEntityUndecodable(t *testing.T) {
	r := startEntityRun(t, config(t))
	e := working("a", 10, 0, `{"n":1}`)
	r.event(e)
	before := r.rows()
	for _, body := range [][]byte{nil, {}, {0xff, 1}, []byte(`{"id":"a"}`)} {
		r.seen = nil
		headers := headersOf(e)
		r.record(e.Key.String(), body, headers)
		if diff := cmp.Diff([]string{"dead letter undecodable"}, told(t, r.seen)); diff != "" {
			t.Fatalf("%q (-want +got):\n%s", body, diff)
		}
		letter := r.seen[0]
		if at, _ := event.PositionOf(letter.Headers); at != e.Origin.Raw {
			t.Errorf("%q: letter tells position %v, want %v", body, at, e.Origin.Raw)
		}
		if !bytes.Equal(letter.Value, body) || letter.Value == nil {
			t.Errorf("letter %q, want %q", letter.Value, body)
		}
	}
	if diff := cmp.Diff(before, r.rows()); diff != "" {
		t.Errorf("rows (-before +after):\n%s", diff)
	}
}

// A dead letter of an event that its row refuses names the raw position, where
// the original bytes stand, and continues the lineage of a redriven record.
func TestEntityRefuses(t *testing.T) {
	r := startEntityRun(t, config(t))
	e := working("b", 20, 4, `[]`, partial)
	e.Origin.Lineage = event.Lineage{Root: "raw.genesys/3/1", Attempts: 2, FirstSeenMs: 17}
	r.event(working("a", 10, 0, `{"n":1}`))
	r.event(e)
	r.mark("raw.genesys/3", t0+time.Minute.Milliseconds())
	letter, err := codecs.ParseDeadLetter(r.seen[len(r.seen)-1].Headers)
	if err != nil {
		t.Fatal(err)
	}
	want := codecs.DeadLetter{
		Reason: event.Unmergeable, Stage: "entity", Detail: letter.Detail, Raw: e.Origin.Raw, Key: "genesys/acme/user/u1#b",
		IngestID: "request-4/0", Attempt: 3, FirstSeenMs: 17, Root: "raw.genesys/3/1", Run: "run-1",
	}
	if diff := cmp.Diff(want, letter); diff != "" {
		t.Errorf("letter (-want +got):\n%s", diff)
	}
}
