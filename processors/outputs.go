package processors

import (
	"cmp"
	"fmt"
	"maps"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"

	"trunkline/codecs"
	"trunkline/event"
	"trunkline/stream"
	"trunkline/topology"
)

// asBytes is the codec of every stream and table: stages encode and decode
// themselves, under recover, so that no bytes can stop a partition (I6).
var asBytes = new(codec.Bytes)

// output is a record that a stage has decided to emit. Outputs are made by pure
// code and sent together, after everything that can fail.
type output struct {
	stream  goka.Stream
	key     string
	value   []byte // nil is a tombstone
	headers goka.Headers
}

func send(ctx goka.Context, outs []output) {
	for _, o := range outs {
		var value any
		if o.value != nil {
			value = o.value
		}
		ctx.Emit(o.stream, o.key, value, goka.WithCtxEmitHeaders(o.headers))
	}
}

// outputs makes the records that several stages emit.
type outputs struct{ Config }

// lineage are the headers by which a ledger joins an output to its raw record
// (I3).
func (o outputs) lineage(at event.Position, ingestID string) goka.Headers {
	return merge(goka.Headers{
		event.HeaderRun:      []byte(o.Run),
		event.HeaderIngestID: []byte(ingestID),
	}, at.Headers()...)
}

func (o outputs) fate(f event.Fate, recordKey string) (output, error) {
	f.Run = o.Run
	value, err := codecs.EncodeFate(f)
	if err != nil {
		return output{}, fmt.Errorf("encode fate: %w", err)
	}
	return output{topology.FatesTopic, recordKey, value, o.lineage(f.Raw, f.IngestID)}, nil
}

// deadLetter keeps a record that cannot be read, whole and unaltered (I6).
func (o outputs) deadLetter(stage goka.Group, why *event.Rejected, at event.Position, key string, headers goka.Headers, body []byte) output {
	before := codecs.LineageOf(headers)
	letter := codecs.DeadLetter{
		Reason: why.Reason, Stage: string(stage), Detail: why.Detail, Raw: at, Key: key,
		IngestID: string(headers[event.HeaderIngestID]), Attempt: before.Attempts + 1, FirstSeenMs: cmp.Or(before.FirstSeenMs, at.AppendMs),
		Root: before.Root, Run: o.Run,
	}
	kept := goka.Headers{}
	for name, value := range headers {
		switch name {
		case event.HeaderLogSource, event.HeaderLogMs:
		default:
			kept[name] = value // what a redrive needs: vendor, tenant, format …
		}
	}
	return output{topology.DeadLettersTopic, key, body, merge(kept, letter.Headers()...)}
}

// canonical is the event on its tenant's bus topic: keyed by event id as the bus
// contract says, partitioned by entity so that one conversation stays in order.
func (o outputs) canonical(e *event.Event, topic string) (output, error) {
	value, err := o.encodeCanonical(e, topic)
	if err != nil {
		return output{}, err
	}
	headers := o.lineage(e.Origin.Raw, e.Origin.IngestID)
	headers[stream.ToTopic] = []byte(topic)
	headers[stream.PartitionBy] = []byte(e.Key.String())
	return output{topology.CanonicalEvents, e.ID, value, headers}, nil
}

func (o outputs) encodeCanonical(e *event.Event, topic string) ([]byte, error) {
	c, err := codecs.CanonicalOf(e)
	if err != nil {
		return nil, fmt.Errorf("render canonical event: %w", err)
	}
	by := o.Canonical[topic]
	value, err := by.Codec.Encode(by.ID, c)
	if err != nil {
		return nil, fmt.Errorf("encode canonical event: %w", err)
	}
	return value, nil
}

// late keeps an event that came after newer ones of its entity were applied
// (I4), as a canonical event with both orders.
func (o outputs) late(e *event.Event, row event.Order, rowRaw event.Position) (output, error) {
	value, err := o.encodeCanonical(e, string(topology.LateEventsTopic))
	if err != nil {
		return output{}, err
	}
	l := codecs.Late{
		Raw: e.Origin.Raw, Key: event.RecordKey(e.Key, e.ID), IngestID: e.Origin.IngestID, Run: o.Run,
		Own: e.Order(), Row: row, RowRaw: rowRaw,
	}
	headers, err := l.Headers()
	if err != nil {
		return output{}, fmt.Errorf("encode late event: %w", err)
	}
	return output{topology.LateEventsTopic, event.RecordKey(e.Key, e.ID), value, merge(nil, headers...)}, nil
}

// change is the Debezium record of a change and, after a delete, its tombstone;
// behind them the same of its projection, where there is one.
func (o outputs) change(c *event.Change, ingestID string) ([]output, error) {
	topic := topology.ChangeTopic(c.Key)
	encoder := o.Changes[topic]
	c.Processed = o.Now().UnixNano()
	key, err := encoder.Key(c.Key)
	if err != nil {
		return nil, fmt.Errorf("encode the key of a change: %w", err)
	}
	value, sanitised, err := encoder.Value(c)
	if err != nil {
		return nil, fmt.Errorf("encode a change: %w", err)
	}
	headers := o.lineage(c.Raw, ingestID)
	if c.Cause != "" {
		headers = goka.Headers{event.HeaderRun: []byte(o.Run), event.HeaderCause: []byte(c.Cause)}
	}
	headers[stream.ToTopic] = []byte(topic)
	headers[stream.PartitionBy] = []byte(c.Key.String())
	if sanitised {
		headers[codecs.HeaderSanitised] = []byte("true")
	}
	outs := withTombstone(c, output{topology.Changes, string(key), value, headers})
	if o.Layout.Seeds(c.Key) {
		seed, err := o.seed(c, headers)
		if err != nil {
			return nil, err
		}
		outs = append(outs, withTombstone(c, seed)...)
	}
	return outs, nil
}

// seed is the projection of a change, with its headers and in its partition.
func (o outputs) seed(c *event.Change, headers goka.Headers) (output, error) {
	key, err := o.Seed.Key(c.Key)
	if err != nil {
		return output{}, err
	}
	value, err := o.Seed.Value(c)
	if err != nil {
		return output{}, err
	}
	headers = maps.Clone(headers)
	delete(headers, stream.ToTopic)
	return output{topology.SeedTopic, string(key), value, headers}, nil
}

// withTombstone puts its tombstone behind the record of a delete.
func withTombstone(c *event.Change, record output) []output {
	if c.Op != event.Delete {
		return []output{record}
	}
	return []output{record, {record.stream, record.key, nil, record.headers}}
}
