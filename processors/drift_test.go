package processors_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"trunkline/codecs"
	"trunkline/drift"
	"trunkline/processors"
	"trunkline/stream"
	"trunkline/topology"
)

// Fifty fields that a vendor adds overnight stop nothing: each event goes its way with
// them in its metadata, and each is counted once, on the day of its raw record, not of
// a duplicate and not of a processor's clock. After 30 days of the log they may be
// promoted; then events of that topic are written with the field.
//
// Seen failing with the count before dedup, and with the processing time for the day.
func TestFieldsOvernight(t *testing.T) {
	c := config(t)
	c.Drift = drift.NewTable("p1")
	s := startNormalise(t, c)
	var fifty strings.Builder
	for i := range 50 {
		fmt.Fprintf(&fifty, `"field%d":%d,`, i, i)
	}
	const dayMs = 24 * hour
	rows := map[string][]byte{}
	offset := int64(0)
	next := func(appendMs int64, id, fields string) rawRecord {
		offset++
		return rawAt(c, topology.Genesys, offset, appendMs, "{"+fields+user(id, "u1", "Ann", appendMs)[1:])
	}
	for day := range int64(31) {
		fields := fifty.String()
		if day == 0 {
			fields = "" // the day before that night
		}
		id := fmt.Sprint("e-", day)
		if got := normalised(s, next(t0+day*dayMs, id, fields)); len(got) != 2 || !strings.HasPrefix(got[1], "canonical") {
			t.Fatalf("day %d: got %v, want an event and its canonical form", day, got)
		}
		if got := normalised(s, next(t0+day*dayMs+1, id, fields)); len(got) != 1 || !strings.HasPrefix(got[0], "duplicate") {
			t.Fatalf("day %d: got %v, want a duplicate", day, got)
		}
		if err := c.Drift.Flush(func(changed map[string][]byte) error { maps.Copy(rows, changed); return nil }); err != nil {
			t.Fatal(err)
		}
		var fold drift.Fold
		for key, row := range rows {
			if err := fold.Add([]byte(key), row); err != nil {
				t.Fatal(err)
			}
		}
		fields50 := fold.Fields(drift.Days)
		if want := min(day*50, 50); int64(len(fields50)) != want {
			t.Fatalf("day %d: got %d fields, want %d", day, len(fields50), want)
		}
		for _, f := range fields50 {
			if f.Count != day || int64(f.Days) != day || f.Eligible != (day == 30) || f.FirstSeen.UnixMilli() != t0+dayMs {
				t.Fatalf("day %d: got %+v", day, f)
			}
		}
	}

	topic := topology.CanonicalTopic(topology.Genesys, "acme")
	text, err := codecs.Promote([]codecs.Promotion{{Name: "field7", Source: "x_field7"}})
	if err != nil {
		t.Fatal(err)
	}
	codec, err := codecs.NewCanonicalCodec(text)
	if err != nil {
		t.Fatal(err)
	}
	c.Canonical[topic] = processors.CanonicalSchema{Codec: codec, ID: 12}
	last := next(t0+40*dayMs, "promoted", fifty.String())
	for _, e := range s.deliver(last.at, last.key, last.body, last.headers) {
		if e.Stream != topology.CanonicalEvents {
			continue
		}
		got, err := codec.Decode(e.Value)
		id, _, _ := codecs.Unframe(e.Value)
		if err != nil || id != 12 || string(e.Headers[stream.ToTopic]) != topic {
			t.Fatalf("got id %d, %v", id, err)
		}
		if v := got.Promoted["field7"]; v == nil || *v != "7" || got.Metadata["x_field7"] != "7" {
			t.Errorf("got %v, metadata %q, want 7 in both", v, got.Metadata["x_field7"])
		}
	}
}
