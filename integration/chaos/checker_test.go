package chaos

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/event"
)

// life is a correct run of one entity: created, updated, sent again, updated too
// late, deleted.
type life struct {
	t    *traffic
	h    *history
	key  event.Key
	view string // what the view answers; empty is 404
}

func at(offset int64) place { return place{"raw.genesys", 0, offset} }

func newLife() *life {
	l := &life{t: newTraffic(1, 0, 1, nil), h: newHistory()}
	l.key = event.Key{Vendor: "genesys", Tenant: "acme", Type: "user", ID: "u"}
	tell := func(id string, op event.Op, seq int) *told {
		e := &told{ID: id, Key: l.key, Op: op, Seq: seq, TsMs: int64(100 * seq), Chain: "chain of " + id}
		l.t.told[id] = e
		return e
	}
	l.arrive(0, "a", event.FateChange)
	l.arrive(1, "c", event.FateChange)
	l.arrive(2, "c", event.FateDuplicate)
	l.arrive(3, "b", event.FateLate)
	l.arrive(4, "poison-1", event.FateDeadLetter)
	a, _, c := tell("a", event.Create, 1), tell("b", event.Update, 2), tell("c", event.Update, 3)
	l.h.steps[l.key] = []step{
		{at: place{"changes", 0, 0}, raw: at(0), key: l.key, eventID: "a", op: event.Create, tsMs: 100, after: imageOf(a)},
		{at: place{"changes", 0, 1}, raw: at(1), key: l.key, eventID: "c", op: event.Update, tsMs: 300, before: imageOf(a), after: imageOf(c)},
	}
	l.view = string(imageOf(c).Data)
	return l
}

// withDelete ends the life.
func (l *life) withDelete() *life {
	e := &told{ID: "d", Key: l.key, Op: event.Delete, Seq: 4, TsMs: 400, Chain: "chain of d"}
	l.t.told["d"] = e
	l.arrive(5, "d", event.FateChange)
	l.h.steps[l.key] = append(l.h.steps[l.key],
		step{at: place{"changes", 0, 2}, raw: at(5), key: l.key, eventID: "d", op: event.Delete, tsMs: 400, before: imageOf(l.t.told["c"])},
		step{at: place{"changes", 0, 3}, raw: at(5), key: l.key, tombstone: true})
	l.view = ""
	return l
}

func imageOf(e *told) *event.Image {
	b, _ := json.Marshal(state{Seq: e.Seq, Chain: e.Chain})
	return &event.Image{Data: b}
}

func (l *life) arrive(offset int64, id string, fate event.FateKind) {
	raw := rawRecord{at: at(offset), ingestID: id + "/0", eventID: id}
	a := accepted{ingestID: raw.ingestID, eventID: id}
	if fate == event.FateDeadLetter {
		a.ingestID = ""
	}
	l.t.accepted = append(l.t.accepted, a)
	l.h.raws[raw.at] = raw
	l.h.outcomes[raw.at] = []outcome{{kind: fate, at: place{"fates", 0, offset}}}
}

func (l *life) check() []string {
	f := check(l.t, l.h)
	checkRows(&f, l.t, l.h, func(string) (int, string) {
		if l.view == "" {
			return http.StatusNotFound, ""
		}
		return http.StatusOK, `{"resource":` + l.view + `}`
	})
	var found []string
	for name, finding := range f.all() {
		if finding.Count > 0 {
			found = append(found, name)
		}
	}
	return slices.Sorted(slices.Values(found))
}

