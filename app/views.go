package app

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"trunkline/stream"
	"trunkline/topology"
	"trunkline/view"
)

// views answers queries on the entity table.
var views = component{"view", func(a *App) (func(context.Context) error, error) {
	var watermark view.Watermark
	table, err := stream.NewView(streamConfig(a.cfg, a.opts), stream.ViewOptions{
		Table: topology.EntityTable, Codec: view.Codec{}, Hasher: topology.Hasher, OnUpdate: watermark.OnUpdate,
	})
	if err != nil {
		return nil, err
	}
	api, err := view.New(view.Options{Entities: table, Watermark: &watermark, Logger: a.opts.Logger})
	if err != nil {
		return nil, fmt.Errorf("configure the view API: %w", err)
	}
	a.check("view", table.Ready)
	server := &http.Server{Handler: api.Handler(), ReadHeaderTimeout: 5 * time.Second}
	return func(ctx context.Context) error {
		run, ctx := errgroup.WithContext(ctx)
		run.Go(func() error { return table.Run(ctx) })
		run.Go(func() error { return serve(ctx, server, a.listeners["view"]) })
		return run.Wait()
	}, nil
}}
