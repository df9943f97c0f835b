package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
)

// Reserved headers by which a stage says where a record goes; they are stripped
// before it is sent. With them one declared goka output stands for a family of
// topics, and message key and partition key can differ.
const (
	ToTopic     = "__topic"         // the topic to write to
	ToPartition = "__partition"     // the partition, decimal
	WithKey     = "__key"           // the message key's bytes
	PartitionBy = "__partition_key" // hashed for the partition; the message key otherwise
)

// topicPartition names one log.
type topicPartition struct {
	topic     string
	partition int32
}

func (tp topicPartition) String() string { return tp.topic + "/" + strconv.Itoa(int(tp.partition)) }

// producer is the transactional producer of one group and instance. Its id is
// stable over restarts, so a new one fences its predecessor and aborts what
// that left open.
type producer struct {
	client  sarama.Client
	async   sarama.AsyncProducer
	drained sync.WaitGroup

	resends atomic.Int64 // requests of transactions that went out again
	givenUp atomic.Bool  // whoever closes the producer does not wait for retries

	mu        sync.Mutex
	settled   sync.Cond
	begun     bool
	sent      int64
	confirmed int64
	failed    error
	written   map[topicPartition]int64 // offset of the last confirmed record
}

func newProducer(cfg Config, group, id string) (*producer, error) {
	p := &producer{written: map[topicPartition]int64{}}
	p.settled.L = &p.mu
	settings := cfg.transactional(id, id, p.retry, p.resend)
	settings.Metadata.Retry.BackoffFunc = p.refresh
	var err error
	if p.client, err = sarama.NewClient(cfg.Brokers, settings); err != nil {
		return nil, fmt.Errorf("connect the producer: %w", err)
	}
	// On brokers that no group has used yet sarama would wait half a minute for the
	// topic of the offsets, which is made when somebody asks for a coordinator.
	if err = p.client.RefreshCoordinator(group); err != nil {
		return nil, errors.Join(fmt.Errorf("find the coordinator of group %s: %w", group, err), p.client.Close())
	}
	if p.async, err = sarama.NewAsyncProducerFromClient(p.client); err != nil {
		return nil, errors.Join(fmt.Errorf("initialise transactional id %s: %w", id, err), p.client.Close())
	}
	p.drained.Go(p.confirm)
	p.drained.Go(p.fail)
	return p, nil
}

// retry is the back-off before records are sent again; flush looks whether that can
// still help.
func (p *producer) retry(retries, limit int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settled.Broadcast()
	return backoff(retries, limit)
}

// resend is the back-off before a request of the transaction is sent again.
func (p *producer) resend(retries, limit int) time.Duration {
	p.resends.Add(1)
	if p.givenUp.Load() {
		return 0
	}
	return backoff(retries, limit)
}

// refresh is the back-off before brokers are asked again who leads a partition.
// sarama goes on asking through a client that is closed, and a session that ends
// waits for it.
func (p *producer) refresh(int, int) time.Duration {
	if p.givenUp.Load() {
		return 0
	}
	return metadataPause
}

func (p *producer) confirm() {
	for msg := range p.async.Successes() {
		p.mu.Lock()
		p.confirmed++
		tp := topicPartition{msg.Topic, msg.Partition}
		p.written[tp] = max(p.written[tp], msg.Offset)
		p.settled.Broadcast()
		p.mu.Unlock()
	}
}

func (p *producer) fail() {
	for err := range p.async.Errors() {
		p.mu.Lock()
		p.confirmed++
		p.failed = cmp.Or(p.failed, fmt.Errorf("produce to %s/%d: %w", err.Msg.Topic, err.Msg.Partition, err.Err))
		p.settled.Broadcast()
		p.mu.Unlock()
	}
}

// send enqueues a record; the transaction, not an ack, tells whether it counts.
func (p *producer) send(msg *sarama.ProducerMessage) {
	p.mu.Lock()
	p.sent++
	p.mu.Unlock()
	p.async.Input() <- msg
}

// sentAny reports whether the open transaction has records.
func (p *producer) sentAny() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent > 0
}

// errDoomed is why records are not waited for: the coordinator refused the
// transaction, and sarama goes on to send its records without end.
var errDoomed = errors.New("the coordinator refused the transaction")

// flush waits until the broker has answered for every record and returns the
// first failure: a transaction with a hole must not commit.
func (p *producer) flush(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.settled.Broadcast()
	})
	defer stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.confirmed < p.sent {
		if ctx.Err() != nil {
			return fmt.Errorf("wait for %d of %d records: %w", p.sent-p.confirmed, p.sent, ctx.Err())
		}
		if p.async.TxnStatus()&sarama.ProducerTxnFlagInError != 0 {
			return errDoomed
		}
		p.settled.Wait()
	}
	return p.failed
}

// unsettled reports whether records wait for the broker's answer.
func (p *producer) unsettled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.confirmed < p.sent
}

// begin opens a transaction unless one is open; the brokers hear of it with its
// first record.
func (p *producer) begin() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.begun {
		return nil
	}
	p.sent, p.confirmed, p.failed = 0, 0, nil
	clear(p.written)
	if err := p.async.BeginTxn(); err != nil {
		return fmt.Errorf("begin the transaction: %w", err)
	}
	p.begun = true
	return nil
}

