package app

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"trunkline/codecs"
	"trunkline/ingest"
	"trunkline/topology"
)

// Config is the configuration file: what a deployment shares. What tells one
// process from another (role, instance, addresses, data dir) stands in
// [Options]. The zero value of a field means its default.
type Config struct {
	Kafka    Kafka    `yaml:"kafka"`
	Registry Registry `yaml:"registry"`

	// Partitions is the partition count of every internal topic.
	Partitions int32 `yaml:"partitions"`
	// Run names the present pass over the raw log in every output.
	Run          string        `yaml:"run"`
	RawRetention time.Duration `yaml:"raw_retention"`
	DedupWindow  time.Duration `yaml:"dedup_window"`
	// InteractionRetention is how long conversations, agent states and queue
	// memberships live without an event, by their log's time.
	InteractionRetention time.Duration `yaml:"interaction_retention"`

	Reorder    Reorder    `yaml:"reorder"`
	Changes    Changes    `yaml:"changes"`
	Projection Projection `yaml:"projection,omitempty"`
	Edge       Edge       `yaml:"edge"`
	Tenants    []Tenant   `yaml:"tenants"`
}

// Kafka is the cluster.
type Kafka struct {
	Brokers        []string      `yaml:"brokers"`
	Replication    int16         `yaml:"replication"`
	MinISR         int           `yaml:"min_isr"`
	CommitInterval time.Duration `yaml:"commit_interval"`
	SessionTimeout time.Duration `yaml:"session_timeout"`
}

// Reorder says how long events wait for earlier ones of their entity.
type Reorder struct {
	ConfigHold      time.Duration `yaml:"config_hold"`
	InteractionHold time.Duration `yaml:"interaction_hold"`
	Grace           time.Duration `yaml:"grace"`
	ClockMargin     time.Duration `yaml:"clock_margin"`
}

// Changes says how the change topics are written.
type Changes struct {
	Format codecs.Format `yaml:"format"`
	// Formats overrides the format of single topics.
	Formats       map[string]codecs.Format `yaml:"formats,omitempty"`
	MillisOnly    bool                     `yaml:"millis_only,omitempty"`
	EmitUnchanged bool                     `yaml:"emit_unchanged,omitempty"`
}

// Projection says what changes are written as besides.
type Projection struct {
	// Seed has the changes of Genesys configuration resources on a topic of their
	// own, [topology.SeedTopic], as guide 1 writes them.
	Seed bool `yaml:"seed,omitempty"`
}

// Tenant is a customer.
type Tenant struct {
	ID         string                 `yaml:"id"`
	Class      topology.Class         `yaml:"class"`
	Partitions int32                  `yaml:"partitions"` // of its bus topics
	VendorIDs  []string               `yaml:"vendor_ids,omitempty"`
	Rate       Rate                   `yaml:"rate,omitempty"`
	Ack        ingest.Ack             `yaml:"ack"` // spool or kafka
	Vendors    map[string]Credentials `yaml:"vendors"`
}

func (c Config) withDefaults() Config {
	c.Kafka.Replication = cmp.Or(c.Kafka.Replication, 3)
	c.Kafka.MinISR = cmp.Or(c.Kafka.MinISR, 2)
	c.Partitions = cmp.Or(c.Partitions, 6)
	c.Run = cmp.Or(c.Run, "1")
	c.RawRetention = cmp.Or(c.RawRetention, 7*24*time.Hour)
	c.DedupWindow = cmp.Or(c.DedupWindow, 48*time.Hour)
	c.InteractionRetention = cmp.Or(c.InteractionRetention, 7*24*time.Hour)
	c.Reorder.ConfigHold = cmp.Or(c.Reorder.ConfigHold, 500*time.Millisecond)
	c.Reorder.InteractionHold = cmp.Or(c.Reorder.InteractionHold, 100*time.Millisecond)
	c.Reorder.Grace = cmp.Or(c.Reorder.Grace, 500*time.Millisecond)
	c.Reorder.ClockMargin = cmp.Or(c.Reorder.ClockMargin, 250*time.Millisecond)
	c.Changes.Format = cmp.Or(c.Changes.Format, codecs.FormatAvro)
	c.Edge = c.Edge.withDefaults(c.DedupWindow)
	c.Tenants = slices.Clone(c.Tenants)
	for i := range c.Tenants {
		c.Tenants[i].Class = cmp.Or(c.Tenants[i].Class, topology.Standard)
		c.Tenants[i].Partitions = cmp.Or(c.Tenants[i].Partitions, 4)
		c.Tenants[i].Ack = cmp.Or(c.Tenants[i].Ack, ingest.AckSpool)
	}
	return c
}

