// Package topology names everything that stands in Kafka and says how it is
// laid out: topics, groups, tables, the partition rule, retention, and which
// stage reads and writes what.
package topology

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lovoo/goka"

	"trunkline/event"
)

// The vendors.
const (
	Genesys = "genesys"
	CXone   = "cxone"
)

// Vendors lists them in the order in which they are drawn.
var Vendors = []string{Genesys, CXone}

// The goka groups. Their tables and loops follow goka's naming:
// `normalise-table`, `normalise-loop`, `entity-table`.
const (
	NormaliseGroup goka.Group = "normalise"
	EntityGroup    goka.Group = "entity"
	// SourcesGroup are the edges that share the sources.
	SourcesGroup goka.Group = "sources"
)

// NormaliseLoop is the topic by which normalise re-keys records (goka's loop).
const NormaliseLoop goka.Stream = "normalise-loop"

// The tables: the dedup rows, and the rows by resource that views read.
var (
	SeenTable   = goka.GroupTable(NormaliseGroup)
	EntityTable = goka.GroupTable(EntityGroup)
)

// Topics inside the topology and the outputs that have one name.
const (
	EventsTopic      goka.Stream = "events"
	DeadLettersTopic goka.Stream = "dead-letters"
	LateEventsTopic  goka.Stream = "late-events"
	FatesTopic       goka.Stream = "fates"
)

// QuarantineTopic holds deliveries whose sender is not proven, by their id, until
// an edge releases them or gives them up. No stage reads it.
const QuarantineTopic goka.Stream = "quarantine"

// RedrivesTopic holds which dead letters were sent back to their raw topic, by the
// raw position that each letter names. It outlives them.
const RedrivesTopic goka.Stream = "redrives"

// PositionsTopic holds how far each source that is read, not received, was read, by
// the source's name.
const PositionsTopic goka.Stream = "positions"

// SeedTopic holds the changes of Genesys configuration resources as guide 1 writes
// them, where the layout asks for it.
const SeedTopic goka.Stream = "genesys.config.seed"

// DriftTopic holds what each process of the stages counted of the fields that no
// mapper knows, by vendor, event type, field and day.
const DriftTopic goka.Stream = "drift"

// Outputs that stand for a family of topics: a stage emits to the family, and
// the producer writes to the member that the record names.
const (
	CanonicalEvents goka.Stream = "ccaaus.events.{vendor}.{tenant}"
	Changes         goka.Stream = "{vendor}.{config|interaction}.changes"
)

// Ticks is the virtual input of timer messages. It exists in no broker.
const Ticks goka.Stream = "__tick"

const rawPrefix = "raw."

// RawTopic is the topic of a vendor's bytes.
func RawTopic(vendor string) goka.Stream { return goka.Stream(rawPrefix + vendor) }

// VendorOf is whose bytes a raw topic holds; ok is false for any other topic.
func VendorOf(topic string) (vendor string, ok bool) { return strings.CutPrefix(topic, rawPrefix) }

// CanonicalPrefix begins the names of all event bus topics.
const CanonicalPrefix = "ccaaus.events."

// CanonicalTopic is the event bus topic of a vendor's tenant.
func CanonicalTopic(vendor, tenant string) string {
	return CanonicalPrefix + vendor + "." + tenant
}

// ChangeTopic is the change topic of an entity.
func ChangeTopic(k event.Key) string {
	topics := ChangeTopicsOf(k.Vendor)
	if k.Interaction() {
		return topics[1]
	}
	return topics[0]
}

// ChangeTopicsOf lists the change topics of a vendor.
func ChangeTopicsOf(vendor string) []string {
	return []string{vendor + ".config.changes", vendor + ".interaction.changes"}
}

// ChangeTopics lists the change topics of all vendors.
func ChangeTopics() []string {
	var names []string
	for _, v := range Vendors {
		names = append(names, ChangeTopicsOf(v)...)
	}
	return names
}

// Seeds reports whether changes of an entity stand on [SeedTopic], too.
func (l Layout) Seeds(k event.Key) bool {
	return l.SeedProjection && k.Vendor == Genesys && !k.Interaction()
}

// MaxRecordBytes is the largest record of internal, change and table topics: a
// change can hold two images of 1 MiB in text that escapes.
const MaxRecordBytes = 8 << 20

// MaxBodyBytes is the largest event body and image.
const MaxBodyBytes = 1 << 20

// Class is a tenant's class of service; it decides the retention of its bus
// topics.
type Class string

// The classes of guide 2.
const (
	Standard  Class = "standard"   // 3 days
	HighValue Class = "high-value" // 7 days
)

