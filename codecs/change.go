package codecs

import (
	"fmt"
	"math"
	"strconv"

	"trunkline/event"
)

// Format is how a change topic is written.
type Format string

// The formats of change topics.
const (
	FormatAvro Format = "avro" // registry framing and Avro binary
	FormatJSON Format = "json" // Connect's JsonConverter with schemas.enable=true
)

// SchemaIDs are the ids under which the registry knows the schemas of one
// change topic.
type SchemaIDs struct{ Key, Value int }

// ChangeOptions says how one change topic is written.
type ChangeOptions struct {
	Topic  string
	Vendor string
	Format Format
	IDs    SchemaIDs // of [ChangeSchemas]; FormatAvro only

	// MillisOnly writes ts_us and ts_ns as null: JavaScript readers refuse
	// numbers above 2^53.
	MillisOnly bool
}

// ChangeEncoder writes the keys and values of one change topic.
type ChangeEncoder struct {
	vendor, connector string
	millisOnly        bool
	writer            changeWriter
}

// changeWriter lays Debezium's structs out in a format.
type changeWriter interface {
	key(*changeKey) ([]byte, error)
	value(*envelope) ([]byte, error)
}

// NewChangeEncoder returns the encoder of a change topic. It fails for an
// unknown vendor or format.
func NewChangeEncoder(o ChangeOptions) (*ChangeEncoder, error) {
	connector, err := Connector(o.Vendor)
	if err != nil {
		return nil, err
	}
	e := &ChangeEncoder{vendor: o.Vendor, connector: connector, millisOnly: o.MillisOnly}
	switch o.Format {
	case FormatAvro:
		e.writer, err = newAvroChanges(o.Topic, connector, o.IDs)
	case FormatJSON:
		e.writer = newJSONChanges(o.Topic, connector)
	default:
		err = fmt.Errorf("unknown format %q, want %q or %q", o.Format, FormatAvro, FormatJSON)
	}
	if err != nil {
		return nil, fmt.Errorf("make encoder of %s: %w", o.Topic, err)
	}
	return e, nil
}

// Key returns the message key of k's changes and tombstones, sanitised as the
// values are.
func (e *ChangeEncoder) Key(k event.Key) ([]byte, error) {
	var s sanitiser
	key := s.key(k)
	b, err := e.writer.key(&key)
	if err != nil {
		return nil, fmt.Errorf("encode change key: %w", err)
	}
	return b, nil
}

// Value returns the Debezium envelope of c. It refuses a change whose images do
// not fit its op (I5): c and r have no before, u has both, d has a before, if
// only a key-only one, and no after. sanitised asks for [HeaderSanitised] on the
// record. Of c.Raw all but AppendMs is written.
func (e *ChangeEncoder) Value(c *event.Change) (value []byte, sanitised bool, err error) {
	var s sanitiser
	env, err := e.envelope(c, &s)
	if err == nil {
		value, err = e.writer.value(&env)
	}
	if err != nil {
		return nil, false, fmt.Errorf("encode change: %w", err)
	}
	return value, s.changed, nil
}

// Debezium's structs, field for field; the tags are those of JsonConverter.
type (
	changeKey struct {
		TenantID     string `json:"tenantId"`
		ResourceType string `json:"resourceType"`
		ResourceID   string `json:"resourceId"`
	}
	changeRow struct {
		changeKey
		Name    *string  `json:"name"`
		Version *int64   `json:"version"`
		Data    jsonText `json:"data"`
	}
	changeSource struct {
		Version      string `json:"version"`
		Connector    string `json:"connector"`
		Name         string `json:"name"`
		TsMs         int64  `json:"ts_ms"`
		Snapshot     string `json:"snapshot"`
		DB           string `json:"db"`
		Sequence     string `json:"sequence"`
		TsUs         *int64 `json:"ts_us"`
		TsNs         *int64 `json:"ts_ns"`
		Table        string `json:"table"`
		EventID      string `json:"eventId"`   // empty is null
		EventType    string `json:"eventType"` // empty is null
		TenantID     string `json:"tenantId"`
		RawTopic     string `json:"rawTopic"` // empty: the change has no raw record
		RawPartition int32  `json:"rawPartition"`
		RawOffset    int64  `json:"rawOffset"`
	}
	envelope struct {
		Before     *changeRow   `json:"before"`
		After      *changeRow   `json:"after"`
		Source     changeSource `json:"source"`
		Op         string       `json:"op"`
		TsMs       int64        `json:"ts_ms"`
		TsUs       *int64       `json:"ts_us"`
		TsNs       *int64       `json:"ts_ns"`
		IsDeletion bool         `json:"isDeletion"`
	}
)