// Validate joins everything that is wrong; each fault names its field and what
// would be right.
func (c Config) Validate() error {
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
	}
	if len(c.Kafka.Brokers) == 0 {
		wrong("kafka.brokers", "is empty; name at least one host:port")
	}
	for _, b := range c.Kafka.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			wrong("kafka.brokers", "%q is no host:port", b)
		}
	}
	c.Registry.check(wrong)
	for field, d := range map[string]time.Duration{
		"raw_retention": c.RawRetention, "dedup_window": c.DedupWindow, "interaction_retention": c.InteractionRetention,
		"reorder.config_hold": c.Reorder.ConfigHold, "reorder.interaction_hold": c.Reorder.InteractionHold,
		"reorder.grace": c.Reorder.Grace, "reorder.clock_margin": c.Reorder.ClockMargin,
		"kafka.commit_interval": c.Kafka.CommitInterval, "kafka.session_timeout": c.Kafka.SessionTimeout,
	} {
		if d < 0 {
			wrong(field, "%s is negative", d)
		}
	}
	if c.DedupWindow > c.RawRetention {
		wrong("dedup_window", "%s is longer than raw_retention %s; a replay could not rebuild it", c.DedupWindow, c.RawRetention)
	}
	if hold := max(c.Reorder.ConfigHold, c.Reorder.InteractionHold); c.InteractionRetention > 0 && c.InteractionRetention <= hold {
		wrong("interaction_retention", "%s is not longer than events are held, %s; an interaction would end before its first event", c.InteractionRetention, hold)
	}
	if c.Kafka.MinISR > int(c.Kafka.Replication) {
		wrong("kafka.min_isr", "%d is more than kafka.replication %d; no write would succeed", c.Kafka.MinISR, c.Kafka.Replication)
	}
	if c.Partitions < 0 {
		wrong("partitions", "%d is negative", c.Partitions)
	}
	for topic, f := range c.Changes.Formats {
		if !slices.Contains(topology.ChangeTopics(), topic) {
			wrong("changes.formats", "%q is no change topic; they are %v", topic, topology.ChangeTopics())
		}
		c.checkFormat("changes.formats."+topic, f, wrong)
	}
	c.checkFormat("changes.format", c.Changes.Format, wrong)
	c.checkEdge(wrong)
	seen := map[string]bool{}
	for i, t := range c.Tenants {
		field := fmt.Sprintf("tenants[%d]", i)
		switch {
		case t.ID == "":
			wrong(field+".id", "is empty")
		case !topicSafe(t.ID):
			wrong(field+".id", "%q becomes part of topic names: use letters, digits, '.', '_' and '-', 100 at most", t.ID)
		case seen[t.ID]:
			wrong(field+".id", "%q is configured twice", t.ID)
		}
		seen[t.ID] = true
		if t.Class != "" && t.Class != topology.Standard && t.Class != topology.HighValue {
			wrong(field+".class", "%q is unknown; use %s or %s", t.Class, topology.Standard, topology.HighValue)
		}
		if t.Ack != "" && t.Ack != ingest.AckSpool && t.Ack != ingest.AckKafka {
			wrong(field+".ack", "%q is unknown; use %s (on the edge's disk) or %s", t.Ack, ingest.AckSpool, ingest.AckKafka)
		}
		t.Rate.check(field+".rate", wrong)
		for v, credentials := range t.Vendors {
			if !slices.Contains(topology.Vendors, v) {
				wrong(field+".vendors", "%q is unknown; use %v", v, topology.Vendors)
			}
			credentials.check(field+".vendors."+v, v, c.DedupWindow, wrong)
		}
	}
	return errors.Join(errs...)
}

func (Config) checkFormat(field string, f codecs.Format, wrong func(field, format string, args ...any)) {
	if f != "" && f != codecs.FormatAvro && f != codecs.FormatJSON {
		wrong(field, "%q is unknown; use %s or %s", f, codecs.FormatAvro, codecs.FormatJSON)
	}
}

func topicSafe(s string) bool {
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
		default:
			return false
		}
	}
	return len(s) <= 100
}

// Layout is what the configuration makes of the topology.
func (c Config) Layout() topology.Layout {
	l := topology.Layout{
		Partitions: c.Partitions, Replication: c.Kafka.Replication, MinISR: c.Kafka.MinISR,
		RawRetention: c.RawRetention, DedupWindow: c.DedupWindow, SeedProjection: c.Projection.Seed,
	}
	for _, t := range c.Tenants {
		l.Tenants = append(l.Tenants, topology.Tenant{
			ID: t.ID, Vendors: t.vendorNames(), Class: t.Class, Partitions: t.Partitions,
		})
	}
	return l
}

func (t Tenant) vendorNames() []string {
	var names []string
	for _, v := range topology.Vendors {
		if _, ok := t.Vendors[v]; ok {
			names = append(names, v)
		}
	}
	return names
}

// format is how a change topic is written.
func (c Changes) format(topic string) codecs.Format {
	if f, ok := c.Formats[topic]; ok {
		return f
	}
	return c.Format
}
