package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"trunkline/codecs"
	"trunkline/event"
	"trunkline/ingest"
	"trunkline/stream"
	"trunkline/topology"
)

// EventQuery asks what became of an event.
type EventQuery struct {
	ID    string    // event id as the mapper derives it, or ingest id
	Since time.Time // append time from which the topics are read
	// Progress is called with the offsets that were passed; nil is nobody.
	Progress func(done, total int64)
}

// Validate names what is wrong.
func (q EventQuery) Validate() error {
	switch {
	case q.ID == "":
		return errors.New("event id: want an event id or an ingest id")
	case q.Since.IsZero():
		return errors.New("since: want a time to begin at")
	}
	return nil
}

// EventReport is what became of an event. As JSON:
//
//	{"id":"e-1","since":"…","raw_records":1200,"deliveries":0,
//	 "records":[{"raw":"raw.genesys/1/14","accepted":"…","appended":"…","vendor":"genesys","tenant":"acme",
//	   "transport":"push","format":"genesys.seed","ingest_id":"…/0","event_id":"e-1","entity":"genesys/acme/user/u-1",
//	   "canonical":["ccaaus.events.genesys.acme/2/33"],
//	   "outcomes":[{"kind":"change","at":"genesys.config.changes/1/9","time":"…","run":"1","op":"u"}]}]}
type EventReport struct {
	ID         string    `json:"id"`
	Since      time.Time `json:"since"`
	RawRecords int64     `json:"raw_records"` // that were looked at
	Deliveries int64     `json:"deliveries"`  // in quarantine that were looked at

	Records     []EventRecord      `json:"records"` // in the order of their append
	Quarantined []QuarantinedEvent `json:"quarantined,omitempty"`
}

// Found reports whether the event is known at all.
func (r *EventReport) Found() bool { return len(r.Records)+len(r.Quarantined) > 0 }

// EventRecord is one raw record of the event. Of one that retention took, only what
// its outcomes tell is known.
type EventRecord struct {
	Raw       string         `json:"raw"`
	Accepted  time.Time      `json:"accepted,omitzero"` // by the edge
	Appended  time.Time      `json:"appended"`
	Vendor    string         `json:"vendor"`
	Tenant    string         `json:"tenant,omitempty"`
	Transport string         `json:"transport,omitempty"`
	Format    string         `json:"format,omitempty"`
	IngestID  string         `json:"ingest_id"`
	EventID   string         `json:"event_id,omitempty"` // empty: no mapper reads the record
	Entity    string         `json:"entity,omitempty"`
	RedriveOf string         `json:"redrive_of,omitempty"` // raw position of the dead letter that it replays
	Canonical []string       `json:"canonical,omitempty"`  // positions of its canonical event
	Outcomes  []EventOutcome `json:"outcomes"`             // one for each run; none yet: under way
}

// EventOutcome is the fate of a raw record, as the record at a position tells it.
type EventOutcome struct {
	Kind   event.FateKind `json:"kind"`
	At     string         `json:"at"`
	Time   time.Time      `json:"time"`
	Run    string         `json:"run"`
	Op     event.Op       `json:"op,omitempty"`     // of a change
	Reason string         `json:"reason,omitempty"` // of a dead letter, a duplicate, a filtered event
	Stage  string         `json:"stage,omitempty"`  // of a dead letter
	Detail string         `json:"detail,omitempty"` // never payload content (I10)
	First  string         `json:"first,omitempty"`  // of a duplicate: raw position of the first sight
	TsMs   int64          `json:"ts_ms,omitempty"`  // of a late event, and
	RowMs  int64          `json:"row_ms,omitempty"` // event time of the newer one that was applied
	RowRaw string         `json:"row_raw,omitempty"`
}

// QuarantinedEvent is a delivery that waits until its signature verifies.
type QuarantinedEvent struct {
	At       string    `json:"at"`
	Received time.Time `json:"received"`
	Vendor   string    `json:"vendor"`
	Tenant   string    `json:"tenant"`
	IngestID string    `json:"ingest_id"`
	EventID  string    `json:"event_id"`
	Reason   string    `json:"reason"`
}

