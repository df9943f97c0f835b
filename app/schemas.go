package app

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"trunkline/codecs"
	"trunkline/registry"
	"trunkline/topology"
)

// Schemas are the ids under which the registry knows what is written.
type Schemas struct {
	Canonical map[string]int              // canonical events, by topic
	Changes   map[string]codecs.SchemaIDs // by topic; FormatAvro only
	Seed      codecs.SchemaIDs            // of the projection
}

// schemaIDs are the ids of schemas by their subjects.
type schemaIDs map[string]int

const (
	keySubject   = "-key"
	valueSubject = "-value"
)

// canonicalTopics are the topics of canonical events.
func (c Config) canonicalTopics() []string {
	topics := []string{string(topology.LateEventsTopic)}
	for _, t := range c.Tenants {
		for _, v := range t.vendorNames() {
			topics = append(topics, topology.CanonicalTopic(v, t.ID))
		}
	}
	return topics
}

// written are the schemas that the stages write by, in the order of their subjects.
func written(c Config) ([]registry.Schema, error) {
	var all []registry.Schema
	for _, topic := range c.canonicalTopics() {
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
	s := &Schemas{Canonical: map[string]int{}, Changes: map[string]codecs.SchemaIDs{}}
	for _, topic := range c.canonicalTopics() {
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
	return codecs.SchemaIDs{Key: ids[topic+keySubject], Value: ids[topic+valueSubject]}
}

// registerSchemas has the registry take what is written, and returns its ids.
func registerSchemas(ctx context.Context, c Config) (schemaIDs, error) {
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
		if ids[s.Subject], err = client.Register(ctx, s); err != nil {
			return nil, fmt.Errorf("set up schemas at %s: %w", c.Registry.URL, err)
		}
	}
	return ids, nil
}
