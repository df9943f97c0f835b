package stream

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"sync"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"

	"trunkline/state"
)

// engine is what one life of a goka processor runs on: it hands goka our own
// producer, consumer group, stores and topic manager, and keeps what outlives a
// session.
type engine struct {
	cfg    Config
	opts   Options
	graph  *goka.GroupGraph
	client sarama.Client
	ctx    context.Context //nolint:containedctx // the processor's life: goka's builders take none

	producer *producer
	tables   tables

	mu      sync.Mutex
	session *session
}

func newEngine(ctx context.Context, cfg Config, opts Options) (*engine, error) {
	client, err := sarama.NewClient(cfg.Brokers, cfg.client(clientID(cfg, opts.Graph)))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &engine{cfg: cfg, opts: opts, graph: opts.Graph, client: client, ctx: ctx}, nil
}

func clientID(cfg Config, graph *goka.GroupGraph) string { return transactionalID(graph, cfg.Instance) }

// transactionalID is the same in every life of an instance.
func transactionalID(graph *goka.GroupGraph, instance string) string {
	return string(graph.Group()) + "-" + instance
}

// processor builds goka's processor over the engine.
func (e *engine) processor() (*goka.Processor, error) {
	return goka.NewProcessor(e.cfg.Brokers, e.graph,
		goka.WithClientID(clientID(e.cfg, e.graph)),
		goka.WithHasher(e.opts.Hasher),
		goka.WithNilHandling(goka.NilProcess),
		goka.WithPartitionChannelSize(10), // a boundary waits for what is queued
		goka.WithLogger(gokaLogger{e.cfg.Logger}),
		goka.WithRebalanceCallback(func(goka.Assignment) { e.currentSession().assigned = true }),
		goka.WithProducerBuilder(func([]string, string, func() hash.Hash32) (goka.Producer, error) { return seam{e}, nil }),
		goka.WithConsumerGroupBuilder(e.consumerGroup),
		goka.WithConsumerSaramaBuilder(e.consumer),
		goka.WithTopicManagerBuilder(func([]string) (goka.TopicManager, error) { return e.topicManager(), nil }),
		goka.WithStorageBuilder(e.store),
	)
}

func (e *engine) consumerGroup(brokers []string, name, id string) (sarama.ConsumerGroup, error) {
	inner, err := newMember(brokers, name, e.cfg.group(id, &takeover{BalanceStrategy: sarama.NewBalanceStrategyRange(), e: e}))
	if err != nil {
		return nil, fmt.Errorf("build consumer group %s: %w", name, err)
	}
	return group{ConsumerGroup: inner, e: e}, nil
}

func (e *engine) consumer(brokers []string, id string) (sarama.Consumer, error) {
	return sarama.NewConsumer(brokers, e.cfg.client(id))
}

func (e *engine) topicManager() *topicManager {
	m := &topicManager{client: e.client, ctx: e.ctx, timeout: e.cfg.RecoveryTimeout, tick: e.opts.Tick}
	for _, input := range e.graph.InputStreams() {
		if input.Topic() != e.opts.Tick {
			m.like = input.Topic()
		}
	}
	return m
}

func (e *engine) store(topic string, partition int32) (storage.Storage, error) {
	id, err := topicID(e.client, topic)
	if err != nil {
		return nil, err
	}
	dir := tableDir(e.cfg.DataDir, "tables", topic, id, strconv.Itoa(int(partition)))
	return e.tables.open(topicPartition{topic, partition}, dir, e.opts.Store)
}

// openProducer makes sure that there is a producer.
func (e *engine) openProducer() error {
	if e.producer != nil {
		return nil
	}
	var err error
	e.producer, err = newProducer(e.cfg, string(e.graph.Group()), transactionalID(e.graph, e.cfg.Instance))
	return err
}

// renewProducer closes the producer and builds one with a new epoch.
func (e *engine) renewProducer() error {
	if err := e.closeProducer(); err != nil {
		return fmt.Errorf("close the producer: %w", err)
	}
	return e.openProducer()
}

func (e *engine) closeProducer() error {
	if e.producer == nil {
		return nil
	}
	err := e.producer.close()
	e.producer = nil
	return err
}

// abort drops the overlays and the open transaction, and the producer with it:
// after an error only a new epoch helps, and a copy of a failed request that
// arrives late would end the next transaction (KIP-890). The InitProducerId of
// the next producer ends what is left.
func (e *engine) abort() {
	_ = e.tables.each(func(_ topicPartition, s *state.Store) error { s.Rollback(); return nil })
	if e.producer == nil || !e.producer.open() {
		return
	}
	logger := e.cfg.Logger.With("group", string(e.graph.Group()))
	if err := e.producer.giveUp(logger); err != nil {
		logger.Warn("producer did not close cleanly", "error", err)
	}
	e.producer = nil
}

func (e *engine) setSession(s *session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.session = s
}

func (e *engine) currentSession() *session {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.session
}

func (e *engine) failSession(err error) {
	if s := e.currentSession(); s != nil {
		s.fail(err)
	}
}

func (e *engine) close() error {
	return errors.Join(e.closeProducer(), e.client.Close())
}
