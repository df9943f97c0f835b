// Package processors is what is done to events: one file per stage, each with
// what it eats, what it emits, its graph and its callback. [Stages] lists them
// in reading order.
//
//	raw.* ─▶ normalise ─▶ events ─▶ entity ─▶ *.changes
package processors

import (
	"fmt"
	"runtime"
	"time"

	"github.com/lovoo/goka"

	"trunkline/codecs"
	"trunkline/drift"
	"trunkline/state"
	"trunkline/stream"
	"trunkline/topology"
	"trunkline/vendors"
)

// Config is what the stages need besides their inputs.
type Config struct {
	Layout    topology.Layout
	Mappers   map[string]vendors.Mapper        // by vendor
	Canonical map[string]CanonicalSchema       // by topic
	Changes   map[string]*codecs.ChangeEncoder // by topic
	Seed      *codecs.SeedCodec                // where the layout has its topic

	// Run names this pass over the raw log in every output.
	Run string

	ConfigHold      time.Duration // how long a configuration event waits for earlier ones
	InteractionHold time.Duration
	Grace           time.Duration // how far an event may trail the highest event time
	ClockMargin     time.Duration // how far clocks of leaders and processors may differ
	EmitUnchanged   bool

	// InteractionRetention is how long conversations, agent states and queue
	// memberships live without an event, by their log's time.
	InteractionRetention time.Duration

	Now func() time.Time // processing time only

	// Drift counts what the mappers do not know; nil counts nothing.
	Drift *drift.Table
}

// CanonicalSchema is what the canonical events of a topic are written by.
type CanonicalSchema struct {
	Codec *codecs.CanonicalCodec
	ID    int // at the registry
}

// Bounds of one entity's reorder buffer.
const (
	maxHeld      = 64
	maxHeldBytes = 2 << 20
)

// Validate names what is missing.
func (c Config) Validate() error {
	for _, v := range topology.Vendors {
		if _, ok := c.Mappers[v]; !ok {
			return fmt.Errorf("configure the stages: no mapper for vendor %s", v)
		}
	}
	for _, topic := range topology.ChangeTopics() {
		if c.Changes[topic] == nil {
			return fmt.Errorf("configure the stages: no encoder for %s", topic)
		}
	}
	if c.Layout.SeedProjection && c.Seed == nil {
		return fmt.Errorf("configure the stages: no codec for %s", topology.SeedTopic)
	}
	for _, topic := range c.Layout.CanonicalTopics() {
		if c.Canonical[topic].Codec == nil {
			return fmt.Errorf("configure the stages: no codec for %s", topic)
		}
	}
	if hold := max(c.ConfigHold, c.InteractionHold); c.InteractionRetention <= hold {
		return fmt.Errorf("configure the stages: interaction retention %s, want more than the %s that events are held", c.InteractionRetention, hold)
	}
	return nil
}

// Stages returns every stage with all that its runtime needs to know.
func Stages(c Config) []stream.Options {
	maxHold := max(c.ConfigHold, c.InteractionHold)
	return []stream.Options{
		{
			Graph: Normalise(c), Hasher: topology.Hasher, Partition: topology.Partition,
			Store:   state.Options{Expiry: state.SeenExpiry(c.Layout.DedupWindow.Milliseconds())},
			Tick:    string(topology.Ticks),
			MaxHold: maxHold, Quiet: maxHold + c.ClockMargin,
		},
		{
			Graph: Entity(c), Hasher: topology.Hasher, Partition: topology.Partition,
			Store:   state.Options{Timers: state.EntityTimers},
			Tick:    string(topology.Ticks),
			LogTime: logTime, MinHold: min(c.ConfigHold, c.InteractionHold),
		},
	}
}

// Graphs returns the graphs of all stages, for drawing.
func Graphs(c Config) []*goka.GroupGraph {
	var graphs []*goka.GroupGraph
	for _, stage := range Stages(c) {
		graphs = append(graphs, stage.Graph)
	}
	return graphs
}

// pure runs mapping and encoding code, which sees vendors' bytes, so that a
// panic becomes an error before goka's context is touched (I6): inside goka it
// would stop the partition and meet the same record after every restart.
func pure(f func()) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case runtime.Error:
			err = fmt.Errorf("panic: %w", r)
		default: // its text may hold payload (I10)
			err = fmt.Errorf("panic with a %T", r)
		}
	}()
	f()
	return nil
}
