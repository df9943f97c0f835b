package app

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"trunkline/ingest"
	"trunkline/ingest/notifications"
	"trunkline/ingest/outbound"
	"trunkline/ingest/reconcile"
	"trunkline/ingest/sse"
	"trunkline/stream"
	"trunkline/topology"
)

// sources reads what vendors do not send. Each source is run by one process of the
// deployment at a time.
var sources = component{"sources", func(a *App) (func(context.Context) error, error) {
	o := stream.SourcesOptions{
		Group: string(topology.SourcesGroup), Positions: string(topology.PositionsTopic), Partition: topology.Partition,
	}
	limiter := outbound.NewLimiter(StreamsPerSecond)
	for _, t := range a.cfg.Tenants {
		for vendor, c := range t.Vendors {
			logger := a.opts.Logger.With("vendor", vendor, "tenant", t.ID)
			by, err := c.API.caller(tokenAlarm(logger))
			if err != nil {
				return nil, fmt.Errorf("call %s for tenant %s: %w", vendor, t.ID, err)
			}
			a.metrics.sources.watchTokens(vendor, t.ID, by.tokens)
			add := func(kind string, run func(context.Context, ingest.PositionLog) error) {
				o.Sources = append(o.Sources, stream.Source{
					Name: vendor + "/" + t.ID + "/" + kind,
					Run:  func(ctx context.Context, log *stream.SourceLog) error { return run(ctx, positionLog{log}) },
				})
			}
			if c.Stream != nil {
				add("stream", c.Stream.reader(vendor, t.ID, by, limiter, logger).Run)
			}
			if c.Reconcile != nil {
				r, err := a.reconciler(vendor, t.ID, c, by, logger)
				if err != nil {
					return nil, fmt.Errorf("reconcile %s for tenant %s: %w", vendor, t.ID, err)
				}
				add("reconcile", r.Run)
			}
			if c.Notifications != nil {
				n := c.Notifications.reader(vendor, t.ID, c.API.URL, by, limiter, logger)
				n.Client.Gap = func(g notifications.Gap) {
					a.metrics.sources.missed(vendor, t.ID, g.Reason)
					logger.Warn("notifications may be missing", "from", g.From, "to", g.To, "reason", g.Reason)
					a.outages.over(vendor, t.ID)
				}
				add("notifications", n.Run)
			}
		}
	}
	a.check("sources", func() error { return nil })
	return func(ctx context.Context) error {
		if len(o.Sources) == 0 {
			<-ctx.Done()
			return nil
		}
		return stream.RunSources(ctx, streamConfig(a.cfg, a.opts), o)
	}, nil
}}

// tokenAlarm tells the operator that a credential needs him.
func tokenAlarm(logger *slog.Logger) func(error, time.Duration) {
	return func(err error, left time.Duration) {
		if err != nil {
			logger.Error("no new token", "error", err, "left", left)
		} else {
			logger.Info("there is a token again")
		}
	}
}

// StreamsPerSecond are the connections to one host that a process makes.
const StreamsPerSecond = 5

// reader is the stream as the edges read it.
func (s *Stream) reader(vendor, tenant string, by caller, limiter *outbound.Limiter, logger *slog.Logger) ingest.Stream {
	r := ingest.Stream{
		Vendor: vendor, Tenant: tenant, Mapper: mappers[vendor], PollURL: s.PollURL, HTTP: by.client,
		Client: sse.Options{
			URL: s.URL, Limiter: limiter,
			Alarm: func(err error) { logger.Error("stream needs attention", "error", err) },
			Polling: func(polls bool) {
				if polls {
					logger.Warn("stream is given up for now: polling")
				} else {
					logger.Info("stream is back")
				}
			},
		},
	}
	if by.tokens != nil {
		r.Client.Tokens = by.tokens
	}
	return r
}

// reader is the notifications as the edges read them.
func (n *Notifications) reader(vendor, tenant, url string, by caller, limiter *outbound.Limiter, logger *slog.Logger) ingest.Notifications {
	return ingest.Notifications{
		Vendor: vendor, Tenant: tenant, Mapper: mappers[vendor],
		Client: notifications.Options{
			URL: url, Topics: n.Topics, HTTP: by.client, Limiter: limiter,
			Alarm: func(err error) { logger.Error("notifications need attention", "error", err) },
		},
	}
}

// reconciler asks a vendor for what deliveries to a tenant missed.
func (a *App) reconciler(vendor, tenant string, c Credentials, by caller, logger *slog.Logger) (*reconcile.Reconciler, error) {
	o := reconcile.Options{
		Vendor: vendor, Tenant: tenant, Mapper: mappers[vendor], URL: c.API.URL, HTTP: by.client, Logger: logger,
		Every: c.Reconcile.Every, Async: c.Reconcile.Mode == modeAsync,
		Window: a.cfg.DedupWindow,
		Wake:   a.outages.watch(vendor, tenant, cmp.Or(c.Reconcile.RetryWindow, retryWindows[vendor])),
		Tell:   func(list string, r reconcile.Result) { a.metrics.sources.read(vendor, tenant, list, r) },
	}
	defaults := map[string][]string{topology.Genesys: reconcile.GenesysServices, topology.CXone: reconcile.CXoneDefaults}
	for _, lists := range [][]string{c.Reconcile.Services, c.Reconcile.Lists, defaults[vendor]} {
		if len(o.Lists) == 0 {
			o.Lists = lists
		}
	}
	return reconcile.New(o)
}

// positionLog is the log of a source as a stream sees it.
type positionLog struct{ log *stream.SourceLog }

// Position implements [ingest.PositionLog].
func (l positionLog) Position() []byte { return l.log.Position() }

// Append implements [ingest.PositionLog].
func (l positionLog) Append(ctx context.Context, records []ingest.Record, position []byte) error {
	return l.log.Append(ctx, outgoing(records), position)
}
