package event

import (
	"math"
	"math/rand/v2"
	"testing"
)

// randomOrder makes ties likely in every part.
func randomOrder(g *rand.Rand) Order {
	o := Order{
		TsMs:    g.Int64N(3),
		Op:      []Op{Create, Update, Delete, Read, OpNone}[g.IntN(5)],
		EventID: []string{"a", "b", "c"}[g.IntN(3)],
	}
	if g.IntN(2) == 0 {
		o.Version = Version{N: []int64{math.MinInt64, -1, 0, 1, 2, math.MaxInt64}[g.IntN(6)], Known: true}
	}
	return o
}

// TestOrderIsTotal holds that any events of an entity have one order, whichever
// of them have a version: no circle, and only an event itself is its equal (I4).
func TestOrderIsTotal(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		a, b, c := randomOrder(g), randomOrder(g), randomOrder(g)
		if a.Compare(a) != 0 {
			t.Fatalf("%+v differs from itself", a)
		}
		if a.Compare(b) != -b.Compare(a) {
			t.Fatalf("not antisymmetric: %+v, %+v", a, b)
		}
		if a.Compare(b) <= 0 && b.Compare(c) <= 0 && a.Compare(c) > 0 {
			t.Fatalf("not transitive: %+v, %+v, %+v", a, b, c)
		}
		if a.Compare(b) == 0 && a.EventID != b.EventID {
			t.Fatalf("two events stand in one place: %+v, %+v", a, b)
		}
	}
}

// TestOrder tells the parts of the order, one pair each: a is before b.
func TestOrder(t *testing.T) {
	version := func(n int64) Version { return Version{N: n, Known: true} }
	tests := []struct {
		name string
		a, b Order
	}{
		{"time first", Order{TsMs: 1, Version: version(9), Op: Delete, EventID: "z"}, Order{TsMs: 2, Version: version(1), Op: Create, EventID: "a"}},
		{"then version", Order{Version: version(9), Op: Delete, EventID: "z"}, Order{Version: version(10), Op: Create, EventID: "a"}},
		{"then create before update", Order{Op: Create, EventID: "z"}, Order{Op: Update, EventID: "a"}},
		{"create before what was read", Order{Op: Create, EventID: "z"}, Order{Op: Read, EventID: "a"}},
		{"update before delete", Order{Op: Update, EventID: "z"}, Order{Op: Delete, EventID: "a"}},
		{"then event id", Order{Op: Update, EventID: "a"}, Order{Op: Update, EventID: "b"}},
		{"no version is first", Order{Op: Update, EventID: "z"}, Order{Version: version(-1), Op: Create, EventID: "a"}},
		{"but a delete without is last", Order{Version: version(99), Op: Update, EventID: "z"}, Order{Op: Delete, EventID: "a"}},
		{"version before op", Order{Version: version(1), Op: Delete, EventID: "z"}, Order{Version: version(2), Op: Update, EventID: "a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.a.Compare(tt.b); got != -1 {
				t.Errorf("got %d, want -1", got)
			}
		})
	}
}

func TestVersionNext(t *testing.T) {
	tests := []struct {
		v, w Version
		want bool
	}{
		{Version{5, true}, Version{4, true}, true},
		{Version{5, true}, Version{5, true}, false},
		{Version{6, true}, Version{4, true}, false},
		{Version{1, true}, Version{}, false},
		{Version{}, Version{-1, true}, false},
		{Version{1, false}, Version{0, false}, false},
	}
	for _, tt := range tests {
		if got := tt.v.Next(tt.w); got != tt.want {
			t.Errorf("%+v after %+v: got %v, want %v", tt.v, tt.w, got, tt.want)
		}
	}
}