// Retention returns how long the bus topics of the class keep events.
func (c Class) Retention() time.Duration {
	if c == HighValue {
		return 7 * 24 * time.Hour
	}
	return 3 * 24 * time.Hour
}

// Tenant is a customer as the topology sees it.
type Tenant struct {
	ID         string
	Vendors    []string
	Class      Class
	Partitions int32 // of its bus topics
}

// Layout is what a deployment chooses: sizes, retention and tenants.
type Layout struct {
	Partitions   int32 // of every internal topic: raw, events, loop and tables
	Replication  int16
	MinISR       int
	RawRetention time.Duration
	DedupWindow  time.Duration
	Tenants      []Tenant

	SeedProjection bool // whether there is SeedTopic
}

// Topic is one topic as it must stand in Kafka.
type Topic struct {
	Name        string
	Partitions  int32
	Replication int16
	Config      map[string]string
}

// Topics returns every topic of the layout, sorted by name. They are made by
// set-up, never by a stage.
func (l Layout) Topics() []Topic {
	var ts []Topic
	add := func(name string, partitions int32, config map[string]string) {
		config["message.timestamp.type"] = "LogAppendTime"
		config["min.insync.replicas"] = strconv.Itoa(l.MinISR)
		config["unclean.leader.election.enable"] = "false"
		config["max.message.bytes"] = strconv.Itoa(MaxRecordBytes)
		ts = append(ts, Topic{Name: name, Partitions: partitions, Replication: l.Replication, Config: config})
	}
	deleted := func(after time.Duration) map[string]string {
		return map[string]string{"cleanup.policy": "delete", "retention.ms": ms(after), "retention.bytes": "-1"}
	}
	const letters = 30 * 24 * time.Hour
	const drift = 180 * 24 * time.Hour // how far back first and last sights are known

	for _, v := range Vendors {
		add(string(RawTopic(v)), l.Partitions, deleted(l.RawRetention))
	}
	add(string(EventsTopic), l.Partitions, deleted(l.RawRetention))
	add(string(NormaliseLoop), l.Partitions, deleted(l.RawRetention))
	add(string(SeenTable), l.Partitions, map[string]string{
		"cleanup.policy": "compact,delete", "retention.ms": ms(2 * l.DedupWindow), "retention.bytes": "-1",
	})
	add(string(EntityTable), l.Partitions, map[string]string{"cleanup.policy": "compact"})
	add(string(DeadLettersTopic), l.Partitions, deleted(letters))
	add(string(LateEventsTopic), l.Partitions, deleted(letters))
	add(string(RedrivesTopic), l.Partitions, deleted(2*letters))
	add(string(FatesTopic), l.Partitions, deleted(l.RawRetention))
	add(string(QuarantineTopic), l.Partitions, map[string]string{
		"cleanup.policy": "compact,delete", "retention.ms": ms(l.DedupWindow), "retention.bytes": "-1",
	})
	add(string(PositionsTopic), l.Partitions, map[string]string{"cleanup.policy": "compact"})
	add(string(DriftTopic), l.Partitions, map[string]string{
		"cleanup.policy": "compact,delete", "retention.ms": ms(drift), "retention.bytes": "-1",
	})
	changes := ChangeTopics()
	if l.SeedProjection {
		changes = append(changes, string(SeedTopic))
	}
	for _, name := range changes {
		add(name, l.Partitions, map[string]string{
			"cleanup.policy": "compact", "min.compaction.lag.ms": ms(l.RawRetention),
		})
	}
	for _, t := range l.Tenants {
		for _, v := range t.Vendors {
			add(CanonicalTopic(v, t.ID), t.Partitions, deleted(t.Class.Retention()))
		}
	}
	slices.SortFunc(ts, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
	return ts
}

// CanonicalTopics lists the topics of canonical events: late ones, and those of the
// event bus.
func (l Layout) CanonicalTopics() []string {
	return append([]string{string(LateEventsTopic)}, l.BusTopics()...)
}

// BusTopics lists the topics of the event bus.
func (l Layout) BusTopics() []string {
	var topics []string
	for _, t := range l.Tenants {
		for _, v := range t.Vendors {
			topics = append(topics, CanonicalTopic(v, t.ID))
		}
	}
	return topics
}

// Serves reports whether the layout has set up the tenant for the vendor.
func (l Layout) Serves(vendor, tenant string) bool {
	return slices.ContainsFunc(l.Tenants, func(t Tenant) bool {
		return t.ID == tenant && slices.Contains(t.Vendors, vendor)
	})
}

func ms(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }
