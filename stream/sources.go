package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// Source is work that one process of a deployment does at a time, such as reading a
// vendor's stream, and that keeps in Kafka how far it got.
type Source struct {
	Name string // its own in the deployment; the key of its position
	// Run reads and appends until ctx ends. After an error, its own or that of the
	// log, it is run again, here or elsewhere, from the last committed position.
	Run func(ctx context.Context, log *SourceLog) error
}

// SourcesOptions say who runs which sources.
type SourcesOptions struct {
	Group     string // of the processes that share the sources
	Positions string // the compacted topic of their positions; its partitions are what is shared
	Partition func(key string, partitions int32) int32
	Sources   []Source
}

// RunSources runs each source on exactly one member of the group until ctx ends. The
// source of a process that dies is taken over from the committed position; a process
// that was only thought dead cannot append any more: the transactional id is that of
// the source.
func RunSources(ctx context.Context, cfg Config, o SourcesOptions) error {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("configure sources: %w", err)
	}
	s := &sources{cfg: cfg.withDefaults(), o: o}
	for failures := 0; ctx.Err() == nil; failures++ {
		if err := s.join(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Error("sources stand still: joining their group again", "group", o.Group, "error", err)
			wait(ctx, rebuildBackoff(failures))
		}
	}
	return leave(s.cfg, o.Group)
}

// sources is one process's share of them.
type sources struct {
	cfg Config
	o   SourcesOptions
}

// join takes part in the group until ctx ends or the member fails.
func (s *sources) join(ctx context.Context) (err error) {
	m, err := newMember(s.cfg.Brokers, s.o.Group, s.cfg.group(s.o.Group+"-"+s.cfg.Instance, sarama.NewBalanceStrategyRange()))
	if err != nil {
		return err
	}
	var told sync.WaitGroup
	told.Go(func() {
		for err := range m.Errors() { // each ends a session
			s.cfg.Logger.Debug("member of the sources failed", "group", s.o.Group, "error", err)
		}
	})
	defer func() {
		err = errors.Join(err, m.Close())
		told.Wait()
	}()
	partitions, err := m.client.Partitions(s.o.Positions)
	if err != nil {
		return fmt.Errorf("read the partitions of %s: %w", s.o.Positions, err)
	}
	share := sourcesByPartition{}
	for _, source := range s.o.Sources {
		at := s.o.Partition(source.Name, int32(len(partitions)))
		share[at] = append(share[at], func(ctx context.Context) { s.supervise(ctx, source) })
	}
	for ctx.Err() == nil {
		if err := m.Consume(ctx, []string{s.o.Positions}, share); err != nil {
			return err
		}
	}
	return nil
}

// sourcesByPartition are what runs while a partition of the positions is ours.
type sourcesByPartition map[int32][]func(ctx context.Context)

// Setup implements [sarama.ConsumerGroupHandler].
func (sourcesByPartition) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup implements [sarama.ConsumerGroupHandler].
func (sourcesByPartition) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim implements [sarama.ConsumerGroupHandler].
func (s sourcesByPartition) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	var running sync.WaitGroup
	for _, run := range s[claim.Partition()] {
		running.Go(func() { run(session.Context()) })
	}
	<-session.Context().Done() // each source reads its position when it begins
	running.Wait()
	return nil
}

// supervise runs a source again and again until ctx ends.
func (s *sources) supervise(ctx context.Context, source Source) {
	for failures := 0; ctx.Err() == nil; failures++ {
		began := time.Now()
		err := s.live(ctx, source)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > time.Minute {
			failures = 0 // it worked for a while: whatever ended it is new
		}
		s.cfg.Logger.Warn("source ended, it will be run again", "source", source.Name, "error", err)
		wait(ctx, sessionBackoff(failures))
	}
}

// live is one life of a source. Its batches come first: they end what an earlier
// life left open, here or elsewhere, so that the position which is read then is the
// last.
func (s *sources) live(ctx context.Context, source Source) (err error) {
	batches, err := NewBatches(s.cfg, s.o.Group+"-"+source.Name, s.o.Partition)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, batches.Close()) }()
	l := &SourceLog{batches: batches, positions: s.o.Positions, name: source.Name}
	if l.position, err = s.position(ctx, source.Name); err != nil {
		return err
	}
	return source.Run(ctx, l)
}

// position reads what was committed last under a name.
func (s *sources) position(ctx context.Context, name string) (position []byte, err error) {
	err = Read(ctx, s.cfg, Range{Topics: []string{s.o.Positions}}, func(r Record) error {
		if string(r.Key) == name {
			position = r.Value
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the position of %s: %w", name, err)
	}
	return position, nil
}

// SourceLog is where a source appends. It is used by one goroutine at a time.
type SourceLog struct {
	batches   *Batches
	positions string // topic
	name      string
	position  []byte
}

// Position is what was committed last, nil if nothing ever was.
func (l *SourceLog) Position() []byte { return l.position }

// Append writes the records and the position reached with them in one transaction
// (I2), and returns nil once it is committed. After an error it may be committed or
// not: the source must end, and its next life begins where the brokers say.
func (l *SourceLog) Append(ctx context.Context, records []Outgoing, position []byte) error {
	err := l.batches.Append(ctx, append(records[:len(records):len(records)], Outgoing{Topic: l.positions, Key: l.name, Value: position}))
	if err != nil {
		return fmt.Errorf("append %d records of source %s: %w", len(records), l.name, err)
	}
	l.position = position
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
