package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"trunkline/app"
	"trunkline/event"
)

func dlqCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "dlq",
		Short: "List, show and replay dead letters",
		Long: "Dead letters are events that could not be read or applied, whole. A letter that was redriven and died\n" +
			"again is one lineage with its next attempt; what is listed and replayed is the newest letter of each.",
		Example: "  trunkline dlq list\n  trunkline dlq show dead-letters/3/41\n  trunkline dlq replay --reason unknown_tenant --execute",
	}, dlqListCommand(), dlqShowCommand(), dlqReplayCommand())
}

// letterFlags are what chooses letters.
type letterFlags struct {
	config, reason, since, until string
	filter                       app.LetterFilter
}

func (f *letterFlags) register(c *cobra.Command) {
	flags := c.Flags()
	configFlag(c, &f.config)
	var reasons []string
	for _, r := range event.Reasons {
		reasons = append(reasons, string(r))
	}
	flags.StringVar(&f.reason, "reason", "", "only letters of this reason: "+strings.Join(reasons, ", "))
	flags.StringVar(&f.filter.Tenant, "tenant", "", "only letters of this tenant")
	flags.StringVar(&f.filter.Vendor, "vendor", "", "only letters of this vendor")
	flags.StringVar(&f.filter.Stage, "stage", "", "only letters of this stage: "+strings.Join(app.LetterStages, ", "))
	flags.StringVar(&f.since, "since", "", "only letters since then, RFC 3339 or how long ago (1h)")
	flags.StringVar(&f.until, "until", "", "only letters before then, RFC 3339 or how long ago (5m)")
}

// parse reads the configuration and what the flags and positions choose.
func (f *letterFlags) parse(positions []string) (app.Config, error) {
	cfg, err := loadConfig(f.config)
	if err != nil {
		return app.Config{}, err
	}
	now := time.Now()
	f.filter.Reason = event.Reason(f.reason)
	if f.filter.Since, err = parseTime("since", f.since, now); err == nil {
		f.filter.Until, err = parseTime("until", f.until, now)
	}
	for _, s := range positions {
		at, parseErr := event.ParsePosition(s)
		err = errors.Join(err, parseErr)
		f.filter.At = append(f.filter.At, at)
	}
	if err == nil {
		err = f.filter.Validate()
	}
	if err != nil {
		return app.Config{}, usageError{err}
	}
	return cfg, nil
}

func dlqListCommand() *cobra.Command {
	var f letterFlags
	var each, asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "Count dead letters by what they died of",
		Long: "Count dead letters by reason, stage, vendor and tenant: open ones, and those that were redriven and have\n" +
			"not died again. With --each one line for each letter. No payload is printed.",
		Example: "  trunkline dlq list --since 24h\n  trunkline dlq list --each --reason missing_field --tenant acme\n  trunkline dlq list --json",
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := f.parse(nil)
			if err != nil {
				return err
			}
			letters, err := app.Letters(c.Context(), cfg, f.filter)
			if err != nil {
				return environmentError{err}
			}
			if each {
				return printEach(c.OutOrStdout(), letters, asJSON, letterRow)
			}
			return printEach(c.OutOrStdout(), app.GroupLetters(letters), asJSON, groupRow)
		},
	}
	f.register(c)
	c.Flags().BoolVar(&each, "each", false, "print each letter")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, one object a line")
	return c
}

// printEach prints a table, or JSON lines. The row of a nil item is the head.
func printEach[T any](w io.Writer, items []T, asJSON bool, row func(*T) []string) error {
	if asJSON {
		out := json.NewEncoder(w)
		for _, item := range items {
			if err := out.Encode(item); err != nil {
				return err
			}
		}
		return nil
	}
	if len(items) == 0 {
		_, err := fmt.Fprintln(w, "no dead letters")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(row(nil), "\t"))
	for i := range items {
		fmt.Fprintln(t, strings.Join(row(&items[i]), "\t"))
	}
	return t.Flush()
}

func groupRow(g *app.LetterGroup) []string {
	if g == nil {
		return []string{"OPEN", "REDRIVEN", "REASON", "STAGE", "VENDOR", "TENANT", "ATTEMPTS", "FIRST", "LAST", "NEWEST"}
	}
	return []string{
		fmt.Sprint(g.Open), fmt.Sprint(g.Redriven), string(g.Reason), g.Stage, g.Vendor, g.Tenant, fmt.Sprint(g.Attempts),
		g.First.Format(time.RFC3339), g.Last.Format(time.RFC3339), g.Newest,
	}
}

func letterRow(l *app.Letter) []string {
	if l == nil {
		return []string{"POSITION", "TIME", "STATE", "REASON", "STAGE", "VENDOR", "TENANT", "ATTEMPT", "INGEST ID", "DETAIL"}
	}
	return []string{
		l.Position, l.Time.Format(time.RFC3339), letterState(l), string(l.Reason), l.Stage, l.Vendor, l.Tenant,
		fmt.Sprint(l.Attempt), l.IngestID, l.Detail,
	}
}

