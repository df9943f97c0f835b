package codecs_test

import (
	"fmt"
	"strings"
	"testing"

	"trunkline/codecs"
	"trunkline/event"
)

// benchImage is a resource of about 600 bytes.
func benchImage() []byte {
	var members []string
	for i := range 19 {
		members = append(members, fmt.Sprintf(`"attribute%02d":"value number %02d"`, i, i))
	}
	return []byte("{" + strings.Join(members, ",") + "}")
}

func benchChange() event.Change {
	name, version := "Ann", int64(1234)
	image := event.Image{Name: &name, Version: &version, Data: benchImage()}
	return event.Change{
		Key: event.Key{Vendor: "genesys", Tenant: "acme", Type: "user", ID: "8ad5c5d1-9e4a-4b8c-a9a7-5f2d5f9f0c11"},
		Op:  event.Update, Before: &image, After: &image, TsMs: 1767323044123, Processed: 1767323045123456789,
		Snapshot: "false", SequenceUs: 1767323044123000, SequenceN: 1041, EventID: "7b0f9a7e-51f3-4d76-9d0f-7d5a9a1f9c55",
		EventType: "config.user.updated", Raw: rawPosition,
	}
}

func BenchmarkChangeValue(b *testing.B) {
	for _, format := range formats {
		b.Run(string(format), func(b *testing.B) {
			encoder := newEncoder(b, codecs.ChangeOptions{Topic: "genesys.config.changes", Vendor: "genesys", Format: format})
			c := benchChange()
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := encoder.Value(&c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkChangeKey(b *testing.B) {
	for _, format := range formats {
		b.Run(string(format), func(b *testing.B) {
			encoder := newEncoder(b, codecs.ChangeOptions{Topic: "genesys.config.changes", Vendor: "genesys", Format: format})
			k := benchChange().Key
			b.ReportAllocs()
			for b.Loop() {
				if _, err := encoder.Key(k); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecodeChange(b *testing.B) {
	for _, format := range formats {
		b.Run(string(format), func(b *testing.B) {
			encoder := newEncoder(b, codecs.ChangeOptions{Topic: "genesys.config.changes", Vendor: "genesys", Format: format})
			c := benchChange()
			value, _, err := encoder.Value(&c)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := codecs.DecodeChange(format, nil, value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchEvent() event.Event {
	e := fullEvent()
	e.Image = benchImage()
	return e
}

func BenchmarkCanonicalOf(b *testing.B) {
	e := benchEvent()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := codecs.CanonicalOf(&e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCanonicalEncode(b *testing.B) {
	codec := newCanonicalCodec(b)
	e := benchEvent()
	c, err := codecs.CanonicalOf(&e)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := codec.Encode(7, c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCanonicalDecode(b *testing.B) {
	codec := newCanonicalCodec(b)
	e := benchEvent()
	c, err := codecs.CanonicalOf(&e)
	if err != nil {
		b.Fatal(err)
	}
	framed, err := codec.Encode(7, c)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := codec.Decode(framed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeedValue(b *testing.B) {
	codec := newSeedCodec(b, codecs.SchemaIDs{Key: 1, Value: 2})
	c := benchChange()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := codec.Value(&c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMarshalEvent(b *testing.B) {
	e := benchEvent()
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = codecs.MarshalEvent(dst[:0], &e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshalEvent(b *testing.B) {
	e := benchEvent()
	encoded, err := codecs.MarshalEvent(nil, &e)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := codecs.UnmarshalEvent(encoded); err != nil {
			b.Fatal(err)
		}
	}
}
