package processors

import (
	"fmt"
	"maps"
	"strconv"

	"github.com/lovoo/goka"

	"trunkline/codecs"
	"trunkline/event"
	"trunkline/stream"
	"trunkline/topology"
)

// record is an input record as a stage sees it.
type record struct {
	key     string
	body    []byte // nil when the record has no value
	headers goka.Headers
	raw     event.Position // the first raw position, also of a looped record
	looped  bool

	logSource string // the log that orders it
	logMs     int64  // its append time there
}

func recordOf(ctx goka.Context, msg any) record {
	r := record{
		key: ctx.Key(), headers: ctx.Headers(),
		logSource: string(ctx.Topic()) + "/" + strconv.Itoa(int(ctx.Partition())),
		logMs:     ctx.Timestamp().UnixMilli(),
	}
	r.body, _ = msg.([]byte)
	r.raw = event.Position{
		Topic: string(ctx.Topic()), Partition: ctx.Partition(), Offset: ctx.Offset(), AppendMs: r.logMs,
	}
	// A raw record stands where it stands, whatever its headers say: a sender
	// chose them, or they came along from a dead letter (I9).
	_, isRaw := topology.VendorOf(string(ctx.Topic()))
	if carried, ok := event.PositionOf(r.headers); ok && !isRaw {
		r.raw, r.looped = carried, true
	}
	return r
}

// tickOf is the message of the virtual tick topic; only our own codec makes one.
func tickOf(ctx goka.Context, msg any) stream.Tick {
	tick, ok := msg.(stream.Tick)
	if !ok {
		ctx.Fail(fmt.Errorf("read tick: got %T", msg))
	}
	return tick
}

// vendor is told by the raw topic, which no sender can choose (I9).
func (r *record) vendor() string {
	vendor, _ := topology.VendorOf(r.raw.Topic)
	return vendor
}

// origin is what every output of the record carries: where it came from.
func (r *record) origin() event.Origin {
	raw := event.RawOf(r.headers, nil)
	return event.Origin{
		IngestID: raw.IngestID, Transport: raw.Transport, Format: raw.Format, ReceivedMs: raw.ReceivedMs,
		Raw: r.raw, LogSource: r.logSource, LogMs: r.logMs, Lineage: codecs.LineageOf(r.headers),
	}
}

// redriveOf is the raw position of the dead letter that the record replays.
func (r *record) redriveOf() string { return string(r.headers[event.HeaderRedriveOf]) }

// withPosition are the headers of a looped record: its own and its raw position.
func (r *record) withPosition() goka.Headers {
	return merge(maps.Clone(r.headers), r.raw.Headers()...)
}

func merge(into goka.Headers, hs ...event.Header) goka.Headers {
	if into == nil {
		into = goka.Headers{}
	}
	for _, h := range hs {
		into[h.Key] = h.Value
	}
	return into
}

// logTime reads the log clock that an `events` record or mark carries; see
// stream.Options.LogTime.
func logTime(header func(string) []byte) (clock string, ms int64, ok bool) {
	ms, err := strconv.ParseInt(string(header(event.HeaderLogMs)), 10, 64)
	clock = string(header(event.HeaderLogSource))
	return clock, ms, err == nil && clock != ""
}

func logHeaders(source string, ms int64) []event.Header {
	return []event.Header{
		{Key: event.HeaderLogSource, Value: []byte(source)},
		{Key: event.HeaderLogMs, Value: strconv.AppendInt(nil, ms, 10)},
	}
}
