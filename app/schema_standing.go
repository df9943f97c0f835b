package app

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"trunkline/codecs/avro"
	"trunkline/registry"
)

// SchemaStanding is how a schema that the stages write by stands at the registry.
type SchemaStanding struct {
	registry.Standing
	// Faults are why it may not follow the registry's newest version.
	Faults      []avro.Fault          `json:"faults,omitempty"`
	Differences []registry.Difference `json:"differences,omitempty"`
}

// SchemaStandings asks the registry about every schema that the stages write by, or
// the one of a subject. It changes nothing.
func SchemaStandings(ctx context.Context, c Config, subject string) ([]SchemaStanding, error) {
	schemas, err := WrittenSchemas(c, subject)
	if err != nil {
		return nil, err
	}
	client, err := c.Registry.client()
	if err != nil {
		return nil, err
	}
	all := make([]SchemaStanding, len(schemas))
	for i, schema := range schemas {
		if schema, err = asWritten(ctx, client, schema); err != nil {
			return nil, fmt.Errorf("ask the registry at %s: %w", c.Registry.URL, err)
		}
		if all[i].Standing, all[i].Faults, err = client.Check(ctx, schema); err == nil {
			all[i].Differences, err = all[i].Standing.Differences()
		}
		if err != nil {
			return nil, fmt.Errorf("ask the registry at %s: %w", c.Registry.URL, err)
		}
	}
	return all, nil
}

// asWritten is the schema with the fields that were promoted in its subject.
func asWritten(ctx context.Context, client *registry.Client, s registry.Schema) (registry.Schema, error) {
	by, err := withPromoted(ctx, client, s, Registered{}, slog.New(slog.DiscardHandler))
	if by.Promoted != "" {
		s.Text = by.Promoted
	}
	if registry.NotFound(err) {
		err = nil
	}
	return s, err
}

// UnknownSubjectError is a subject that nothing is written under.
type UnknownSubjectError struct{ Subject string }

func (e *UnknownSubjectError) Error() string {
	return fmt.Sprintf("subject %q: nothing is written under it; `trunkline schema list` names them", e.Subject)
}

// WrittenSchemas are the schemas that the stages write by, in the order of their
// subjects, or the one of a subject.
func WrittenSchemas(c Config, subject string) ([]registry.Schema, error) {
	schemas, err := written(c.withDefaults())
	if err != nil {
		return nil, err
	}
	if subject != "" {
		schemas = slices.DeleteFunc(schemas, func(s registry.Schema) bool { return s.Subject != subject })
		if len(schemas) == 0 {
			return nil, &UnknownSubjectError{subject}
		}
	}
	return schemas, nil
}

// RegisteredSchema is the text of a version of a subject as the registry gives it;
// -1 is the newest.
func RegisteredSchema(ctx context.Context, c Config, subject string, version int) (string, error) {
	client, err := c.Registry.client()
	if err != nil {
		return "", err
	}
	return client.Text(ctx, subject, version)
}

// RegisterSchemas puts every subject under FULL compatibility and registers what the
// stages write by, as every start does.
func RegisterSchemas(ctx context.Context, c Config) error {
	_, err := registerSchemas(ctx, c.withDefaults(), slog.New(slog.DiscardHandler))
	return err
}
