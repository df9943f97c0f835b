package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"trunkline/event"
)

// Record is one event on its way to a raw topic.
type Record struct {
	Topic   string
	Key     string // `entity key#event_id`; the part before the first # decides the partition
	Value   []byte // the vendor's bytes, unchanged
	Headers []event.Header
}

// NewID returns an id for records that arrive together, unlike any other: a UUIDv7.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

// RawLog is where an edge makes events durable.
type RawLog interface {
	// Append writes all records or reports an error. Nil means that every one
	// of them is acknowledged with acks=all, or on disk (I1). After an error any part of
	// them may have been written: the vendor sends them again and dedup removes
	// what doubled. Append returns soon after ctx is done, keeps no reference to
	// records, names no payload in its errors (I10), and is called
	// concurrently.
	Append(ctx context.Context, records []Record) error
}

// errOverloaded is returned while as many appends as allowed are under way.
var errOverloaded = errors.New("too many appends under way")

// appender bounds the time and the number of appends: an answer is due in time
// whatever the log does.
type appender struct {
	logger  *slog.Logger
	slots   chan struct{}
	running sync.WaitGroup
	failing atomic.Bool
}

// append returns nil only after the log acknowledged every record (I1), and
// returns when ctx is done even if the log does not.
func (a *appender) append(ctx context.Context, log RawLog, records []Record) error {
	err := a.bounded(ctx, func() error { return log.Append(ctx, records) })
	if errors.Is(err, errOverloaded) {
		return err
	}
	if err != nil {
		err = fmt.Errorf("append raw records: %w", err)
	}
	a.tell(err)
	return err
}

// bounded returns what write returns, or an error when ctx is done before.
func (a *appender) bounded(ctx context.Context, write func() error) error {
	select {
	case a.slots <- struct{}{}:
	default:
		return errOverloaded
	}
	acknowledged := make(chan error, 1)
	a.running.Go(func() {
		defer func() { <-a.slots }()
		acknowledged <- recovered(write)
	})
	select {
	case err := <-acknowledged:
		return err
	case <-ctx.Done():
		return fmt.Errorf("not acknowledged: %w", ctx.Err())
	}
}

// recovered keeps a panic of the log from ending the process: it happens in a
// goroutine of its own, out of reach of the handler's recover.
func recovered(write func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New(describePanic(p))
		}
	}()
	return write()
}

// tell logs one line when the log stops acknowledging and one when it is back,
// not one for each request between.
func (a *appender) tell(err error) {
	switch {
	case err != nil && a.failing.CompareAndSwap(false, true):
		a.logger.Error("deliveries do not become durable: answering 503", "error", err)
	case err == nil && a.failing.CompareAndSwap(true, false):
		a.logger.Info("deliveries become durable again")
	}
}
