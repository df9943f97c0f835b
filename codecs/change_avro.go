package codecs

import (
	"sync"

	"github.com/linkedin/goavro/v2"
)

// avroChanges writes Debezium's structs in Avro with the registry's framing.
type avroChanges struct {
	*avroKeys
	id     int
	values *goavro.Codec
	trees  sync.Pool // of *envelopeTree
}

func newAvroChanges(topic, connector string, ids SchemaIDs) (*avroChanges, error) {
	key, value := ChangeSchemas(topic, connector)
	keys, err := newAvroKeys(key, ids.Key)
	if err != nil {
		return nil, err
	}
	values, err := newAvro(value)
	if err != nil {
		return nil, err
	}
	rowName := schemaName(topic) + ".Value"
	return &avroChanges{
		avroKeys: keys, id: ids.Value, values: values,
		trees: sync.Pool{New: func() any { return newEnvelopeTree(rowName) }},
	}, nil
}

func (w *avroChanges) value(e *envelope) ([]byte, error) {
	t := w.trees.Get().(*envelopeTree) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	defer w.trees.Put(t)
	t.fill(e)
	size := avroSize(e.Before) + avroSize(e.After) + 384
	return w.values.BinaryFromNative(Frame(make([]byte, 0, size), w.id), t.envelope)
}

func avroSize(r *changeRow) int {
	if r == nil {
		return 1
	}
	return len(r.Data) + len(r.ResourceID) + 96
}

// avroKeys writes key structs.
type avroKeys struct {
	id    int
	codec *goavro.Codec
	trees sync.Pool // of map[string]any
}

func newAvroKeys(schema string, id int) (*avroKeys, error) {
	codec, err := newAvro(schema)
	if err != nil {
		return nil, err
	}
	return &avroKeys{id: id, codec: codec, trees: sync.Pool{New: func() any { return make(map[string]any, 3) }}}, nil
}

func (w *avroKeys) key(k *changeKey) ([]byte, error) {
	t := w.trees.Get().(map[string]any) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	defer w.trees.Put(t)
	t["tenantId"], t["resourceType"], t["resourceId"] = k.TenantID, k.ResourceType, k.ResourceID
	size := frameSize + len(k.TenantID) + len(k.ResourceType) + len(k.ResourceID) + 9
	return w.codec.BinaryFromNative(Frame(make([]byte, 0, size), w.id), t)
}

// envelopeTree is goavro's view of one envelope: maps all the way down, and a
// map of one entry around every value that could be null. All of them are used
// again, for building them costs several times what encoding them does.
type envelopeTree struct {
	envelope, source, before, after map[string]any

	rowName string
	options []map[string]any
	used    int // of options
}

func newEnvelopeTree(rowName string) *envelopeTree {
	t := &envelopeTree{
		rowName:  rowName,
		envelope: make(map[string]any, 9),
		source:   make(map[string]any, 16),
		before:   make(map[string]any, 6),
		after:    make(map[string]any, 6),
	}
	t.envelope["source"] = t.source
	t.envelope["transaction"] = nil
	return t
}

func (t *envelopeTree) fill(e *envelope) {
	t.used = 0
	// Both rows and the source name the same entity; a text is boxed once.
	tenant, table := any(e.Source.TenantID), any(e.Source.Table)
	t.envelope["before"] = t.row(t.before, e.Before, tenant, table)
	t.envelope["after"] = t.row(t.after, e.After, tenant, table)
	t.envelope["op"] = e.Op
	t.envelope["ts_ms"] = t.option("long", e.TsMs)
	t.envelope["ts_us"] = t.optionalLong(e.TsUs)
	t.envelope["ts_ns"] = t.optionalLong(e.TsNs)
	t.envelope["isDeletion"] = t.option("boolean", e.IsDeletion)

	s := &e.Source
	t.source["version"] = s.Version
	t.source["connector"] = s.Connector
	t.source["name"] = s.Name
	t.source["ts_ms"] = s.TsMs
	t.source["snapshot"] = t.option("string", s.Snapshot)
	t.source["db"] = s.DB
	t.source["sequence"] = t.option("string", s.Sequence)
	t.source["ts_us"] = t.optionalLong(s.TsUs)
	t.source["ts_ns"] = t.optionalLong(s.TsNs)
	t.source["table"] = table
	t.source["eventId"] = t.optionalText(s.EventID)
	t.source["eventType"] = t.optionalText(s.EventType)
	t.source["tenantId"] = t.option("string", tenant)
	t.source["rawTopic"] = t.optionalText(s.RawTopic)
	t.source["rawPartition"], t.source["rawOffset"] = nil, nil
	if s.RawTopic != "" {
		t.source["rawPartition"] = t.option("int", s.RawPartition)
		t.source["rawOffset"] = t.option("long", s.RawOffset)
	}
}

func (t *envelopeTree) row(dst map[string]any, r *changeRow, tenant, table any) any {
	if r == nil {
		return nil
	}
	dst["tenantId"], dst["resourceType"], dst["resourceId"] = tenant, table, r.ResourceID
	dst["name"], dst["data"] = nil, nil
	if r.Name != nil {
		dst["name"] = t.option("string", *r.Name)
	}
	dst["version"] = t.optionalLong(r.Version)
	if r.Data != nil {
		dst["data"] = t.option("string", []byte(r.Data)) // goavro takes bytes for a string as well
	}
	return t.option(t.rowName, dst)
}

// option is the branch of a union that is not null.
func (t *envelopeTree) option(branch string, v any) any {
	if t.used == len(t.options) {
		t.options = append(t.options, make(map[string]any, 1))
	}
	m := t.options[t.used]
	t.used++
	clear(m)
	m[branch] = v
	return m
}

func (t *envelopeTree) optionalLong(v *int64) any {
	if v == nil {
		return nil
	}
	return t.option("long", *v)
}

func (t *envelopeTree) optionalText(s string) any {
	if s == "" {
		return nil
	}
	return t.option("string", s)
}
