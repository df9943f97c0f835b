package codecs

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/linkedin/goavro/v2"

	"trunkline/event"
)

// DecodeChange reads what [ChangeEncoder] wrote. A nil key is not looked at;
// another one must name the entity of the value. Tombstones have no value: see
// [DecodeKey]. What a record does not carry stays empty: Raw.AppendMs, and of
// Processed what lies below ts_ms when ts_us and ts_ns are off. Images are not
// checked against the op, so that a ledger can tell what it found (I5).
func DecodeChange(format Format, key, value []byte) (event.Change, error) {
	env, err := decodeEnvelope(format, value)
	if err != nil {
		return event.Change{}, fmt.Errorf("decode change: %w", err)
	}
	c, err := env.change()
	if err != nil {
		return event.Change{}, fmt.Errorf("decode change: %w", err)
	}
	if key != nil {
		k, err := DecodeKey(format, c.Key.Vendor, key)
		if err != nil {
			return event.Change{}, err
		}
		if k != c.Key {
			return event.Change{}, fmt.Errorf("decode change: key is of %s, value of %s", k, c.Key)
		}
	}
	return c, nil
}

// DecodeKey reads the message key of a change or tombstone. A key struct does
// not name the vendor; its topic does.
func DecodeKey(format Format, vendor string, key []byte) (event.Key, error) {
	k, err := decodeChangeKey(format, key)
	if err != nil {
		return event.Key{}, fmt.Errorf("decode change key: %w", err)
	}
	return k.key(vendor), nil
}

func (k changeKey) key(vendor string) event.Key {
	return event.Key{Vendor: vendor, Tenant: k.TenantID, Type: k.ResourceType, ID: k.ResourceID}
}

func (e *envelope) change() (event.Change, error) {
	row := cmp.Or(e.After, e.Before)
	if row == nil {
		return event.Change{}, errors.New("neither before nor after")
	}
	if e.Source.Name == "" {
		return event.Change{}, errors.New("source.name is empty")
	}
	op := event.Op(e.Op)
	switch op {
	case event.Create, event.Update, event.Delete, event.Read:
	default:
		return event.Change{}, fmt.Errorf("unknown op %q", e.Op) // a sink would upsert it
	}
	us, n, err := parseSequence(e.Source.Sequence)
	if err != nil {
		return event.Change{}, err
	}
	c := event.Change{
		Key:        row.key(e.Source.Name),
		Op:         op,
		Before:     e.Before.image(),
		After:      e.After.image(),
		TsMs:       e.Source.TsMs,
		Processed:  e.TsMs * 1e6,
		Snapshot:   e.Source.Snapshot,
		SequenceUs: us,
		SequenceN:  n,
		EventID:    e.Source.EventID,
		EventType:  e.Source.EventType,
		Raw:        event.Position{Topic: e.Source.RawTopic, Partition: e.Source.RawPartition, Offset: e.Source.RawOffset},
	}
	if e.TsNs != nil {
		c.Processed = *e.TsNs
	}
	return c, nil
}

func (r *changeRow) image() *event.Image {
	if r == nil {
		return nil
	}
	return &event.Image{Name: r.Name, Version: r.Version, Data: r.Data}
}

func parseSequence(s string) (us, n int64, err error) {
	if s == "" {
		return 0, 0, nil
	}
	inner, ok1 := strings.CutPrefix(s, `["`)
	inner, ok2 := strings.CutSuffix(inner, `"]`)
	first, second, ok3 := strings.Cut(inner, `","`)
	us, err1 := strconv.ParseInt(first, 10, 64)
	n, err2 := strconv.ParseInt(second, 10, 64)
	if !ok1 || !ok2 || !ok3 || err1 != nil || err2 != nil {
		return 0, 0, errors.New(`source.sequence is not ["<µs>","<number>"]`)
	}
	return us, n, nil
}

func decodeChangeKey(format Format, b []byte) (changeKey, error) {
	switch format {
	case FormatAvro:
		codecs, err := changeReaders()
		if err != nil {
			return changeKey{}, err
		}
		record, err := decodeAvro(codecs.keys, b)
		if err != nil {
			return changeKey{}, err
		}
		return keyOf(record), nil
	case FormatJSON:
		return decodeConnect[changeKey](b)
	}
	return changeKey{}, fmt.Errorf("unknown format %q", format)
}

