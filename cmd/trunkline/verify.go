package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"trunkline/app"
	"trunkline/ledger"
)

func verifyCommand() *cobra.Command {
	var config, from, to string
	var asJSON bool
	var o app.VerifyOptions
	c := &cobra.Command{
		Use:   "verify",
		Short: "Prove from the topics that nothing was lost or doubled",
		Long: "Join the raw records of a range with changes, late events, dead letters and fates: each must have\n" +
			"exactly one. Follow before, after and event time of every entity through its changes. The\n" +
			"deployment may be at work meanwhile. Exit code 1 when anything is wrong.",
		Example: "  trunkline verify\n  trunkline verify --from 1h --to 5m --json\n  trunkline verify --rows   # nothing may be under way",
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(config)
			if err != nil {
				return err
			}
			now := time.Now()
			if o.From, err = parseTime("from", from, now); err == nil {
				o.To, err = parseTime("to", to, now)
			}
			if err == nil {
				err = o.Validate()
			}
			if err != nil {
				return usageError{err}
			}
			report, err := app.Verify(c.Context(), cfg, o)
			if err != nil {
				return environmentError{err}
			}
			return printLedger(c.OutOrStdout(), report, asJSON, report)
		},
	}
	f := c.Flags()
	configFlag(c, &config)
	f.StringVar(&from, "from", "", "first raw append time, RFC 3339 or how long ago (1h); default the start of the log")
	f.StringVar(&to, "to", "", "end of the raw append times, RFC 3339 or how long ago (5m); default now")
	f.DurationVar(&o.Wait, "wait", 30*time.Second, "how long fates may take that are still missing")
	f.BoolVar(&o.Rows, "rows", false, "compare the entity table with the changes, too")
	f.BoolVar(&asJSON, "json", false, "print the report as one JSON object")
	return c
}

// printLedger prints a report, or as JSON what holds it; one with findings is an
// error that has been told.
func printLedger(w io.Writer, r ledger.Report, asJSON bool, holder any) error {
	var err error
	if asJSON {
		err = json.NewEncoder(w).Encode(holder)
	} else {
		err = r.WriteText(w)
	}
	if err == nil && !r.OK {
		err = errQuiet
	}
	return err
}

// parseTime reads an RFC 3339 time or a duration before now; empty is the zero
// time.
func parseTime(name, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %q is neither an RFC 3339 time nor a duration such as 10m", name, s)
	}
	return t, nil
}
