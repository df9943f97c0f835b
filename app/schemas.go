package app

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"trunkline/codecs"
	"trunkline/registry"
	"trunkline/topology"
)

// Schemas are what the registry knows of what is written.
type Schemas struct {
	Canonical map[string]Registered       // canonical events, by topic
	Changes   map[string]codecs.SchemaIDs // by topic; FormatAvro only
	Seed      codecs.SchemaIDs            // of the projection
}

// Registered is what a subject is written by.
type Registered struct {
	ID int
	// Promoted is the canonical schema with promoted fields, as the registry gives
	// it; empty: the text is ours.
	Promoted string
}

// schemaIDs are what is written by, by subject.
type schemaIDs map[string]Registered

const (
	keySubject   = "-key"
	valueSubject = "-value"
)

// written are the schemas that the stages write by, in the order of their subjects.
func written(c Config) ([]registry.Schema, error) {
	var all []registry.Schema
	for _, topic := range c.Layout().CanonicalTopics() {
		all = append(all, registry.Schema{Subject: topic + valueSubject, Text: codecs.CanonicalSchema()})
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
			all = append(all,
				registry.Schema{Subject: topic + keySubject, Text: key},
				registry.Schema{Subject: topic + valueSubject, Text: value})
		}
	}
	if c.Projection.Seed {
		key, value := codecs.SeedSchemas(string(topology.SeedTopic))
		all = append(all,
			registry.Schema{Subject: string(topology.SeedTopic) + keySubject, Text: key},
			registry.Schema{Subject: string(topology.SeedTopic) + valueSubject, Text: value})
	}
	slices.SortFunc(all, func(a, b registry.Schema) int { return strings.Compare(a.Subject, b.Subject) })
	return all, nil
}

// schemasOf orders ids as the stages ask for them.
func schemasOf(c Config, ids schemaIDs) *Schemas {
	s := &Schemas{Canonical: map[string]Registered{}, Changes: map[string]codecs.SchemaIDs{}}
	for _, topic := range c.Layout().CanonicalTopics() {
		s.Canonical[topic] = ids[topic+valueSubject]
	}
	for _, topic := range topology.ChangeTopics() {
		if c.Changes.format(topic) == codecs.FormatAvro {
			s.Changes[topic] = ids.of(topic)
		}
	}
	s.Seed = ids.of(string(topology.SeedTopic))
	return s
}

// of are the ids of a topic whose key and value have schemas.
func (ids schemaIDs) of(topic string) codecs.SchemaIDs {
	return codecs.SchemaIDs{Key: ids[topic+keySubject].ID, Value: ids[topic+valueSubject].ID}
}

// registerSchemas has the registry take what is written, and returns what it is
// written by: ours, or the canonical schema with the fields that were promoted.
func registerSchemas(ctx context.Context, c Config, logger *slog.Logger) (schemaIDs, error) {
	client, err := c.Registry.client()
	if err != nil {
		return nil, err
	}
	schemas, err := written(c)
	if err != nil {
		return nil, err
	}
	ids := schemaIDs{}
	for _, s := range schemas {
		id, err := client.Register(ctx, s)
		if err == nil {
			ids[s.Subject], err = withPromoted(ctx, client, s, Registered{ID: id}, logger)
		}
		if err != nil {
			return nil, fmt.Errorf("set up schemas at %s: %w", c.Registry.URL, err)
		}
	}
	return ids, nil
}

// withPromoted is the newest version of a canonical subject, where that is our schema
// and promoted fields. A version of another shape is left alone.
func withPromoted(ctx context.Context, client *registry.Client, s registry.Schema, ours Registered, logger *slog.Logger) (Registered, error) {
	if s.Text != codecs.CanonicalSchema() {
		return ours, nil
	}
	newest, err := client.Newest(ctx, s.Subject)
	if err != nil {
		return ours, err
	}
	promoted, err := codecs.Promotions(newest.Text)
	switch {
	case err != nil:
		logger.Warn("the newest version of a subject is not ours: events are written without promoted fields",
			"subject", s.Subject, "version", newest.Version, "error", err)
		return ours, nil
	case len(promoted) == 0:
		return ours, nil
	}
	return Registered{ID: newest.ID, Promoted: newest.Text}, nil
}
