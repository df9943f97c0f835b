package codecs

import (
	"fmt"

	"github.com/linkedin/goavro/v2"
)

// decodeAvro reads one framed record to its last byte.
func decodeAvro(codec *goavro.Codec, b []byte) (map[string]any, error) {
	_, payload, err := Unframe(b)
	if err != nil {
		return nil, err
	}
	native, rest, err := codec.NativeFromBinary(payload)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes follow the record", len(rest))
	}
	record, ok := native.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("want a record, got %T", native)
	}
	return record, nil
}

// avroField reads a field whose type the schema warrants; null is the zero
// value.
func avroField[T any](record map[string]any, name string) T {
	v, _ := record[name].(T)
	return v
}

// avroOption reads a field that is a union of null and the named branch; nil is
// null.
func avroOption[T any](record map[string]any, name, branch string) *T {
	v, ok := avroField[map[string]any](record, name)[branch].(T)
	if !ok {
		return nil
	}
	return &v
}