// ShowEvent finds every raw record of an event and what became of it. It reads the
// raw topics and the quarantine first, and then, from the first record that it found,
// all that tells of fates: what is decided meanwhile is not missed. Where retention
// has taken every raw record, the outputs that are kept longer tell which they were.
func ShowEvent(ctx context.Context, c Config, q EventQuery) (EventReport, error) {
	c = c.withDefaults()
	s := &eventScan{
		query: q, kafka: streamConfig(c, Options{}), changes: c.Changes, records: map[string]*EventRecord{},
		waiting: map[string][]QuarantinedEvent{}, report: EventReport{ID: q.ID, Since: q.Since.UTC()},
	}
	outputs := append(outputTopics(), c.tailTopics("events")...)
	behind, err := s.span(ctx, outputs, q.Since)
	if err != nil {
		return EventReport{}, err
	}
	s.total = behind.size
	if err := s.scan(ctx, append(rawTopics(), string(topology.QuarantineTopic)), q.Since, s.arrival); err != nil {
		return EventReport{}, err
	}
	s.total -= behind.size
	if len(s.records) == 0 {
		if err := s.scan(ctx, outputs, q.Since, s.named); err != nil {
			return EventReport{}, err
		}
	}
	since := q.Since
	for _, r := range s.records {
		if at := r.Appended.Add(-clockSlack); since.Equal(q.Since) || at.Before(since) {
			since = at
		}
	}
	if err := s.scan(ctx, outputs, since, s.output); err != nil {
		return EventReport{}, err
	}
	for _, r := range s.records {
		s.report.Records = append(s.report.Records, *r)
	}
	slices.SortFunc(s.report.Records, func(a, b EventRecord) int { return a.Appended.Compare(b.Appended) })
	for _, events := range s.waiting {
		s.report.Quarantined = append(s.report.Quarantined, events...)
	}
	slices.SortFunc(s.report.Quarantined, func(a, b QuarantinedEvent) int { return a.Received.Compare(b.Received) })
	return s.report, nil
}

// eventScan is one run of [ShowEvent].
type eventScan struct {
	query   EventQuery
	kafka   stream.Config
	changes Changes

	records map[string]*EventRecord       // by raw position
	waiting map[string][]QuarantinedEvent // by delivery
	report  EventReport

	done, total int64
}

// span is a part of topics.
type span struct {
	from map[string]map[int32]int64
	size int64 // offsets
}

func (s *eventScan) span(ctx context.Context, topics []string, since time.Time) (span, error) {
	from, err := stream.Offsets(ctx, s.kafka, topics, since)
	if err != nil {
		return span{}, err
	}
	ends, err := stream.Offsets(ctx, s.kafka, topics, time.Time{})
	if err != nil {
		return span{}, err
	}
	p := span{from: from}
	for topic, partitions := range ends {
		for partition, end := range partitions {
			p.size += end - from[topic][partition]
		}
	}
	return p, nil
}

