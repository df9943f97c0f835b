// Package event holds what flows through Trunkline: the raw record as a vendor
// sent it, the event a mapper reads from it, the change of an entity, dead
// letters and fates, with their keys and ids. It is pure and knows no wire
// format.
package event

import (
	"cmp"
	"math"
	"strings"
)

// Op is what an event does to its entity, in Debezium's letters.
type Op string

// The operations. OpNone marks an event that touches no entity: it reaches the
// event bus and its fate is event_only.
const (
	Create Op = "c"
	Update Op = "u"
	Delete Op = "d"
	Read   Op = "r" // found by reconciliation
	OpNone Op = ""
)

// TsSource says where the event time of an event came from.
type TsSource string

// The sources of an event time.
const (
	TsEvent    TsSource = "event"    // a field of the event itself
	TsEnvelope TsSource = "envelope" // the transport's envelope
	TsIngest   TsSource = "ingest"   // receipt at the edge: the vendor told none
	TsClamped  TsSource = "clamped"  // more than MaxAhead before its append time
)

// MaxAheadMs bounds how far an event time may lie ahead of the raw append time;
// beyond it one wrong clock would make everything after it late.
const MaxAheadMs = 5 * 60 * 1000

// Names in an event's metadata of what its mapper does not know.
const (
	// UnknownPrefix begins the name of such a field.
	UnknownPrefix = "x_"
	// UnknownOverflow counts the fields that found no room.
	UnknownOverflow = UnknownPrefix + "overflow"
)

// Event is what a mapper reads from one raw record.
type Event struct {
	ID       string // event_id: what makes two deliveries one event
	Key      Key
	Type     string // canonical event type, such as "config.user.updated"
	Op       Op
	TsMs     int64 // event time, epoch ms
	TsSource TsSource
	Version  Version

	// Image is the resource as a JSON object in canonical form (sorted keys, no
	// spaces, numbers as the vendor wrote them); nil when the event tells none.
	// A partial image merges into the entity's row, a full one replaces it.
	Image   []byte
	Partial bool

	// Metadata holds what is no part of the image: unmapped actions and fields
	// the mapper does not know (`x_{path}`).
	Metadata map[string]string

	Origin Origin
}

// Origin is where an event came from. Mappers leave it to the normalise stage.
type Origin struct {
	IngestID   string
	Transport  Transport
	Format     Format
	ReceivedMs int64
	Raw        Position // the first raw position, also of a looped record
	LogSource  string   // the topic/partition whose clock orders it
	LogMs      int64    // that clock when it was appended, epoch ms
	Lineage    Lineage  // of a redriven record
}

// Version is a vendor's own version number of a resource (User.version; a flow's
// "7.0" is 7). The zero Version is none.
type Version struct {
	N     int64
	Known bool
}

// Next reports whether v directly follows w.
func (v Version) Next(w Version) bool { return v.Known && w.Known && v.N == w.N+1 }

// CountsChanges reports whether the vendor raises the version by one with every
// change of the entity, so that the next version is the next change. A flow's
// save, check-in and publication share one.
func (k Key) CountsChanges() bool { return k.Type != "flow" }

// Order is the place of an event among those of its entity.
type Order struct {
	TsMs    int64
	Version Version
	Op      Op
	EventID string
}

// Order returns the place of e among the events of its entity.
func (e *Event) Order() Order {
	return Order{TsMs: e.TsMs, Version: e.Version, Op: e.Op, EventID: e.ID}
}

// Compare orders by event time, then vendor version, then create < update <
// delete, then event id (I4). It is total: where only one of two events has a
// version, a delete without one counts as the last and anything else as the
// first, so that no three events can form a circle and no delete is overtaken
// by an update of the same millisecond.
func (o Order) Compare(p Order) int {
	return cmp.Or(
		cmp.Compare(o.TsMs, p.TsMs),
		cmp.Compare(o.rankedVersion(), p.rankedVersion()),
		cmp.Compare(o.Op.rank(), p.Op.rank()),
		strings.Compare(o.EventID, p.EventID),
	)
}

func (o Order) rankedVersion() int64 {
	switch {
	case o.Version.Known:
		return o.Version.N
	case o.Op == Delete:
		return math.MaxInt64
	default:
		return math.MinInt64
	}
}

func (op Op) rank() int {
	switch op {
	case Create:
		return 0
	case Delete:
		return 2
	default:
		return 1
	}
}
