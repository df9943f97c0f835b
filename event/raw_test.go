package event

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func headerMap(hs []Header) map[string][]byte {
	m := map[string][]byte{}
	for _, h := range hs {
		m[h.Key] = h.Value
	}
	return m
}

// TestRawRoundtrip holds that a raw record is read from its headers as it was
// written, that no header stands twice, and that none is empty.
func TestRawRoundtrip(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 3))
	for range 2000 {
		want := Raw{
			Vendor: randomText(g), Tenant: randomText(g), Transport: Transport(randomText(g)), Format: Format(randomText(g)),
			IngestID: randomText(g), ReceivedMs: int64(g.Uint64()) >> g.IntN(64), ContentType: randomText(g),
			SigStatus: randomText(g), SigKID: randomText(g), SourceID: randomText(g), TopicHint: randomText(g), Body: []byte(randomText(g)),
		}
		hs := want.Headers()
		if diff := cmp.Diff(want, RawOf(headerMap(hs), want.Body)); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		if got := len(headerMap(hs)); got != len(hs) {
			t.Fatalf("%d names in %d headers", got, len(hs))
		}
		for _, h := range hs {
			if len(h.Value) == 0 {
				t.Fatalf("header %s is empty", h.Key)
			}
		}
	}
	if diff := cmp.Diff(Raw{}, RawOf(nil, nil)); diff != "" {
		t.Errorf("without headers (-want +got):\n%s", diff)
	}
}

func TestPositionRoundtrip(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 4))
	for range 2000 {
		want := Position{
			Topic: "t" + randomText(g), Partition: int32(g.Uint32()), Offset: int64(g.Uint64()) >> g.IntN(64), AppendMs: int64(g.Uint64()) >> g.IntN(64),
		}
		got, ok := PositionOf(headerMap(want.Headers()))
		if !ok || got != want || !got.Same(want) {
			t.Fatalf("got %+v, %v, want %+v", got, ok, want)
		}
	}
	want := Position{Topic: "raw.genesys", Partition: 3, Offset: 41}
	if got, err := ParsePosition(want.String()); err != nil || got != want {
		t.Errorf("%s: got %+v, %v", want, got, err)
	}
	for _, s := range []string{"", "raw.genesys", "raw.genesys/3", "/3/41", "raw.genesys/3/41/5", "raw.genesys/x/41", "raw.genesys/3/-1", "raw.genesys/4294967296/1"} {
		if got, err := ParsePosition(s); err == nil {
			t.Errorf("%q: parsed %+v", s, got)
		}
	}
}

// TestPositionRefuses holds that a position that misses a part is none.
func TestPositionRefuses(t *testing.T) {
	p := Position{Topic: "raw.genesys", Partition: 3, Offset: 7, AppendMs: 1700000000000}
	if got, want := p.String(), "raw.genesys/3/7"; got != want {
		t.Errorf("String: got %s, want %s", got, want)
	}
	for _, name := range []string{HeaderRawTopic, HeaderRawPartition, HeaderRawOffset, HeaderRawAppendMs} {
		headers := headerMap(p.Headers())
		delete(headers, name)
		if got, ok := PositionOf(headers); ok || got != (Position{}) {
			t.Errorf("without %s: got %+v, %v", name, got, ok)
		}
		if name == HeaderRawTopic {
			continue
		}
		for _, bad := range []string{"", "x", "1.5", "99999999999999999999"} {
			headers[name] = []byte(bad)
			if got, ok := PositionOf(headers); ok {
				t.Errorf("%s %q: got %+v", name, bad, got)
			}
		}
	}
	if _, ok := PositionOf(map[string][]byte{HeaderRawTopic: []byte("t"), HeaderRawPartition: []byte("2147483648"), HeaderRawOffset: []byte("0"), HeaderRawAppendMs: []byte("0")}); ok {
		t.Error("took a partition beyond int32")
	}
}

func TestPositionSame(t *testing.T) {
	p := Position{Topic: "raw.genesys", Partition: 3, Offset: 7, AppendMs: 1}
	for _, tt := range []struct {
		q    Position
		want bool
	}{
		{Position{"raw.genesys", 3, 7, 2}, true},
		{Position{"raw.cxone", 3, 7, 1}, false},
		{Position{"raw.genesys", 4, 7, 1}, false},
		{Position{"raw.genesys", 3, 8, 1}, false},
	} {
		if got := p.Same(tt.q); got != tt.want {
			t.Errorf("%v: got %v, want %v", tt.q, got, tt.want)
		}
	}
}
