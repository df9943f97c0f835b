package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"trunkline/drift"
	"trunkline/stream"
	"trunkline/topology"
)

// Writing what was counted: how often, and how long the last time may take.
const (
	driftInterval = time.Minute
	driftEnd      = 5 * time.Second
)

// driftLog writes what a process counted to its topic.
type driftLog struct {
	counts *drift.Table
	append func(context.Context, []stream.Outgoing) error
	logger *slog.Logger
}

// during writes while work runs, and once more after it.
func (l driftLog) during(ctx context.Context, work func() error) error {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var writing sync.WaitGroup
	writing.Go(func() {
		tick := time.NewTicker(driftInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				l.write(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
	err := work()
	stop()
	writing.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), driftEnd)
	defer cancel()
	l.write(last)
	return err
}

// write is no part of any transaction: figures of a process that is killed are lost
// since the last time, and what goes wrong stops nothing.
func (l driftLog) write(ctx context.Context) {
	err := l.counts.Flush(func(rows map[string][]byte) error {
		records := make([]stream.Outgoing, 0, len(rows))
		for key, row := range rows {
			records = append(records, stream.Outgoing{Topic: string(topology.DriftTopic), Key: key, Value: row})
		}
		return l.append(ctx, records)
	})
	if err != nil && !errors.Is(err, context.Canceled) { // the end writes once more
		l.logger.Warn("figures of unknown fields are not written yet", "error", err)
	}
}

// DriftQuery says which unknown fields are meant; what is zero admits all.
type DriftQuery struct {
	Vendor string
	Type   string    // event type
	Field  string    // as in the metadata of canonical events
	Since  time.Time // of the last sight
	Days   int       // of consistent use that make a field eligible; [drift.Days]
}

// Validate names what no field can fulfil.
func (q DriftQuery) Validate() error {
	if q.Vendor != "" && !slices.Contains(topology.Vendors, q.Vendor) {
		return fmt.Errorf("vendor: %q is none of %s", q.Vendor, topology.Vendors)
	}
	if q.Days < 1 {
		return errors.New("days: want at least 1")
	}
	return nil
}

func (q DriftQuery) admits(f drift.Field) bool {
	return (q.Vendor == "" || q.Vendor == f.Vendor) && (q.Type == "" || q.Type == f.EventType) &&
		(q.Field == "" || q.Field == f.Field) && !f.LastSeen.Before(q.Since)
}

// Drift returns the fields that vendors send and no mapper knows, by vendor, event
// type and name.
func Drift(ctx context.Context, c Config, q DriftQuery) ([]drift.Field, error) {
	c = c.withDefaults()
	var fold drift.Fold
	err := stream.Read(ctx, streamConfig(c, Options{}), stream.Range{Topics: []string{string(topology.DriftTopic)}}, func(r stream.Record) error {
		return fold.Add(r.Key, r.Value)
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", topology.DriftTopic, err)
	}
	return slices.DeleteFunc(fold.Fields(q.Days), func(f drift.Field) bool { return !q.admits(f) }), nil
}
