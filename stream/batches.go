package stream

import (
	"context"
	"errors"
	"fmt"
)

// Batches writes records, each batch in one transaction, under a transactional id:
// of two processes that use one id only the later can write. It is used by one
// goroutine at a time.
type Batches struct {
	cfg       Config
	id        string
	partition func(key string, partitions int32) int32
	producer  *producer // nil: it failed
}

// NewBatches connects to Kafka. From then on nothing that an earlier process left
// open under the id can become visible: what is read now is what it wrote.
// partition is the partition rule.
func NewBatches(cfg Config, id string, partition func(key string, partitions int32) int32) (*Batches, error) {
	b := &Batches{cfg: cfg.withDefaults(), id: id, partition: partition}
	if err := b.open(); err != nil {
		return nil, err
	}
	return b, nil
}

// errBatches is returned after a batch failed.
var errBatches = errors.New("an earlier batch failed: begin anew with what is committed")

// Append writes the records in one transaction (I2) and returns nil once it is
// committed. After an error it may be committed or not: whoever goes on begins with a
// new Batches and where the brokers say.
func (b *Batches) Append(ctx context.Context, records []Outgoing) error {
	if b.producer == nil {
		return errBatches
	}
	resent, err := b.write(ctx, records)
	if err != nil || resent {
		// Only a new epoch helps, also against a copy of the commit that is still
		// on its way (KIP-890).
		err = errors.Join(err, b.Close())
		if err == nil {
			err = b.open()
		}
	}
	return err
}

func (b *Batches) write(ctx context.Context, records []Outgoing) (resent bool, err error) {
	if err := b.producer.begin(); err != nil {
		return false, err
	}
	for _, r := range records {
		partitions, err := b.producer.client.Partitions(r.Topic)
		if err != nil {
			return false, fmt.Errorf("read the partitions of %s: %w", r.Topic, err)
		}
		b.producer.send(r.message(b.partition(r.Key, int32(len(partitions)))))
	}
	if err := b.producer.flush(ctx); err != nil {
		return false, err
	}
	return b.producer.commit(nil, nil)
}

func (b *Batches) open() (err error) {
	b.producer, err = newProducer(b.cfg, b.id, b.id)
	return err
}

// Close drops what is not committed.
func (b *Batches) Close() error {
	if b.producer == nil {
		return nil
	}
	p := b.producer
	b.producer = nil
	return p.giveUp(b.cfg.Logger.With("transactional_id", b.id))
}
