package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

// Appender writes records with acks=all for those who wait for the answer: the
// edges. It is idempotent, yet "failed" stays ambiguous under broker death;
// whoever sends again relies on dedup.
type Appender struct {
	partition func(key string, partitions int32) int32
	pending   atomic.Int64 // bytes that wait for their ack
	cancel    context.CancelFunc
	connected chan struct{} // closed once kafka is set
	kafka     connection
	close     sync.Once // of kafka
}

// connection is an appender's way to Kafka.
type connection struct {
	client  sarama.Client
	async   sarama.AsyncProducer
	drained *sync.WaitGroup
}

// pendingLimitBytes bounds what an appender holds while Kafka is away.
const pendingLimitBytes = 64 << 20

// ErrBacklog is returned when too much waits for Kafka's answer already; the
// caller should have the sender come back later.
var ErrBacklog = errors.New("too many bytes wait for Kafka's acknowledgement")

// Outgoing is a record to append. Its key decides the partition.
type Outgoing struct {
	Topic   string
	Key     string
	Value   []byte
	Headers []sarama.RecordHeader
}

// NewAppender returns an appender that connects to Kafka as soon as it is there.
// partition is the partition rule.
func NewAppender(cfg Config, partition func(key string, partitions int32) int32) *Appender {
	cfg = cfg.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	a := &Appender{partition: partition, cancel: cancel, connected: make(chan struct{})}
	go a.connect(ctx, cfg) // an attempt under way cannot be ended: nobody waits for it
	return a
}

// connect tries until it succeeds or the appender is closed.
func (a *Appender) connect(ctx context.Context, cfg Config) {
	for tries := 0; ctx.Err() == nil; tries++ {
		k, err := a.dial(cfg)
		if err == nil {
			a.kafka = k
			close(a.connected)
			if ctx.Err() != nil {
				_ = a.disconnect() // it was closed meanwhile; nothing was written
			}
			return
		}
		if tries == 0 {
			cfg.Logger.Error("Kafka cannot be reached: trying again", "error", err)
		}
		wait(ctx, sessionBackoff(tries))
	}
}

func (a *Appender) dial(cfg Config) (connection, error) {
	client, err := sarama.NewClient(cfg.Brokers, cfg.producer("edge-"+cfg.Instance))
	if err != nil {
		return connection{}, fmt.Errorf("connect the appender: %w", err)
	}
	async, err := sarama.NewAsyncProducerFromClient(client)
	if err != nil {
		return connection{}, errors.Join(fmt.Errorf("start the appender: %w", err), client.Close())
	}
	k := connection{client: client, async: async, drained: new(sync.WaitGroup)}
	k.drained.Go(func() {
		for msg := range async.Successes() {
			a.answer(msg, nil)
		}
	})
	k.drained.Go(func() {
		for err := range async.Errors() {
			a.answer(err.Msg, err.Err)
		}
	})
	return k, nil
}

// batch is one Append that waits for all of its records.
type batch struct {
	mu    sync.Mutex
	left  int
	err   error
	ready chan struct{}
}

func (a *Appender) answer(msg *sarama.ProducerMessage, err error) {
	b, ok := msg.Metadata.(*batch)
	if !ok {
		return // not ours: Append sets it
	}
	a.pending.Add(-int64(msg.Value.Length()))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = errors.Join(b.err, err)
	if b.left--; b.left == 0 {
		close(b.ready)
	}
}

// Append returns nil once every record is acknowledged by all in-sync replicas
// (I1). With any error some of them may still be written.
func (a *Appender) Append(ctx context.Context, records []Outgoing) error {
	if len(records) == 0 {
		return nil
	}
	if err := a.Ready(); err != nil {
		return err
	}
	select {
	case <-a.connected:
	case <-ctx.Done():
		return fmt.Errorf("connect to Kafka: %w", ctx.Err())
	}
	b := &batch{left: len(records), ready: make(chan struct{})}
	for i, r := range records {
		partitions, err := a.kafka.client.Partitions(r.Topic)
		if err != nil {
			return fmt.Errorf("read the partitions of %s: %w", r.Topic, err)
		}
		msg := &sarama.ProducerMessage{
			Topic: r.Topic, Key: sarama.StringEncoder(r.Key), Value: sarama.ByteEncoder(r.Value),
			Headers: r.Headers, Partition: a.partition(r.Key, int32(len(partitions))), Metadata: b,
		}
		a.pending.Add(int64(len(r.Value)))
		select {
		case a.kafka.async.Input() <- msg:
		case <-ctx.Done():
			a.pending.Add(-int64(len(r.Value)))
			return fmt.Errorf("append record %d of %d: %w", i+1, len(records), ctx.Err())
		}
	}
	select {
	case <-b.ready:
		if b.err != nil {
			return fmt.Errorf("append %d records: %w", len(records), b.err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for %d acknowledgements: %w", len(records), ctx.Err())
	}
}

// Ready returns [ErrBacklog] while too much waits for Kafka's answer.
func (a *Appender) Ready() error {
	if a.pending.Load() > pendingLimitBytes {
		return ErrBacklog
	}
	return nil
}

// closeTime is how long a closing appender waits for acknowledgements.
const closeTime = 5 * time.Second

// Close waits for what is under way, but not for a Kafka that is away: nobody
// was told that those records are safe.
func (a *Appender) Close() error {
	a.cancel()
	select {
	case <-a.connected:
		return a.disconnect()
	default:
		return nil
	}
}

func (a *Appender) disconnect() (err error) {
	a.close.Do(func() { err = a.kafka.close() })
	return err
}

func (k connection) close() error {
	k.async.AsyncClose()
	answered := make(chan struct{})
	go func() {
		k.drained.Wait()
		close(answered)
	}()
	select {
	case <-answered:
		return k.client.Close()
	case <-time.After(closeTime):
		err := k.client.Close() // without connections every record fails
		<-answered
		return err
	}
}
