package state

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/event"
)

func TestSeenRoundtrip(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 7))
	for range 1000 {
		want := Seen{
			First: event.Position{
				Topic: randomText(g), Partition: int32(g.Uint32()), Offset: int64(g.Uint64()) >> g.IntN(64), AppendMs: int64(g.Uint64()) >> g.IntN(64),
			},
			Body: g.Uint64(),
		}
		got, err := DecodeSeen(want.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
}

func randomText(g *rand.Rand) string {
	b := make([]byte, g.IntN(12))
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return string(b)
}

// TestSeenExpired holds that a row counts for its window by append times and
// stays on disk for as long again.
func TestSeenExpired(t *testing.T) {
	const first, window = 5000, 100
	s := Seen{First: event.Position{Topic: "raw.genesys", AppendMs: first}}
	for _, tt := range []struct {
		append int64
		want   bool
	}{{first - 9999, false}, {first, false}, {first + window, false}, {first + window + 1, true}, {math.MaxInt64, true}} {
		if got := s.Expired(event.Position{AppendMs: tt.append}, window); got != tt.want {
			t.Errorf("Expired at %d: got %v, want %v", tt.append, got, tt.want)
		}
	}
	expiry := SeenExpiry(window)
	if got, want := expiry(s.Encode()), int64(first+2*window); got != want {
		t.Errorf("SeenExpiry: got %d, want %d", got, want)
	}
	if got := expiry([]byte("no row")); got != 0 {
		t.Errorf("SeenExpiry of no row: got %d, want 0", got)
	}
}

// FuzzDecodeSeen holds that no bytes make decoding panic, and that what decodes
// is read again from its own encoding.
func FuzzDecodeSeen(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte{SeenLayout})
	f.Add([]byte{SeenLayout + 1, 0x80})
	f.Add(Seen{First: event.Position{Topic: "raw.genesys", Partition: 3, Offset: 7, AppendMs: 1700000000000}, Body: 9}.Encode())
	f.Add([]byte{SeenLayout, 0xdf, 0xff, 0xff, 0xff, 0xff})                                          // a map of 4 Gi
	f.Add([]byte{SeenLayout, 0x81, 0xa1, 't', 0xdb, 0xff, 0xff, 0xff, 0xff})                         // a string of 4 GiB
	f.Add([]byte{SeenLayout, 0x81, 0xa1, 'z', 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91}) // an unknown field
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSeen(b)
		SeenExpiry(1000)(b)
		if err != nil {
			return
		}
		again, err := DecodeSeen(s.Encode())
		if err != nil || again != s {
			t.Errorf("got %+v, %v, want %+v", again, err, s)
		}
	})
}