// sourceVersion is `source.version`: the version of the source struct.
const sourceVersion = "1.0.0"

func (e *ChangeEncoder) envelope(c *event.Change, s *sanitiser) (envelope, error) {
	if c.Key.Vendor != e.vendor {
		return envelope{}, fmt.Errorf("vendor %q on a topic of %q", c.Key.Vendor, e.vendor)
	}
	if err := checkImages(c); err != nil {
		return envelope{}, err
	}
	snapshot := c.Snapshot
	if snapshot == "" {
		snapshot = "false"
	}
	key := s.key(c.Key)
	env := envelope{
		Before: s.row(key, c.Before),
		After:  s.row(key, c.After),
		Source: changeSource{
			Version:   sourceVersion,
			Connector: e.connector,
			Name:      c.Key.Vendor,
			TsMs:      c.TsMs,
			Snapshot:  snapshot,
			DB:        database(c.Key),
			Sequence:  formatSequence(c.SequenceUs, c.SequenceN),
			Table:     key.ResourceType,
			EventID:   s.text(c.EventID),
			EventType: s.text(c.EventType),
			TenantID:  key.TenantID,
			RawTopic:  s.text(c.Raw.Topic), RawPartition: c.Raw.Partition, RawOffset: c.Raw.Offset,
		},
		Op:         string(c.Op),
		TsMs:       c.Processed / 1e6,
		IsDeletion: c.Op == event.Delete,
	}
	if !e.millisOnly {
		env.Source.TsUs, env.Source.TsNs = times(c.TsMs, 1e3), times(c.TsMs, 1e6)
		us, ns := c.Processed/1e3, c.Processed
		env.TsUs, env.TsNs = &us, &ns
	}
	return env, nil
}

// checkImages enforces I5 where every change passes: nobody behind it notices,
// and a d without before kills the JDBC sink's task and Flink's job.
func checkImages(c *event.Change) error {
	var before, after bool
	switch c.Op {
	case event.Create, event.Read:
		after = true
	case event.Update:
		before, after = true, true
	case event.Delete:
		before = true
	default:
		return fmt.Errorf("unknown op %q", c.Op)
	}
	switch {
	case before != (c.Before != nil):
		return fmt.Errorf("op %s: before is there: %t, want %t", c.Op, !before, before)
	case after != (c.After != nil):
		return fmt.Errorf("op %s: after is there: %t, want %t", c.Op, !after, after)
	}
	return nil
}

// database is `source.db`: it names the kind of what changed.
func database(k event.Key) string {
	if k.Interaction() {
		return "interaction"
	}
	return "config"
}

// formatSequence is `source.sequence`, which never goes back for a key.
func formatSequence(us, n int64) string {
	b := append(make([]byte, 0, 48), `["`...)
	b = append(strconv.AppendInt(b, us, 10), `","`...)
	b = append(strconv.AppendInt(b, n, 10), `"]`...)
	return string(b)
}

// times is null where int64 ends: some vendors write the year 1 for "never",
// and in ns that is out of range.
func times(ms, factor int64) *int64 {
	if ms > math.MaxInt64/factor || ms < math.MinInt64/factor {
		return nil
	}
	v := ms * factor
	return &v
}

// sanitiser builds Debezium's structs of clean text and notes whether it had to
// clean any.
type sanitiser struct{ changed bool }

func (s *sanitiser) text(t string) string {
	clean, changed := SanitiseText(t)
	s.changed = s.changed || changed
	return clean
}

func (s *sanitiser) key(k event.Key) changeKey {
	return changeKey{TenantID: s.text(k.Tenant), ResourceType: s.text(k.Type), ResourceID: s.text(k.ID)}
}

func (s *sanitiser) row(key changeKey, image *event.Image) *changeRow {
	if image == nil {
		return nil
	}
	row := &changeRow{changeKey: key, Name: image.Name, Version: image.Version}
	if image.Name != nil {
		if name, changed := SanitiseText(*image.Name); changed {
			row.Name, s.changed = &name, true
		}
	}
	if len(image.Data) > 0 {
		data, changed := SanitiseJSON(image.Data)
		row.Data, s.changed = data, s.changed || changed
	}
	return row
}
