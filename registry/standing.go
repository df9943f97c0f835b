package registry

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/sr"

	"trunkline/codecs/avro"
)

// State is how a schema of ours stands to what the registry holds.
type State string

// The states.
const (
	Unknown State = "unknown" // the registry does not know the subject
	Changed State = "changed" // it knows the subject, but not this text
	Older   State = "older"   // it knows the text, and a newer one
	Same    State = "same"    // the text is its newest version
)

// Standing is what the registry holds of a subject.
type Standing struct {
	Subject string     `json:"subject"`
	State   State      `json:"state"`
	Level   avro.Level `json:"level,omitempty"`   // of the subject, or the one it falls back on
	ID      int        `json:"id,omitempty"`      // of our text
	Version int        `json:"version,omitempty"` // of our text
	Latest  int        `json:"latest,omitempty"`  // the newest version

	Text   string `json:"-"` // ours
	Newest string `json:"-"` // the newest version's, as the registry gives it
}

// Standing asks for what the registry holds of the schema's subject. It changes
// nothing.
func (c *Client) Standing(ctx context.Context, s Schema) (Standing, error) {
	st := Standing{Subject: s.Subject, State: Unknown, Text: s.Text}
	level, err := c.level(sr.WithParams(ctx, sr.DefaultToGlobal), s.Subject)
	if err != nil && !NotFound(err) {
		return st, fmt.Errorf("read the compatibility level of %s: %w", s.Subject, withStatus(err))
	}
	st.Level = level
	newest, err := c.Newest(ctx, s.Subject)
	if NotFound(err) {
		return st, nil
	}
	if err != nil {
		return st, err
	}
	st.State, st.Latest, st.Newest = Changed, newest.Version, newest.Text
	ours, err := c.registry.LookupSchema(ctx, s.Subject, s.body())
	switch {
	case err != nil && !NotFound(err):
		return st, fmt.Errorf("look %s up: %w", s.Subject, withStatus(err))
	case err != nil:
		return st, nil
	}
	st.ID, st.Version, st.State = ours.ID, ours.Version, Older
	if ours.Version == newest.Version {
		st.State = Same
	}
	return st, nil
}

// Check returns why the schema and the registry's newest version of its subject
// break FULL compatibility, whatever level the subject stands under, and what the
// registry itself has against the schema.
func (c *Client) Check(ctx context.Context, s Schema) (Standing, []avro.Fault, error) {
	st, err := c.Standing(ctx, s)
	if err != nil || st.State == Unknown || st.State == Same {
		return st, nil, err
	}
	ours, err := avro.Parse(s.Text)
	if err != nil {
		return st, nil, fmt.Errorf("parse the schema of %s: %w", s.Subject, err)
	}
	newest, err := avro.Parse(st.Newest)
	if err != nil {
		return st, []avro.Fault{{Rule: "UNREADABLE", Field: "/", Detail: fmt.Sprintf("version %d: %v", st.Latest, err)}}, nil
	}
	faults := avro.Full.Check(ours, newest)
	if len(faults) > 0 || st.State == Older {
		return st, faults, nil
	}
	const all = -2 // as many as the subject's level looks at
	verdict, err := c.registry.CheckCompatibility(sr.WithParams(ctx, sr.Verbose), s.Subject, all, s.body())
	if err != nil {
		return st, nil, fmt.Errorf("check %s: %w", s.Subject, withStatus(err))
	}
	if !verdict.Is {
		for _, message := range append(verdict.Messages, "the registry refuses it") {
			faults = append(faults, avro.Fault{Rule: string(st.Level), Field: "/", Detail: message})
		}
	}
	return st, faults, nil
}

// Version is a version of a subject.
type Version struct {
	ID      int // of its schema
	Version int
	Text    string // as the registry gives it
}

// Newest returns the newest version of a subject.
func (c *Client) Newest(ctx context.Context, subject string) (Version, error) {
	v, err := c.registry.SchemaByVersion(ctx, subject, -1)
	if err != nil {
		return Version{}, fmt.Errorf("read the newest version of %s: %w", subject, withStatus(err))
	}
	return Version{ID: v.ID, Version: v.Version, Text: v.Schema.Schema}, nil
}

// TextByID returns the text that an id in front of a record names.
func (c *Client) TextByID(ctx context.Context, id int) (string, error) {
	text, err := c.registry.SchemaTextByID(ctx, id)
	if err != nil {
		return "", fmt.Errorf("read schema %d: %w", id, withStatus(err))
	}
	return text, nil
}

// Text returns a version's text as the registry gives it; -1 is the newest.
func (c *Client) Text(ctx context.Context, subject string, version int) (string, error) {
	text, err := c.registry.SchemaTextByVersion(ctx, subject, version)
	if err != nil {
		return "", fmt.Errorf("read version %d of %s: %w", version, subject, withStatus(err))
	}
	return text, nil
}
