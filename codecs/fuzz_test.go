package codecs_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/codecs"
)

// What Unframe accepts is the frame of its id and the rest, unchanged.
func FuzzUnframe(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{1, 0, 0, 0, 7, 1})
	f.Add(readHex(f, "golden/key.avro.hex"))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, payload, err := codecs.Unframe(b)
		if err != nil {
			if !errors.Is(err, codecs.ErrUnframed) {
				t.Errorf("error %v is no ErrUnframed", err)
			}
			return
		}
		if again := append(codecs.Frame(nil, id), payload...); !bytes.Equal(b, again) {
			t.Errorf("%x became id %d and %x", b, id, payload)
		}
	})
}

// Hostile bytes are an error or an event, never a panic; what is read as an
// event is written and read as the same one.
func FuzzUnmarshalEvent(f *testing.F) {
	f.Add(readHex(f, "working.v1.hex"))
	f.Add([]byte{1, 0x80})
	f.Add([]byte{1, 0xdf, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{1, 0x81, 0xa1, 'm', 0xdd, 0, 0, 0x40, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := codecs.UnmarshalEvent(b)
		if err != nil {
			return
		}
		first, err := codecs.MarshalEvent(nil, &e)
		if err != nil {
			t.Fatal(err)
		}
		again, err := codecs.UnmarshalEvent(first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := codecs.MarshalEvent(nil, &again)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%x, then %x, %v", first, second, err)
		}
	})
}

// Hostile bytes are an error or a canonical event, never a panic; what is read is
// written, invalid UTF-8 aside, and read as the same one.
func FuzzDecodeCanonical(f *testing.F) {
	codec := newCanonicalCodec(f)
	e := fullEvent()
	c, err := codecs.CanonicalOf(&e)
	if err != nil {
		f.Fatal(err)
	}
	framed, err := codec.Encode(7, c)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(framed)
	f.Add(framed[:len(framed)/2])
	f.Add(append(codecs.Frame(nil, 7), 0, 0, 0, 0, 0, 2, 2, 'a', 2, 0xff, 1, 6, 0, 0, 0, 0)) // a block with its size
	again := func(t *testing.T, c codecs.Canonical) codecs.Canonical {
		t.Helper()
		b, err := codec.Encode(7, c)
		if err != nil {
			t.Fatal(err)
		}
		if c, err = codec.Decode(b); err != nil {
			t.Fatal(err)
		}
		return c
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := codec.Decode(b)
		if err != nil {
			return
		}
		clean := again(t, c)
		if diff := cmp.Diff(clean, again(t, clean)); diff != "" {
			t.Errorf("(-first +again):\n%s", diff)
		}
	})
}

// Hostile bytes are an error or a key, never a panic; what is read as a key is written
// and read as the same one.
func FuzzDecodeKey(f *testing.F) {
	f.Add(false, readHex(f, "golden/key.avro.hex"))
	f.Add(true, readFile(f, "golden/key.json"))
	encoders := map[bool]*codecs.ChangeEncoder{}
	for _, format := range formats {
		encoders[format == codecs.FormatJSON] = newEncoder(f, codecs.ChangeOptions{Topic: "t", Vendor: "genesys", Format: format})
	}
	f.Fuzz(func(t *testing.T, isJSON bool, b []byte) {
		format := map[bool]codecs.Format{true: codecs.FormatJSON, false: codecs.FormatAvro}[isJSON]
		k, err := codecs.DecodeKey(format, "genesys", b)
		if err != nil {
			return
		}
		first, err := encoders[isJSON].Key(k)
		if err != nil {
			t.Fatal(err)
		}
		clean, err := codecs.DecodeKey(format, "genesys", first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := encoders[isJSON].Key(clean)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%v:\n%q\n%q", err, first, second)
		}
	})
}

// Hostile bytes are an error or a change, never a panic; a change whose images
// fit its op is written again and read as the same one.
func FuzzDecodeChange(f *testing.F) {
	for _, name := range []string{"c", "u", "d_keyonly"} {
		f.Add(false, readHex(f, "golden/value."+name+".avro.hex"))
		f.Add(true, readFile(f, "golden/value."+name+".json"))
	}
	encoders := map[string]*codecs.ChangeEncoder{}
	for _, format := range formats {
		for _, vendor := range []string{"genesys", "cxone"} {
			encoders[string(format)+vendor] = newEncoder(f, codecs.ChangeOptions{Topic: "t", Vendor: vendor, Format: format})
		}
	}
	f.Add(true, []byte(`{"payload":{"op":"c","after":{"data":"\ud800\u0000"},"source":{"name":"cxone","sequence":"[\"1\",\"2\"]"}}}`))
	f.Fuzz(func(t *testing.T, isJSON bool, b []byte) {
		format := codecs.FormatAvro
		if isJSON {
			format = codecs.FormatJSON
		}
		c, err := codecs.DecodeChange(format, nil, b)
		if err != nil {
			return
		}
		encoder, known := encoders[string(format)+c.Key.Vendor]
		if !known {
			return // a vendor that we do not know
		}
		first, _, err := encoder.Value(&c)
		if err != nil {
			return // images that do not fit the op
		}
		again, err := codecs.DecodeChange(format, nil, first)
		if err != nil {
			t.Fatal(err)
		}
		second, sanitised, err := encoder.Value(&again)
		if err != nil || sanitised || !bytes.Equal(first, second) {
			t.Fatalf("sanitised %t, %v:\n%q\n%q", sanitised, err, first, second)
		}
	})
}
