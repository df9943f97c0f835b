package processors_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lovoo/goka"

	"trunkline/event"
	"trunkline/processors"
	"trunkline/stream"
	"trunkline/topology"
	"trunkline/vendors"
)

const retention = 10 * time.Second

func shortLived(t testing.TB) processors.Config {
	t.Helper()
	c := config(t)
	c.InteractionRetention, c.Layout.DedupWindow = retention, 20*time.Second
	return c
}

// I4, I5, I7: whatever is told of which entity when, an interaction that its log
// was silent about for its retention ends with one d and its tombstone, at that
// moment and never else, and a configuration resource never. A live run with its
// marks, a replay without, and one that is recovered again and again from its
// changelog say the same, byte for byte; so does a stage that comes behind the log as
// far as the runtime lets it.
//
// Seen failing with an expiry at the time of the tick, one that counts from the
// last applied event, one that waits for another tick than that which gave the row
// life, timers of live rows alone, a MinHold that is too long, configuration
// resources that expire, a key-only before, and a raw position in the headers.
func TestInteractionsExpire(t *testing.T) {
	for seed := range uint64(8) {
		history := randomSilences(rand.New(rand.NewPCG(seed, 21)))
		var first map[string][]string
		for name, play := range map[string]playing{
			"replay":        {},
			"live":          {marks: true},
			"recovered":     {restarts: true},
			"both":          {marks: true, restarts: true},
			"lagging":       {lags: true},
			"live, lagging": {marks: true, lags: true},
		} {
			got := play.run(t, seed, history)
			if first == nil {
				first = got
			} else if diff := cmp.Diff(first, got); diff != "" {
				t.Fatalf("seed %d: %s differs:\n%.4000s", seed, name, diff)
			}
		}
	}
}

// randomSilences are events of a few entities in the order of their log, whose
// time stands still, goes on, or leaps around the retention and beyond the time of
// markers. Vendors' clocks are behind, or ahead.
func randomSilences(g *rand.Rand) []event.Event {
	ret := retention.Milliseconds()
	types := []string{event.TypeConversation, event.TypeConversation, event.TypeAgentState, event.TypeQueueMembership, "user"}
	var es []event.Event
	var appended int64
	for i := range 90 {
		switch g.IntN(12) {
		case 0:
			appended += ret - 80 + g.Int64N(84)
		case 1:
			appended += ret + g.Int64N(4*ret)
		case 2, 3, 4:
			appended += g.Int64N(ret / 2)
		default:
			appended += g.Int64N(150)
		}
		ts := appended - g.Int64N(800)
		switch g.IntN(8) {
		case 0:
			ts -= g.Int64N(4 * ret)
		case 1:
			ts += g.Int64N(2 * ret)
		}
		n := g.IntN(len(types))
		es = append(es, working(fmt.Sprintf("e-%d", i), ts, appended, fmt.Sprintf(`{"n":%d}`, i), func(e *event.Event) {
			e.Key.Type, e.Key.ID = types[n], fmt.Sprintf("id-%d", n)
			e.Partial = g.IntN(2) == 0
			if g.IntN(4) == 0 {
				e.Version = event.Version{N: int64(i), Known: true}
			}
		}))
	}
	return es
}

// playing is one way to run a history.
type playing struct {
	marks    bool // silence is told, as in a live run
	restarts bool
	lags     bool // the stage comes behind the log
}

