package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"trunkline/state"
)

// session is one generation of the group on this instance, from the assignment
// of partitions to their loss. It stands between sarama and goka.
type session struct {
	e     *engine
	stage sarama.ConsumerGroupHandler // goka's processor
	gate  *gate

	sarama.ConsumerGroupSession // set by Setup; Context and MarkOffset are overridden
	group                       *sarama.ConsumerGroupMetadata
	ctx                         context.Context //nolint:containedctx // the session's lifetime, as sarama models it
	cancel                      context.CancelFunc
	tasks                       sync.WaitGroup
	urgent                      chan struct{} // the overlay is over its limit
	swept                       time.Time

	mu        sync.Mutex
	claims    map[topicPartition]*claim
	committed map[topicPartition]int64
	commits   int   // how many transactions it ended
	assigned  bool  // goka has built its partitions
	ready     bool  // Setup succeeded
	err       error // why the session's transaction cannot commit
	stageErr  error // the stage itself failed: no new session can mend that
}

func newSession(e *engine, stage sarama.ConsumerGroupHandler) *session {
	return &session{
		e: e, stage: stage, gate: newGate(), urgent: make(chan struct{}, 1),
		claims: map[topicPartition]*claim{}, committed: map[topicPartition]int64{},
	}
}

// Context ends with the session, or earlier when its transaction failed.
func (s *session) Context() context.Context { return s.ctx }

// MarkOffset is how goka says that a message is handled. The offset goes into
// the next transaction and nowhere else (I2).
func (s *session) MarkOffset(topic string, partition int32, offset int64, _ string) {
	if topic != s.e.opts.Tick {
		s.claimOf(topicPartition{topic, partition}).done(offset)
	}
	s.gate.leave()
	if s.e.tables.overlayBytes() > overlayLimitBytes {
		select {
		case s.urgent <- struct{}{}:
		default:
		}
	}
}

// overlayLimitBytes forces a boundary: the overlays of an instance live in
// memory.
const overlayLimitBytes = 32 << 20

func (s *session) claimOf(tp topicPartition) *claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claims[tp]
}

// Setup recovers the tables and opens the first transaction.
func (s *session) Setup(inner sarama.ConsumerGroupSession) error {
	s.ConsumerGroupSession = inner
	s.ctx, s.cancel = context.WithCancel(inner.Context())
	instance := s.e.cfg.Instance
	s.group = sarama.NewConsumerGroupMetadataFromSession(inner, string(s.e.graph.Group()), &instance)
	s.e.setSession(s)
	if err := s.stage.Setup(s); err != nil {
		return err
	}
	if err := s.e.producer.begin(); err != nil {
		return err
	}
	s.ready = true
	s.tasks.Go(s.boundaries)
	if s.e.opts.Quiet > 0 {
		s.tasks.Go(s.watchSilence)
	}
	return nil
}

// ConsumeClaim forwards one partition to goka until the session ends.
func (s *session) ConsumeClaim(_ sarama.ConsumerGroupSession, inner sarama.ConsumerGroupClaim) error {
	position := inner.InitialOffset()
	if position < 0 { // no committed offset: the sentinel is no offset to commit
		var err error
		if position, err = s.e.client.GetOffset(inner.Topic(), inner.Partition(), position); err != nil {
			return fmt.Errorf("resolve the start of %s/%d: %w", inner.Topic(), inner.Partition(), err)
		}
	}
	c := newClaim(s, inner, position)
	s.mu.Lock()
	s.claims[c.at()] = c
	s.committed[c.at()] = position
	s.mu.Unlock()

	var forward sync.WaitGroup
	forward.Go(c.forward)
	err := s.stage.ConsumeClaim(s, c)
	s.end() // a session ends for all its claims at once
	forward.Wait()
	return err
}

// end stops forwarding. Queued messages are dropped unmarked.
func (s *session) end() {
	s.cancel()
	s.gate.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.claims {
		c.wake()
	}
}

// fail ends the session with an abort.
func (s *session) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	s.end()
}

func (s *session) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// boundaries commits until the session ends. The interval counts from the end
// of a boundary: a ticker would starve delivery as soon as a commit takes
// longer than it.
func (s *session) boundaries() {
	interval := s.e.cfg.CommitInterval
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-timer.C:
		case <-s.urgent:
		}
		if !s.gate.close() {
			return
		}
		began := time.Now()
		err := s.commit(s.ctx)
		if err == nil {
			interval = nextInterval(s.e.cfg.CommitInterval, time.Since(began))
			err = s.e.producer.begin()
		}
		if err == nil {
			err = s.dropExpired()
		}
		if err != nil { // the gate stays closed: there may be no producer to emit to
			if !errors.Is(err, context.Canceled) { // else Cleanup commits what there is
				s.fail(err)
			}
			return
		}
		s.gate.open()
		timer.Reset(interval)
	}
}

