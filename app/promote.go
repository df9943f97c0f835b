package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"trunkline/codecs"
	"trunkline/drift"
	"trunkline/registry"
)

// PromoteOptions say which unknown field becomes a field of the canonical event.
type PromoteOptions struct {
	Query   DriftQuery // where the field must be eligible; its Field is the one
	Name    string     // empty: its path in lower snake case
	Force   bool       // also when it is not eligible
	Execute bool
}

// PromotionReport is a proposal, or what was done.
type PromotionReport struct {
	codecs.Promotion
	Seen     []drift.Field    `json:"seen"` // where the field occurs
	Registry string           `json:"registry"`
	Subjects []SchemaStanding `json:"subjects"` // with the proposed text as ours
	Executed bool             `json:"executed,omitempty"`
}

// NotPromotableError is a field that must not be promoted now.
type NotPromotableError struct{ Reason string }

func (e *NotPromotableError) Error() string { return e.Reason }

// Promote proposes the next version of every canonical subject: the one that it has,
// and the field. Without o.Execute, or with a fault in any subject, it changes
// nothing. It may be repeated: what is done is left alone, so that a failure midway
// is healed, and a subject that came later catches up on all promoted fields.
func Promote(ctx context.Context, c Config, o PromoteOptions) (PromotionReport, error) {
	c = c.withDefaults()
	report := PromotionReport{Registry: c.Registry.URL}
	report.Source = o.Query.Field
	report.Name = cmp.Or(o.Name, codecs.PromotionName(o.Query.Field))
	if report.Name == "" {
		return report, &NotPromotableError{fmt.Sprintf("field %q: no name can be made of it; give one with --name", o.Query.Field)}
	}
	if err := report.Validate(); err != nil {
		return report, &NotPromotableError{err.Error()}
	}
	var err error
	if report.Seen, err = Drift(ctx, c, o.Query); err != nil {
		return report, err
	}
	if !o.Force {
		if err := eligible(o.Query.Field, report.Seen); err != nil {
			return report, err
		}
	}
	client, err := c.Registry.client()
	if err != nil {
		return report, err
	}
	proposals, err := propose(ctx, client, c, report.Promotion)
	if err != nil {
		return report, err
	}
	for _, schema := range proposals {
		var s SchemaStanding
		if s.Standing, s.Faults, err = client.Check(ctx, schema); err == nil {
			s.Differences, err = s.Standing.Differences()
		}
		if err != nil {
			return report, fmt.Errorf("ask the registry at %s: %w", c.Registry.URL, err)
		}
		report.Subjects = append(report.Subjects, s)
	}
	refused := slices.ContainsFunc(report.Subjects, func(s SchemaStanding) bool { return len(s.Faults) > 0 })
	if !o.Execute || refused {
		return report, nil
	}
	for i, schema := range proposals {
		if err := registerProposal(ctx, client, schema); err != nil {
			return report, fmt.Errorf("%w; %d of %d subjects have the field, and the same command goes on", err, i, len(proposals))
		}
	}
	report.Executed = true
	return report, nil
}

// eligible demands that the field is eligible in every event type that is meant.
func eligible(field string, seen []drift.Field) error {
	if len(seen) == 0 {
		return &NotPromotableError{fmt.Sprintf("field %q was not seen; `trunkline schema drift` lists those that were", field)}
	}
	var faults []string
	for _, f := range seen {
		if !f.Eligible {
			faults = append(faults, fmt.Sprintf("%s %s: %s", f.Vendor, f.EventType, f.Why))
		}
	}
	if len(faults) > 0 {
		return &NotPromotableError{fmt.Sprintf("field %q is not eligible: %s; narrow it with --vendor and --type, or use --force",
			field, strings.Join(faults, "; "))}
	}
	return nil
}

// propose returns what each canonical subject is to be written by: what it has, and
// what it lacks of the fields that any of them has, and the new one.
func propose(ctx context.Context, client *registry.Client, c Config, p codecs.Promotion) ([]registry.Schema, error) {
	type subject struct {
		registry.Version
		name     string
		promoted []codecs.Promotion
	}
	var subjects []subject
	var wanted []codecs.Promotion
	for _, topic := range c.Layout().CanonicalTopics() {
		s := subject{name: topic + valueSubject}
		var err error
		if s.Version, err = client.Newest(ctx, s.name); registry.NotFound(err) {
			s.Text, err = codecs.CanonicalSchema(), nil
		}
		if err != nil {
			return nil, fmt.Errorf("ask the registry at %s: %w", c.Registry.URL, err)
		}
		if s.promoted, err = codecs.Promotions(s.Text); err != nil {
			return nil, &NotPromotableError{fmt.Sprintf("version %d of %s is not ours: %v", s.Version.Version, s.name, err)}
		}
		subjects = append(subjects, s)
		wanted = append(wanted, s.promoted...)
	}
	var schemas []registry.Schema
	for _, s := range subjects {
		all := slices.Clone(s.promoted)
		for _, w := range append(slices.Clone(wanted), p) {
			if !slices.Contains(all, w) {
				all = append(all, w)
			}
		}
		if err := codecs.CheckPromotions(all); err != nil {
			return nil, &NotPromotableError{err.Error()}
		}
		schema := registry.Schema{Subject: s.name, Text: s.Text}
		if len(all) > len(s.promoted) { // another text of the same fields would be another version
			var err error
			if schema.Text, err = codecs.Promote(all); err != nil {
				return nil, err
			}
		}
		schemas = append(schemas, schema)
	}
	slices.SortFunc(schemas, func(a, b registry.Schema) int { return strings.Compare(a.Subject, b.Subject) })
	return schemas, nil
}

// registerProposal puts our own version first, so that every subject has it.
func registerProposal(ctx context.Context, client *registry.Client, s registry.Schema) error {
	for _, text := range []string{codecs.CanonicalSchema(), s.Text} {
		if _, err := client.Register(ctx, registry.Schema{Subject: s.Subject, Text: text}); err != nil {
			return err
		}
	}
	return nil
}
