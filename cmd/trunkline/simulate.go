package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"trunkline/app"
	"trunkline/embedded"
	"trunkline/topology"
)

// defaultRate is what an endless simulation sends, in events per second of both
// vendors together.
const defaultRate = 20

// simulate lets both vendors send their share.
func simulate(ctx context.Context, o devOptions, a *app.App) error {
	if o.seed == 0 {
		o.seed = time.Now().UnixNano()
	}
	if o.rate == 0 && o.events == 0 {
		o.rate = defaultRate
	}
	vendors, ctx := errgroup.WithContext(ctx)
	for i, vendor := range topology.Vendors {
		cfg := embedded.SimulatorConfig{
			Vendor: vendor, Tenant: app.DevTenant, EdgeURL: "http://" + a.Addr("edge"), Token: app.DevToken,
			Seed: o.seed + int64(i), Rate: o.rate / float64(len(topology.Vendors)),
		}
		if o.events > 0 {
			cfg.Events = share(o.events, i, len(topology.Vendors))
			if cfg.Events == 0 {
				continue
			}
		}
		if vendor == topology.CXone {
			cfg.SigningSecret = app.DevSecret
		}
		s, err := embedded.NewSimulator(cfg)
		if err != nil {
			return err
		}
		vendors.Go(func() error {
			if _, err := s.Run(ctx); err != nil {
				return fmt.Errorf("simulate %s: %w", vendor, err)
			}
			return nil
		})
	}
	return vendors.Wait()
}

// share splits n into parts that differ by one at most.
func share(n, part, parts int) int {
	s := n / parts
	if part < n%parts {
		s++
	}
	return s
}
