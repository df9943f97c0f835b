package state

import (
	"math/rand/v2"
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
// timers, read without decoding it, are the due times of what it holds and for
// a marker the first moment at which it is forgotten.
func TestEntityRoundtrip(t *testing.T) {
	const markerMs = 48 * hourMs
	g := rand.New(rand.NewPCG(1, 9))
	for range 150 {
		row := randomRow(g, g.IntN(4)*g.IntN(100)) // more than a byte counts
		b := row.Encode(markerMs)
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
		if row.DeletedMs > 0 {
			at := EntityTimers(b)[len(row.Held)].AtMs
			want = append(want, Timer{row.Raw.Topic + "/" + strconv.Itoa(int(row.Raw.Partition)), at})
			if rules := (Rules{MarkerMs: markerMs}); !row.Forgotten(at, rules) || row.Forgotten(at-1, rules) {
				t.Fatalf("marker of %d is called at %d, not when it is forgotten", row.DeletedMs, at)
			}
		}
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
		f.Add(row.Encode(1000))
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
		again, err := DecodeEntity(row.Encode(1000))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(row, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
