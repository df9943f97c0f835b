package sse

import (
	"context"
	"errors"
	"io"
	"time"
)

// errSilent is the cause with which the watchdog ends a connection.
var errSilent = errors.New("read stream: no byte for too long")

// batch holds the events of a stretch of the stream and the position behind it.
type batch struct {
	events   []Event
	position string
	size     int // bytes
}

// eventSize is what an event takes besides its texts.
const eventSize = 80

func newBatch(events []Event, position string) batch {
	b := batch{events: events, position: position}
	for _, e := range events {
		b.size += len(e.ID) + len(e.Type) + len(e.Data) + eventSize
	}
	return b
}

func (b batch) join(next batch) batch {
	return batch{events: append(b.events, next.events...), position: next.position, size: b.size + next.size}
}

// reader reads a connection ahead of its handling, by two batches at most.
type reader struct {
	body     io.Reader
	decoder  *Decoder
	watchdog *time.Timer // runs only while a byte is waited for
	patience time.Duration
	maxBatch int
	batches  chan batch // one waits; closed at the end
	err      error      // why it ended, once batches is closed
}

// run reads until the stream ends or ctx is done.
func (r *reader) run(ctx context.Context) {
	defer close(r.batches)
	buffer := make([]byte, 32<<10)
	for r.err == nil {
		before := r.decoder.Position()
		r.watchdog.Reset(r.patience)
		n, err := r.body.Read(buffer)
		r.watchdog.Stop()
		r.err = err
		b := newBatch(r.decoder.Decode(nil, buffer[:n]), r.decoder.Position())
		if len(b.events) > 0 || b.position != before {
			r.offer(ctx, b)
		}
	}
}

// offer joins b to the batch that waits to be taken, or waits until that one is
// taken when the two would be too large.
func (r *reader) offer(ctx context.Context, b batch) {
	select {
	case waiting := <-r.batches:
		if waiting.size+b.size <= r.maxBatch {
			b = waiting.join(b)
			break
		}
		r.batches <- waiting // nobody else sends: there is room
	default:
	}
	select {
	case r.batches <- b:
	case <-ctx.Done():
	}
}
