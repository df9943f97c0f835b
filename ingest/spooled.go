package ingest

import (
	"context"
	"errors"
	"fmt"

	"github.com/tinylib/msgp/msgp"

	"trunkline/event"
	"trunkline/ingest/spool"
)

// Ack says what makes a tenant's deliveries durable before they are answered. It
// is one of them and never both: they would overtake each other.
type Ack string

// The ways to acknowledge.
const (
	AckSpool Ack = "spool" // on the disk of the edge, then in Kafka; the default
	AckKafka Ack = "kafka" // in Kafka
)

// Spool keeps entries on disk; a [spool.Spool] does.
type Spool interface {
	// Append returns nil when the entry survives the process and a power cut (I1).
	Append(queue string, entry []byte) error
	// Fill is the used part of what a queue may hold, from 0 to 1.
	Fill(queue string) float64
}

// spooled is the raw log of a tenant whose events go over the spool: one delivery
// is one entry of the tenant's queue.
type spooled struct {
	spool Spool
	queue string
}

// Append implements [RawLog]. The disk is waited for by the caller's bound, not by
// ctx.
func (s spooled) Append(_ context.Context, records []Record) error {
	return s.spool.Append(s.queue, encodeEntry(records))
}

// isFull tells a queue that holds all it may from a disk that fails.
func isFull(err error) bool { return errors.Is(err, spool.ErrFull) }

// DrainTo returns what a spool hands its entries to: their records go to the log in
// their order.
func DrainTo(log RawLog) func(ctx context.Context, queue string, entries [][]byte) error {
	return func(ctx context.Context, _ string, entries [][]byte) error {
		var records []Record
		for _, b := range entries {
			decoded, err := decodeEntry(b)
			if err != nil {
				return err
			}
			records = append(records, decoded...)
		}
		return log.Append(ctx, records)
	}
}

// An entry is the msgpack array of its records, each an array of topic, key, value
// and the headers' names and values in turn.
const recordFields = 4

func encodeEntry(records []Record) []byte {
	var b []byte
	b = msgp.AppendArrayHeader(b, uint32(len(records)))
	for _, r := range records {
		b = msgp.AppendArrayHeader(b, recordFields)
		b = msgp.AppendString(b, r.Topic)
		b = msgp.AppendString(b, r.Key)
		b = msgp.AppendBytes(b, r.Value)
		b = msgp.AppendArrayHeader(b, uint32(2*len(r.Headers)))
		for _, h := range r.Headers {
			b = msgp.AppendString(b, h.Key)
			b = msgp.AppendBytes(b, h.Value)
		}
	}
	return b
}

func decodeEntry(b []byte) ([]Record, error) {
	r := entryReader{b: b}
	records := make([]Record, r.array())
	for i := range records {
		if n := r.array(); n != recordFields && r.err == nil {
			r.err = fmt.Errorf("record has %d fields, want %d: a newer version wrote it", n, recordFields)
		}
		records[i] = Record{Topic: r.string(), Key: r.string(), Value: r.bytes()}
		headers := make([]event.Header, r.array()/2)
		for j := range headers {
			headers[j] = event.Header{Key: r.string(), Value: r.bytes()}
		}
		records[i].Headers = headers
	}
	if r.err != nil {
		return nil, fmt.Errorf("decode spooled delivery: %w", r.err)
	}
	return records, nil
}

// entryReader reads msgpack until the first error.
type entryReader struct {
	b   []byte
	err error
}

func (r *entryReader) array() uint32 {
	n, rest, err := msgp.ReadArrayHeaderBytes(r.b)
	if !r.take(rest, err) || uint64(n) > uint64(len(rest)) { // each element takes a byte at least
		return 0
	}
	return n
}

func (r *entryReader) string() string {
	s, rest, err := msgp.ReadStringBytes(r.b)
	r.take(rest, err)
	return s
}

func (r *entryReader) bytes() []byte {
	b, rest, err := msgp.ReadBytesZC(r.b)
	r.take(rest, err)
	return b
}

func (r *entryReader) take(rest []byte, err error) bool {
	if r.err == nil && err != nil {
		r.err = err
	}
	if r.err != nil {
		return false
	}
	r.b = rest
	return true
}
