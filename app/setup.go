package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"trunkline/ingest/outbound"
	"trunkline/state"
	"trunkline/stream"
	"trunkline/topology"
)

// SetUp verifies the cluster, makes the topics of the layout that are missing and
// registers every schema before the first record, so that no stage ever has to.
// It may run any number of times, also at once. What the cluster or the registry
// lacks is a [SetUpError].
func SetUp(ctx context.Context, c Config) error {
	if err := setUpTopics(ctx, c); err != nil {
		return err
	}
	if _, err := registerSchemas(ctx, c, slog.New(slog.DiscardHandler)); err != nil {
		return &SetUpError{err}
	}
	return nil
}

func setUpTopics(ctx context.Context, c Config) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if err := stream.CreateTopics(ctx, streamConfig(c, Options{}), topicSpecs(c.Layout())); err != nil {
		return &SetUpError{fmt.Errorf("set up topics: %w", err)}
	}
	return nil
}

// settingUp makes the topics beside an edge, which takes deliveries also where Kafka
// is away, and needs no registry. Only what is wrong with a cluster from the start
// ends the process: later that would take the edge from the vendors.
var settingUp = component{"set-up", func(a *App) (func(context.Context) error, error) {
	a.check("set-up", func() error { return nil })
	return func(ctx context.Context) error {
		for tries := 0; ; tries++ {
			done := make(chan error, 1)
			go func() { done <- setUpTopics(ctx, a.cfg) }()
			var err error
			select {
			case err = <-done:
			case <-ctx.Done(): // it waits for a broker that does not answer
				return nil
			}
			var cluster *stream.ClusterError
			switch {
			case err == nil:
				if tries > 0 {
					a.opts.Logger.Info("topics are set up")
				}
				<-ctx.Done()
				return nil
			case ctx.Err() != nil:
				return nil
			case tries == 0 && errors.As(err, &cluster):
				return err
			case tries == 0 || errors.As(err, &cluster):
				a.opts.Logger.Error("topics are not set up: trying again", "error", err)
			}
			if !outbound.Sleep(ctx, setUpPause) {
				return nil
			}
		}
	}, nil
}}

const setUpPause = 2 * time.Second

// SetUpError is a cluster or a registry that cannot be reached or is not as it
// must be. Nothing was processed.
type SetUpError struct{ Err error }

func (e *SetUpError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *SetUpError) Unwrap() error { return e.Err }

// rowLayouts are the layouts that this program reads and writes.
var rowLayouts = map[string]byte{
	string(topology.SeenTable):   state.SeenLayout,
	string(topology.EntityTable): state.EntityLayout,
}

func topicSpecs(l topology.Layout) []stream.TopicSpec {
	var specs []stream.TopicSpec
	for _, t := range l.Topics() {
		specs = append(specs, stream.TopicSpec{
			Name: t.Name, Partitions: t.Partitions, Replication: t.Replication, Config: t.Config, Layout: rowLayouts[t.Name],
		})
	}
	return specs
}
