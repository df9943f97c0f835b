package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"trunkline/app"
	"trunkline/embedded"
	"trunkline/topology"
)

// defaultRate is what an endless simulation tells, in events per second of both
// vendors together.
const defaultRate = 20

// clouds are the simulated vendors. They answer from the start; what happens
// there, happens when they are run.
type clouds struct {
	all  []*embedded.Cloud
	urls app.DevClouds
}

// startClouds gives each vendor its share of the traffic.
func startClouds(o devOptions) (*clouds, error) {
	if o.seed == 0 {
		o.seed = time.Now().UnixNano()
	}
	if o.rate == 0 && o.events == 0 {
		o.rate = defaultRate
	}
	c := &clouds{urls: app.DevClouds{Reconcile: !o.exit}} // a self-test counts each event once
	for i, vendor := range topology.Vendors {
		cfg := embedded.CloudConfig{
			Vendor: vendor, Tenant: app.DevTenant, Seed: o.seed + int64(i), Rate: o.rate / float64(len(topology.Vendors)),
			ClientID: app.DevClient, ClientSecret: app.DevClientSecret, PushToken: app.DevToken,
		}
		if o.events > 0 {
			cfg.Events = share(o.events, i, len(topology.Vendors))
			if cfg.Events == 0 {
				continue
			}
		}
		cloud, err := embedded.NewCloud(cfg)
		if err != nil {
			return nil, errors.Join(err, c.stop())
		}
		flag, addr, url := "genesys-listen", o.genesysListen, &c.urls.Genesys
		if vendor == topology.CXone {
			flag, addr, url = "cxone-listen", o.cxoneListen, &c.urls.CXone
		}
		l, err := app.Listen(flag, addr)
		if err != nil {
			return nil, errors.Join(err, c.stop())
		}
		cloud.Serve(l)
		c.all = append(c.all, cloud)
		*url = "http://" + l.Addr().String()
		if vendor == topology.CXone {
			c.urls.CXoneServices = *url + embedded.CXoneServices
		}
	}
	return c, nil
}

// run lets happen what happens, and returns how many records an edge was given by
// it: what it accepted, and what it reads by itself.
func (c *clouds) run(ctx context.Context, edge string) (records int64, err error) {
	running, ctx := errgroup.WithContext(ctx)
	for _, cloud := range c.all {
		cloud.Subscribe(embedded.Subscription{URL: edge + embedded.EdgePath(cloud.Vendor(), app.DevTenant), Token: app.DevToken})
		running.Go(func() error {
			if err := cloud.Run(ctx); err != nil {
				return fmt.Errorf("simulate %s: %w", cloud.Vendor(), err)
			}
			return nil
		})
	}
	if err := running.Wait(); err != nil {
		return 0, err
	}
	for _, cloud := range c.all {
		r := cloud.Report()
		if n := r.Deliveries.Lost + r.Deliveries.Refused; n > 0 {
			err = errors.Join(err, fmt.Errorf("simulate %s: the edge did not take %d of its events", cloud.Vendor(), n))
		}
		records += int64(r.Deliveries.Accepted + r.Streamed)
	}
	return records, err
}

func (c *clouds) stop() error {
	var errs []error
	for _, cloud := range c.all {
		errs = append(errs, cloud.Close())
	}
	return errors.Join(errs...)
}

// share splits n into parts that differ by one at most.
func share(n, part, parts int) int {
	s := n / parts
	if part < n%parts {
		s++
	}
	return s
}
