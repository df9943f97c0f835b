package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"trunkline/app"
	"trunkline/drift"
)

// driftFlags say which unknown fields are meant.
type driftFlags struct {
	schemaFlags
	query app.DriftQuery
	since string
}

func (f *driftFlags) add(c *cobra.Command) {
	f.schemaFlags.add(c)
	c.Flags().StringVar(&f.query.Vendor, "vendor", "", "only of this vendor")
	c.Flags().StringVar(&f.query.Type, "type", "", "only of this event type")
	c.Flags().IntVar(&f.query.Days, "days", drift.Days, "days of consistent type and use that make a field eligible")
}

// read loads the configuration and checks the query.
func (f *driftFlags) read() (app.Config, error) {
	cfg, err := app.LoadConfig(f.config)
	if err == nil && f.since != "" {
		f.query.Since, err = parseTime("since", f.since, time.Now())
	}
	if err == nil {
		err = f.query.Validate()
	}
	if err != nil {
		return cfg, usageError{err}
	}
	return cfg, nil
}

// driftReport is what the command prints with --json.
type driftReport struct {
	Days   int           `json:"days"`
	Fields []drift.Field `json:"fields"`
}

func schemaDriftCommand() *cobra.Command {
	var f driftFlags
	c := &cobra.Command{
		Use: "drift", Short: "List the fields that vendors send and no mapper knows",
		Long: "List every unknown field by vendor, event type and name: on how many days it was seen, how often, with\n" +
			"values of which JSON types, for which tenants, and whether it may be promoted. Days are those of the raw log.",
		Example: "  trunkline schema drift --vendor genesys --since 24h", Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := f.read()
			if err != nil {
				return err
			}
			fields, err := app.Drift(c.Context(), cfg, f.query)
			if err != nil {
				return environmentError{err}
			}
			if f.json {
				return json.NewEncoder(c.OutOrStdout()).Encode(driftReport{Days: f.query.Days, Fields: append([]drift.Field{}, fields...)})
			}
			return writeDrift(c.OutOrStdout(), fields)
		},
	}
	f.add(c)
	c.Flags().StringVar(&f.since, "since", "", "only what was seen since, RFC 3339 or how long ago")
	return c
}

func writeDrift(out io.Writer, fields []drift.Field) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "VENDOR\tEVENT TYPE\tFIELD\tFIRST SEEN\tLAST SEEN\tDAYS\tCOUNT\tTYPES\tTENANTS\tELIGIBLE")
	for _, f := range fields {
		tenants, eligible := strings.Join(f.Tenants, ","), "yes"
		if f.MoreTenants {
			tenants += ",…"
		}
		if !f.Eligible {
			eligible = "no: " + f.Why
		}
		fmt.Fprintf(w, "%s\t%s\t%q\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", f.Vendor, f.EventType, f.Field,
			f.FirstSeen.Format(time.DateOnly), f.LastSeen.Format(time.DateOnly), f.Days, f.Count, strings.Join(f.Types, ","), tenants, eligible)
	}
	return w.Flush()
}