func letterState(l *app.Letter) string {
	if l.Redriven {
		return "redriven"
	}
	return "open"
}

func dlqShowCommand() *cobra.Command {
	var config string
	var body, asJSON bool
	c := &cobra.Command{
		Use:   "show POSITION",
		Short: "Show one dead letter: its headers, or its original bytes",
		Long: "Show the headers of the dead letter at topic/partition/offset. Its bytes are what the vendor sent, which\n" +
			"may be personal data: only --body prints them, alone and unaltered.",
		Example: "  trunkline dlq show dead-letters/3/41\n  trunkline dlq show dead-letters/3/41 --body > letter.json",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			f := letterFlags{config: config}
			cfg, err := f.parse(args)
			if err != nil {
				return err
			}
			view, err := app.ShowLetter(c.Context(), cfg, f.filter.At[0], body)
			switch {
			case errors.Is(err, app.ErrNoLetter), errors.Is(err, app.ErrOriginalGone):
				return err
			case err != nil:
				return environmentError{err}
			}
			return printLetter(c.OutOrStdout(), &view, body, asJSON)
		},
	}
	configFlag(c, &config)
	c.Flags().BoolVar(&body, "body", false, "print the original bytes")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object, with --body the bytes in base64")
	return c
}

func printLetter(w io.Writer, view *app.LetterView, body, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(struct {
			app.Letter
			Headers map[string]string `json:"headers"`
			Body    []byte            `json:"body,omitempty"`
		}{view.Letter, view.Headers, view.Body})
	}
	if body {
		_, err := w.Write(view.Body)
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"position", view.Position}, {"time", view.Time.Format(time.RFC3339Nano)}, {"state", letterState(&view.Letter)},
		{"size", fmt.Sprint(view.Size, " bytes")},
	} {
		fmt.Fprintf(t, "%s\t%s\n", line[0], line[1])
	}
	for _, name := range slices.Sorted(maps.Keys(view.Headers)) {
		fmt.Fprintf(t, "%s\t%s\n", name, view.Headers[name])
	}
	return t.Flush()
}

func dlqReplayCommand() *cobra.Command {
	var f letterFlags
	var asJSON bool
	var o app.ReplayOptions
	c := &cobra.Command{
		Use:   "replay [POSITION...]",
		Short: "Send dead letters back to the raw topic that they came from",
		Long: "Send the original bytes of open dead letters back to their raw topic: all of them, those that the flags\n" +
			"choose, or those at the given positions. Each ends once more in exactly one fate. Without --execute\n" +
			"nothing is written and what would be done is told. A replay that was interrupted or killed is given\n" +
			"again: it goes on where it stopped. Exit code 1 when letters are left that cannot be redriven.",
		Example: "  trunkline dlq replay --reason unknown_tenant --tenant acme\n  trunkline dlq replay dead-letters/3/41 --execute\n" +
			"  trunkline dlq replay --since 24h --rate 50 --execute",
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := f.parse(args)
			if err != nil {
				return err
			}
			if o.LetterFilter = f.filter; o.Rate < 0 {
				return usageError{o.Validate()}
			}
			bar := newProgress(c.ErrOrStderr(), "letters")
			o.Progress = bar.show
			report, err := app.Replay(c.Context(), cfg, o)
			bar.end()
			switch {
			case c.Context().Err() != nil:
				return err
			case err != nil:
				return environmentError{err}
			}
			return printReplay(c.OutOrStdout(), &report, asJSON)
		},
	}
	f.register(c)
	c.Flags().BoolVar(&o.Execute, "execute", false, "do it")
	c.Flags().IntVar(&o.Rate, "rate", 500, "letters a second; 0 is as fast as Kafka takes them")
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as one JSON object")
	return c
}

func printReplay(w io.Writer, r *app.ReplayReport, asJSON bool) error {
	var err error
	if asJSON {
		err = json.NewEncoder(w).Encode(r)
	} else {
		_, err = io.WriteString(w, replayText(r))
	}
	if err == nil && len(r.Left) > 0 {
		err = errQuiet
	}
	return err
}

func replayText(r *app.ReplayReport) string {
	var b strings.Builder
	verb := "would be redriven; --execute does it"
	if r.Executed {
		verb = "redriven"
	}
	fmt.Fprintf(&b, "%d of %d open letters %s\n", r.Redriven, r.Letters, verb)
	if r.Earlier > 0 {
		fmt.Fprintf(&b, "%d were redriven earlier and have not died again\n", r.Earlier)
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Refused)) {
		fmt.Fprintf(&b, "%d of them this program cannot read either: %s\n", r.Refused[reason], reason)
	}
	for _, left := range r.Left {
		fmt.Fprintf(&b, "%d NOT REDRIVEN, such as %s: %s\n", left.Count, left.Newest, left.Why)
	}
	return b.String()
}
