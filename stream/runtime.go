// Package stream runs goka graphs exactly-once: input offsets, table rows and
// outputs of a stage move in one Kafka transaction or not at all (I2). It works
// through goka's own builders, without a fork.
//
// The parts, from the brokers to the stage: group (sessions inside one Consume),
// session (one generation: boundaries, commit, abort), claim (records and ticks
// of one partition through the gate), producer (the transaction), tables (stores
// whose writes wait for the commit), bound (where a log ends for readers of
// committed records), silence (when a log has nothing to say).
//
// Beside the stages: appender (records of many writers, without a transaction),
// batches (one transaction each, under an id that one process has), sources (work
// that one process at a time does, with its position), reader, finder and view
// (committed records and rows), cluster, faults, topics and drift (what the brokers
// must be like, and are).
package stream

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"

	"trunkline/state"
)

// Options says what a [Processor] runs and how its logs tell time.
type Options struct {
	Graph *goka.GroupGraph

	// Hasher and Partition are the partition rule, once as goka wants it and
	// once for records whose topic has its own partition count.
	Hasher    func() hash.Hash32
	Partition func(key string, partitions int32) int32

	// Store tunes the group table's stores.
	Store state.Options

	// Tick is the name of the virtual input of the graph that takes [Tick]s;
	// empty when it has none.
	Tick string

	// LogTime reads from an input record which log's clock it carries and where
	// that clock stands; ok is false when it carries none. It drives the timers
	// of the table's rows. MinHold is the shortest time after a record's own log
	// time for which a stage sets a timer.
	LogTime func(header func(name string) []byte) (clock string, ms int64, ok bool)
	MinHold time.Duration

	// Quiet, when positive, asks for a tick per input partition that was silent
	// for that long. The tick's time is MaxHold after the last record; Quiet
	// must exceed it by the margin that clocks are allowed to differ.
	Quiet   time.Duration
	MaxHold time.Duration

	// Now is the wall clock; nil is time.Now. It measures silence only.
	Now func() time.Time
}

func (o Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

func (o Options) logTime(msg *sarama.ConsumerMessage) (moment, bool) {
	if o.LogTime == nil || msg.Topic == o.Tick {
		return moment{}, false
	}
	clock, ms, ok := o.LogTime(func(name string) []byte {
		for _, h := range msg.Headers {
			if string(h.Key) == name {
				return h.Value
			}
		}
		return nil
	})
	return moment{clock, ms}, ok
}

// Processor runs one goka group exactly-once.
type Processor struct {
	cfg  Config
	opts Options
	life atomic.Pointer[goka.Processor]
}

// NewProcessor checks the configuration; nothing is contacted before Run.
func NewProcessor(cfg Config, opts Options) (*Processor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure group %s: %w", opts.Graph.Group(), err)
	}
	return &Processor{cfg: cfg.withDefaults(), opts: opts}, nil
}

// Run processes until ctx ends; then it finishes what was started, commits and
// returns nil. A stage that fails is rebuilt with growing back-off and shows in
// Ready. An instance name that another process took twice is final.
func (p *Processor) Run(ctx context.Context) error {
	group := string(p.opts.Graph.Group())
	var fenced time.Time
	for failures := 0; ; failures++ {
		err := p.live(ctx)
		switch {
		case ctx.Err() != nil:
			return leave(p.cfg, group)
		case errors.Is(err, sarama.ErrFencedInstancedId):
			// Once need not be a living process: a broker that comes back may answer
			// what a killed one asked long ago, and take its successor's name away. A
			// living one takes it back.
			if time.Since(fenced) < 6*p.cfg.SessionTimeout {
				return fmt.Errorf("run group %s: another process is instance %q; give each its own --instance: %w",
					group, p.cfg.Instance, err)
			}
			fenced, failures = time.Now(), 0
		}
		p.cfg.Logger.Error("processor ended, it will be rebuilt", "group", group, "error", err)
		select {
		case <-ctx.Done():
			return leave(p.cfg, group)
		case <-time.After(rebuildBackoff(failures)):
		}
	}
}

// rebuildBackoff grows from 0.5 to 30 s.
func rebuildBackoff(failures int) time.Duration {
	return min(500*time.Millisecond<<min(failures, 6), 30*time.Second)
}

// live is one life of the goka processor.
func (p *Processor) live(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e, err := newEngine(ctx, p.cfg, p.opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	proc, err := e.processor()
	if err != nil {
		return fmt.Errorf("build the processor: %w", err)
	}
	p.life.Store(proc)
	defer p.life.Store(nil)
	return proc.Run(ctx)
}

// Ready returns nil when the group's tables are recovered and it processes.
func (p *Processor) Ready() error {
	if proc := p.life.Load(); proc == nil || !proc.Recovered() {
		return fmt.Errorf("group %s is recovering or not assigned yet", p.opts.Graph.Group())
	}
	return nil
}

// Assigned lists the partitions of this instance.
func (p *Processor) Assigned() []int32 {
	proc := p.life.Load()
	if proc == nil {
		return nil
	}
	var partitions []int32
	for partition := range proc.Stats().Group {
		partitions = append(partitions, partition)
	}
	return partitions
}
