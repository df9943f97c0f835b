package event

import "fmt"

// Reason is why a raw record became a dead letter. The set is closed: it is a
// metric label and a filter of `trunkline dlq`.
type Reason string

// The reasons of dead letters.
const (
	MalformedJSON Reason = "malformed_json" // no JSON, invalid UTF-8, too deep, doubled keys
	UnknownFormat Reason = "unknown_format" // no mapper reads this shape
	NotSplit      Reason = "not_split"      // one record that holds several events
	MissingField  Reason = "missing_field"
	InvalidField  Reason = "invalid_field"
	UnknownTenant Reason = "unknown_tenant" // no topic was set up for it
	NullValue     Reason = "null_value"
	RekeyLoop     Reason = "rekey_loop" // a re-keyed record found yet another key
	TooLarge      Reason = "too_large"
	MapperPanic   Reason = "mapper_panic"
	Unmergeable   Reason = "unmergeable" // a partial image that does not fit the row
	Undecodable   Reason = "undecodable" // an internal record that cannot be read
	Unverified    Reason = "unverified"  // nobody's keys verified it in time; it was in quarantine
)

// Reasons lists them.
var Reasons = []Reason{
	MalformedJSON, UnknownFormat, NotSplit, MissingField, InvalidField, UnknownTenant,
	NullValue, RekeyLoop, TooLarge, MapperPanic, Unmergeable, Undecodable, Unverified,
}

// Rejected is the error of a mapper that cannot read a record: the record
// becomes a dead letter, whole (I6).
type Rejected struct {
	Reason Reason
	Detail string // names the field and what would be right; never payload content (I10)
}

// Reject builds a [Rejected] with a formatted detail.
func Reject(reason Reason, format string, args ...any) *Rejected {
	return &Rejected{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

func (r *Rejected) Error() string { return fmt.Sprintf("%s: %s", r.Reason, r.Detail) }

// Filtered is the error of a mapper that reads a record and finds nothing in it
// to tell: heartbeats, transport frames, reads, failures.
type Filtered struct {
	Reason string // a short constant, such as "heartbeat"
}

func (f *Filtered) Error() string { return "filtered: " + f.Reason }

// FateKind is the terminal outcome of one raw record in one run (I3).
type FateKind string

// The fates. The first three are told by their own records, the rest by a
// record on the fates topic.
const (
	FateChange     FateKind = "change"
	FateLate       FateKind = "late"
	FateDeadLetter FateKind = "dead_letter"
	FateUnchanged  FateKind = "unchanged"
	FateEventOnly  FateKind = "event_only"
	FateDuplicate  FateKind = "duplicate"
	FateFiltered   FateKind = "filtered"
	FateReplayed   FateKind = "replayed"
)

// Fate is a record of the fates topic.
type Fate struct {
	Kind     FateKind
	Run      string
	Raw      Position
	IngestID string
	EventID  string
	Reason   string
	First    *Position // of a duplicate: where its event was first seen
}

// Image is one side of a change: the row's state as readers see it.
type Image struct {
	Name    *string
	Version *int64
	Data    []byte // the whole resource, canonical JSON; nil when only the key is known
}

// Change is one change of one entity: the source of a Debezium record.
type Change struct {
	Key       Key
	Op        Op
	Before    *Image // never nil for u and d (I5)
	After     *Image // nil for d
	TsMs      int64  // the vendor's event time, epoch ms
	Processed int64  // epoch ns
	Snapshot  string // "false"; "incremental" when a reconciliation found it
	// SequenceUs is the event time in µs, SequenceN the number of the change of
	// this row; together they never go back for a key.
	SequenceUs int64
	SequenceN  int64
	EventID    string
	EventType  string
	Raw        Position // zero for a change that has a cause
	Cause      Cause    // of a change that follows from no raw record
}

// Cause is why there is a change that follows from no raw record. The set is
// closed: the ledger takes no other for an excuse (I3).
type Cause string

// The causes.
const (
	CauseIdle Cause = "idle" // no event for the retention of interactions
)
