package state

import (
	"fmt"

	"trunkline/event"
)

//go:generate go run github.com/tinylib/msgp@v1.6.5 -file=seen.go -io=false -tests=false -unexported

//msgp:ignore Seen

// Seen is the dedup row: where an event id was first seen. "Duplicate" means
// the same id at another position.
type Seen struct {
	First event.Position
	// Body is a hash of the bytes: it tells a plain re-delivery from two events
	// that share an id.
	Body uint64
}

// Expired reports whether the row is too old, by append times, to make the
// message at p a duplicate. It is decided in the callback, from the log alone,
// so a replay decides alike (I7).
func (s Seen) Expired(p event.Position, windowMs int64) bool {
	return p.AppendMs-s.First.AppendMs > windowMs
}

// SeenLayout is the first byte of an encoded dedup row. Set-up refuses a table
// whose rows begin with another.
const SeenLayout = 1

// seenRow is the stored form. Fields are only ever added.
type seenRow struct {
	Topic     string `msg:"t"`
	Partition int32  `msg:"p"`
	Offset    int64  `msg:"o"`
	AppendMs  int64  `msg:"a"`
	Body      uint64 `msg:"b"`
}

// Encode returns the stored form.
func (s Seen) Encode() []byte {
	row := seenRow{
		Topic: s.First.Topic, Partition: s.First.Partition, Offset: s.First.Offset,
		AppendMs: s.First.AppendMs, Body: s.Body,
	}
	b, _ := row.MarshalMsg([]byte{SeenLayout}) // cannot fail: plain fields
	return b
}

// DecodeSeen reads what [Seen.Encode] wrote.
func DecodeSeen(b []byte) (Seen, error) {
	if len(b) == 0 || b[0] != SeenLayout {
		return Seen{}, fmt.Errorf("decode dedup row: unknown layout, want version %d", SeenLayout)
	}
	var row seenRow
	if _, err := row.UnmarshalMsg(b[1:]); err != nil {
		return Seen{}, fmt.Errorf("decode dedup row: %w", err)
	}
	return Seen{
		First: event.Position{Topic: row.Topic, Partition: row.Partition, Offset: row.Offset, AppendMs: row.AppendMs},
		Body:  row.Body,
	}, nil
}

// SeenExpiry returns the store option that drops dedup rows after twice the
// window; see [Options.Expiry].
func SeenExpiry(windowMs int64) func(row []byte) int64 {
	return func(row []byte) int64 {
		s, err := DecodeSeen(row)
		if err != nil {
			return 0
		}
		return s.First.AppendMs + 2*windowMs
	}
}
