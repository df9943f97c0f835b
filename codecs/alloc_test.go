//go:build !race

// Under the race detector a pool forgets some of what it is given.

package codecs_test

import (
	"testing"

	"trunkline/codecs"
)

// What one record of a resource of 600 bytes may allocate; the benchmarks tell what it
// does, and its time. A codec that parsed its schema for each record would allocate
// hundreds of times.
//
// Seen failing with a schema that is parsed for each record, and with trees that are
// not used again.
func TestAllocations(t *testing.T) {
	c, e := benchChange(), benchEvent()
	canonical, seed := newCanonicalCodec(t), newSeedCodec(t, codecs.SchemaIDs{})
	event, err := codecs.CanonicalOf(&e)
	if err != nil {
		t.Fatal(err)
	}
	framed, err := canonical.Encode(7, event)
	if err != nil {
		t.Fatal(err)
	}
	type operation struct {
		name string
		most float64
		do   func() error
	}
	operations := []operation{
		{"map of a canonical event", 60, func() error { _, err := codecs.CanonicalOf(&e); return err }},
		{"encode a canonical event", 80, func() error { _, err := canonical.Encode(7, event); return err }},
		{"decode a canonical event", 250, func() error { _, err := canonical.Decode(framed); return err }},
		{"encode the projection of a change", 110, func() error { _, err := seed.Value(&c); return err }},
	}
	for _, format := range formats {
		encoder := newEncoder(t, codecs.ChangeOptions{Topic: "genesys.config.changes", Vendor: "genesys", Format: format})
		value, _, err := encoder.Value(&c)
		if err != nil {
			t.Fatal(err)
		}
		operations = append(operations,
			operation{"encode a key in " + string(format), 10, func() error { _, err := encoder.Key(c.Key); return err }},
			operation{"encode a change in " + string(format), 40, func() error { _, _, err := encoder.Value(&c); return err }},
			operation{"decode a change in " + string(format), 180, func() error { _, err := codecs.DecodeChange(format, nil, value); return err }})
	}
	for _, o := range operations {
		var failed error
		got := testing.AllocsPerRun(200, func() {
			if err := o.do(); err != nil {
				failed = err
			}
		})
		if failed != nil || got > o.most {
			t.Errorf("%s: %v allocations, %v, want %v at most", o.name, got, failed, o.most)
		}
	}
}