// maxCommitInterval bounds the latency that a slow cluster costs.
const maxCommitInterval = 500 * time.Millisecond

// nextInterval is the time to the next boundary. While a transaction commits,
// nothing is handled: slow commits come less often, so that at most a third of the
// time goes to them.
func nextInterval(least, commit time.Duration) time.Duration {
	return max(least, min(2*commit, maxCommitInterval))
}

// commit ends the open transaction and then, only then, lets the stores write
// (I2). With nothing to commit there is no transaction: the brokers have not
// heard of it yet.
func (s *session) commit(ctx context.Context) error {
	offsets, moved := s.offsets()
	if !moved && !s.e.producer.sentAny() {
		return nil
	}
	if err := s.e.producer.flush(ctx); err != nil {
		return err
	}
	resent, err := s.e.producer.commit(offsets, s.group)
	if err != nil {
		return err
	}
	err = s.e.tables.each(func(tp topicPartition, store *state.Store) error {
		return store.Commit(s.e.producer.changelogOffset(tp))
	})
	if err != nil {
		return fmt.Errorf("write the committed rows: %w", err)
	}
	s.mu.Lock()
	for tp, c := range s.claims {
		s.committed[tp] = c.next()
	}
	s.commits++
	s.mu.Unlock()
	if resent {
		return s.e.renewProducer()
	}
	return nil
}

// dropExpired removes rows that expired on their log's clock, a few at a time
// and now and then: it is clean-up, nothing depends on it.
func (s *session) dropExpired() error {
	if s.e.opts.Store.Expiry == nil || s.e.opts.now().Sub(s.swept) < sweepInterval {
		return nil
	}
	s.swept = s.e.opts.now()
	clock := map[int32]int64{}
	s.mu.Lock()
	for tp, c := range s.claims {
		clock[tp.partition] = max(clock[tp.partition], c.highest())
	}
	s.mu.Unlock()
	return s.e.tables.each(func(tp topicPartition, store *state.Store) error {
		_, err := store.Expire(clock[tp.partition], sweepRows)
		return err
	})
}

const (
	sweepInterval = time.Minute
	sweepRows     = 100_000
)

// offsets returns the next offsets of the partitions that moved. When none did,
// the work was the ticks' alone; the known positions go in again, since without
// offsets no generation check would stop a member that lost its partitions.
func (s *session) offsets() (offsets map[string][]*sarama.PartitionOffsetMetadata, moved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	offsets = map[string][]*sarama.PartitionOffsetMetadata{}
	add := func(tp topicPartition, next int64) {
		offsets[tp.topic] = append(offsets[tp.topic], &sarama.PartitionOffsetMetadata{
			Partition: tp.partition, Offset: next, Metadata: &s.e.cfg.Instance, // for takeover
		})
	}
	for tp, c := range s.claims {
		if next := c.next(); next != s.committed[tp] {
			add(tp, next)
			moved = true
		}
	}
	if !moved {
		for tp, c := range s.claims {
			add(tp, c.next())
		}
	}
	return offsets, moved
}

// lastCommit ends what was finished, if the brokers answer in time: the group
// waits for us to give up our partitions.
func (s *session) lastCommit() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.e.cfg.RebalanceTimeout/2)
	defer cancel()
	return s.commit(ctx)
}

// Cleanup ends the session: goka first, so that started messages finish; then
// the last commit, or an abort; only then the stores close. sarama calls it
// after a failed Setup, too.
func (s *session) Cleanup(sarama.ConsumerGroupSession) error {
	s.end()
	s.tasks.Wait()
	var err error
	if s.assigned {
		err = s.stage.Cleanup(s)
	}
	if s.ready && err != nil {
		s.stageErr = err
	}
	switch {
	case !s.ready:
	case err == nil && s.failure() == nil:
		if commitErr := s.lastCommit(); commitErr != nil {
			s.fail(commitErr)
		}
	default:
		s.fail(err)
	}
	if s.failure() != nil || !s.ready {
		s.e.abort()
	}
	s.e.setSession(nil)
	return errors.Join(s.failure(), s.e.tables.closeAll())
}
