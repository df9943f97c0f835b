package state

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"trunkline/event"
)

// randomOrder orders events of one entity closely enough for ties.
func randomOrder(g *rand.Rand, id string) event.Order {
	o := event.Order{TsMs: 1000 + g.Int64N(60), EventID: id}
	o.Op = []event.Op{event.Create, event.Update, event.Update, event.Delete, event.Read}[g.IntN(5)]
	if g.IntN(2) == 0 {
		o.Version = event.Version{N: g.Int64N(6), Known: true}
	}
	return o
}

// bag is a reorder buffer that knows no order until it is asked.
type bag struct {
	held    []Held
	highest int64
}

func (b *bag) release(version event.Version, clock string, nowMs int64, c Reorder) []Held {
	slices.SortFunc(b.held, func(x, y Held) int { return x.Order.Compare(y.Order) })
	leave := 0
	for i, h := range b.held {
		passed := h.Order.TsMs <= b.highest-c.GraceMs
		due := h.Clock == clock && h.DueMs <= nowMs
		next := i == leave && h.Count && h.Order.Version.Next(version)
		if passed || due || next {
			leave = i + 1
		}
	}
	for b.over(leave, c) {
		leave++
	}
	released := slices.Clone(b.held[:leave])
	b.held = slices.Delete(b.held, 0, leave)
	return released
}

func (b *bag) over(leave int, c Reorder) bool {
	bytes := 0
	for _, h := range b.held[leave:] {
		bytes += len(h.Body)
	}
	return len(b.held)-leave > c.MaxHeld || bytes > c.MaxBytes
}

func sameHeld(a, b Held) bool { return a.Order == b.Order && a.Clock == b.Clock && a.DueMs == b.DueMs }

// TestReleaseAgainstSort feeds random events, holds and clock moves and compares
// the buffer with a bag that sorts. What leaves, leaves in order and below all
// that stays (I4); the bounds hold; all leaves once the clocks passed.
func TestReleaseAgainstSort(t *testing.T) {
	clocks := []string{"raw.genesys/0", "raw.genesys/1"}
	for seed := range uint64(300) {
		g := rand.New(rand.NewPCG(seed, 3))
		bounds := Reorder{GraceMs: g.Int64N(80), MaxHeld: 1 + g.IntN(12), MaxBytes: 50 + g.IntN(400)}
		var row Entity
		var want bag
		arrived, left := 0, 0
		step := func(clock string, nowMs int64) {
			t.Helper()
			got, wanted := row.Release(clock, nowMs, bounds), want.release(row.Version, clock, nowMs, bounds)
			if !slices.EqualFunc(got, wanted, sameHeld) {
				t.Fatalf("seed %d: Release(%q, %d): got %+v, want %+v", seed, clock, nowMs, got, wanted)
			}
			if !slices.EqualFunc(row.Held, want.held, sameHeld) {
				t.Fatalf("seed %d: holds %+v, want %+v", seed, row.Held, want.held)
			}
			bytes := 0
			for _, h := range row.Held {
				bytes += len(h.Body)
			}
			if len(row.Held) > bounds.MaxHeld || bytes > bounds.MaxBytes {
				t.Fatalf("seed %d: holds %d events, %d bytes, bounds are %+v", seed, len(row.Held), bytes, bounds)
			}
			all := slices.Concat(got, row.Held)
			if !slices.IsSortedFunc(all, func(x, y Held) int { return x.Order.Compare(y.Order) }) {
				t.Fatalf("seed %d: released out of order: %+v", seed, all)
			}
			for _, h := range got {
				if h.Order.Version.Known {
					row.Version = h.Order.Version
				}
			}
			left += len(got)
		}
		for i := range 80 {
			if g.IntN(4) == 0 {
				step(clocks[g.IntN(2)], g.Int64N(3000))
				continue
			}
			id := fmt.Sprintf("e-%02d", i)
			again := len(row.Held) > 0 && g.IntN(8) == 0
			if again {
				id = row.Held[g.IntN(len(row.Held))].Order.EventID
			}
			h := Held{
				Order: randomOrder(g, id), Clock: clocks[g.IntN(2)], DueMs: g.Int64N(3000),
				Count: g.IntN(3) > 0, Body: make([]byte, g.IntN(60)),
			}
			if got := row.Hold(h); got == again {
				t.Fatalf("seed %d: Hold of %s: got %v, held already: %v", seed, id, got, again)
			}
			if !again {
				arrived++
				want.held = append(want.held, h)
				want.highest = max(want.highest, h.Order.TsMs)
			}
			step("", 0)
		}
		for _, clock := range clocks {
			step(clock, math.MaxInt64)
		}
		if len(row.Held) > 0 || left != arrived {
			t.Fatalf("seed %d: %d events arrived, %d left, %d are held for ever", seed, arrived, left, len(row.Held))
		}
	}
}

