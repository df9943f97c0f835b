package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"trunkline/codecs"
	"trunkline/drift"
	"trunkline/processors"
	"trunkline/stream"
	"trunkline/topology"
	"trunkline/vendors"
	"trunkline/vendors/cxone"
	"trunkline/vendors/genesys"
)

// mappers are the vendors that Trunkline knows.
var mappers = map[string]vendors.Mapper{
	topology.Genesys: genesys.Mapper(),
	topology.CXone:   cxone.Mapper(),
}

// reading are the same for commands that read what may have failed.
var reading = map[string]vendors.Mapper{
	topology.Genesys: vendors.Guarded(mappers[topology.Genesys]),
	topology.CXone:   vendors.Guarded(mappers[topology.CXone]),
}

// stages runs the topology's groups. They alone write by schemas, so that they alone
// need the registry.
var stages = component{"stages", func(a *App) (func(context.Context) error, error) {
	schemas, err := written(a.cfg)
	if err != nil {
		return nil, err
	}
	gate := &schemaGate{
		register: func(ctx context.Context) (schemaIDs, error) { return registerSchemas(ctx, a.cfg, a.opts.Logger) },
		schemas:  schemas, logger: a.opts.Logger,
		known: schemaStore{path: filepath.Join(a.opts.DataDir, schemaIDsFile), registry: a.cfg.Registry.URL},
	}
	a.check("stages", gate.ready)
	return func(ctx context.Context) error {
		ids, err := gate.pass(ctx)
		if err != nil || ctx.Err() != nil {
			return err
		}
		counts := drift.NewTable(a.opts.Instance + "." + strconv.FormatInt(time.Now().UnixMilli(), 36))
		group, err := newStages(a.cfg, a.opts, schemasOf(a.cfg, ids), counts)
		if err != nil {
			return err
		}
		a.check("stages", func() error {
			for _, p := range group {
				if err := p.Ready(); err != nil {
					return err
				}
			}
			return nil
		})
		a.metrics.watchDrift(counts)
		run, ctx := errgroup.WithContext(ctx)
		for _, p := range group {
			run.Go(func() error { return p.Run(ctx) })
		}
		appender := stream.NewAppender(streamConfig(a.cfg, a.opts), topology.Partition)
		err = driftLog{counts, appender.Append, a.opts.Logger}.during(ctx, run.Wait)
		return errors.Join(err, appender.Close())
	}, nil
}}

func newStages(c Config, o Options, s *Schemas, counts *drift.Table) ([]*stream.Processor, error) {
	cfg, err := StageConfig(c, s)
	if err != nil {
		return nil, err
	}
	cfg.Drift = counts
	var group []*stream.Processor
	for _, opts := range processors.Stages(cfg) {
		p, err := stream.NewProcessor(streamConfig(c, o), opts)
		if err != nil {
			return nil, err
		}
		group = append(group, p)
	}
	return group, nil
}

// StageConfig is what the configuration makes of the stages. Without schemas the
// graphs can be drawn but write no Avro that a registry knows.
func StageConfig(c Config, s *Schemas) (processors.Config, error) {
	if s == nil {
		s = &Schemas{}
	}
	canonical, err := canonicalSchemas(c, s.Canonical)
	if err != nil {
		return processors.Config{}, err
	}
	p := processors.Config{
		Layout: c.Layout(), Mappers: mappers, Canonical: canonical,
		Changes: map[string]*codecs.ChangeEncoder{}, Run: c.Run,
		ConfigHold: c.Reorder.ConfigHold, InteractionHold: c.Reorder.InteractionHold,
		Grace: c.Reorder.Grace, ClockMargin: c.Reorder.ClockMargin, EmitUnchanged: c.Changes.EmitUnchanged,
		InteractionRetention: c.InteractionRetention,
		Now:                  time.Now,
	}
	for _, vendor := range topology.Vendors {
		for _, topic := range topology.ChangeTopicsOf(vendor) {
			p.Changes[topic], err = codecs.NewChangeEncoder(codecs.ChangeOptions{
				Topic: topic, Vendor: vendor, Format: c.Changes.format(topic), IDs: s.Changes[topic], MillisOnly: c.Changes.MillisOnly,
			})
			if err != nil {
				return processors.Config{}, fmt.Errorf("build the encoder of %s: %w", topic, err)
			}
		}
	}
	if c.Projection.Seed {
		if p.Seed, err = codecs.NewSeedCodec(string(topology.SeedTopic), s.Seed); err != nil {
			return processors.Config{}, fmt.Errorf("build the codec of %s: %w", topology.SeedTopic, err)
		}
	}
	return p, p.Validate()
}

// canonicalSchemas has a codec for each topic of canonical events. Topics with the
// same schema share one.
func canonicalSchemas(c Config, registered map[string]Registered) (map[string]processors.CanonicalSchema, error) {
	byText := map[string]*codecs.CanonicalCodec{}
	schemas := map[string]processors.CanonicalSchema{}
	for _, topic := range c.Layout().CanonicalTopics() {
		text := cmp.Or(registered[topic].Promoted, codecs.CanonicalSchema())
		if byText[text] == nil {
			codec, err := codecs.NewCanonicalCodec(text)
			if err != nil {
				return nil, fmt.Errorf("build the codec of %s: %w", topic, err)
			}
			byText[text] = codec
		}
		schemas[topic] = processors.CanonicalSchema{Codec: byText[text], ID: registered[topic].ID}
	}
	return schemas, nil
}
