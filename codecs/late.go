package codecs

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"trunkline/event"
)

// Names of the headers of a late event beside the raw position, ingest_id and
// run, which all outputs carry. The values are JSON: an order
// `{"ts_ms":…,"version":…,"op":"u","event_id":"…"}`, a position as in a fate.
const (
	HeaderLateOrder    = "late.order"     // the event's own
	HeaderLateRowOrder = "late.row_order" // of the last event applied to its row
	HeaderLateRowRaw   = "late.row_raw"   // raw position of that event
	HeaderLateKey      = "late.key"       // key of the raw record
)

// Late is what a late event tells beside the canonical event, which is its
// value (I4).
type Late struct {
	Raw      event.Position
	Key      string // of the raw record
	IngestID string
	Run      string
	Own      event.Order
	Row      event.Order    // of the last event applied to the row
	RowRaw   event.Position // of that event; zero when unknown
}

type orderRecord struct {
	TsMs    int64    `json:"ts_ms"`
	Version *int64   `json:"version,omitzero"`
	Op      event.Op `json:"op"`
	EventID string   `json:"event_id"`
}

// Headers returns the record headers of l; empty texts and zero positions are
// left out. The error tells of an order that cannot be written.
func (l *Late) Headers() ([]event.Header, error) {
	hs := joinHeaders(nil, l.Raw, l.IngestID, l.Run)
	hs = appendHeader(hs, HeaderLateKey, l.Key)
	hs, err1 := appendJSONHeader(hs, HeaderLateOrder, recordOfOrder(l.Own))
	hs, err2 := appendJSONHeader(hs, HeaderLateRowOrder, recordOfOrder(l.Row))
	var err3 error
	if l.RowRaw.Topic != "" {
		hs, err3 = appendJSONHeader(hs, HeaderLateRowRaw, positionRecord(l.RowRaw))
	}
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("write late event headers: %w", err)
	}
	return hs, nil
}

// ParseLate reads what [Late.Headers] wrote. Both orders and the raw position
// must be there.
func ParseLate(headers map[string][]byte) (Late, error) {
	raw, ok := event.PositionOf(headers)
	if !ok {
		return Late{}, errors.New("parse late event: no raw position")
	}
	l := Late{
		Raw:      raw,
		Key:      string(headers[HeaderLateKey]),
		IngestID: string(headers[event.HeaderIngestID]),
		Run:      string(headers[event.HeaderRun]),
	}
	var own, row orderRecord
	var rowRaw positionRecord
	err := errors.Join(
		parseJSONHeader(headers, HeaderLateOrder, &own),
		parseJSONHeader(headers, HeaderLateRowOrder, &row),
	)
	if _, there := headers[HeaderLateRowRaw]; there {
		err = errors.Join(err, parseJSONHeader(headers, HeaderLateRowRaw, &rowRaw))
	}
	if err != nil {
		return Late{}, fmt.Errorf("parse late event: %w", err)
	}
	l.Own, l.Row, l.RowRaw = own.order(), row.order(), event.Position(rowRaw)
	return l, nil
}

func recordOfOrder(o event.Order) orderRecord {
	r := orderRecord{TsMs: o.TsMs, Op: o.Op, EventID: o.EventID}
	if o.Version.Known {
		r.Version = &o.Version.N
	}
	return r
}

func (r orderRecord) order() event.Order {
	o := event.Order{TsMs: r.TsMs, Op: r.Op, EventID: r.EventID}
	if r.Version != nil {
		o.Version = event.Version{N: *r.Version, Known: true}
	}
	return o
}

func appendJSONHeader(hs []event.Header, key string, v any) ([]event.Header, error) {
	b, err := json.Marshal(v, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return hs, err
	}
	return append(hs, event.Header{Key: key, Value: b}), nil
}

func parseJSONHeader(headers map[string][]byte, name string, v any) error {
	if err := json.Unmarshal(headers[name], v); err != nil {
		return fmt.Errorf("header %s: %w", name, err)
	}
	return nil
}
