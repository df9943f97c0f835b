package topology

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"trunkline/event"
)

// TestMurmur2 takes Kafka's own vectors (org.apache.kafka.common.utils.UtilsTest).
func TestMurmur2(t *testing.T) {
	for text, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(murmur2([]byte(text))); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
}

// TestOneRule holds that goka, which takes Hasher's sum as an int32 modulo the
// partition count, and every other client agree, for every key and count, and
// that the events of an entity stay together.
func TestOneRule(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 1))
	h := Hasher() // goka uses one again and again
	seen := map[int32]bool{}
	for range 20_000 {
		id := make([]byte, g.IntN(12))
		for i := range id {
			id[i] = byte(g.Uint32())
		}
		k := event.Key{Vendor: Genesys, Tenant: "acme", Type: "user", ID: string(id)}
		n := 1 + g.Int32N(64)
		want := Partition(k.String(), n)
		if want < 0 || want >= n {
			t.Fatalf("Partition(%q, %d): got %d", k.String(), n, want)
		}
		seen[want] = true
		for _, key := range []string{k.String(), event.RecordKey(k, fmt.Sprint(g.Uint32())), event.RecordKey(k, "#a#b")} {
			if got := Partition(key, n); got != want {
				t.Fatalf("Partition(%q, %d): got %d, want %d", key, n, got, want)
			}
			h.Reset()
			if written, err := h.Write([]byte(key[:len(key)/2])); err != nil || written != len(key)/2 {
				t.Fatalf("Write: got %d, %v", written, err)
			}
			_, _ = h.Write([]byte(key[len(key)/2:]))
			sum := int32(h.Sum32())
			if sum < 0 || sum%n != want {
				t.Fatalf("Hasher of %q: got %d, partition %d of %d, want %d", key, sum, sum%n, n, want)
			}
			if b := h.Sum([]byte("x")); len(b) != 1+h.Size() || b[0] != 'x' || binary.BigEndian.Uint32(b[1:]) != h.Sum32() {
				t.Fatalf("Sum: got %x, want the sum %x behind x", b, h.Sum32())
			}
		}
	}
	if len(seen) != 64 {
		t.Errorf("20,000 keys reach %d of 64 partitions", len(seen))
	}
}

// TestPartitionOfNegativeHash takes a key whose hash is negative, where an
// absolute value and a mask differ.
func TestPartitionOfNegativeHash(t *testing.T) {
	const key = "foobar"
	hash := int32(-790332482)
	if got, want := Partition(key, 7), (hash&math.MaxInt32)%7; got != want {
		t.Errorf("got %d, want %d", got, want)
	}
}
