package codecs_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/linkedin/goavro/v2"

	"trunkline/codecs"
	"trunkline/event"
)

var formats = []codecs.Format{codecs.FormatAvro, codecs.FormatJSON}

// sanitisedChange is what readers of a change may expect to find of c.
func sanitisedChange(c event.Change) (event.Change, bool) {
	var changed bool
	text := func(s string) string {
		clean, did := codecs.SanitiseText(s)
		changed = changed || did
		return clean
	}
	image := func(i *event.Image) *event.Image {
		if i == nil {
			return nil
		}
		out := &event.Image{Version: i.Version}
		if i.Name != nil {
			name := text(*i.Name)
			out.Name = &name
		}
		data, did := codecs.SanitiseJSON(i.Data)
		changed = changed || did
		out.Data = data
		return out
	}
	c.Key = event.Key{Vendor: c.Key.Vendor, Tenant: text(c.Key.Tenant), Type: text(c.Key.Type), ID: text(c.Key.ID)}
	c.Before, c.After = image(c.Before), image(c.After)
	c.EventID, c.EventType = text(c.EventID), text(c.EventType)
	return c, changed
}

// What is read back is what was written, in either format, but for the
// characters that are sanitised; nothing a sink cannot bear is left.
func TestChangeRoundTrip(t *testing.T) {
	encoders := map[codecs.Format]*codecs.ChangeEncoder{}
	for _, format := range formats {
		encoders[format] = newEncoder(t, codecs.ChangeOptions{Topic: "genesys.config.changes", Vendor: "genesys", Format: format})
	}
	g := newGenerator(2)
	for range 2000 {
		c := g.change()
		want, wantSanitised := sanitisedChange(c)
		for format, encoder := range encoders {
			key, err := encoder.Key(c.Key)
			if err != nil {
				t.Fatal(err)
			}
			value, sanitised, err := encoder.Value(&c)
			if err != nil {
				t.Fatal(err)
			}
			if sanitised != wantSanitised {
				t.Fatalf("%s: sanitised is %t, want %t: %+v", format, sanitised, wantSanitised, c)
			}
			got, err := codecs.DecodeChange(format, key, value)
			if err != nil {
				t.Fatalf("%s: %v\n%q", format, err, value)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s (-want +got):\n%s", format, diff)
			}
			if k, err := codecs.DecodeKey(format, "genesys", key); err != nil || k != want.Key {
				t.Fatalf("%s: key %v, %v, want %v", format, k, err, want.Key)
			}
		}
	}
}

func TestChangeImagesFitTheOp(t *testing.T) { // I5
	image := &event.Image{}
	tests := []struct {
		op            event.Op
		before, after *event.Image
		ok            bool
	}{
		{event.Create, nil, image, true},
		{event.Create, image, image, false},
		{event.Create, nil, nil, false},
		{event.Read, nil, image, true},
		{event.Read, image, image, false},
		{event.Update, image, image, true},
		{event.Update, nil, image, false},
		{event.Update, image, nil, false},
		{event.Delete, image, nil, true},
		{event.Delete, nil, nil, false},
		{event.Delete, image, image, false},
		{event.OpNone, nil, image, false},
		{"x", nil, image, false},
	}
	for _, format := range formats {
		encoder := newEncoder(t, codecs.ChangeOptions{Topic: "t", Vendor: "genesys", Format: format})
		for _, tt := range tests {
			c := event.Change{Key: event.Key{Vendor: "genesys"}, Op: tt.op, Before: tt.before, After: tt.after}
			if _, _, err := encoder.Value(&c); (err == nil) != tt.ok {
				t.Errorf("%s: op %q, before %t, after %t: error %v, want ok %t",
					format, tt.op, tt.before != nil, tt.after != nil, err, tt.ok)
			}
		}
	}
}

