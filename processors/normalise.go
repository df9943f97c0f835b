package processors

import (
	"errors"
	"hash/fnv"
	"strconv"

	"github.com/lovoo/goka"

	"trunkline/codecs"
	"trunkline/event"
	"trunkline/state"
	"trunkline/stream"
	"trunkline/topology"
)

// Normalise eats the vendors' bytes and keeps, per event id, where it was first
// seen. It emits each event once: as a canonical event on its tenant's bus topic
// and, when it touches an entity, as a working event for the entity stage.
// Everything else about a record is told as a fate or a dead letter (I3).
//
// Rows are keyed like raw records, `entity key#event_id`.
func Normalise(c Config) *goka.GroupGraph {
	n := &normaliser{outputs{c}}
	edges := []goka.Edge{
		goka.Input(topology.Ticks, stream.TickCodec{}, n.mark),
		goka.Loop(asBytes, n.normalise),
		goka.Persist(asBytes),
		goka.Output(topology.EventsTopic, asBytes),
		goka.Output(topology.CanonicalEvents, asBytes),
		goka.Output(topology.FatesTopic, asBytes),
		goka.Output(topology.DeadLettersTopic, asBytes),
	}
	for _, vendor := range topology.Vendors {
		edges = append(edges, goka.Input(topology.RawTopic(vendor), asBytes, n.normalise))
	}
	return goka.DefineGroup(topology.NormaliseGroup, edges...)
}

type normaliser struct{ outputs }

// normalise handles one raw record.
func (n *normaliser) normalise(ctx goka.Context, msg any) {
	r := recordOf(ctx, msg)
	var read reading
	if err := pure(func() { read = n.read(&r) }); err != nil {
		read = reading{refused: event.Reject(event.MapperPanic, "%v", err)}
	}
	switch {
	case read.refused != nil:
		send(ctx, []output{n.deadLetter(topology.NormaliseGroup, read.refused, r.raw, r.key, r.headers, orEmpty(r.body))})
	case read.rekeyed != "":
		ctx.Loopback(read.rekeyed, r.body, goka.WithCtxEmitHeaders(r.withPosition()))
	case read.filtered != "":
		n.tell(ctx, &r, event.Fate{Kind: event.FateFiltered, Reason: read.filtered})
	default:
		n.deduplicate(ctx, &r, &read)
	}
}

// reading is what the mapper made of a record: exactly one of refused, rekeyed,
// filtered and an event with its canonical form.
type reading struct {
	refused  *event.Rejected
	rekeyed  string // the key under which it belongs
	filtered string // why there is nothing to tell

	event     event.Event
	canonical output
	working   []byte
}

// read is pure: it looks at the record alone, never at a row, so that a failed
// mapping leaves none (I6).
func (n *normaliser) read(r *record) reading {
	refuse := func(reason event.Reason, detail string) reading {
		return reading{refused: event.Reject(reason, "%s", detail)}
	}
	if r.body == nil {
		return refuse(event.NullValue, "the record has no value")
	}
	raw := event.RawOf(r.headers, r.body)
	raw.Vendor = r.vendor()
	if !n.Layout.Serves(raw.Vendor, raw.Tenant) {
		return refuse(event.UnknownTenant, "header tenant names no tenant of "+raw.Vendor+"; add it to the configuration and replay")
	}
	e, err := n.Mappers[raw.Vendor].Map(&raw)
	var rejected *event.Rejected
	var filtered *event.Filtered
	switch {
	case errors.As(err, &rejected):
		return reading{refused: rejected}
	case errors.As(err, &filtered):
		return reading{filtered: filtered.Reason}
	case err != nil:
		return refuse(event.MapperPanic, err.Error())
	}
	if key := event.RecordKey(e.Key, e.ID); key != r.key {
		if r.looped {
			return refuse(event.RekeyLoop, "the record was re-keyed once and found yet another key")
		}
		return reading{rekeyed: key}
	}
	e.Origin = r.origin()
	if e.TsMs > r.raw.AppendMs+event.MaxAheadMs {
		e.TsMs, e.TsSource = r.raw.AppendMs, event.TsClamped
	}

	canonical, err := n.canonical(&e, topology.CanonicalTopic(raw.Vendor, raw.Tenant))
	if err != nil {
		return refuse(event.InvalidField, err.Error())
	}
	working, err := codecs.MarshalEvent(nil, &e)
	if err != nil {
		return refuse(event.InvalidField, err.Error())
	}
	if size := max(len(working), len(canonical.value)); size > topology.MaxRecordBytes {
		return refuse(event.TooLarge, "the event takes "+strconv.Itoa(size)+" bytes")
	}
	return reading{event: e, canonical: canonical, working: working}
}

