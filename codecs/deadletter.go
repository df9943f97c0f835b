package codecs

import (
	"errors"
	"fmt"
	"strconv"

	"trunkline/event"
)

// Names of the headers of a dead letter beside the raw position, ingest_id and
// run, which all outputs carry.
const (
	HeaderDLQReason    = "dlq.reason"
	HeaderDLQStage     = "dlq.stage"
	HeaderDLQDetail    = "dlq.detail"
	HeaderDLQKey       = "dlq.key" // key of the raw record
	HeaderDLQAttempt   = "dlq.attempt"
	HeaderDLQFirstSeen = "dlq.first_seen" // epoch ms
)

// QuarantineStage is the stage of deliveries that never verified: they never were
// in a raw topic, and stand outside the ledger.
const QuarantineStage = "quarantine"

// DeadLetter is what a dead letter tells beside the original bytes, which are
// its value, whole and unaltered (I6).
type DeadLetter struct {
	Reason      event.Reason
	Stage       string
	Detail      string         // never payload content (I10)
	Raw         event.Position // zero for a quarantined delivery, which never was in a raw topic
	Key         string         // of the raw record
	IngestID    string
	Attempt     int // 1 for the first pass, one more for each replay
	FirstSeenMs int64
	Run         string
}

// Headers returns the record headers of d; empty texts and a zero position are
// left out.
func (d *DeadLetter) Headers() []event.Header {
	hs := joinHeaders(nil, d.Raw, d.IngestID, d.Run)
	hs = appendHeader(hs, HeaderDLQReason, string(d.Reason))
	hs = appendHeader(hs, HeaderDLQStage, d.Stage)
	hs = appendHeader(hs, HeaderDLQDetail, d.Detail)
	hs = appendHeader(hs, HeaderDLQKey, d.Key)
	hs = appendHeader(hs, HeaderDLQAttempt, strconv.Itoa(d.Attempt))
	return appendHeader(hs, HeaderDLQFirstSeen, strconv.FormatInt(d.FirstSeenMs, 10))
}

// ParseDeadLetter reads what [DeadLetter.Headers] wrote. A reason must be
// there, and what is there must be readable; the rest may be absent.
func ParseDeadLetter(headers map[string][]byte) (DeadLetter, error) {
	raw, err := rawPosition(headers)
	if err != nil {
		return DeadLetter{}, fmt.Errorf("parse dead letter: %w", err)
	}
	d := DeadLetter{
		Reason:   event.Reason(headers[HeaderDLQReason]),
		Stage:    string(headers[HeaderDLQStage]),
		Detail:   string(headers[HeaderDLQDetail]),
		Raw:      raw,
		Key:      string(headers[HeaderDLQKey]),
		IngestID: string(headers[event.HeaderIngestID]),
		Run:      string(headers[event.HeaderRun]),
	}
	if d.Reason == "" {
		return DeadLetter{}, fmt.Errorf("parse dead letter: no header %s", HeaderDLQReason)
	}
	attempt, err := headerInt(headers, HeaderDLQAttempt)
	if err == nil {
		d.Attempt = int(attempt)
		d.FirstSeenMs, err = headerInt(headers, HeaderDLQFirstSeen)
	}
	if err != nil {
		return DeadLetter{}, fmt.Errorf("parse dead letter: %w", err)
	}
	return d, nil
}

// joinHeaders appends what the ledger joins outputs by: the raw position,
// ingest_id and run (I3).
func joinHeaders(hs []event.Header, raw event.Position, ingestID, run string) []event.Header {
	if raw.Topic != "" {
		hs = append(hs, raw.Headers()...)
	}
	return appendHeader(appendHeader(hs, event.HeaderIngestID, ingestID), event.HeaderRun, run)
}

func appendHeader(hs []event.Header, key, value string) []event.Header {
	if value == "" {
		return hs
	}
	return append(hs, event.Header{Key: key, Value: []byte(value)})
}

// rawPosition reads the raw position of an output; it is zero when none of its
// headers is there.
func rawPosition(headers map[string][]byte) (event.Position, error) {
	if p, ok := event.PositionOf(headers); ok {
		return p, nil
	}
	for _, h := range (event.Position{}).Headers() {
		if _, there := headers[h.Key]; there {
			return event.Position{}, errors.New("the raw position is incomplete or no number")
		}
	}
	return event.Position{}, nil
}

// headerInt reads a decimal header; an absent one is 0.
func headerInt(headers map[string][]byte, name string) (int64, error) {
	text, there := headers[name]
	if !there {
		return 0, nil
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("header %s is no number", name)
	}
	return n, nil
}