func TestChangeEncoderRefuses(t *testing.T) {
	for _, o := range []codecs.ChangeOptions{
		{Topic: "t", Vendor: "other", Format: codecs.FormatAvro},
		{Topic: "t", Vendor: "genesys", Format: "xml"},
	} {
		if _, err := codecs.NewChangeEncoder(o); err == nil {
			t.Errorf("made an encoder of %+v", o)
		}
	}
	encoder := newEncoder(t, codecs.ChangeOptions{Topic: "t", Vendor: "genesys", Format: codecs.FormatJSON})
	c := event.Change{Key: event.Key{Vendor: "cxone"}, Op: event.Create, After: &event.Image{}}
	if _, _, err := encoder.Value(&c); err == nil {
		t.Error("wrote a change of cxone to a topic of genesys")
	}
}

func TestChangeTopicsAndVendors(t *testing.T) {
	tests := []struct{ topic, vendor, name, connector string }{
		{"genesys.config.changes", "genesys", "genesys.config.changes", "genesyscloud"},
		{"cxone.interaction.changes", "cxone", "cxone.interaction.changes", "cxone"},
		{"cxone.acme-1.config.changes", "cxone", "cxone.acme_1.config.changes", "cxone"},
		{"genesys.42.changes", "genesys", "genesys._2.changes", "genesyscloud"},
		{"genesys..x.", "genesys", "genesys._x_", "genesyscloud"},
	}
	for _, tt := range tests {
		key, value := codecs.ChangeSchemas(tt.topic, tt.connector)
		for _, schema := range []string{key, value} {
			if _, err := goavro.NewCodec(schema); err != nil {
				t.Errorf("%s: %v", tt.topic, err)
			}
			if !strings.Contains(schema, `"namespace":"`+tt.name+`"`) {
				t.Errorf("%s: no namespace %s in %s", tt.topic, tt.name, schema)
			}
			if tt.vendor != "genesys" && strings.Contains(schema, "genesys") {
				t.Errorf("%s: genesys is left in %s", tt.topic, schema)
			}
		}
		k := event.Key{Vendor: tt.vendor, Tenant: "acme", Type: event.TypeConversation, ID: "c-1"}
		c := event.Change{Key: k, Op: event.Create, After: &event.Image{Data: []byte(`{}`)}, Snapshot: "false"}
		for _, format := range formats {
			encoder := newEncoder(t, codecs.ChangeOptions{Topic: tt.topic, Vendor: tt.vendor, Format: format})
			value, _, err := encoder.Value(&c)
			if err != nil {
				t.Fatal(err)
			}
			got, err := codecs.DecodeChange(format, nil, value)
			if diff := cmp.Diff(c, got); err != nil || diff != "" {
				t.Errorf("%s %s: %v (-want +got):\n%s", tt.topic, format, err, diff)
			}
			for _, want := range []string{"interaction", tt.connector, tt.vendor} {
				if !bytes.Contains(value, []byte(want)) {
					t.Errorf("%s %s: no %q in %q", tt.topic, format, want, value)
				}
			}
		}
	}
}

