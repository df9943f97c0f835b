package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"golang.org/x/sync/errgroup"
)

// Record is a committed record as readers see it.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	Key       []byte
	Value     []byte // nil is a tombstone
	Headers   map[string][]byte
	Time      time.Time // append time
}

// Range says which records a reader wants.
type Range struct {
	Topics []string
	// From is the first offset per topic and partition; a partition it does not
	// name starts at Start.
	From  map[string]map[int32]int64
	Start Start
	// Follow goes on with new records until the context ends; otherwise reading
	// stops at the end that each partition has when it begins.
	Follow bool
}

// Start is where a partition begins to be read.
type Start int

// The starts of a range.
const (
	Earliest Start = iota
	Latest
)

// Read calls fn for every committed record of the range, one at a time, in
// offset order within a partition. An error of fn ends it.
func Read(ctx context.Context, cfg Config, r Range, fn func(Record) error) error {
	cfg = cfg.withDefaults()
	client, err := sarama.NewClient(cfg.Brokers, cfg.client("trunkline-reader"))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return errors.Join(fmt.Errorf("connect: %w", err), client.Close())
	}
	defer func() { _, _ = consumer.Close(), client.Close() }()

	records := make(chan Record, 256)
	readers, readCtx := errgroup.WithContext(ctx)
	for _, topic := range r.Topics {
		partitions, err := client.Partitions(topic)
		if err != nil {
			return fmt.Errorf("read the partitions of %s: %w", topic, err)
		}
		for _, partition := range partitions {
			readers.Go(func() error {
				tp := topicPartition{topic, partition}
				if err := readPartition(readCtx, cfg, client, consumer, r, tp, records); err != nil {
					return fmt.Errorf("read %s: %w", tp, err)
				}
				return nil
			})
		}
	}
	var handled errgroup.Group
	handled.Go(func() error {
		var failed error
		for record := range records {
			if failed == nil {
				failed = fn(record)
			}
		}
		return failed
	})
	readErr := readers.Wait()
	close(records)
	if err := handled.Wait(); err != nil {
		return err
	}
	if ctx.Err() != nil && r.Follow {
		return nil
	}
	return readErr
}

// Offsets returns, for each partition of the topics, the offset of the first record
// that was appended at the given time or later, else the end. The zero time is the
// end, too.
func Offsets(ctx context.Context, cfg Config, topics []string, at time.Time) (map[string]map[int32]int64, error) {
	cfg = cfg.withDefaults()
	client, err := sarama.NewClient(cfg.Brokers, cfg.client("trunkline-reader"))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer client.Close() //nolint:errcheck // it only reads
	offsets := map[string]map[int32]int64{}
	for _, topic := range topics {
		partitions, err := client.Partitions(topic)
		if err != nil {
			return nil, fmt.Errorf("read the partitions of %s: %w", topic, err)
		}
		offsets[topic] = map[int32]int64{}
		for _, partition := range partitions {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if offsets[topic][partition], err = offsetAt(client, topic, partition, at); err != nil {
				return nil, fmt.Errorf("find %s in %s: %w", at.Format(time.RFC3339), topicPartition{topic, partition}, err)
			}
		}
	}
	return offsets, nil
}

func offsetAt(client sarama.Client, topic string, partition int32, at time.Time) (int64, error) {
	if !at.IsZero() {
		if offset, err := client.GetOffset(topic, partition, at.UnixMilli()); err != nil || offset >= 0 {
			return offset, err
		}
	}
	return client.GetOffset(topic, partition, sarama.OffsetNewest)
}

func readPartition(ctx context.Context, cfg Config, client sarama.Client, consumer sarama.Consumer, r Range, tp topicPartition, out chan<- Record) error {
	start := sarama.OffsetOldest
	if r.Start == Latest {
		start = sarama.OffsetNewest
	}
	if from, ok := r.From[tp.topic][tp.partition]; ok {
		start = from
	}
	until := int64(-1)
	if !r.Follow {
		settle, cancel := context.WithTimeout(ctx, cfg.RecoveryTimeout)
		e, err := settledEnd(settle, client, tp.topic, tp.partition)
		cancel()
		if err != nil {
			return err
		}
		first, err := client.GetOffset(tp.topic, tp.partition, sarama.OffsetOldest)
		if err != nil {
			return fmt.Errorf("read the log start: %w", err)
		}
		if until = e.next; until <= max(first, start) || r.Start == Latest {
			return nil
		}
	}
	records, err := consumer.ConsumePartition(tp.topic, tp.partition, start)
	if err != nil {
		return err
	}
	defer records.Close() //nolint:errcheck // it only reads
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-records.Errors():
			if err != nil {
				return err
			}
		case msg := <-records.Messages():
			if msg == nil {
				return errors.New("the consumer ended early")
			}
			select {
			case out <- toRecord(msg):
			case <-ctx.Done():
				return ctx.Err()
			}
			if until >= 0 && msg.Offset >= until-1 {
				return nil
			}
		}
	}
}

func toRecord(msg *sarama.ConsumerMessage) Record {
	headers := make(map[string][]byte, len(msg.Headers))
	for _, h := range msg.Headers {
		headers[string(h.Key)] = h.Value
	}
	return Record{
		Topic: msg.Topic, Partition: msg.Partition, Offset: msg.Offset,
		Key: msg.Key, Value: msg.Value, Headers: headers, Time: msg.Timestamp,
	}
}
