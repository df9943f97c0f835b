package codecs

import (
	"cmp"
	"fmt"
	"sync"

	"github.com/linkedin/goavro/v2"

	"trunkline/event"
)

// SeedCodec writes and reads the projection of guide 1: a change of a Genesys
// configuration resource as GenesysConfigChange, under the key of the change.
// It is always Avro in the registry's framing.
type SeedCodec struct {
	*avroKeys
	connector string
	id        int
	values    *goavro.Codec
	trees     sync.Pool // of *seedTree
}

// seedTree is goavro's view of one record, used again.
type seedTree struct{ record, source, payload, data map[string]any }

// seedVendor is the vendor of all that is projected.
const seedVendor = "genesys"

// NewSeedCodec returns the codec of a topic whose schemas, those of
// [SeedSchemas], the registry knows under ids.
func NewSeedCodec(topic string, ids SchemaIDs) (*SeedCodec, error) {
	connector, err := Connector(seedVendor)
	if err != nil {
		return nil, err
	}
	key, value := SeedSchemas(topic)
	keys, err := newAvroKeys(key, ids.Key)
	if err != nil {
		return nil, err
	}
	values, err := newAvro(value)
	if err != nil {
		return nil, err
	}
	return &SeedCodec{avroKeys: keys, connector: connector, id: ids.Value, values: values, trees: sync.Pool{New: func() any {
		t := &seedTree{record: map[string]any{}, source: map[string]any{}, payload: map[string]any{}, data: map[string]any{}}
		t.record["source"], t.record["payload"], t.payload["data"] = t.source, t.payload, t.data
		return t
	}}}, nil
}

// Key returns the message key of k's records and tombstones.
func (codec *SeedCodec) Key(k event.Key) ([]byte, error) {
	var s sanitiser
	key := s.key(k)
	b, err := codec.key(&key)
	if err != nil {
		return nil, fmt.Errorf("encode projection key: %w", err)
	}
	return b, nil
}

// Value returns the projection of c, with texts sanitised as in the change.
// ts_ms is the vendor's event time, by which the guide has readers sort; data
// holds the members of the resource after the change, of a delete those before
// it, as texts like the payload of [CanonicalOf]. Maps have no order in Avro, so
// the bytes of equal changes may differ.
func (codec *SeedCodec) Value(c *event.Change) ([]byte, error) {
	var s sanitiser
	key := s.key(c.Key)
	data := map[string]string{}
	if row := s.row(key, cmp.Or(c.After, c.Before)); row != nil && len(row.Data) > 0 {
		if err := flatten(data, row.Data); err != nil {
			return nil, fmt.Errorf("flatten image: %w", err)
		}
	}
	t := codec.trees.Get().(*seedTree) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	defer codec.trees.Put(t)
	t.record["op"], t.record["ts_ms"] = string(c.Op), c.TsMs
	t.source["version"], t.source["connector"], t.source["name"] = sourceVersion, codec.connector, c.Key.Vendor
	t.payload["resourceType"], t.payload["resourceId"] = key.ResourceType, key.ResourceID
	size := 64 + len(key.ResourceType) + len(key.ResourceID) + fill(t.data, data)

	b, err := codec.values.BinaryFromNative(Frame(make([]byte, 0, size), codec.id), t.record)
	if err != nil {
		return nil, fmt.Errorf("encode projection: %w", err)
	}
	return b, nil
}

// Decode reads a framed record as the tree of its fields; the id is not looked
// at.
func (codec *SeedCodec) Decode(b []byte) (map[string]any, error) {
	record, err := decodeAvro(codec.values, b)
	if err != nil {
		return nil, fmt.Errorf("decode projection: %w", err)
	}
	return record, nil
}
