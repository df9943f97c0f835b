package sse

import (
	"bytes"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// reading is all that a decoder tells of a stream.
type reading struct {
	Events   []Event
	Position string
	Retry    time.Duration
	HasRetry bool
}

// decode reads the stream cut into pieces as next says.
func decode(stream []byte, position string, maxData int, next func() int) reading {
	d := NewDecoder(position, maxData)
	var r reading
	for len(stream) > 0 {
		n := min(next(), len(stream))
		piece := bytes.Clone(stream[:n])
		r.Events = d.Decode(r.Events, piece)
		clear(piece) // the decoder keeps no reference
		stream = stream[n:]
	}
	r.Position = d.Position()
	r.Retry, r.HasRetry = d.Retry()
	return r
}

func whole() int     { return 1 << 30 }
func byBytes() int   { return 1 }
func byTriples() int { return 3 }

// TestDecoder holds the decoder against the rules of the format, each stream
// whole and cut at every byte. Resumed after 41.
func TestDecoder(t *testing.T) {
	message := func(id, data string) Event { return Event{ID: id, Type: "message", Data: []byte(data)} }
	tests := []struct {
		name, stream string
		want         reading
	}{
		{"nothing", "", reading{Position: "41"}},
		{"lines end in LF", "data: a\n\n", reading{Events: []Event{message("41", "a")}, Position: "41"}},
		{"lines end in CR", "data: a\rid: 1\r\rdata: b\r\r", reading{Events: []Event{message("1", "a"), message("1", "b")}, Position: "1"}},
		{"lines end in CRLF", "data: a\r\nid: 1\r\n\r\ndata: b\r\n\r\n", reading{Events: []Event{message("1", "a"), message("1", "b")}, Position: "1"}},
		{"lines end in all of them", "data: a\r\ndata: b\rdata: c\n\r\n", reading{Events: []Event{message("41", "a\nb\nc")}, Position: "41"}},
		{"LF CR is two ends", "data: a\n\rdata: b\n\n", reading{Events: []Event{message("41", "a"), message("41", "b")}, Position: "41"}},
		{"one byte order mark is dropped", "\uFEFFdata: a\n\n", reading{Events: []Event{message("41", "a")}, Position: "41"}},
		{"a second one is a part of the name", "\uFEFF\uFEFFdata: a\n\n", reading{Position: "41"}},
		{"one behind the start too", "data: a\n\n\uFEFFdata: b\n\n", reading{Events: []Event{message("41", "a")}, Position: "41"}},
		{"a part of one too", "\xEF\xBBdata: a\ndata: b\n\n", reading{Events: []Event{message("41", "b")}, Position: "41"}},
		{"comments are ignored", ": hb\n:\n:data: x\ndata: a\n: hb\n\n: hb\n\n", reading{Events: []Event{message("41", "a")}, Position: "41"}},
		{"one space is dropped behind the colon", "data:a\ndata:  b\ndata:\tc\ndata: \n\n", reading{Events: []Event{message("41", "a\n b\n\tc\n")}, Position: "41"}},
		{"further colons belong to the value", "data: a: b\n\n", reading{Events: []Event{message("41", "a: b")}, Position: "41"}},
		{"a line without a colon has no value", "data\ndata\n\n", reading{Events: []Event{message("41", "\n")}, Position: "41"}},
		{"empty data is an event", "data\n\n", reading{Events: []Event{message("41", "")}, Position: "41"}},
		{
			"unknown fields are ignored", "dat: x\ndatax: x\nData: x\n data: x\nfoo\n" + strings.Repeat("x", 5000) + "\n" + strings.Repeat("x", 5000) + ": y\ndata: a\n\n",
			reading{Events: []Event{message("41", "a")}, Position: "41"},
		},
		{"event sets the type, of one event", "event: x\nevent: y\ndata: a\n\ndata: b\n\nevent: z\n\ndata: c\n\nevent:\ndata: d\n\n", reading{
			Events: []Event{{ID: "41", Type: "y", Data: []byte("a")}, message("41", "b"), message("41", "c"), message("41", "d")}, Position: "41",
		}},
		{"id stays until the next", "id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n\n", reading{
			Events: []Event{message("1", "a"), message("1", "b"), message("2", "c")}, Position: "2",
		}},
		{"id with NUL is ignored", "id: 1\x002\ndata: a\n\n", reading{Events: []Event{message("41", "a")}, Position: "41"}},
		{"too long an id is ignored", "id: " + strings.Repeat("1", maxField+1) + "\ndata: a\n\n", reading{Events: []Event{message("41", "a")}, Position: "41"}},
		{"an id that no header carries is no position", "id: 1\ndata: a\n\nid: \x7f\ndata: b\n\nid: \xff\ndata: c\n\n", reading{
			Events: []Event{message("1", "a"), message("\x7f", "b"), message("\xff", "c")}, Position: "1",
		}},
		{"empty id resets", "id: 1\ndata: a\n\nid\ndata: b\n\n", reading{Events: []Event{message("1", "a"), message("", "b")}, Position: ""}},
		{"id without data is a position and no event", "id: 43\n\n", reading{Position: "43"}},
		{"an event without its blank line is none", "id: 42\ndata: a\n\nid: 43\ndata: b\n", reading{Events: []Event{message("42", "a")}, Position: "42"}},
		{"nor is half a line", "id: 42\ndata: a\n\nid: 43\n\nid: 44\ndata: {\"x", reading{Events: []Event{message("42", "a")}, Position: "43"}},
		{"retry", "retry: 2000\n\n", reading{Position: "41", Retry: 2 * time.Second, HasRetry: true}},
		{"retry needs no blank line", "retry:0\n", reading{Position: "41", HasRetry: true}},
		{"retry takes digits only", "retry: 5\nretry: 1e3\nretry: -1\nretry:  7\nretry: ٣\nretry\nretry:\n\n", reading{Position: "41", Retry: 5 * time.Millisecond, HasRetry: true}},
		{"retry is bounded", "retry: 99999999999999999999\n", reading{Position: "41", Retry: 2147483647 * time.Millisecond, HasRetry: true}},
		{
			"too large an event is cut", "id: 5\ndata: " + strings.Repeat("x", 98) + "\ndata: yyy\n\ndata: b\n\n",
			reading{Events: []Event{{ID: "5", Type: "message", Data: []byte(strings.Repeat("x", 98) + "\ny"), Cut: 2}, message("5", "b")}, Position: "5"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for name, cut := range map[string]func() int{"whole": whole, "by bytes": byBytes, "by triples": byTriples} {
				if diff := cmp.Diff(tt.want, decode([]byte(tt.stream), "41", 100, cut), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s, -want +got:\n%s", name, diff)
				}
			}
		})
	}
}

// FuzzDecoder checks that
//   - the result does not depend on how the bytes are cut into reads;
//   - no more is kept of a stream than its limits allow;
//   - an event comes with the end of a line, and no two with one.
func FuzzDecoder(f *testing.F) {
	sample, err := os.ReadFile("testdata/I5.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		string(sample), "", "\uFEFFdata\r\n\r\n", "\xEF\xBB", "data: a\r\rid\r\n\n", "id: \x00\nretry: 10\n\n", strings.Repeat("data: abcdefgh\n", 15) + "\n", strings.Repeat("id: 1\r\ndata: a\r\ndata: b\r\n\r\n", 5), ":" + strings.Repeat("x", 100), "id: " + strings.Repeat("1", 1030) + "\n\n",
	} {
		f.Add([]byte(s), uint64(1))
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		const maxData = 100
		random := rand.New(rand.NewPCG(seed, 2))
		want := decode(stream, "41", maxData, whole)
		got := decode(stream, "41", maxData, func() int { return 1 + random.IntN(7) })
		if !reflect.DeepEqual(got, want) { // cmp would take most of the time
			t.Fatalf("cut into pieces, -want +got:\n%s", cmp.Diff(want, got))
		}
		for _, e := range want.Events {
			if len(e.Data) > maxData || e.Cut > 0 && len(e.Data) < maxData || e.Type == "" || len(e.ID) > maxField {
				t.Fatalf("event beyond its limits: %+v", e)
			}
		}
		d := NewDecoder("41", maxData)
		for i := range stream {
			if n := len(d.Decode(nil, stream[i:i+1])); n > 1 || n == 1 && stream[i] != '\r' && stream[i] != '\n' {
				t.Fatalf("%d events with byte %d, %q", n, i+1, stream[i])
			}
			if len(d.data) > maxData || len(d.text) > maxField {
				t.Fatalf("after %d bytes %d bytes of data and %d of text are kept", i+1, len(d.data), len(d.text))
			}
		}
	})
}