// open reports whether a transaction is open.
func (p *producer) open() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.begun
}

// ended notes that the transaction is over, either way.
func (p *producer) ended() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun = false
}

// commit ends the flushed transaction together with the input offsets and the group
// metadata, which fences members of an older generation (KIP-447); without a group
// there are none. resent tells
// that a request went out twice: a copy that arrives late would end the *next*
// transaction (KIP-890), so the producer needs a new epoch before it.
func (p *producer) commit(offsets map[string][]*sarama.PartitionOffsetMetadata, group *sarama.ConsumerGroupMetadata) (resent bool, err error) {
	before := p.resends.Load()
	if group != nil {
		if err := p.async.AddOffsetsToTxnWithGroupMetadata(offsets, group); err != nil {
			return false, fmt.Errorf("add offsets to the transaction: %w", err)
		}
	}
	if err := p.async.CommitTxn(); err != nil {
		return false, fmt.Errorf("commit the transaction: %w", err)
	}
	p.ended()
	return p.resends.Load() != before, nil
}

// changelogOffset is the offset of the last record of the transaction in a
// table partition, -1 when there is none.
func (p *producer) changelogOffset(tp topicPartition) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if offset, ok := p.written[tp]; ok {
		return offset
	}
	return -1
}

// abort drops the transaction. After an error the producer is of no more use.
func (p *producer) abort() error {
	if err := p.async.AbortTxn(); err != nil {
		return fmt.Errorf("abort the transaction: %w", err)
	}
	p.ended()
	return nil
}

// close ends the producer. Records that still wait for an answer are given up:
// without connections nothing is resent, and what retries still do so runs dry at
// once, so that neither a dead broker nor a half begun transaction holds the
// process. (With the usual back-off it was 30 s per abort.)
func (p *producer) close() error {
	if p.unsettled() {
		p.givenUp.Store(true)
		err := p.client.Close()
		p.async.AsyncClose()
		p.drained.Wait()
		return err
	}
	p.async.AsyncClose()
	p.drained.Wait()
	return p.client.Close()
}

// giveUp drops the open transaction, if there is one, and the producer with it. What
// is still unanswered is left to the next producer, whose InitProducerId ends it: an
// abort would wait for answers that do not come.
func (p *producer) giveUp(logger *slog.Logger) error {
	if p.open() {
		err := errUnsettled
		if !p.unsettled() {
			err = p.abort()
		}
		if err != nil {
			logger.Warn("transaction not aborted, a new producer will do it", "error", err)
		}
	}
	return p.close()
}

// errUnsettled is why an abort is left to the next producer.
var errUnsettled = errors.New("records wait for the broker's answer")

// seam is the goka.Producer of a processor. It hands records to the producer of
// the moment and returns promises that are already kept.
type seam struct {
	e *engine
}

// Emit sends a record without headers.
func (s seam) Emit(topic, key string, value []byte) *goka.Promise {
	return s.EmitWithHeaders(topic, key, value, nil)
}

// EmitWithHeaders sends a record. A record that can go nowhere fails the session.
func (s seam) EmitWithHeaders(topic, key string, value []byte, headers goka.Headers) *goka.Promise {
	msg, err := s.message(topic, key, value, headers)
	if err != nil {
		s.e.failSession(fmt.Errorf("emit to %s: %w", topic, err))
	} else {
		s.e.producer.send(msg)
	}
	_, finish := goka.NewPromiseWithFinisher()
	return finish(nil, nil)
}

// Close leaves the producer to the engine: goka closes it before the last commit.
func (s seam) Close() error { return nil }

func (s seam) message(topic, key string, value []byte, headers goka.Headers) (*sarama.ProducerMessage, error) {
	msg := &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(key), Partition: -1}
	if value != nil {
		msg.Value = sarama.ByteEncoder(value)
	}
	partitionKey := key
	if b, ok := headers[ToTopic]; ok {
		msg.Topic = string(b)
	}
	if b, ok := headers[WithKey]; ok {
		msg.Key = sarama.ByteEncoder(b)
	}
	if b, ok := headers[PartitionBy]; ok {
		partitionKey = string(b)
	}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		switch name {
		case ToTopic, WithKey, PartitionBy, ToPartition:
		default:
			msg.Headers = append(msg.Headers, sarama.RecordHeader{Key: []byte(name), Value: headers[name]})
		}
	}
	if b, ok := headers[ToPartition]; ok {
		p, err := strconv.ParseInt(string(b), 10, 32)
		if err != nil {
			return nil, fmt.Errorf("read the partition header: %w", err)
		}
		msg.Partition = int32(p)
		return msg, nil
	}
	partitions, err := s.e.producer.client.Partitions(msg.Topic)
	if err != nil {
		return nil, fmt.Errorf("read the partitions of %s: %w", msg.Topic, err)
	}
	msg.Partition = s.e.opts.Partition(partitionKey, int32(len(partitions)))
	return msg, nil
}