// A clock that is switched off, or out of range in its unit, is null.
func TestChangeClocks(t *testing.T) {
	const year1 = -62135596800000
	tests := []struct {
		name           string
		millisOnly     bool
		tsMs           int64
		wantUs, wantNs any
		wantProcessed  int64
	}{
		{"all", false, 1767323044123, 1767323044123000.0, 1767323044123000000.0, 1767323045123456789},
		{"off", true, 1767323044123, nil, nil, 1767323045123000000},
		{"year 1", false, year1, year1 * 1e3, nil, 1767323045123456789},
		{"end", false, math.MaxInt64, nil, nil, 1767323045123456789},
	}
	for _, tt := range tests {
		c := event.Change{
			Key: event.Key{Vendor: "cxone"}, Op: event.Create, After: &event.Image{},
			TsMs: tt.tsMs, Processed: 1767323045123456789,
		}
		for _, format := range formats {
			encoder := newEncoder(t, codecs.ChangeOptions{Topic: "t", Vendor: "cxone", Format: format, MillisOnly: tt.millisOnly})
			value, _, err := encoder.Value(&c)
			if err != nil {
				t.Fatal(err)
			}
			got, err := codecs.DecodeChange(format, nil, value)
			if err != nil || got.TsMs != tt.tsMs || got.Processed != tt.wantProcessed || got.Snapshot != "false" {
				t.Errorf("%s %s: %+v, %v", tt.name, format, got, err)
			}
			if format != codecs.FormatJSON {
				continue
			}
			var record struct {
				Payload struct{ Source map[string]any }
			}
			if err := json.Unmarshal(value, &record); err != nil {
				t.Fatal(err)
			}
			s := record.Payload.Source
			if s["ts_us"] != tt.wantUs || s["ts_ns"] != tt.wantNs {
				t.Errorf("%s: ts_us %v, ts_ns %v, want %v, %v", tt.name, s["ts_us"], s["ts_ns"], tt.wantUs, tt.wantNs)
			}
		}
	}
}

// One encoder serves all partitions of a processor.
func TestChangeEncoderIsConcurrent(t *testing.T) {
	for _, format := range formats {
		encoder := newEncoder(t, codecs.ChangeOptions{Topic: "genesys.config.changes", Vendor: "genesys", Format: format})
		var group sync.WaitGroup
		for seed := range uint64(4) {
			group.Go(func() {
				g := newGenerator(seed)
				for range 200 {
					c := g.change()
					want, _ := sanitisedChange(c)
					value, _, err := encoder.Value(&c)
					if err != nil {
						t.Error(err)
						return
					}
					got, err := codecs.DecodeChange(format, nil, value)
					if diff := cmp.Diff(want, got); err != nil || diff != "" {
						t.Errorf("%s: %v (-want +got):\n%s", format, err, diff)
						return
					}
				}
			})
		}
		group.Wait()
	}
}

func TestDecodeChangeRefuses(t *testing.T) {
	key, value := goldenRecord(t, codecs.FormatAvro, "u")
	jsonKey, jsonValue := goldenRecord(t, codecs.FormatJSON, "u")
	payload := func(p string) []byte { return []byte(`{"payload":` + p + `}`) }
	tests := []struct {
		name       string
		format     codecs.Format
		key, value []byte
	}{
		{"no value", codecs.FormatAvro, key, nil},
		{"no frame", codecs.FormatAvro, key, value[1:]},
		{"cut off", codecs.FormatAvro, key, value[:len(value)-1]},
		{"trailing byte", codecs.FormatAvro, key, append(bytes.Clone(value), 0)},
		{"other key", codecs.FormatAvro, bytes.Replace(key, []byte("u-1"), []byte("u-2"), 1), value},
		{"other format", codecs.FormatJSON, key, value},
		{"unknown format", "xml", jsonKey, jsonValue},
		{"no payload", codecs.FormatJSON, nil, []byte(`{"schema":{}}`)},
		{"no rows", codecs.FormatJSON, nil, payload(`{"op":"c","source":{"name":"genesys"}}`)},
		{"no vendor", codecs.FormatJSON, nil, payload(`{"op":"c","after":{},"source":{}}`)},
		{"unknown op", codecs.FormatJSON, nil, payload(`{"op":"t","after":{},"source":{"name":"genesys"}}`)},
		{"bad sequence", codecs.FormatJSON, nil, payload(`{"op":"c","after":{},"source":{"name":"genesys","sequence":"[1,2]"}}`)},
		{"data no string", codecs.FormatJSON, nil, payload(`{"op":"c","after":{"data":{}},"source":{"name":"genesys"}}`)},
	}
	for _, tt := range tests {
		if c, err := codecs.DecodeChange(tt.format, tt.key, tt.value); err == nil {
			t.Errorf("%s: decoded %+v", tt.name, c)
		}
	}
}