// deduplicate lets an event pass once. A row at another position makes it a
// duplicate; a row at this very position means that the offsets were reset, and
// only readers of the bus hear of it again.
func (n *normaliser) deduplicate(ctx goka.Context, r *record, read *reading) {
	body := bodyHash(r.body)
	seen, known := n.seen(ctx, r)
	switch {
	case known && seen.First.Same(r.raw):
		send(ctx, []output{read.canonical})
		n.tell(ctx, r, event.Fate{Kind: event.FateReplayed, EventID: read.event.ID})
		return
	case known && r.redriveOf() != seen.First.String():
		reason := "same_body"
		if seen.Body != body {
			reason = "same_id_other_body"
		}
		n.tell(ctx, r, event.Fate{Kind: event.FateDuplicate, EventID: read.event.ID, Reason: reason, First: &seen.First})
		return
	}
	ctx.SetValue(state.Seen{First: r.raw, Body: body}.Encode())
	if n.Drift != nil {
		n.Drift.Observe(&read.event)
	}
	outs := []output{read.canonical}
	if read.event.Op != event.OpNone {
		outs = append(outs, output{
			topology.EventsTopic, read.event.Key.String(), read.working,
			merge(n.lineage(r.raw, read.event.Origin.IngestID), logHeaders(r.logSource, r.logMs)...),
		})
	}
	send(ctx, outs)
	if read.event.Op == event.OpNone {
		n.tell(ctx, r, event.Fate{Kind: event.FateEventOnly, EventID: read.event.ID, Reason: "no_entity"})
	}
}

// seen returns the dedup row unless its time is over.
func (n *normaliser) seen(ctx goka.Context, r *record) (state.Seen, bool) {
	row, ok := ctx.Value().([]byte)
	if !ok {
		return state.Seen{}, false
	}
	seen, err := state.DecodeSeen(row)
	if err != nil {
		ctx.Fail(err) // our own row: going on would double events
	}
	return seen, !seen.Expired(r.raw, n.Layout.DedupWindow.Milliseconds())
}

// tell emits the fate of a record that ends here.
func (n *normaliser) tell(ctx goka.Context, r *record, f event.Fate) {
	f.Raw, f.IngestID = r.raw, string(r.headers[event.HeaderIngestID])
	out, err := n.fate(f, r.key)
	if err != nil {
		ctx.Fail(err)
	}
	send(ctx, []output{out})
}

// mark tells the entity stage that a raw log has nothing more to say for now:
// its clock, without an event, in the partition where its events go.
func (n *normaliser) mark(ctx goka.Context, msg any) {
	tick := tickOf(ctx, msg)
	headers := merge(goka.Headers{
		event.HeaderMark:   []byte("true"),
		stream.ToPartition: strconv.AppendInt(nil, int64(ctx.Partition()), 10),
	}, logHeaders(tick.Clock, tick.NowMs)...)
	send(ctx, []output{{topology.EventsTopic, tick.Clock, []byte{}, headers}})
}

// bodyHash is FNV-1a, stable over releases: it stands in rows.
func bodyHash(body []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(body)
	return h.Sum64()
}

// orEmpty keeps a dead letter from looking like a tombstone.
func orEmpty(body []byte) []byte {
	if body == nil {
		return []byte{}
	}
	return body
}