// TestHoldSharesNothing holds that a copy of a row, kept in case its outcome is
// refused, does not change with the row.
func TestHoldSharesNothing(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 4))
	var row Entity
	for i := range 200 {
		kept := row
		want := slices.Clone(row.Held)
		row.Hold(Held{Order: randomOrder(g, strconv.Itoa(i)), DueMs: int64(i)})
		if g.IntN(8) == 0 {
			row.Release("", int64(i-5), Reorder{GraceMs: 20, MaxHeld: 8, MaxBytes: 100})
		}
		if diff := cmp.Diff(want, kept.Held, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("step %d: the kept row changed (-want +got):\n%s", i, diff)
		}
	}
}

// TestReleaseSplitClock holds that the outcome depends on when events arrive and
// not on how the clock gets there: a jump is worth all the small steps within
// it, and timers call for it at the right moments (I7).
func TestReleaseSplitClock(t *testing.T) {
	const hold = 40
	for seed := range uint64(200) {
		g := rand.New(rand.NewPCG(seed, 5))
		jumps, steps, ticks := newStage(), newStage(), newStage()
		now := map[string]int64{}
		for i := range 60 {
			clock := []string{"raw.genesys/0", "raw.genesys/1"}[g.IntN(2)]
			before := now[clock]
			now[clock] += g.Int64N(50)

			jumps.move(clock, now[clock])
			for ms := before + 1; ms <= now[clock]; ms += 1 + g.Int64N(6) {
				steps.move(clock, ms)
			}
			steps.move(clock, now[clock])
			for ms := before + 1; ms <= now[clock]; ms++ {
				if slices.Contains(EntityTimers(ticks.row.Encode("", Rules{})), Timer{clock, ms}) {
					ticks.move(clock, ms)
				}
			}

			e := randomEvent(g, strconv.Itoa(i))
			for _, s := range []*stage{jumps, steps, ticks} {
				s.arrive(&e, Held{
					Order: e.Order(), Clock: clock, DueMs: now[clock] + hold, Count: true, Body: []byte(e.ID),
				})
			}
		}
		for name, s := range map[string]*stage{"small steps": steps, "ticks": ticks} {
			if diff := cmp.Diff(jumps.told, s.told); diff != "" {
				t.Fatalf("seed %d: jumps against %s:\n%s", seed, name, diff)
			}
			if diff := cmp.Diff(jumps.row, s.row, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("seed %d: row, jumps against %s:\n%s", seed, name, diff)
			}
		}
	}
}

// stage is an entity stage for one row: it applies what leaves the buffer.
type stage struct {
	row    Entity
	events map[string]*event.Event
	told   []string
}

func newStage() *stage { return &stage{events: map[string]*event.Event{}} }

func (s *stage) arrive(e *event.Event, h Held) {
	s.events[e.ID] = e
	s.told = append(s.told, "arrive "+e.ID)
	s.row.Hold(h)
	s.move("", 0)
}

func (s *stage) move(clock string, nowMs int64) {
	for {
		released := s.row.Release(clock, nowMs, Reorder{GraceMs: 30, MaxHeld: 6, MaxBytes: 1000})
		if len(released) == 0 {
			return
		}
		for _, h := range released {
			var outcome Outcome
			s.row, outcome = s.row.Apply(s.events[string(h.Body)], Rules{MarkerMs: 1000})
			s.told = append(s.told, describe(outcome))
		}
	}
}

// TestReleaseNextVersion holds that an event whose vendor version directly
// follows the row's waits for nothing.
func TestReleaseNextVersion(t *testing.T) {
	version := func(n int64) event.Version { return event.Version{N: n, Known: true} }
	held := func(tsMs, n int64, count bool) Held {
		return Held{Order: event.Order{TsMs: tsMs, Version: version(n), Op: event.Update, EventID: strconv.FormatInt(n, 10)}, Count: count, DueMs: 1}
	}
	tests := []struct {
		name string
		row  event.Version
		held []Held
		want int
	}{
		{"next", version(4), []Held{held(10, 5, true)}, 1},
		{"next of a resource that shares versions", version(4), []Held{held(10, 5, false)}, 0},
		{"a gap", version(3), []Held{held(10, 5, true)}, 0},
		{"the same", version(5), []Held{held(10, 5, true)}, 0},
		{"row without version", event.Version{}, []Held{held(10, 1, true)}, 0},
		{"next behind another", version(4), []Held{held(9, 7, true), held(10, 5, true)}, 0},
		{"next before another", version(4), []Held{held(10, 5, true), held(11, 8, true)}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			row := Entity{Version: tt.row, Live: true}
			for _, h := range tt.held {
				row.Hold(h)
			}
			if got := len(row.Release("", 0, Reorder{GraceMs: 100, MaxHeld: 9, MaxBytes: 100})); got != tt.want {
				t.Errorf("got %d events, want %d", got, tt.want)
			}
		})
	}
}
