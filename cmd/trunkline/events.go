package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trunkline/app"
	"trunkline/event"
)

func eventsCommand() *cobra.Command {
	return group(&cobra.Command{
		Use: "events", Short: "Tell what became of an event", Example: "  trunkline events show e-1",
	}, eventsShowCommand())
}

func eventsShowCommand() *cobra.Command {
	var config, since string
	var asJSON bool
	c := &cobra.Command{
		Use:   "show EVENT_ID",
		Short: "Tell when and where an event was accepted, and what became of it",
		Long: "Find every raw record of an event, by its event id as the mapper derives it or by an ingest id, and tell\n" +
			"the fate of each with the positions of all records. No payload is printed. Exit code 1 when there is none.",
		Example: "  trunkline events show e-1\n  trunkline events show 019a1b2c-…/0 --since 3h --json",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(config)
			if err != nil {
				return err
			}
			q := app.EventQuery{ID: args[0]}
			if q.Since, err = parseTime("since", since, time.Now()); err == nil {
				err = q.Validate()
			}
			if err != nil {
				return usageError{err}
			}
			bar := newProgress(c.ErrOrStderr(), "records")
			q.Progress = bar.show
			report, err := app.ShowEvent(c.Context(), cfg, q)
			bar.end()
			switch {
			case c.Context().Err() != nil:
				return errors.New("interrupted")
			case err != nil:
				return environmentError{err}
			case !report.Found():
				return notFound(&report)
			case asJSON:
				return json.NewEncoder(c.OutOrStdout()).Encode(report)
			default:
				_, err := io.WriteString(c.OutOrStdout(), eventText(&report))
				return err
			}
		},
	}
	configFlag(c, &config)
	c.Flags().StringVar(&since, "since", "24h", "where to begin, RFC 3339 or how long ago")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func notFound(r *app.EventReport) error {
	return fmt.Errorf("no raw record and no delivery in quarantine is of event or ingest id %q: looked at %d raw records and %d deliveries since %s; "+
		"begin earlier, such as --since 168h, or look for the entity with `trunkline tail raw.genesys --key ID`",
		r.ID, r.RawRecords, r.Deliveries, r.Since.Format(time.RFC3339))
}

func eventText(r *app.EventReport) string {
	var b strings.Builder
	for _, record := range r.Records {
		fmt.Fprintf(&b, "%s  %s\n", record.Raw, strings.Join(origin(&record), " · "))
		for _, at := range record.Canonical {
			fmt.Fprintf(&b, "  canonical event  %s\n", at)
		}
		for _, o := range record.Outcomes {
			fmt.Fprintf(&b, "  %s  %s  at %s\n", outcomeText(&o), o.At, o.Time.Format(time.RFC3339Nano))
		}
		if len(record.Outcomes) == 0 {
			b.WriteString("  no fate yet: it is under way\n")
		}
	}
	for _, d := range r.Quarantined {
		fmt.Fprintf(&b, "%s  received %s · %s/%s · ingest id %s\n  quarantined: %s; an edge releases it once its signature verifies\n",
			d.At, d.Received.Format(time.RFC3339Nano), d.Vendor, d.Tenant, d.IngestID, d.Reason)
	}
	return b.String()
}

// origin says where a raw record came from.
func origin(r *app.EventRecord) []string {
	if r.Accepted.IsZero() {
		return []string{"retention has removed the raw record", "appended " + r.Appended.Format(time.RFC3339Nano), "ingest id " + r.IngestID}
	}
	texts := []string{
		"accepted " + r.Accepted.Format(time.RFC3339Nano), r.Vendor + "/" + r.Tenant, r.Transport + ", " + r.Format,
		"ingest id " + r.IngestID,
	}
	if r.EventID == "" {
		texts = append(texts, "no mapper reads it")
	} else {
		texts = append(texts, "event id "+r.EventID, "entity "+r.Entity)
	}
	if r.RedriveOf != "" {
		texts = append(texts, "redrive of "+r.RedriveOf)
	}
	return texts
}

func outcomeText(o *app.EventOutcome) string {
	switch o.Kind {
	case event.FateChange:
		return "change " + string(o.Op)
	case event.FateDuplicate:
		return fmt.Sprintf("duplicate (%s) of %s", o.Reason, o.First)
	case event.FateDeadLetter:
		return fmt.Sprintf("dead letter of stage %s: %s, %s", o.Stage, o.Reason, o.Detail)
	case event.FateLate:
		return fmt.Sprintf("late: its event time is %s, that of %s was applied before",
			time.UnixMilli(o.TsMs).UTC().Format(time.RFC3339Nano), time.UnixMilli(o.RowMs).UTC().Format(time.RFC3339Nano))
	case event.FateUnchanged, event.FateEventOnly, event.FateFiltered, event.FateReplayed:
	}
	if o.Reason != "" {
		return fmt.Sprintf("%s (%s)", o.Kind, o.Reason)
	}
	return string(o.Kind)
}
