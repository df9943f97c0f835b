package app

import (
	"context"
	"fmt"

	"trunkline/state"
	"trunkline/stream"
	"trunkline/topology"
)

// SetUp verifies the cluster, makes the topics of the layout that are missing and
// registers every schema before the first record, so that no stage ever has to.
// It may run any number of times, also at once. What the cluster or the registry
// lacks is a [SetUpError].
func SetUp(ctx context.Context, c Config) (*Schemas, error) {
	if err := setUpTopics(ctx, c); err != nil {
		return nil, err
	}
	ids, err := registerSchemas(ctx, c)
	if err != nil {
		return nil, &SetUpError{err}
	}
	return schemasOf(c, ids), nil
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
