package ingest

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"trunkline/event"
	"trunkline/topology"
	"trunkline/vendors"
)

// delivery is one request whose body was read. Its sender is set when it is
// authenticated.
type delivery struct {
	sender      *sender
	requestID   string // UUIDv7, the prefix of its events' ingest ids
	received    time.Time
	contentType string
	sourceID    string
	topicHint   string
	verified    verification
}

// split returns the events of a body, their bytes as received. A body that is no
// JSON is one event as a whole (I6). No event may be larger than maxEvent bytes.
func split(body []byte, maxEvent, maxElements int) ([][]byte, *answer) {
	if len(trimSpace(body)) == 0 {
		return nil, refuse(Empty, "body is empty")
	}
	if commas(body) >= maxElements {
		return nil, refuse(TooLarge, "array holds more than %d events", maxElements)
	}
	elements, isArray, err := vendors.Split(body)
	if err != nil || !isArray {
		elements = [][]byte{body}
	}
	if len(elements) == 0 {
		return nil, refuse(Empty, "array holds no event")
	}
	if slices.ContainsFunc(elements, func(e []byte) bool { return len(e) > maxEvent }) {
		return nil, refuse(TooLarge, "an event is larger than %d bytes", maxEvent)
	}
	return elements, nil
}

// commas counts those between the elements of an array: one less than its
// length, known before memory is spent on it. Of other bytes it counts few.
func commas(body []byte) int {
	body = trimSpace(bytes.TrimPrefix(body, []byte("\uFEFF")))
	if !bytes.HasPrefix(body, []byte("[")) {
		return 0
	}
	n, depth, quoted := 0, 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		case c == ',' && depth == 1:
			n++
		}
	}
	return n
}

func trimSpace(body []byte) []byte { return bytes.Trim(body, " \t\r\n") }

// raw is one event of the delivery, not identified yet.
func (d *delivery) raw(index int, body []byte) event.Raw {
	return event.Raw{
		Vendor:      d.sender.vendor,
		Tenant:      d.sender.tenant, // never from the payload (I9)
		Transport:   event.Push,
		IngestID:    fmt.Sprintf("%s/%d", d.requestID, index),
		ReceivedMs:  d.received.UnixMilli(),
		ContentType: d.contentType,
		SigStatus:   d.verified.status,
		SigKID:      d.verified.kid,
		SourceID:    d.sourceID,
		TopicHint:   d.topicHint,
		Body:        body,
	}
}

// record makes the raw record of one event.
func (d *delivery) record(index int, body []byte, m vendors.Mapper) (r Record, readable bool) {
	raw := d.raw(index, body)
	return RecordOf(&raw, m)
}

// RecordOf makes the raw record of one event: its bytes unchanged, keyed as its
// mapper will key it, also when it is redriven. It sets the format of raw. Not
// readable: no JSON that a mapper could read, so that the record ends as a dead
// letter.
func RecordOf(raw *event.Raw, m vendors.Mapper) (r Record, readable bool) {
	key, id, readable := identify(m, raw)
	return Record{
		Topic:   string(topology.RawTopic(raw.Vendor)),
		Key:     event.RecordKey(key, id),
		Value:   raw.Body,
		Headers: raw.Headers(),
	}, readable
}

// ReadRecord makes the raw record of an event that was read from the vendor, not
// delivered: JSON, which nobody signed.
func ReadRecord(raw event.Raw, m vendors.Mapper) Record {
	raw.ContentType, raw.SigStatus = "application/json", SigNone
	r, _ := RecordOf(&raw, m)
	return r
}

// identify sets the format and transport of raw and finds its key and event id.
// Without a key, both are its ingest id.
func identify(m vendors.Mapper, raw *event.Raw) (key event.Key, eventID string, readable bool) {
	raw.Format = m.Detect(raw.Body, raw.TopicHint)
	by := raw.Transport
	if raw.Format == event.GenesysEventBridge && by == event.Push {
		raw.Transport = event.EventBridge
	}
	if raw.Format != event.FormatUnknown {
		if key, eventID, ok := m.Key(raw); ok {
			return key, eventID, true
		}
	}
	if _, err := vendors.Parse(raw.Body); err != nil {
		raw.Format, raw.Transport = event.FormatUnknown, by
	} else {
		readable = true
	}
	return event.Unkeyed(raw.Vendor, raw.Tenant, raw.IngestID), raw.IngestID, readable
}

// admits reports whether the event may be the sender's: the tenant it names, if
// it names one, is among those the sender is known by.
func (s *sender) admits(body []byte) bool {
	doc, err := vendors.ParseTop(body)
	named := doc.Field("tenantId")
	if err != nil || len(s.vendorIDs) == 0 || !named.Exists() {
		return true
	}
	id, ok := named.Text()
	return ok && slices.Contains(s.vendorIDs, id)
}

// admitsAll reports whether all events may be the sender's.
func (s *sender) admitsAll(events [][]byte) bool {
	return !slices.ContainsFunc(events, func(body []byte) bool { return !s.admits(body) })
}
