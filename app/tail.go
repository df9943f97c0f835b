package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"trunkline/codecs"
	"trunkline/event"
	"trunkline/stream"
	"trunkline/topology"
)

// TailOptions says what [Tail] shows.
type TailOptions struct {
	What   string    // changes, events, late, dead, fates, or a topic's name
	Key    string    // only records whose key contains it
	Since  time.Time // only records appended since
	Latest bool      // only records that are yet to come; implies Follow
	Follow bool
}

// TailWhats are the families of topics that tail knows by a short name.
var TailWhats = []string{"changes", "events", "late", "dead", "fates"}

// TailLine is one record as tail prints it.
type TailLine struct {
	Topic     string            `json:"topic"`
	Partition int32             `json:"partition"`
	Offset    int64             `json:"offset"`
	Time      time.Time         `json:"time"`
	Key       json.RawMessage   `json:"key"`
	Value     json.RawMessage   `json:"value"` // null is a tombstone
	Headers   map[string]string `json:"headers,omitempty"`
}

// Tail calls emit with every record, decoded.
func Tail(ctx context.Context, c Config, o TailOptions, emit func(TailLine) error) error {
	c = c.withDefaults()
	d, err := newDecoder(ctx, c)
	if err != nil {
		return err
	}
	r := stream.Range{Topics: c.tailTopics(o.What), Follow: o.Follow || o.Latest}
	if o.Latest {
		r.Start = stream.Latest
	}
	return stream.Read(ctx, streamConfig(c, Options{}), r, func(rec stream.Record) error {
		if rec.Time.Before(o.Since) {
			return nil
		}
		line := d.line(rec)
		if o.Key != "" && !bytes.Contains(rec.Key, []byte(o.Key)) && !bytes.Contains(line.Key, []byte(o.Key)) {
			return nil
		}
		return emit(line)
	})
}

func (c Config) tailTopics(what string) []string {
	switch what {
	case "changes":
		return topology.ChangeTopics()
	case "events":
		return c.Layout().BusTopics()
	case "late":
		return []string{string(topology.LateEventsTopic)}
	case "dead":
		return []string{string(topology.DeadLettersTopic)}
	case "fates":
		return []string{string(topology.FatesTopic)}
	}
	return []string{what}
}

// decoder turns the bytes of any topic into JSON.
type decoder struct {
	c         Config
	canonical *codecs.CanonicalReader
	changes   map[string]*codecs.ChangeEncoder // as JSON, by topic
	seed      *codecs.SeedCodec
}

func newDecoder(ctx context.Context, c Config) (*decoder, error) {
	d := &decoder{c: c, changes: map[string]*codecs.ChangeEncoder{}}
	client, err := c.Registry.client()
	if err != nil {
		return nil, err
	}
	d.canonical, err = codecs.NewCanonicalReader(func(id int) (string, error) { return client.TextByID(ctx, id) })
	if err != nil {
		return nil, fmt.Errorf("build the canonical codec: %w", err)
	}
	if d.seed, err = codecs.NewSeedCodec(string(topology.SeedTopic), codecs.SchemaIDs{}); err != nil {
		return nil, fmt.Errorf("build the codec of %s: %w", topology.SeedTopic, err)
	}
	for _, vendor := range topology.Vendors {
		for _, topic := range topology.ChangeTopicsOf(vendor) {
			d.changes[topic], err = codecs.NewChangeEncoder(codecs.ChangeOptions{
				Topic: topic, Vendor: vendor, Format: codecs.FormatJSON, MillisOnly: c.Changes.MillisOnly,
			})
			if err != nil {
				return nil, fmt.Errorf("build the encoder of %s: %w", topic, err)
			}
		}
	}
	return d, nil
}

// line never fails: what cannot be decoded is shown as it is.
func (d *decoder) line(r stream.Record) TailLine {
	line := TailLine{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Time: r.Time.UTC(),
		Key: asJSON(r.Key), Value: asJSON(r.Value), Headers: map[string]string{},
	}
	for name, value := range r.Headers {
		line.Headers[name] = string(value)
	}
	switch {
	case d.changes[r.Topic] != nil:
		d.change(&line, r)
	case r.Topic == string(topology.SeedTopic):
		if k, err := codecs.DecodeKey(codecs.FormatAvro, topology.Genesys, r.Key); err == nil {
			line.Key = keyJSON(k)
		}
		if record, err := d.seed.Decode(r.Value); err == nil {
			line.Value = marshal(record)
		}
	case strings.HasPrefix(r.Topic, topology.CanonicalPrefix), r.Topic == string(topology.LateEventsTopic):
		if c, err := d.canonical.Decode(r.Value); err == nil {
			value := map[string]any{
				"event_id": c.EventID, "vendor": c.Vendor, "tenant_id": c.TenantID, "timestamp": c.Timestamp,
				"event_type": c.EventType, "payload": c.Payload, "metadata": c.Metadata,
			}
			for name, text := range c.Promoted {
				value[name] = text
			}
			line.Value = marshal(value)
		}
	case r.Topic == string(topology.EventsTopic):
		if e, err := codecs.UnmarshalEvent(r.Value); err == nil {
			line.Value = marshal(map[string]any{
				"event_id": e.ID, "key": e.Key.String(), "event_type": e.Type, "op": e.Op, "ts_ms": e.TsMs,
				"partial": e.Partial, "image": json.RawMessage(orNull(e.Image)), "raw": e.Origin.Raw.String(),
			})
		}
	}
	return line
}

func (d *decoder) change(line *TailLine, r stream.Record) {
	format := d.c.Changes.format(r.Topic)
	vendor, _, _ := strings.Cut(r.Topic, ".")
	if k, err := codecs.DecodeKey(format, vendor, r.Key); err == nil {
		line.Key = keyJSON(k)
	}
	if r.Value == nil {
		return
	}
	c, err := codecs.DecodeChange(format, r.Key, r.Value)
	if err != nil {
		return
	}
	if value, err := d.payload(r.Topic, &c); err == nil {
		line.Value = value
	}
}

func keyJSON(k event.Key) json.RawMessage {
	return marshal(map[string]string{"tenantId": k.Tenant, "resourceType": k.Type, "resourceId": k.ID})
}

// payload is the Debezium envelope as JSON, without its schema.
func (d *decoder) payload(topic string, c *event.Change) (json.RawMessage, error) {
	value, _, err := d.changes[topic].Value(c)
	if err != nil {
		return nil, err
	}
	var framed struct{ Payload json.RawMessage }
	if err := json.Unmarshal(value, &framed); err != nil {
		return nil, err
	}
	return framed.Payload, nil
}

// asJSON shows bytes: JSON as it is, text as a string, anything else in base64.
func asJSON(b []byte) json.RawMessage {
	switch {
	case b == nil:
		return json.RawMessage("null")
	case json.Valid(b):
		return slices.Clone(b)
	case strings.ToValidUTF8(string(b), "") == string(b):
		return marshal(string(b))
	default:
		return marshal(map[string][]byte{"base64": b})
	}
}

func marshal(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return json.RawMessage("null")
	}
	return bytes.TrimSpace(b.Bytes())
}

func orNull(b []byte) []byte {
	if b == nil {
		return []byte("null")
	}
	return b
}
