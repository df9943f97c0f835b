package codecs

import (
	"fmt"
	"sync"
)

// CanonicalReader reads canonical events by the schemas that they were written by,
// each of which it asks for once. It may be used concurrently.
type CanonicalReader struct {
	schema func(id int) (text string, err error)

	mu     sync.Mutex
	codecs map[int]*CanonicalCodec
	known  *CanonicalCodec
}

// NewCanonicalReader returns a reader that asks schema for the text of an id. Where
// there is no answer, it reads by [CanonicalSchema]: a record of another version then
// is an error, for something is left of it.
func NewCanonicalReader(schema func(id int) (string, error)) (*CanonicalReader, error) {
	known, err := NewCanonicalCodec(canonicalSchema)
	if err != nil {
		return nil, err
	}
	return &CanonicalReader{schema: schema, codecs: map[int]*CanonicalCodec{}, known: known}, nil
}

// Decode reads a framed canonical event.
func (r *CanonicalReader) Decode(b []byte) (Canonical, error) {
	id, _, err := Unframe(b)
	if err != nil {
		return Canonical{}, fmt.Errorf("decode canonical event: %w", err)
	}
	codec := r.codec(id)
	if codec == nil {
		return Canonical{}, fmt.Errorf("decode canonical event: schema %d is not the canonical one with promoted fields alone", id)
	}
	return codec.Decode(b)
}

// codec is nil for a schema of another shape.
func (r *CanonicalReader) codec(id int) *CanonicalCodec {
	r.mu.Lock()
	defer r.mu.Unlock()
	if codec, asked := r.codecs[id]; asked {
		return codec
	}
	codec := r.known
	if text, err := r.schema(id); err == nil {
		codec, _ = NewCanonicalCodec(text) // nil with its error
	}
	r.codecs[id] = codec
	return codec
}
