package state

import (
	"math/rand/v2"
	"sort"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"trunkline/event"
)

func randomRow(g *rand.Rand, held int) Entity {
	r := Entity{
		Live: g.IntN(2) == 0, Partial: g.IntN(2) == 0, Version: event.Version{N: g.Int64() >> g.IntN(64), Known: g.IntN(2) == 0},
		Applied: randomOrder(g, randomText(g)), EventType: randomText(g),
		Raw:     event.Position{Topic: randomText(g), Partition: g.Int32N(99), Offset: g.Int64() >> g.IntN(64), AppendMs: g.Int64() >> g.IntN(64)},
		Changes: g.Int64() >> g.IntN(64), SequenceUs: g.Int64() >> g.IntN(64), HighestMs: g.Int64() >> g.IntN(64),
		SeenMs: g.Int64N(1<<41) * g.Int64N(2), // 0 in a row of an earlier version
	}
	if r.Live {
		r.Image = []byte(render(randomMembers(g)))
	} else if g.IntN(2) == 0 {
		r.DeletedMs = 1 + g.Int64N(1<<41)
	}
	for i := range held {
		r.Hold(Held{
			Order: randomOrder(g, strconv.Itoa(i)), Clock: randomText(g), DueMs: g.Int64() >> g.IntN(64),
			Count: g.IntN(2) == 0, Body: []byte(randomText(g)),
		})
	}
	return r
}

// TestEntityRoundtrip holds that a row is read as it was written, and that its
// timers, read without decoding it, are the due times of what it holds, the first
// moment at which it is idle and for a marker the first at which it is forgotten.
func TestEntityRoundtrip(t *testing.T) {
	const clock = "raw.genesys/3"
	g := rand.New(rand.NewPCG(1, 9))
	for range 150 {
		row := randomRow(g, g.IntN(4)*g.IntN(100)) // more than a byte counts
		rules := Rules{MarkerMs: 48 * hourMs, IdleMs: g.Int64N(3) * 84 * hourMs}
		b := row.Encode(clock, rules)
		got, err := DecodeEntity(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(row, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		var want []Timer
		for _, h := range row.Held {
			want = append(want, Timer{h.Clock, h.DueMs})
		}
		// What is held may make the row live before it is written again.
		released := row
		released.Live, released.Held = row.Live || len(row.Held) > 0, nil
		first := func(over func(nowMs int64, rules Rules) bool) {
			// Binary search needs no formula of its own.
			at := int64(sort.Search(1<<42, func(ms int) bool { return over(int64(ms), rules) }))
			if over(at, rules) {
				want = append(want, Timer{clock, at})
			}
		}
		first(released.Idle)
		first(row.Forgotten)
		if diff := cmp.Diff(want, EntityTimers(b), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("timers (-want +got):\n%s", diff)
		}
		for range 20 { // no prefix of a row is a row
			cut := b[:g.IntN(len(b))]
			if _, err := DecodeEntity(cut); err == nil {
				t.Fatalf("decoded the first %d of %d bytes", len(cut), len(b))
			}
		}
	}
}

// FuzzDecodeEntity holds that no bytes make decoding panic or take memory that
// they do not fill, and that what decodes is read again from its own encoding.
func FuzzDecodeEntity(f *testing.F) {
	g := rand.New(rand.NewPCG(2, 9))
	for held := range 3 {
		row := randomRow(g, held)
		f.Add(row.Encode("", Rules{}))
	}
	f.Add([]byte(nil))
	f.Add([]byte{EntityLayout})
	f.Add([]byte{EntityLayout, 0})
	f.Add([]byte{EntityLayout + 1, 0, 0x80})
	f.Add([]byte{EntityLayout, 1, 255})                                               // a clock longer than the row
	f.Add([]byte{EntityLayout, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}) // as many timers as can be
	f.Add([]byte{EntityLayout, 0, 0x81, 0xa1, 'b', 0xdd, 0xff, 0xff, 0xff, 0xff})     // 4 Gi held events
	f.Add([]byte{EntityLayout, 0, 0x81, 0xa1, 'i', 0xc6, 0xff, 0xff, 0xff, 0xff})     // an image of 4 GiB
	f.Fuzz(func(t *testing.T, b []byte) {
		EntityTimers(b)
		row, err := DecodeEntity(b)
		if err != nil {
			return
		}
		again, err := DecodeEntity(row.Encode("", Rules{}))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(row, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