// The checker finds every defect that it is there for, and nothing in what is
// correct.
func TestCheckerFindsDefects(t *testing.T) {
	steps := func(l *life) []step { return l.h.steps[l.key] }
	for name, c := range map[string]struct {
		life  *life
		spoil func(*life)
		want  []string
	}{
		"correct":             {newLife(), func(*life) {}, nil},
		"correct with delete": {newLife().withDelete(), func(*life) {}, nil},
		"no fate":             {newLife(), func(l *life) { delete(l.h.outcomes, at(3)) }, []string{"lost"}},
		"two fates": {newLife(), func(l *life) {
			l.h.outcomes[at(2)] = append(l.h.outcomes[at(2)], l.h.outcomes[at(2)]...)
		}, []string{"duplicate"}},
		"accepted and not written": {newLife(), func(l *life) {
			delete(l.h.raws, at(3))
			delete(l.h.outcomes, at(3))
		}, []string{"lost"}},
		"poison not written": {newLife(), func(l *life) {
			delete(l.h.raws, at(4))
			delete(l.h.outcomes, at(4))
		}, []string{"lost"}},
		"poison swallowed":    {newLife(), func(l *life) { l.h.outcomes[at(4)][0].kind = event.FateFiltered }, []string{"lost"}},
		"only duplicates":     {newLife(), func(l *life) { l.h.outcomes[at(3)][0].kind = event.FateDuplicate }, []string{"lost"}},
		"seen twice as first": {newLife(), func(l *life) { l.h.outcomes[at(2)][0].kind = event.FateUnchanged }, []string{"duplicate"}},
		"the copy wins": {newLife(), func(l *life) {
			l.h.outcomes[at(1)][0].kind, l.h.outcomes[at(2)][0].kind = event.FateDuplicate, event.FateChange
		}, []string{"duplicate"}},
		"an outcome of nothing": {newLife(), func(l *life) {
			l.h.outcomes[at(9)] = l.h.outcomes[at(0)]
		}, []string{"unpromised"}},
		"a change of nothing": {newLife(), func(l *life) { delete(l.t.told, "c") }, []string{"unpromised", "wrong rows"}},
		"a change twice": {newLife(), func(l *life) {
			l.h.steps[l.key] = append(steps(l), step{
				eventID: "c", op: event.Update, tsMs: 300, before: steps(l)[1].after, after: steps(l)[1].after,
			})
		}, []string{"duplicate"}},
		"a change lost":        {newLife(), func(l *life) { l.h.steps[l.key] = steps(l)[1:] }, []string{"before unlike the previous after"}},
		"the last change lost": {newLife(), func(l *life) { l.h.steps[l.key] = steps(l)[:1] }, []string{"wrong rows"}},
		"time goes back":       {newLife(), func(l *life) { steps(l)[1].tsMs = 50 }, []string{"order"}},
		"another after":        {newLife(), func(l *life) { steps(l)[1].after = steps(l)[0].after }, []string{"wrong rows"}},
		"a row behind":         {newLife(), func(l *life) { l.view = string(steps(l)[0].after.Data) }, []string{"wrong rows"}},
		"a row gone":           {newLife(), func(l *life) { l.view = "" }, []string{"wrong rows"}},
		"a row left":           {newLife().withDelete(), func(l *life) { l.view = "{}" }, []string{"wrong rows"}},
		"no tombstone":         {newLife().withDelete(), func(l *life) { l.h.steps[l.key] = steps(l)[:3] }, []string{"lost"}},
		"a tombstone alone": {newLife(), func(l *life) {
			l.h.steps[l.key] = append(steps(l), step{raw: at(1), tombstone: true})
		}, []string{"duplicate"}},
		"unreadable": {newLife(), func(l *life) { l.h.faults = []string{"changes/0/7: no Avro"} }, []string{"unreadable"}},
	} {
		c.spoil(c.life)
		if d := cmp.Diff(c.want, c.life.check()); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// A reader that saw aborted records, or missed some, differs from one that came
// later.
func TestReadersAreCompared(t *testing.T) {
	during, after := newHistory(), newHistory()
	partition := place{topic: "changes"}
	for _, h := range []*history{during, after} {
		h.seen[partition], h.digest[partition] = 3, 77
	}
	var f Findings
	if compareReaders(&f, during, after); f.ReadersDiffer.Count != 0 {
		t.Errorf("equal readers differ: %v", f.ReadersDiffer.Examples)
	}
	for _, h := range []*history{{seen: map[place]int64{partition: 4}, digest: maps.Clone(during.digest)}, {seen: maps.Clone(during.seen), digest: map[place]uint64{partition: 78}}} {
		f = Findings{}
		if compareReaders(&f, h, after); f.ReadersDiffer.Count != 1 {
			t.Errorf("%v and %v are called equal", h, after)
		}
	}
}
