package stream

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"
)

// Finder reads single records by their positions.
type Finder struct{ client sarama.Client }

// NewFinder connects to Kafka.
func NewFinder(cfg Config) (*Finder, error) {
	cfg = cfg.withDefaults()
	client, err := sarama.NewClient(cfg.Brokers, cfg.client("trunkline-finder"))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &Finder{client}, nil
}

// Close ends the connections.
func (f *Finder) Close() error { return f.client.Close() }

// At returns the committed record at a position. ok is false where there is none:
// retention took it, or it was never written.
func (f *Finder) At(topic string, partition int32, offset int64) (r Record, ok bool, err error) {
	oldest, err1 := f.client.GetOffset(topic, partition, sarama.OffsetOldest)
	newest, err2 := f.client.GetOffset(topic, partition, sarama.OffsetNewest)
	if err := errors.Join(err1, err2); err != nil {
		return Record{}, false, fmt.Errorf("read the ends of %s/%d: %w", topic, partition, err)
	}
	if offset < oldest || offset >= newest {
		return Record{}, false, nil
	}
	block, err := fetch(f.client, topic, partition, offset, 1)
	if err != nil {
		return Record{}, false, err
	}
	aborted := abortTracker{}
	aborted.add(block.AbortedTransactions)
	for _, set := range block.RecordsSet {
		batch := set.RecordBatch
		if batch == nil || batch.PartialTrailingRecord || !aborted.visible(batch) {
			continue
		}
		for _, record := range batch.Records {
			if batch.FirstOffset+record.OffsetDelta == offset {
				return batchRecord(topic, partition, batch, record), true, nil
			}
		}
	}
	return Record{}, false, nil
}

func batchRecord(topic string, partition int32, batch *sarama.RecordBatch, record *sarama.Record) Record {
	r := Record{
		Topic: topic, Partition: partition, Offset: batch.FirstOffset + record.OffsetDelta,
		Key: record.Key, Value: record.Value, Headers: make(map[string][]byte, len(record.Headers)), Time: appendTime(batch, record),
	}
	for _, h := range record.Headers {
		r.Headers[string(h.Key)] = h.Value
	}
	return r
}