// scan calls fn for each record of the topics since then.
func (s *eventScan) scan(ctx context.Context, topics []string, since time.Time, fn func(stream.Record)) error {
	p, err := s.span(ctx, topics, since)
	if err != nil {
		return err
	}
	before := s.done
	s.total += p.size
	err = stream.Read(ctx, s.kafka, stream.Range{Topics: topics, From: p.from}, func(r stream.Record) error {
		fn(r)
		next := p.from[r.Topic]
		s.advance(r.Offset + 1 - next[r.Partition])
		next[r.Partition] = r.Offset + 1
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for the event: %w", err)
	}
	s.advance(before + p.size - s.done) // markers at the ends
	return nil
}

func (s *eventScan) advance(n int64) {
	s.done += n
	if s.query.Progress != nil {
		s.query.Progress(s.done, s.total)
	}
}

// arrival takes a raw record or a delivery in quarantine.
func (s *eventScan) arrival(r stream.Record) {
	if r.Topic == string(topology.QuarantineTopic) {
		s.deferred(r)
		return
	}
	s.report.RawRecords++
	raw := event.RawOf(r.Headers, r.Value)
	raw.Vendor, _ = topology.VendorOf(r.Topic)
	// The key is what the edge found, which may run another mapper than we.
	entity, keyed, _ := strings.Cut(string(r.Key), "#")
	id := ""
	if e, err := reading[raw.Vendor].Map(&raw); err == nil {
		entity, id = e.Key.String(), e.ID
	}
	if s.query.ID != id && s.query.ID != keyed && s.query.ID != raw.IngestID {
		return
	}
	at := position(r)
	s.records[at.String()] = &EventRecord{
		Raw: at.String(), Accepted: time.UnixMilli(raw.ReceivedMs).UTC(), Appended: r.Time.UTC(), Vendor: raw.Vendor, Tenant: raw.Tenant,
		Transport: string(raw.Transport), Format: string(raw.Format), IngestID: raw.IngestID, EventID: id, Entity: entity,
		RedriveOf: string(r.Headers[event.HeaderRedriveOf]),
	}
}

// deferred takes a record of the quarantine: a delivery, or that it waits no longer.
func (s *eventScan) deferred(r stream.Record) {
	if r.Value == nil {
		delete(s.waiting, string(r.Key))
		return
	}
	s.report.Deliveries++
	var d ingest.Deferred
	if json.Unmarshal(r.Value, &d) != nil {
		return // no edge of ours wrote it
	}
	delete(s.waiting, string(r.Key))
	for i, record := range d.Records(reading[d.Vendor]) {
		_, id, _ := strings.Cut(record.Key, "#")
		ingestID := fmt.Sprintf("%s/%d", d.ID, i)
		if s.query.ID == id || s.query.ID == ingestID || s.query.ID == d.ID {
			s.waiting[string(r.Key)] = append(s.waiting[string(r.Key)], QuarantinedEvent{
				At: position(r).String(), Received: d.Received.UTC(), Vendor: d.Vendor, Tenant: d.Tenant,
				IngestID: ingestID, EventID: id, Reason: d.Reason,
			})
		}
	}
}

// output takes a record that tells what became of a raw record, which it names.
func (s *eventScan) output(r stream.Record) {
	raw, ok := event.PositionOf(r.Headers)
	if !ok || r.Value == nil { // a tombstone follows its delete
		return
	}
	record := s.records[raw.String()]
	if record == nil {
		return
	}
	at := position(r).String()
	if strings.HasPrefix(r.Topic, topology.CanonicalPrefix) {
		record.Canonical = append(record.Canonical, at)
		return
	}
	o := EventOutcome{At: at, Time: r.Time.UTC(), Run: string(r.Headers[event.HeaderRun])}
	s.outcome(&o, r)
	record.Outcomes = append(record.Outcomes, o)
}

// named takes an output that is one of the event by itself: retention has taken its
// raw record.
func (s *eventScan) named(r stream.Record) {
	raw, ok := event.PositionOf(r.Headers)
	ingestID := string(r.Headers[event.HeaderIngestID])
	_, keyed, _ := strings.Cut(string(r.Key), "#")
	if strings.HasPrefix(r.Topic, topology.CanonicalPrefix) {
		keyed = string(r.Key)
	}
	if !ok || s.query.ID != ingestID && s.query.ID != keyed {
		return
	}
	vendor, _ := topology.VendorOf(raw.Topic)
	s.records[raw.String()] = &EventRecord{Raw: raw.String(), Appended: time.UnixMilli(raw.AppendMs).UTC(), Vendor: vendor, IngestID: ingestID}
}

// outcome says what a record tells; what cannot be decoded is told by its topic.
func (s *eventScan) outcome(o *EventOutcome, r stream.Record) {
	switch r.Topic {
	case string(topology.FatesTopic):
		if f, err := codecs.DecodeFate(r.Value); err == nil {
			o.Kind, o.Reason = f.Kind, f.Reason
			if f.First != nil {
				o.First = f.First.String()
			}
		}
	case string(topology.DeadLettersTopic):
		o.Kind = event.FateDeadLetter
		if d, err := codecs.ParseDeadLetter(r.Headers); err == nil {
			o.Reason, o.Stage, o.Detail = string(d.Reason), d.Stage, d.Detail
		}
	case string(topology.LateEventsTopic):
		o.Kind = event.FateLate
		if l, err := codecs.ParseLate(r.Headers); err == nil {
			o.TsMs, o.RowMs, o.RowRaw = l.Own.TsMs, l.Row.TsMs, l.RowRaw.String()
		}
	default:
		o.Kind = event.FateChange
		if change, err := codecs.DecodeChange(s.changes.format(r.Topic), r.Key, r.Value); err == nil {
			o.Op = change.Op
		}
	}
}

func position(r stream.Record) event.Position {
	return event.Position{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, AppendMs: r.Time.UnixMilli()}
}
