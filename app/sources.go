package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"trunkline/ingest"
	"trunkline/ingest/outbound"
	"trunkline/ingest/sse"
	"trunkline/stream"
	"trunkline/topology"
)

// sources reads what vendors do not send: their event streams. Each is read by one
// process of the deployment at a time.
var sources = component{"sources", func(a *App) (func(context.Context) error, error) {
	o := stream.SourcesOptions{
		Group: string(topology.SourcesGroup), Positions: string(topology.PositionsTopic), Partition: topology.Partition,
	}
	limiter := sse.NewLimiter(streamsPerSecond)
	for _, t := range a.cfg.Tenants {
		for vendor, c := range t.Vendors {
			if c.Stream == nil {
				continue
			}
			s, err := c.Stream.reader(vendor, t.ID, limiter, a.opts.Logger.With("vendor", vendor, "tenant", t.ID))
			if err != nil {
				return nil, fmt.Errorf("stream of %s for tenant %s: %w", vendor, t.ID, err)
			}
			o.Sources = append(o.Sources, stream.Source{
				Name: vendor + "/" + t.ID + "/stream",
				Run:  func(ctx context.Context, log *stream.SourceLog) error { return s.Run(ctx, positionLog{log}) },
			})
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

// streamsPerSecond are the connections to one host that a process makes.
const streamsPerSecond = 5

// reader is the stream as the edges read it.
func (s *Stream) reader(vendor, tenant string, limiter *sse.Limiter, logger *slog.Logger) (ingest.Stream, error) {
	r := ingest.Stream{
		Vendor: vendor, Tenant: tenant, Mapper: mappers[vendor], PollURL: s.PollURL,
		HTTP: budgeted(outbound.NewClient()),
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
	if s.OAuth == nil {
		return r, nil
	}
	tokens, err := s.OAuth.source(func(err error, left time.Duration) {
		if err != nil {
			logger.Error("no new token", "error", err, "left", left)
		} else {
			logger.Info("there is a token again")
		}
	})
	if err != nil {
		return ingest.Stream{}, err
	}
	r.Client.Tokens, r.HTTP = tokens, tokens.Client(r.HTTP)
	return r, nil
}

// budgeted bounds the calls of a credential.
func budgeted(c *http.Client) *http.Client {
	c.Transport = outbound.NewBudget(c.Transport, outbound.DefaultPerMinute, time.Now)
	return c
}

// positionLog is the log of a source as a stream sees it.
type positionLog struct{ log *stream.SourceLog }

// Position implements [ingest.PositionLog].
func (l positionLog) Position() []byte { return l.log.Position() }

// Append implements [ingest.PositionLog].
func (l positionLog) Append(ctx context.Context, records []ingest.Record, position []byte) error {
	return l.log.Append(ctx, outgoing(records), position)
}
