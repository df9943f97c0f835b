package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"trunkline/codecs"
	"trunkline/event"
	"trunkline/ingest"
	"trunkline/stream"
	"trunkline/topology"
)

// quarantine keeps deferred deliveries in a topic of their own, each under its
// id; a record without a value says that one is done with. Every edge reads it
// and releases what verifies. Two that do so at once write the same events, and
// dedup drops one of each.
type quarantine struct {
	appender interface {
		Append(ctx context.Context, records []stream.Outgoing) error
	}
	// read calls fn for every record from the given offsets to the end.
	read    func(ctx context.Context, from offsets, fn func(stream.Record) error) error
	release func(context.Context, ingest.Deferred) (ingest.Verdict, error)
	keep    time.Duration
	now     func() time.Time
	told    func(waiting int) // after every sweep, for metrics
	logger  *slog.Logger

	wake    chan struct{}
	next    offsets
	waiting map[string]waiting
	failing bool
}

// offsets are those of the partitions of the quarantine.
type offsets map[int32]int64

// waiting is a delivery in quarantine, without its bytes.
type waiting struct {
	partition int32
	offset    int64
	since     time.Time // its append
	tried     bool      // with the keys that are known now
}

func newQuarantine(cfg stream.Config, a *stream.Appender, keep time.Duration, logger *slog.Logger) *quarantine {
	topic := string(topology.QuarantineTopic)
	return &quarantine{
		appender: a, keep: keep, now: time.Now, told: func(int) {}, logger: logger,
		read: func(ctx context.Context, from offsets, fn func(stream.Record) error) error {
			return stream.Read(ctx, cfg, stream.Range{Topics: []string{topic}, From: map[string]map[int32]int64{topic: from}}, fn)
		},
		wake: make(chan struct{}, 1), next: offsets{}, waiting: map[string]waiting{},
	}
}

// Put implements [ingest.Quarantine].
func (q *quarantine) Put(ctx context.Context, d ingest.Deferred) error {
	value, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode deferred delivery: %w", err)
	}
	return q.write(ctx, d.ID, value)
}

func (q *quarantine) write(ctx context.Context, id string, value []byte) error {
	return q.appender.Append(ctx, []stream.Outgoing{{Topic: string(topology.QuarantineTopic), Key: id, Value: value}})
}

// keysChanged has everything tried again.
func (q *quarantine) keysChanged() {
	select {
	case q.wake <- struct{}{}:
	default: // it will be
	}
}

// sweepInterval is how long a delivery that was only late waits to be released.
const sweepInterval = time.Minute

// run releases deliveries until ctx ends: new ones within a minute, the others
// when keys have changed.
func (q *quarantine) run(ctx context.Context) {
	ticks := time.NewTicker(sweepInterval)
	defer ticks.Stop()
	for {
		err := q.sweep(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !q.failing:
			q.logger.Error("quarantine cannot be swept", "error", err)
		case err == nil && q.failing:
			q.logger.Info("quarantine is swept again")
		}
		q.failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		case <-q.wake:
			for id, w := range q.waiting {
				w.tried = false
				q.waiting[id] = w
			}
		}
	}
}

// sweep takes note of what is new, tries what was not tried with the keys that are
// known, and gives up what waited too long.
func (q *quarantine) sweep(ctx context.Context) error {
	err := q.read(ctx, q.next, func(r stream.Record) error {
		q.next[r.Partition] = r.Offset + 1
		if id := string(r.Key); r.Value == nil {
			delete(q.waiting, id)
		} else {
			q.waiting[id] = waiting{partition: r.Partition, offset: r.Offset, since: r.Time}
		}
		return nil
	})
	if err != nil {
		// What was noted may be gone from the log: start over.
		clear(q.next)
		clear(q.waiting)
		return fmt.Errorf("read the quarantine: %w", err)
	}
	given := 0
	defer func() {
		q.told(len(q.waiting))
		if given > 0 {
			q.logger.Warn("deferred deliveries never verified and are dead letters", "count", given)
		}
	}()
	from := q.due()
	if from == nil {
		return nil
	}
	err = q.read(ctx, from, func(r stream.Record) error {
		gaveUp, err := q.try(ctx, r)
		if gaveUp {
			given++
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("release from the quarantine: %w", err)
	}
	return nil
}

// due returns where to read from, for each partition: the first delivery to try or
// to give up, or the end. Nil: there is none.
func (q *quarantine) due() offsets {
	from, some := maps.Clone(q.next), false
	for _, w := range q.waiting {
		if !w.tried || q.over(w) {
			from[w.partition], some = min(from[w.partition], w.offset), true
		}
	}
	if !some {
		return nil
	}
	return from
}

func (q *quarantine) over(w waiting) bool { return q.now().Sub(w.since) > q.keep }

// try releases the delivery of a record, if it waits for that, or gives it up.
func (q *quarantine) try(ctx context.Context, r stream.Record) (gaveUp bool, err error) {
	id := string(r.Key)
	w, ok := q.waiting[id]
	if !ok || w.tried && !q.over(w) || w.partition != r.Partition || w.offset != r.Offset {
		return false, nil
	}
	verdict := ingest.Expired
	var d ingest.Deferred
	switch {
	case json.Unmarshal(r.Value, &d) != nil:
		d = ingest.Deferred{ID: id, Body: r.Value} // it never verifies
	case !w.tried:
		if verdict, err = q.release(ctx, d); err != nil {
			return false, err
		}
	}
	switch verdict {
	case ingest.Released:
		return false, q.done(ctx, id)
	case ingest.Expired:
		if err := q.appender.Append(ctx, []stream.Outgoing{letterOf(d)}); err != nil {
			return false, fmt.Errorf("give up delivery %s: %w", id, err)
		}
		return true, q.done(ctx, id)
	default:
		w.tried = true
		q.waiting[id] = w
		return false, nil
	}
}

// letterOf is the dead letter of a delivery that never verified (I6). It never was
// in a raw topic, so it stands outside the ledger.
func letterOf(d ingest.Deferred) stream.Outgoing {
	letter := codecs.DeadLetter{
		Reason: event.Unverified, Stage: codecs.QuarantineStage, Detail: d.Reason,
		Key: d.ID, IngestID: d.ID, Attempt: 1, FirstSeenMs: d.Received.UnixMilli(),
	}
	raw := event.Raw{
		Vendor: d.Vendor, Tenant: d.Tenant, Transport: event.Push, ReceivedMs: d.Received.UnixMilli(),
		ContentType: d.Header.Get("Content-Type"), TopicHint: d.Topic,
	}
	body := d.Body
	if body == nil {
		body = []byte{} // no value would be a tombstone
	}
	return outgoing([]ingest.Record{{
		Topic: string(topology.DeadLettersTopic), Key: d.ID, Value: body, Headers: append(raw.Headers(), letter.Headers()...),
	}})[0]
}

func (q *quarantine) done(ctx context.Context, id string) error {
	if err := q.write(ctx, id, nil); err != nil {
		return fmt.Errorf("remove from the quarantine: %w", err)
	}
	delete(q.waiting, id)
	return nil
}
