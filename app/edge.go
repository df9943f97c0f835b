package app

import (
	"context"
	"sync"

	"github.com/IBM/sarama"

	"trunkline/ingest"
	"trunkline/stream"
	"trunkline/topology"
)

// edge receives the vendors' deliveries over HTTP.
var edge = component{"edge", func(a *App) (func(context.Context) error, error) {
	appender, err := stream.NewAppender(streamConfig(a.cfg, a.opts), topology.Partition)
	if err != nil {
		return nil, err
	}
	held := newQuarantine(streamConfig(a.cfg, a.opts), appender, a.cfg.Edge.Quarantine.Keep, a.opts.Logger)
	opts := ingest.Options{
		Log: rawLog{appender}, Mappers: mappers, Logger: a.opts.Logger,
		Answered: a.metrics.answered, Durable: a.metrics.durable,
		Quarantine: held, KeysChanged: func(string, string) { held.keysChanged() },
		DefaultTenants: a.cfg.Edge.DefaultTenants, ReplayWindow: a.cfg.Edge.ReplayWindow, DeferFor: a.cfg.Edge.Quarantine.Keep,
		DeferredPerHour: a.cfg.Edge.Quarantine.DeliveriesPerHour, DeferredBytesPerHour: a.cfg.Edge.Quarantine.BytesPerHour,
		Ready: func(context.Context) []string {
			if err := appender.Ready(); err != nil {
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
		return nil, err
	}
	held.release = e.Release
	a.check("edge", appender.Ready)
	server := ingest.NewHTTPServer(e.Handler())
	return func(ctx context.Context) error {
		var beside sync.WaitGroup
		besideCtx, stop := context.WithCancel(ctx)
		beside.Go(func() { e.FetchKeys(besideCtx) })
		beside.Go(func() { held.run(besideCtx) })
		err := serve(ctx, server, a.listeners["edge"])
		stop()
		beside.Wait()
		e.Wait() // deliveries answered 503 may still be on their way
		if closeErr := appender.Close(); err == nil {
			err = closeErr
		}
		return err
	}, nil
}}

// rawLog is Kafka as the edges see it.
type rawLog struct{ appender *stream.Appender }

// Append waits for acks=all (I1).
func (l rawLog) Append(ctx context.Context, records []ingest.Record) error {
	outgoing := make([]stream.Outgoing, len(records))
	for i, r := range records {
		outgoing[i] = stream.Outgoing{Topic: r.Topic, Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			outgoing[i].Headers = append(outgoing[i].Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
	}
	return l.appender.Append(ctx, outgoing)
}