// run returns what was told of each entity, and checks it as it comes.
func (p playing) run(t *testing.T, seed uint64, history []event.Event) map[string][]string {
	t.Helper()
	g := rand.New(rand.NewPCG(seed, 22))
	c := shortLived(t)
	r := startEntityRun(t, c)
	w := &watch{t: t, orders: map[string]event.Order{}, entities: map[event.Key]*watched{}, told: map[string][]string{}}
	look := func(nowMs int64) {
		t.Helper()
		es := r.take()
		w.keep(es)
		if !p.lags { // what is in flight is not told yet
			w.check(es, nowMs)
		}
	}
	r.lags = p.lags
	for i, e := range history {
		w.orders[e.ID] = e.Order()
		if p.restarts && g.IntN(20) == 0 {
			r.stage = startFrom(t, processors.Stages(c)[1], r.rows())
		}
		r.mark("raw.cxone/3", t0+1<<40) // another log: its time says nothing
		r.ticks(headersOf(e))
		look(e.Origin.LogMs)
		r.event(e)
		w.of(e.Key).heardMs = e.Origin.LogMs
		look(e.Origin.LogMs)
		hold := c.ConfigHold.Milliseconds()
		if p.marks && i+1 < len(history) && history[i+1].Origin.LogMs > e.Origin.LogMs+hold {
			r.mark("raw.genesys/3", e.Origin.LogMs+hold)
			look(e.Origin.LogMs + hold)
		}
	}
	end := history[len(history)-1].Origin.LogMs + retention.Milliseconds() + 1
	r.mark("raw.genesys/3", end)
	r.land()
	look(end)
	if !p.lags && (w.expired < 10 || w.again == 0) {
		t.Fatalf("seed %d: %d expiries, %d came again: the history says little", seed, w.expired, w.again)
	}
	return w.told
}

// take returns what was emitted since the last call.
func (r *entityRun) take() []emission {
	es := r.seen
	r.seen = nil
	return es
}

// watch follows what is told of entities and knows when each was heard of.
type watch struct {
	t              *testing.T
	orders         map[string]event.Order // by event id
	entities       map[event.Key]*watched
	told           map[string][]string // by key: the bytes of all that was emitted
	expired, again int
}

type watched struct {
	heardMs int64
	image   *event.Image // of the last change
	applied event.Order
	ended   *emission // the d that its tombstone must follow next
	changes int64
	us      int64
}

func (w *watch) of(k event.Key) *watched {
	if w.entities[k] == nil {
		w.entities[k] = new(watched)
	}
	return w.entities[k]
}

// keep notes the bytes of what was told of each entity.
func (w *watch) keep(es []emission) {
	for _, e := range es {
		if e.Stream == topology.Changes {
			w.told[e.Key] = append(w.told[e.Key], fmt.Sprintf("%s %s", e.Value, e.Headers))
		}
	}
}

// check takes what was emitted up to a moment of the log: after it no interaction
// lives that was silent for its retention, and none ended before that.
func (w *watch) check(es []emission, nowMs int64) {
	w.t.Helper()
	ret := retention.Milliseconds()
	for _, e := range es {
		if e.Stream != topology.Changes {
			continue
		}
		c, ok := changeOf(w.t, e)
		x := w.of(c.Key)
		if !ok {
			if x.ended == nil || cmp.Diff(x.ended.Headers, e.Headers) != "" {
				w.t.Fatalf("%s: a tombstone with %s after %v", c.Key, e.Headers, x.ended)
			}
			x.ended = nil
			continue
		}
		if diff := cmp.Diff(x.image, c.Before); diff != "" || x.ended != nil {
			w.t.Fatalf("%s: before is not the previous after, or no tombstone came:\n%s", c.Key, diff)
		}
		if c.SequenceN != 1 && (c.SequenceN != x.changes+1 || c.SequenceUs < x.us) {
			w.t.Fatalf("%s: sequence goes from %d/%d to %d/%d", c.Key, x.us, x.changes, c.SequenceUs, c.SequenceN)
		}
		switch {
		case c.Op != event.Delete:
			if x.image == nil && x.changes > 0 {
				w.again++
			}
			x.applied = w.orders[c.EventID]
		default:
			w.expired++
			x.ended = &e
			w.isExpiry(&c, e.Headers, x, nowMs)
		}
		x.image, x.changes, x.us = c.After, c.SequenceN, c.SequenceUs
	}
	for k, x := range w.entities {
		if k.Interaction() && x.image != nil && nowMs-x.heardMs > ret {
			w.t.Fatalf("%s lives at %d, last heard of at %d", k, nowMs-t0, x.heardMs-t0)
		}
	}
}

