package state

import (
	"encoding/binary"
	"fmt"

	"trunkline/event"
)

//go:generate go run github.com/tinylib/msgp@v1.6.5 -file=entity_row.go -io=false -tests=false -unexported

// EntityLayout is the first byte of an encoded entity row. Set-up refuses a table
// whose rows begin with another. Then follow the row's timers, in front so that
// the store can index a row without decoding it, and the MessagePack of
// entityRow.
const EntityLayout = 1

// entityRow is the stored form of [Entity]. Fields are only ever added.
type entityRow struct {
	Live       bool      `msg:"l"`
	Partial    bool      `msg:"p"`
	Image      []byte    `msg:"i"`
	Version    int64     `msg:"v"`
	Versioned  bool      `msg:"vk"`
	Applied    orderRow  `msg:"a"`
	EventType  string    `msg:"et"`
	RawTopic   string    `msg:"rt"`
	RawPart    int32     `msg:"rp"`
	RawOffset  int64     `msg:"ro"`
	RawAppend  int64     `msg:"ra"`
	Changes    int64     `msg:"n"`
	SequenceUs int64     `msg:"s"`
	DeletedMs  int64     `msg:"d"`
	HighestMs  int64     `msg:"h"`
	Held       []heldRow `msg:"b,limit=65536"`
	SeenMs     int64     `msg:"sm,omitempty"`
}

type orderRow struct {
	TsMs      int64  `msg:"t"`
	Version   int64  `msg:"v"`
	Versioned bool   `msg:"vk"`
	Op        string `msg:"o"`
	EventID   string `msg:"e"`
}

type heldRow struct {
	Order orderRow `msg:"o"`
	Clock string   `msg:"c"`
	DueMs int64    `msg:"d"`
	Count bool     `msg:"n"`
	Body  []byte   `msg:"b"`
}

// Encode returns the stored form. clock is the log on which the row asks to be
// called when, by rules, its retention or the time of its marker is over.
func (r *Entity) Encode(clock string, rules Rules) []byte {
	row := entityRow{
		Live: r.Live, Partial: r.Partial, Image: r.Image,
		Version: r.Version.N, Versioned: r.Version.Known,
		Applied: toOrderRow(r.Applied), EventType: r.EventType,
		RawTopic: r.Raw.Topic, RawPart: r.Raw.Partition, RawOffset: r.Raw.Offset, RawAppend: r.Raw.AppendMs,
		Changes: r.Changes, SequenceUs: r.SequenceUs, DeletedMs: r.DeletedMs, HighestMs: r.HighestMs,
		SeenMs: r.SeenMs,
	}
	for _, h := range r.Held {
		row.Held = append(row.Held, heldRow{Order: toOrderRow(h.Order), Clock: h.Clock, DueMs: h.DueMs, Count: h.Count, Body: h.Body})
	}
	b, _ := row.MarshalMsg(r.appendTimers([]byte{EntityLayout}, clock, rules)) // cannot fail: plain fields
	return b
}

// appendTimers writes the due time of every held event and of the row itself.
// What is held may give the row life when a clock leaps, in a tick that sets no
// timer in time: so its retention is written before it lives (I7).
func (r *Entity) appendTimers(b []byte, clock string, rules Rules) []byte {
	var ts []Timer
	for _, h := range r.Held {
		ts = append(ts, Timer{h.Clock, h.DueMs})
	}
	if r.expires(rules) && (r.Live || len(r.Held) > 0) {
		ts = append(ts, Timer{clock, r.SeenMs + rules.IdleMs + 1})
	}
	if !r.Live && r.DeletedMs > 0 {
		ts = append(ts, Timer{clock, r.DeletedMs + rules.MarkerMs + 1})
	}
	b = binary.AppendUvarint(b, uint64(len(ts)))
	for _, t := range ts {
		b = append(append(b, byte(len(t.Clock))), t.Clock...)
		b = binary.BigEndian.AppendUint64(b, uint64(t.AtMs))
	}
	return b
}

// EntityTimers reads the timers of an encoded row; see [Options.Timers].
func EntityTimers(b []byte) []Timer {
	ts, _, err := cutTimers(b)
	if err != nil {
		return nil
	}
	return ts
}

func cutTimers(b []byte) (ts []Timer, rest []byte, err error) {
	if len(b) < 2 || b[0] != EntityLayout {
		return nil, nil, fmt.Errorf("unknown layout, want version %d", EntityLayout)
	}
	n, size := binary.Uvarint(b[1:])
	if size <= 0 {
		return nil, nil, fmt.Errorf("cut off before its timers")
	}
	b = b[1+size:]
	for range n {
		if len(b) < 1 || len(b) < 1+int(b[0])+8 {
			return nil, nil, fmt.Errorf("cut off inside its timers")
		}
		l := int(b[0])
		ts = append(ts, Timer{Clock: string(b[1 : 1+l]), AtMs: int64(binary.BigEndian.Uint64(b[1+l:]))})
		b = b[9+l:]
	}
	return ts, b, nil
}

// DecodeEntity reads what [Entity.Encode] wrote.
func DecodeEntity(b []byte) (Entity, error) {
	_, body, err := cutTimers(b)
	if err != nil {
		return Entity{}, fmt.Errorf("decode entity row: %w", err)
	}
	var row entityRow
	if _, err := row.UnmarshalMsg(body); err != nil {
		return Entity{}, fmt.Errorf("decode entity row: %w", err)
	}
	r := Entity{
		Live: row.Live, Partial: row.Partial,
		Version: event.Version{N: row.Version, Known: row.Versioned},
		Applied: row.Applied.order(), EventType: row.EventType,
		Raw:     event.Position{Topic: row.RawTopic, Partition: row.RawPart, Offset: row.RawOffset, AppendMs: row.RawAppend},
		Changes: row.Changes, SequenceUs: row.SequenceUs, DeletedMs: row.DeletedMs, HighestMs: row.HighestMs,
		SeenMs: row.SeenMs,
	}
	if row.Live {
		r.Image = row.Image
	}
	for _, h := range row.Held {
		r.Held = append(r.Held, Held{Order: h.Order.order(), Clock: h.Clock, DueMs: h.DueMs, Count: h.Count, Body: h.Body})
	}
	return r, nil
}

func toOrderRow(o event.Order) orderRow {
	return orderRow{TsMs: o.TsMs, Version: o.Version.N, Versioned: o.Version.Known, Op: string(o.Op), EventID: o.EventID}
}

func (o orderRow) order() event.Order {
	return event.Order{
		TsMs: o.TsMs, Version: event.Version{N: o.Version, Known: o.Versioned}, Op: event.Op(o.Op), EventID: o.EventID,
	}
}
