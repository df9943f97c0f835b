package codecs

import (
	"bytes"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/linkedin/goavro/v2"

	"trunkline/event"
)

// Canonical is CanonicalCcaaEvent, the event bus's one envelope.
type Canonical struct {
	EventID   string
	Vendor    string // "genesys", "cxone"
	TenantID  string
	Timestamp int64 // event time, epoch ms
	EventType string
	Payload   map[string]string // the image, flat, with resourceType and resourceId
	Metadata  map[string]string

	// Promoted are the fields that the schema has beside those above; nil is null.
	// They are read only: what is written is filled from Metadata.
	Promoted map[string]*string
}

// SchemaVersion is the version of CanonicalCcaaEvent that stands in its metadata.
// Each promoted field adds one.
const SchemaVersion = 1

// CanonicalOf renders e as a canonical event. The payload holds the members of
// the image: a string as its characters, anything else as its JSON text (a
// number as the vendor wrote it, `null` for null, nested values compact), and
// the entity's resourceType and resourceId, which win over members of the same
// name. The error tells that the image is no JSON object.
func CanonicalOf(e *event.Event) (Canonical, error) {
	c := Canonical{
		EventID:   e.ID,
		Vendor:    e.Key.Vendor,
		TenantID:  e.Key.Tenant,
		Timestamp: e.TsMs,
		EventType: e.Type,
		Payload:   make(map[string]string, 16),
		Metadata:  make(map[string]string, len(e.Metadata)+6),
	}
	if len(e.Image) > 0 {
		if err := flatten(c.Payload, e.Image); err != nil {
			return Canonical{}, fmt.Errorf("flatten image: %w", err)
		}
	}
	c.Payload["resourceType"] = e.Key.Type
	c.Payload["resourceId"] = e.Key.ID

	maps.Copy(c.Metadata, e.Metadata)
	c.Metadata["received_ms"] = strconv.FormatInt(e.Origin.ReceivedMs, 10)
	c.Metadata["transport"] = string(e.Origin.Transport)
	c.Metadata["format"] = string(e.Origin.Format)
	c.Metadata["ingest_id"] = e.Origin.IngestID
	c.Metadata["ts_source"] = string(e.TsSource)
	c.Metadata["schema_version"] = strconv.Itoa(SchemaVersion)
	return c, nil
}

// flatten puts the members of the JSON object image into m. Doubled names and
// lone surrogates do not stop it: what a mapper accepts goes out.
func flatten(m map[string]string, image []byte) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(image),
		jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	open, err := d.ReadToken()
	if err != nil {
		return err
	}
	if open.Kind() != '{' {
		return fmt.Errorf("want an object, got %s", open.Kind())
	}
	for d.PeekKind() != '}' {
		token, err := d.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		if d.PeekKind() == '"' {
			if token, err = d.ReadToken(); err != nil {
				return err
			}
			m[name] = token.String()
			continue
		}
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		m[name] = string(value)
	}
	_, err = d.ReadToken()
	return err
}

// CanonicalCodec writes and reads canonical events in Avro with the registry's
// framing.
type CanonicalCodec struct {
	avro     *goavro.Codec
	promoted []Promotion
	version  string
	trees    sync.Pool // of *canonicalTree
}

// canonicalTree is goavro's view of one event. It is used again, for building
// its maps costs more than encoding them.
type canonicalTree struct {
	record, payload, metadata map[string]any
	promoted                  []map[string]any // goavro's unions
}

// NewCanonicalCodec returns a codec of [CanonicalSchema], or of one that [Promote]
// made of it.
func NewCanonicalCodec(schema string) (*CanonicalCodec, error) {
	promoted, err := Promotions(schema)
	if err != nil {
		return nil, err
	}
	avro, err := newAvro(schema)
	if err != nil {
		return nil, err
	}
	codec := &CanonicalCodec{avro: avro, promoted: promoted, version: strconv.Itoa(SchemaVersion + len(promoted))}
	codec.trees.New = func() any {
		t := &canonicalTree{record: map[string]any{}, payload: map[string]any{}, metadata: map[string]any{}}
		t.record["payload"] = t.payload
		t.record["metadata"] = t.metadata
		for range promoted {
			t.promoted = append(t.promoted, map[string]any{})
		}
		return t
	}
	return codec, nil
}

// Encode returns c framed with the id under which the registry knows the
// schema. Promoted fields are filled from the metadata, which keeps them: readers of
// the version before lose nothing. Maps have no order in Avro, so the bytes of equal
// events may differ. Invalid UTF-8, which Avro has no place for, becomes U+FFFD.
func (codec *CanonicalCodec) Encode(schemaID int, c Canonical) ([]byte, error) {
	t := codec.trees.Get().(*canonicalTree) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	defer codec.trees.Put(t)
	size := 64 + len(c.EventID) + len(c.TenantID) + len(c.EventType)
	t.record["event_id"] = utf8Text(c.EventID)
	t.record["vendor"] = utf8Text(c.Vendor)
	t.record["tenant_id"] = utf8Text(c.TenantID)
	t.record["timestamp"] = c.Timestamp
	t.record["event_type"] = utf8Text(c.EventType)
	size += fill(t.payload, c.Payload) + fill(t.metadata, c.Metadata)
	for i, p := range codec.promoted {
		t.record[p.Name] = nil
		if text := p.of(c.Metadata); text != nil {
			t.promoted[i]["string"] = utf8Text(*text)
			t.record[p.Name] = t.promoted[i]
			size += len(*text)
		}
	}
	if len(codec.promoted) > 0 {
		t.metadata["schema_version"] = codec.version
	}

	b, err := codec.avro.BinaryFromNative(Frame(make([]byte, 0, size), schemaID), t.record)
	if err != nil {
		return nil, fmt.Errorf("encode canonical event: %w", err)
	}
	return b, nil
}

// fill makes dst the goavro map of src and estimates its encoded size.
func fill(dst map[string]any, src map[string]string) (size int) {
	clear(dst)
	for k, v := range src {
		dst[utf8Text(k)] = utf8Text(v)
		size += len(k) + len(v) + 6
	}
	return size
}

func utf8Text(s string) string { return strings.ToValidUTF8(s, replacement) }

// Decode reads a framed canonical event of the codec's schema; the id is not looked
// at. [CanonicalReader] reads those of any.
func (codec *CanonicalCodec) Decode(b []byte) (Canonical, error) {
	record, err := decodeAvro(codec.avro, b)
	if err != nil {
		return Canonical{}, fmt.Errorf("decode canonical event: %w", err)
	}
	c := Canonical{
		EventID:   avroField[string](record, "event_id"),
		Vendor:    avroField[string](record, "vendor"),
		TenantID:  avroField[string](record, "tenant_id"),
		Timestamp: avroField[int64](record, "timestamp"),
		EventType: avroField[string](record, "event_type"),
		Payload:   textMap(record, "payload"),
		Metadata:  textMap(record, "metadata"),
	}
	if len(codec.promoted) > 0 {
		c.Promoted = map[string]*string{}
		for _, p := range codec.promoted {
			c.Promoted[p.Name] = avroOption[string](record, p.Name, "string")
		}
	}
	return c, nil
}

func textMap(record map[string]any, name string) map[string]string {
	values := avroField[map[string]any](record, name)
	m := make(map[string]string, len(values))
	for k := range values {
		m[k] = avroField[string](values, k)
	}
	return m
}