func (w *watch) isExpiry(c *event.Change, headers goka.Headers, x *watched, nowMs int64) {
	w.t.Helper()
	over := x.heardMs + retention.Milliseconds()
	last := x.applied
	version := ""
	if last.Version.Known {
		version = strconv.FormatInt(last.Version.N, 10)
	}
	want := event.Change{
		Key: c.Key, Op: event.Delete, Before: x.image, TsMs: max(over, last.TsMs), Processed: processed.UnixNano(), Snapshot: "false",
		SequenceUs: max(x.us, over*1000), SequenceN: x.changes + 1, EventType: c.Key.Type + ".expired",
		EventID: vendors.ContentID(c.Key.String(), strconv.FormatInt(last.TsMs, 10), version, string(last.Op), last.EventID),
	}
	if diff := cmp.Diff(want, *c); diff != "" {
		w.t.Fatalf("expiry of %s (-want +got):\n%s", c.Key, diff)
	}
	if !c.Key.Interaction() || nowMs <= over || x.image == nil {
		w.t.Fatalf("%s expired at %d, retention was over at %d", c.Key, nowMs-t0, over-t0)
	}
	told := goka.Headers{
		event.HeaderRun: []byte("run-1"), event.HeaderCause: []byte("idle"),
		stream.ToTopic: []byte(topology.ChangeTopic(c.Key)), stream.PartitionBy: []byte(c.Key.String()),
	}
	if diff := cmp.Diff(told, headers); diff != "" {
		w.t.Fatalf("headers of the expiry of %s (-want +got):\n%s", c.Key, diff)
	}
}

// A record that was re-keyed is held by the loop's clock, which says nothing of how
// long an entity was silent; while it is held, the entity is not idle.
//
// Seen failing with an expiry by any clock, and with one of a row that holds events.
func TestExpiryFollowsItsOwnLog(t *testing.T) {
	const loop = "normalise-loop/3"
	ret := retention.Milliseconds()
	rekeyed := func(e *event.Event) { e.Origin.LogSource, e.Origin.LogMs = loop, t0+3*ret }
	a, b := working("a", 0, 0, `{"n":1}`, ofConversation), working("b", 1, 1, `{"n":2}`, ofConversation, rekeyed)
	id := vendors.ContentID(a.Key.String(), strconv.Itoa(t0+1), "", "u", "b")
	r := startEntityRun(t, shortLived(t))
	r.event(a)
	for _, step := range []struct {
		clock string
		ms    int64
		want  []string
	}{
		{"raw.genesys/3", 100, []string{`c a: - → {"n":1}`}},
		{loop, 2 * ret, nil},
		{"b", 0, nil},
		{"raw.genesys/3", ret + 2, nil},
		{loop, 4 * ret, []string{`u b: {"n":1} → {"n":2}`}},
		{"raw.genesys/3", ret + 3, []string{"d " + id + `: {"n":2} → -`, "tombstone u1"}},
	} {
		if step.clock == "b" {
			r.event(b)
		} else {
			r.mark(step.clock, t0+step.ms)
		}
		if diff := cmp.Diff(step.want, told(t, r.take())); diff != "" {
			t.Errorf("%s at %d (-want +got):\n%s", step.clock, step.ms, diff)
		}
	}
}

// A row that asks by the retention of an earlier run is asked again by the longer
// one of today.
//
// Seen failing without asked.
func TestExpiryKnowsLongerRetention(t *testing.T) {
	c := shortLived(t)
	r := startEntityRun(t, c)
	e := working("a", 0, 0, `{"n":1}`, ofConversation)
	r.event(e)
	r.mark("raw.genesys/3", t0+100)
	c.InteractionRetention = 2 * retention
	r.stage = startFrom(t, processors.Stages(c)[1], r.rows())
	r.take()
	for _, step := range []struct {
		ms   int64
		want []string
	}{
		{t0 + retention.Milliseconds() + 1, nil},
		{t0 + 2*retention.Milliseconds(), nil},
		{t0 + 2*retention.Milliseconds() + 1, []string{"d " + vendors.ContentID(e.Key.String(), strconv.Itoa(t0), "", "u", "a") + `: {"n":1} → -`, "tombstone u1"}},
	} {
		r.mark("raw.genesys/3", step.ms)
		if diff := cmp.Diff(step.want, told(t, r.take())); diff != "" {
			t.Errorf("at %d (-want +got):\n%s", step.ms-t0, diff)
		}
	}
}