func decodeEnvelope(format Format, b []byte) (envelope, error) {
	switch format {
	case FormatAvro:
		codecs, err := changeReaders()
		if err != nil {
			return envelope{}, err
		}
		record, err := decodeAvro(codecs.values, b)
		if err != nil {
			return envelope{}, err
		}
		return envelopeOf(record), nil
	case FormatJSON:
		return decodeConnect[envelope](b)
	}
	return envelope{}, fmt.Errorf("unknown format %q", format)
}

// decodeConnect reads the payload beside a Connect schema.
func decodeConnect[T any](b []byte) (T, error) {
	var record struct {
		Payload *T `json:"payload"`
	}
	if err := json.Unmarshal(b, &record); err != nil {
		return *new(T), err
	}
	if record.Payload == nil {
		return *new(T), errors.New("no payload")
	}
	return *record.Payload, nil
}

// jsonText is JSON text that travels as a JSON string; nil is null.
type jsonText []byte

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (t *jsonText) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	switch token.Kind() {
	case 'n':
		*t = nil
	case '"':
		*t = []byte(token.String())
	default:
		return fmt.Errorf("data is a %s, want a string", token.Kind())
	}
	return nil
}

type avroReaders struct{ keys, values *goavro.Codec }

// changeReaders reads the changes of every topic: the schemas differ in names
// only, which leave no trace in Avro binary.
var changeReaders = sync.OnceValues(func() (avroReaders, error) {
	keys, err := newAvro(changeKeySchema)
	if err != nil {
		return avroReaders{}, err
	}
	values, err := newAvro(changeValueSchema)
	return avroReaders{keys, values}, err
})

func keyOf(record map[string]any) changeKey {
	return changeKey{
		TenantID:     avroField[string](record, "tenantId"),
		ResourceType: avroField[string](record, "resourceType"),
		ResourceID:   avroField[string](record, "resourceId"),
	}
}

func envelopeOf(record map[string]any) envelope {
	source := avroField[map[string]any](record, "source")
	return envelope{
		Before: rowOf(record, "before"),
		After:  rowOf(record, "after"),
		Source: changeSource{
			Version:      avroField[string](source, "version"),
			Connector:    avroField[string](source, "connector"),
			Name:         avroField[string](source, "name"),
			TsMs:         avroField[int64](source, "ts_ms"),
			Snapshot:     orZero(avroOption[string](source, "snapshot", "string")),
			DB:           avroField[string](source, "db"),
			Sequence:     orZero(avroOption[string](source, "sequence", "string")),
			TsUs:         avroOption[int64](source, "ts_us", "long"),
			TsNs:         avroOption[int64](source, "ts_ns", "long"),
			Table:        avroField[string](source, "table"),
			EventID:      orZero(avroOption[string](source, "eventId", "string")),
			EventType:    orZero(avroOption[string](source, "eventType", "string")),
			TenantID:     orZero(avroOption[string](source, "tenantId", "string")),
			RawTopic:     orZero(avroOption[string](source, "rawTopic", "string")),
			RawPartition: orZero(avroOption[int32](source, "rawPartition", "int")),
			RawOffset:    orZero(avroOption[int64](source, "rawOffset", "long")),
		},
		Op:         avroField[string](record, "op"),
		TsMs:       orZero(avroOption[int64](record, "ts_ms", "long")),
		TsUs:       avroOption[int64](record, "ts_us", "long"),
		TsNs:       avroOption[int64](record, "ts_ns", "long"),
		IsDeletion: orZero(avroOption[bool](record, "isDeletion", "boolean")),
	}
}

func rowOf(record map[string]any, name string) *changeRow {
	fields := avroOption[map[string]any](record, name, embeddedTopic+".Value")
	if fields == nil {
		return nil
	}
	row := &changeRow{
		changeKey: keyOf(*fields),
		Name:      avroOption[string](*fields, "name", "string"),
		Version:   avroOption[int64](*fields, "version", "long"),
	}
	if data := avroOption[string](*fields, "data", "string"); data != nil {
		row.Data = []byte(*data)
	}
	return row
}

func orZero[T any](v *T) T {
	if v == nil {
		return *new(T)
	}
	return *v
}
