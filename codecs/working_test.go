package codecs_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tinylib/msgp/msgp"

	"trunkline/codecs"
	"trunkline/event"
)

// fullEvent has a value in every field, so that the golden bytes name them all.
func fullEvent() event.Event {
	return event.Event{
		ID: "e-1", Key: event.Key{Vendor: "genesys", Tenant: "acme", Type: "user", ID: "u-1\xff\x00"},
		Type: "config.user.updated", Op: event.Update, TsMs: 1767323044123, TsSource: event.TsEvent,
		Version: event.Version{N: 2, Known: true}, Image: []byte(`{"id":"u-1","n":9007199254740993}`), Partial: true,
		Metadata: map[string]string{"x_b": "2", "x_a": "1", "": "0"},
		Origin: event.Origin{
			IngestID: "r/0", Transport: event.Push, Format: event.GenesysSeed, ReceivedMs: 1767323044200,
			Raw: rawPosition, LogSource: "raw.genesys/3", LogMs: 1767323044300,
			Lineage: event.Lineage{Root: "raw.genesys/3/7", Attempts: 2, FirstSeenMs: 1767323040000},
		},
	}
}

// The bytes stay in Kafka and in reorder buffers: what one release wrote, every
// later one must read.
func TestWorkingEventBytes(t *testing.T) {
	e := fullEvent()
	b, err := codecs.MarshalEvent(nil, &e)
	if err != nil {
		t.Fatal(err)
	}
	checkGolden(t, "working.v1.hex", hex.EncodeToString(b))
	got, err := codecs.UnmarshalEvent(readHex(t, "working.v1.hex"))
	if diff := cmp.Diff(e, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestWorkingEventRoundTrip(t *testing.T) {
	g := newGenerator(3)
	prefix := []byte("kept")
	for range 5000 {
		want := g.event()
		b, err := codecs.MarshalEvent(prefix, &want)
		if err != nil {
			t.Fatal(err)
		}
		encoded, ok := bytes.CutPrefix(b, prefix)
		if !ok {
			t.Fatalf("dst was not kept: %q", b)
		}
		got, err := codecs.UnmarshalEvent(encoded)
		if err != nil {
			t.Fatal(err)
		}
		clear(encoded) // the event must own its bytes
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		again, err := codecs.MarshalEvent(prefix, &got)
		if err != nil {
			t.Fatal(err)
		}
		if b, err = codecs.MarshalEvent(prefix, &want); err != nil || !bytes.Equal(b, again) {
			t.Fatalf("equal events have bytes\n%x\n%x, %v", b, again, err)
		}
	}
}

// Fields are only added: an older reader skips them, a newer one finds them
// absent.
func TestWorkingEventFieldsAreOnlyAdded(t *testing.T) {
	b := []byte{1}
	b = msgp.AppendMapHeader(b, 5)
	b = msgp.AppendString(b, "added")
	b = msgp.AppendArrayHeader(b, 2)
	b = msgp.AppendMapHeader(b, 1)
	b = msgp.AppendInt(msgp.AppendString(b, "deep"), 1)
	b = msgp.AppendBytes(b, []byte("bytes"))
	b = msgp.AppendString(msgp.AppendString(b, "i"), "e-1")
	b = msgp.AppendNil(msgp.AppendString(b, "aa"))
	b = msgp.AppendInt64(msgp.AppendString(b, "ts"), 5)
	b = msgp.AppendFloat64(msgp.AppendString(b, "zz"), 0.5)
	got, err := codecs.UnmarshalEvent(b)
	if diff := cmp.Diff(event.Event{ID: "e-1", TsMs: 5}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestUnmarshalEventRefuses(t *testing.T) {
	e := fullEvent()
	good, err := codecs.MarshalEvent(nil, &e)
	if err != nil {
		t.Fatal(err)
	}
	field := func(name string, value ...byte) []byte {
		return append(msgp.AppendString(msgp.AppendMapHeader([]byte{1}, 1), name), value...)
	}
	tests := []struct {
		name    string
		bytes   []byte
		version bool // the error is ErrWorkingVersion
	}{
		{"nothing", nil, true},
		{"other version", append([]byte{2}, good[1:]...), true},
		{"version only", good[:1], false},
		{"cut off", good[:len(good)-1], false},
		{"trailing byte", append(bytes.Clone(good), 0), false},
		{"no map", []byte{1, 0x90}, false},
		{"wrong type", field("i", 0x01), false},
		{"long text", field("i", 0xdb, 0xff, 0xff, 0xff, 0xff), false},
		{"long image", field("b", 0xc6, 0xff, 0xff, 0xff, 0xff), false},
		{"long metadata", field("m", 0xdd, 0xff, 0xff, 0xff, 0xff), false},
		{"long map", []byte{1, 0xdf, 0xff, 0xff, 0xff, 0xff}, false},
		{"name without value", field("m", 0x91, 0xa1, 'x'), false},
	}
	for _, tt := range tests {
		e, err := codecs.UnmarshalEvent(tt.bytes)
		if err == nil || errors.Is(err, codecs.ErrWorkingVersion) != tt.version {
			t.Errorf("%s: %+v, %v, want ErrWorkingVersion %t", tt.name, e, err, tt.version)
		}
	}
	for size := range good {
		if _, err := codecs.UnmarshalEvent(good[:size]); err == nil {
			t.Errorf("decoded the first %d of %d bytes", size, len(good))
		}
	}
}

// The largest image that an edge lets in goes through.
func TestWorkingEventTakesTheLargestImage(t *testing.T) {
	const largest = 1 << 20
	e := event.Event{ID: "e", Image: []byte(`{"a":"` + strings.Repeat("x", largest-8) + `"}`)}
	b, err := codecs.MarshalEvent(nil, &e)
	if err != nil {
		t.Fatal(err)
	}
	got, err := codecs.UnmarshalEvent(b)
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Image) != string(e.Image) {
		t.Errorf("got an image of %d bytes, want %d", len(got.Image), len(e.Image))
	}
}
