package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/IBM/sarama"

	"trunkline/ingest"
	"trunkline/ingest/redacted"
	"trunkline/ingest/spool"
	"trunkline/stream"
	"trunkline/topology"
)

// edge receives the vendors' deliveries over HTTP.
var edge = component{"edge", func(a *App) (func(context.Context) error, error) {
	appender := stream.NewAppender(streamConfig(a.cfg, a.opts), topology.Partition)
	disk, err := a.openSpool(rawLog{appender})
	if err != nil {
		return nil, errors.Join(err, appender.Close())
	}
	held := newQuarantine(streamConfig(a.cfg, a.opts), appender, a.cfg.Edge.Quarantine.Keep, a.opts.Logger)
	held.told = func(waiting int) { a.metrics.quarantined.Set(float64(waiting)) }
	opts := ingest.Options{
		Log: rawLog{appender}, Spool: disk, Mappers: mappers, Logger: a.opts.Logger,
		Answered: func(vendor, tenant string, o ingest.Outcome) {
			a.metrics.answered(vendor, o)
			a.outages.answered(vendor, tenant, o.Status())
		},
		Durable:    a.metrics.durable,
		Quarantine: held, KeysChanged: func(string, string) { held.keysChanged() }, KeysFetched: a.metrics.keysFetched,
		DefaultTenants: a.cfg.Edge.DefaultTenants, ReplayWindow: a.cfg.Edge.ReplayWindow, DeferFor: a.cfg.Edge.Quarantine.Keep,
		DeferredPerHour: a.cfg.Edge.Quarantine.DeliveriesPerHour, DeferredBytesPerHour: a.cfg.Edge.Quarantine.BytesPerHour,
		Ready: func(context.Context) []string {
			if err := errors.Join(appender.Ready(), spoolReady(disk)); err != nil {
				return []string{err.Error()}
			}
			return nil
		},
	}
	for _, t := range a.cfg.Tenants {
		opts.Tenants = append(opts.Tenants, t.edge())
	}
	e, err := ingest.NewEdge(opts)
	if err != nil {
		return nil, errors.Join(err, disk.Close(), appender.Close())
	}
	held.release = e.Release
	a.check("edge", func() error {
		if reasons := e.Ready(context.Background()); len(reasons) > 0 {
			return errors.New(strings.Join(reasons, "; "))
		}
		return nil
	})
	server := ingest.NewHTTPServer(e.Handler())
	return func(ctx context.Context) error {
		var beside sync.WaitGroup
		besideCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
		beside.Go(func() { e.FetchKeys(besideCtx) })
		beside.Go(func() { held.run(besideCtx) })
		beside.Go(func() { disk.Run(besideCtx, drainTime) })
		var adminErr error
		if l := a.listeners["admin"]; l != nil {
			admin := ingest.NewHTTPServer(e.AdminHandler(redacted.Text(a.cfg.Edge.AdminToken)))
			beside.Go(func() { adminErr = serve(besideCtx, admin, l) })
		}
		err := serve(ctx, server, a.listeners["edge"])
		e.Wait() // deliveries answered 503 may still be on their way
		stop()   // the spool drains what it can: nothing is added any more
		beside.Wait()
		return errors.Join(err, adminErr, disk.Close(), appender.Close())
	}, nil
}}

// openSpool opens the disk of the tenants whose deliveries go over it.
func (a *App) openSpool(log ingest.RawLog) (*spool.Spool, error) {
	o := spool.Options{
		Dir: filepath.Join(a.opts.DataDir, "spool"), Drain: ingest.DrainTo(log),
		MaxBytes: a.cfg.Edge.Spool.MaxBytes, MaxAge: a.cfg.Edge.Spool.MaxAge,
		Logger: a.opts.Logger, Synced: a.metrics.synced, Lost: a.metrics.spoolLost,
	}
	for _, t := range a.cfg.Tenants {
		if t.Ack == ingest.AckSpool {
			o.Queues = append(o.Queues, t.ID)
		}
	}
	disk, err := spool.Open(o)
	if err != nil {
		return nil, fmt.Errorf("%w; the data dir must be on a disk that the process can write", err)
	}
	a.metrics.watch(disk)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spool = disk
	return disk, nil
}

// Spooled is the number of accepted deliveries that are not in the raw log yet.
func (a *App) Spooled() (deliveries uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.spool != nil {
		for _, s := range a.spool.Stats() {
			deliveries += s.Entries
		}
	}
	return deliveries
}

// spoolHighWater is the fill above which an edge asks for no more traffic.
const spoolHighWater = 0.9

// spoolReady returns why the edge should get no more deliveries.
func spoolReady(disk *spool.Spool) error {
	for queue := range disk.Stats() {
		if fill := disk.Fill(queue); fill > spoolHighWater {
			return fmt.Errorf("spool of tenant %s is full to %.0f %%", queue, 100*fill)
		}
	}
	return nil
}

// rawLog is Kafka as the edges see it.
type rawLog struct{ appender *stream.Appender }

// Append waits for acks=all (I1).
func (l rawLog) Append(ctx context.Context, records []ingest.Record) error {
	return l.appender.Append(ctx, outgoing(records))
}

// outgoing are records as Kafka's clients take them.
func outgoing(records []ingest.Record) []stream.Outgoing {
	out := make([]stream.Outgoing, len(records))
	for i, r := range records {
		out[i] = stream.Outgoing{Topic: r.Topic, Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			out[i].Headers = append(out[i].Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
	}
	return out
}
