package event

import (
	"fmt"
	"strconv"
	"strings"
)

// Transport is the way by which a vendor's bytes reached an edge.
type Transport string

// The transports of a raw record.
const (
	Push        Transport = "push"
	SSE         Transport = "sse"
	Poll        Transport = "poll"
	WebSocket   Transport = "ws"
	EventBridge Transport = "eventbridge"
	Kinesis     Transport = "kinesis"
)

// Format is the shape of a vendor's bytes; it chooses the mapper.
type Format string

// The formats that edges tell apart. Bytes of FormatUnknown are kept and become
// dead letters.
const (
	GenesysSeed         Format = "genesys.seed"
	GenesysEventBridge  Format = "genesys.eventbridge"
	GenesysNotification Format = "genesys.notification"
	GenesysAuditQuery   Format = "genesys.audit_query"
	CXoneSeed           Format = "cxone.seed"
	CXoneDFO            Format = "cxone.dfo"
	CXonePoll           Format = "cxone.poll"
	FormatUnknown       Format = "unknown"
)

// Raw is one event as the vendor sent it: a record of a raw topic.
type Raw struct {
	Vendor      string
	Tenant      string // from path or credential (I9)
	Transport   Transport
	Format      Format
	IngestID    string // `{request UUIDv7}/{index}`
	ReceivedMs  int64  // epoch ms at the edge
	ContentType string
	SigStatus   string // verified, bearer, deferred or none
	SigKID      string
	SourceID    string // SSE id or delivery id
	TopicHint   string // the ?topic= of a bare event body; the list of a polled record
	Body        []byte // unchanged
}

// Header is one record header.
type Header struct {
	Key   string
	Value []byte
}

// Names of the headers of a raw record.
const (
	HeaderIngestID    = "ingest_id"
	HeaderVendor      = "vendor"
	HeaderTenant      = "tenant"
	HeaderTransport   = "transport"
	HeaderFormat      = "format"
	HeaderReceivedMs  = "received_ms"
	HeaderContentType = "content_type"
	HeaderSigStatus   = "sig_status"
	HeaderSigKID      = "sig_kid"
	HeaderSourceID    = "source_id"
	HeaderTopicHint   = "topic_hint"
)

// Names of the headers that later stages add. The raw position travels with
// every output, so that a ledger can join them.
const (
	HeaderRawTopic     = "raw_topic"
	HeaderRawPartition = "raw_partition"
	HeaderRawOffset    = "raw_offset"
	HeaderRawAppendMs  = "raw_append_ms" // the broker's append time, epoch ms
	HeaderRun          = "run"           // names the pass over the raw log
	HeaderRedriveOf    = "redrive_of"    // raw position of the dead letter that is replayed
	HeaderLogSource    = "log_source"    // topic/partition whose clock the record carries
	HeaderLogMs        = "log_ms"        // that clock, epoch ms
	HeaderMark         = "mark"          // present on a mark: a clock without an event
	HeaderCause        = "cause"         // of a change without a raw record, in place of its position
)

// Headers returns the record headers of r; empty values are left out.
func (r *Raw) Headers() []Header {
	all := []Header{
		{HeaderIngestID, []byte(r.IngestID)},
		{HeaderVendor, []byte(r.Vendor)},
		{HeaderTenant, []byte(r.Tenant)},
		{HeaderTransport, []byte(r.Transport)},
		{HeaderFormat, []byte(r.Format)},
		{HeaderReceivedMs, strconv.AppendInt(nil, r.ReceivedMs, 10)},
		{HeaderContentType, []byte(r.ContentType)},
		{HeaderSigStatus, []byte(r.SigStatus)},
		{HeaderSigKID, []byte(r.SigKID)},
		{HeaderSourceID, []byte(r.SourceID)},
		{HeaderTopicHint, []byte(r.TopicHint)},
	}
	hs := all[:0]
	for _, h := range all {
		if len(h.Value) > 0 {
			hs = append(hs, h)
		}
	}
	return hs
}

// RawOf reads a raw record back from its headers and value. Absent headers
// leave their field empty: whoever wrote the record decides what that means.
func RawOf(headers map[string][]byte, body []byte) Raw {
	received, _ := strconv.ParseInt(string(headers[HeaderReceivedMs]), 10, 64)
	return Raw{
		Vendor:      string(headers[HeaderVendor]),
		Tenant:      string(headers[HeaderTenant]),
		Transport:   Transport(headers[HeaderTransport]),
		Format:      Format(headers[HeaderFormat]),
		IngestID:    string(headers[HeaderIngestID]),
		ReceivedMs:  received,
		ContentType: string(headers[HeaderContentType]),
		SigStatus:   string(headers[HeaderSigStatus]),
		SigKID:      string(headers[HeaderSigKID]),
		SourceID:    string(headers[HeaderSourceID]),
		TopicHint:   string(headers[HeaderTopicHint]),
		Body:        body,
	}
}

// Position is where a raw record stands. It is the record's identity in the
// ledger: one position has one fate per run (I3).
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
	AppendMs  int64 // LogAppendTime, epoch ms; no part of the identity
}

// Same reports whether p and q are one place in one log.
func (p Position) Same(q Position) bool {
	return p.Topic == q.Topic && p.Partition == q.Partition && p.Offset == q.Offset
}

// String is `topic/partition/offset`.
func (p Position) String() string {
	return fmt.Sprintf("%s/%d/%d", p.Topic, p.Partition, p.Offset)
}

// ParsePosition reads what [Position.String] wrote; the append time stays zero.
func ParsePosition(s string) (Position, error) {
	parts := strings.Split(s, "/")
	if len(parts) == 3 && parts[0] != "" {
		partition, err1 := strconv.ParseInt(parts[1], 10, 32)
		offset, err2 := strconv.ParseInt(parts[2], 10, 64)
		if err1 == nil && err2 == nil && partition >= 0 && offset >= 0 {
			return Position{Topic: parts[0], Partition: int32(partition), Offset: offset}, nil
		}
	}
	return Position{}, fmt.Errorf("position: %q is not topic/partition/offset", s)
}

// Lineage is what the dead letters before a redriven record were; zero for a
// record that is none.
type Lineage struct {
	Root        string // raw position of the first of them, as [Position.String] writes it
	Attempts    int    // how many they are
	FirstSeenMs int64  // append time of the first raw record
}

// Headers returns the headers by which outputs carry p.
func (p Position) Headers() []Header {
	return []Header{
		{HeaderRawTopic, []byte(p.Topic)},
		{HeaderRawPartition, strconv.AppendInt(nil, int64(p.Partition), 10)},
		{HeaderRawOffset, strconv.AppendInt(nil, p.Offset, 10)},
		{HeaderRawAppendMs, strconv.AppendInt(nil, p.AppendMs, 10)},
	}
}

// PositionOf reads what [Position.Headers] wrote; ok is false when a header is
// absent or no number.
func PositionOf(headers map[string][]byte) (p Position, ok bool) {
	partition, err1 := strconv.ParseInt(string(headers[HeaderRawPartition]), 10, 32)
	offset, err2 := strconv.ParseInt(string(headers[HeaderRawOffset]), 10, 64)
	appended, err3 := strconv.ParseInt(string(headers[HeaderRawAppendMs]), 10, 64)
	topic := string(headers[HeaderRawTopic])
	if err1 != nil || err2 != nil || err3 != nil || topic == "" {
		return Position{}, false
	}
	return Position{Topic: topic, Partition: int32(partition), Offset: offset, AppendMs: appended}, true
}
