package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"trunkline/app"
	"trunkline/registry"
)

func schemaPromoteCommand() *cobra.Command {
	var f driftFlags
	var o app.PromoteOptions
	c := &cobra.Command{
		Use: "promote FIELD", Short: "Make an unknown field a field of the canonical event",
		Long: "Propose the next version of every canonical subject, with an optional field for FIELD as `schema drift`\n" +
			"lists it, check each for FULL compatibility, and register them with --execute. Processes fill the field from\n" +
			"their next start on. A command that failed midway is repeated. Exit code 2 when the field is not eligible or a\n" +
			"schema is refused; then nothing is registered.",
		Example: "  trunkline schema promote x_queueName\n  trunkline schema promote x_queueName --execute", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := f.read()
			if err != nil {
				return err
			}
			o.Query = f.query
			o.Query.Field = args[0]
			report, err := app.Promote(c.Context(), cfg, o)
			if errors.As(err, new(*app.NotPromotableError)) {
				return usageError{err}
			}
			if err != nil {
				return schemaError(err)
			}
			if f.json {
				err = json.NewEncoder(c.OutOrStdout()).Encode(report)
			} else {
				writeFaults(c.OutOrStdout(), report.Subjects)
				writePromotion(c.OutOrStdout(), &report)
			}
			if err != nil {
				return err
			}
			return refused(report.Subjects)
		},
	}
	f.add(c)
	c.Flags().StringVar(&o.Name, "name", "", "name of the field; otherwise its path in lower snake case")
	c.Flags().BoolVar(&o.Force, "force", false, "also where the field is not eligible")
	c.Flags().BoolVar(&o.Execute, "execute", false, "do it")
	return c
}

func writePromotion(out io.Writer, r *app.PromotionReport) {
	if r.Executed {
		for _, s := range r.Subjects {
			if s.State != registry.Same {
				fmt.Fprintf(out, "registered %s as version %d\n", s.Subject, max(s.Latest, 1)+1)
			}
		}
		fmt.Fprintf(out, "%d subjects have field %q, filled from %q by every process that starts from now on\n", len(r.Subjects), r.Name, r.Source)
		return
	}
	todo := writeDifferences(out, r.Subjects)
	if todo == 0 {
		fmt.Fprintf(out, "%d subjects have field %q\n", len(r.Subjects), r.Name)
		return
	}
	fmt.Fprintln(out, "nothing was changed; --execute does it")
}
