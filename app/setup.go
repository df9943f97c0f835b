package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"trunkline/codecs"
	"trunkline/state"
	"trunkline/stream"
	"trunkline/topology"
)

// SetUp verifies the cluster, makes the topics of the layout that are missing and
// registers every schema before the first record, so that no stage ever has to.
// It may run any number of times, also at once. What the cluster or the registry
// lacks is a [SetUpError].
func SetUp(ctx context.Context, c Config) (*Schemas, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := stream.CreateTopics(ctx, streamConfig(c, Options{}), topicSpecs(c.Layout())); err != nil {
		return nil, &SetUpError{fmt.Errorf("set up topics: %w", err)}
	}
	schemas, err := registerSchemas(ctx, c)
	if err != nil {
		return nil, &SetUpError{fmt.Errorf("set up schemas at %s: %w", c.Registry.URL, err)}
	}
	return schemas, nil
}

// settingUp sets up beside an edge, which takes deliveries also where Kafka or the
// registry is away. Only what is wrong with a cluster from the start ends the
// process: later that would take the edge from the vendors.
var settingUp = component{"set-up", func(a *App) (func(context.Context) error, error) {
	a.check("set-up", func() error { return nil })
	return func(ctx context.Context) error {
		for tries := 0; ; tries++ {
			done := make(chan error, 1)
			go func() {
				_, err := SetUp(ctx, a.cfg)
				done <- err
			}()
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
					a.opts.Logger.Info("topics and schemas are set up")
				}
				<-ctx.Done()
				return nil
			case ctx.Err() != nil:
				return nil
			case tries == 0 && errors.As(err, &cluster):
				return err
			case tries == 0 || errors.As(err, &cluster):
				a.opts.Logger.Error("topics and schemas are not set up: trying again", "error", err)
			}
			select {
			case <-time.After(setUpPause):
			case <-ctx.Done():
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

// Schemas are the ids under which the registry knows what is written.
type Schemas struct {
	Canonical map[string]int              // canonical events, by topic
	Changes   map[string]codecs.SchemaIDs // by topic; FormatAvro only
}

func registerSchemas(ctx context.Context, c Config) (*Schemas, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client, err := sr.NewClient(sr.URLs(c.Registry.URL), sr.UserAgent("trunkline"))
	if err != nil {
		return nil, fmt.Errorf("configure the client: %w", err)
	}
	s := &Schemas{Canonical: map[string]int{}, Changes: map[string]codecs.SchemaIDs{}}
	topics := []string{string(topology.LateEventsTopic)}
	for _, t := range c.Tenants {
		for _, v := range t.vendorNames() {
			topics = append(topics, topology.CanonicalTopic(v, t.ID))
		}
	}
	for _, topic := range topics {
		if s.Canonical[topic], err = register(ctx, client, topic+"-value", codecs.CanonicalSchema()); err != nil {
			return nil, err
		}
	}
	for _, vendor := range topology.Vendors {
		connector, err := codecs.Connector(vendor)
		if err != nil {
			return nil, err
		}
		for _, topic := range topology.ChangeTopicsOf(vendor) {
			if c.Changes.format(topic) != codecs.FormatAvro {
				continue
			}
			key, value := codecs.ChangeSchemas(topic, connector)
			var ids codecs.SchemaIDs
			if ids.Key, err = register(ctx, client, topic+"-key", key); err != nil {
				return nil, err
			}
			if ids.Value, err = register(ctx, client, topic+"-value", value); err != nil {
				return nil, err
			}
			s.Changes[topic] = ids
		}
	}
	return s, nil
}

// register sets FULL compatibility, since registries start with less, and then
// registers the text byte for byte: a reformatted one would be a new version.
func register(ctx context.Context, client *sr.Client, subject, text string) (int, error) {
	for _, r := range client.SetCompatibility(ctx, sr.SetCompatibility{Level: sr.CompatFull}, subject) {
		if r.Err != nil {
			return 0, fmt.Errorf("set FULL compatibility of %s: %w", subject, r.Err)
		}
	}
	schema, err := client.CreateSchema(ctx, subject, sr.Schema{Schema: text, Type: sr.TypeAvro})
	if err != nil {
		return 0, fmt.Errorf("register %s: %w", subject, err)
	}
	return schema.ID, nil
}
