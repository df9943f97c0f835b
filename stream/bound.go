package stream

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// end describes the end of a partition for readers of committed records.
type end struct {
	// next is the offset after the last committed record: where a reader that
	// has seen everything stands. It is the log start when there is none.
	next int64
	// appendMs is the append time of that record, epoch ms; 0 when there is none.
	appendMs int64
	// open is true while transactions are undecided: more may become visible.
	open bool
}

// errOpenTransactions is why a table cannot be recovered yet.
var errOpenTransactions = errors.New("undecided transactions")

// settledEnd waits until no transaction is open in front of the present high
// water mark and returns the end. It is the recovery bound: goka waits for the
// record before the high water mark, but with transactions that is a marker no
// reader ever gets.
func settledEnd(ctx context.Context, client sarama.Client, topic string, partition int32) (end, error) {
	for {
		e, err := findEnd(client, topic, partition)
		if err == nil && !e.open {
			return e, nil
		}
		if err == nil {
			err = errOpenTransactions
		}
		select {
		case <-ctx.Done():
			return end{}, fmt.Errorf("find the end of %s/%d: %w (%w)", topic, partition, err, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// findEnd looks at the end of a partition as it is now: from the high water
// mark it steps back in growing strides until it meets a record that is neither
// a marker nor aborted.
func findEnd(client sarama.Client, topic string, partition int32) (end, error) {
	hwm, err := client.GetOffset(topic, partition, sarama.OffsetNewest)
	if err != nil {
		return end{}, fmt.Errorf("read the high water mark: %w", err)
	}
	oldest, err := client.GetOffset(topic, partition, sarama.OffsetOldest)
	if err != nil {
		return end{}, fmt.Errorf("read the log start: %w", err)
	}
	for stride := int64(16); ; stride *= 4 {
		from := max(oldest, hwm-stride)
		e, err := lastRecord(client, topic, partition, from, hwm)
		if err != nil {
			return end{}, err
		}
		if e.open || e.next > from || from == oldest {
			e.next = max(e.next, oldest)
			return e, nil
		}
	}
}

// lastRecord scans [from, hwm) for its last committed record; next is from when
// there is none.
func lastRecord(client sarama.Client, topic string, partition int32, from, hwm int64) (end, error) {
	e := end{next: from}
	aborted := abortTracker{}
	for at := from; at < hwm; {
		block, err := fetch(client, topic, partition, at, 2*MaxMessageBytes)
		if err != nil {
			return end{}, err
		}
		if block.LastStableOffset < hwm {
			return end{open: true, next: from}, nil
		}
		aborted.add(block.AbortedTransactions)
		progress := at
		for _, set := range block.RecordsSet {
			batch := set.RecordBatch
			if batch == nil || batch.PartialTrailingRecord {
				continue
			}
			last := batch.FirstOffset + int64(batch.LastOffsetDelta)
			progress = max(progress, last+1)
			if !aborted.visible(batch) || len(batch.Records) == 0 {
				continue
			}
			// The last record that compaction left, not the batch's nominal end:
			// a reader never sees the latter.
			record := batch.Records[len(batch.Records)-1]
			if next := batch.FirstOffset + record.OffsetDelta + 1; next > e.next && next > from {
				e.next, e.appendMs = next, appendTime(batch, record).UnixMilli()
			}
		}
		if progress == at {
			return end{}, fmt.Errorf("fetch %s/%d at %d: no records before the high water mark %d", topic, partition, at, hwm)
		}
		at = progress
	}
	return e, nil
}

func appendTime(batch *sarama.RecordBatch, r *sarama.Record) time.Time {
	if batch.LogAppendTime {
		return batch.MaxTimestamp
	}
	return batch.FirstTimestamp.Add(r.TimestampDelta)
}

// fetch reads batches of a partition, markers included: up to maxBytes of them, one
// at least.
func fetch(client sarama.Client, topic string, partition int32, at int64, maxBytes int32) (*sarama.FetchResponseBlock, error) {
	leader, err := client.Leader(topic, partition)
	if err != nil {
		return nil, fmt.Errorf("find the leader of %s/%d: %w", topic, partition, err)
	}
	request := &sarama.FetchRequest{
		Version: 11, MinBytes: 1, MaxWaitTime: 100, MaxBytes: 2 * MaxMessageBytes,
		Isolation: sarama.ReadCommitted, SessionEpoch: -1,
	}
	request.AddBlock(topic, partition, at, maxBytes, -1)
	response, err := leader.Fetch(request)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("fetch %s/%d at %d: %w", topic, partition, at, err), client.RefreshMetadata(topic))
	}
	block := response.GetBlock(topic, partition)
	switch {
	case block == nil:
		return nil, fmt.Errorf("fetch %s/%d at %d: the answer lacks the partition", topic, partition, at)
	case block.Err != sarama.ErrNoError:
		return nil, errors.Join(fmt.Errorf("fetch %s/%d at %d: %w", topic, partition, at, block.Err), client.RefreshMetadata(topic))
	}
	return block, nil
}

// abortTracker tells committed batches from aborted ones, as a read_committed
// consumer does: a producer's batches are aborted from the first offset of its
// aborted transaction up to the abort marker.
type abortTracker struct {
	coming []sarama.AbortedTransaction
	active map[int64]bool
}

func (t *abortTracker) add(txns []*sarama.AbortedTransaction) {
	for _, txn := range txns {
		if !slices.Contains(t.coming, *txn) {
			t.coming = append(t.coming, *txn)
		}
	}
	slices.SortFunc(t.coming, func(a, b sarama.AbortedTransaction) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	if t.active == nil {
		t.active = map[int64]bool{}
	}
}

// visible takes the next batch of the log and reports whether readers see it.
func (t *abortTracker) visible(batch *sarama.RecordBatch) bool {
	last := batch.FirstOffset + int64(batch.LastOffsetDelta)
	for len(t.coming) > 0 && t.coming[0].FirstOffset <= last {
		t.active[t.coming[0].ProducerID] = true
		t.coming = t.coming[1:]
	}
	if batch.Control {
		if isAbortMarker(batch) {
			delete(t.active, batch.ProducerID)
		}
		return false
	}
	return !batch.IsTransactional || !t.active[batch.ProducerID]
}

// isAbortMarker reads the key of a control record: version, then type, 0 being
// abort.
func isAbortMarker(batch *sarama.RecordBatch) bool {
	return len(batch.Records) > 0 && len(batch.Records[0].Key) >= 4 && binary.BigEndian.Uint16(batch.Records[0].Key[2:]) == 0
}
