package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"trunkline/app"
	"trunkline/registry"
)

func schemaCheckCommand() *cobra.Command {
	var f schemaFlags
	c := &cobra.Command{
		Use: "check [SUBJECT]", Short: "Refuse a release whose schemas break FULL compatibility",
		Long: "Check every schema that this program writes by against the registry's newest version, under FULL\n" +
			"whatever level the subject stands under, and by the registry's own rules. Nothing is changed.\n" +
			"Exit code 2 when a schema is refused; each fault names subject, rule and field.",
		Example: "  trunkline schema check   # the gate of a deployment", Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, all, err := f.standings(c, args)
			if err != nil {
				return err
			}
			if f.json {
				if err := json.NewEncoder(c.OutOrStdout()).Encode(schemaReport{Registry: cfg.Registry.URL, Subjects: all}); err != nil {
					return err
				}
				return refused(all)
			}
			if writeFaults(c.OutOrStdout(), all); refused(all) != nil {
				return refused(all)
			}
			fmt.Fprintf(c.OutOrStdout(), "%d schemas are compatible\n", len(all))
			return nil
		},
	}
	f.add(c)
	return c
}

// refused is an error that has been told, if any schema has a fault.
func refused(all []app.SchemaStanding) error {
	for _, s := range all {
		if len(s.Faults) > 0 {
			return usageError{errQuiet}
		}
	}
	return nil
}

func writeFaults(out io.Writer, all []app.SchemaStanding) {
	for _, s := range all {
		for _, f := range s.Faults {
			fmt.Fprintf(out, "%s: against version %d: %s\n", s.Subject, s.Latest, f)
		}
	}
}

func schemaRegisterCommand() *cobra.Command {
	var f schemaFlags
	var execute bool
	c := &cobra.Command{
		Use: "register", Short: "Register what this program writes by, as its start would",
		Long: "Put every subject under FULL compatibility and register what this program writes by. Without --execute\n" +
			"it only says what it would do. Exit code 2 when a schema is refused; then nothing is registered.",
		Example: "  trunkline schema register\n  trunkline schema register --execute", Args: exactly(0),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, all, err := f.standings(c, args)
			if err != nil {
				return err
			}
			report := schemaReport{Registry: cfg.Registry.URL, Subjects: all, Executed: execute && refused(all) == nil}
			if report.Executed {
				if err := app.RegisterSchemas(c.Context(), cfg); err != nil {
					return schemaError(err)
				}
			}
			if f.json {
				err = json.NewEncoder(c.OutOrStdout()).Encode(report)
			} else {
				writeFaults(c.OutOrStdout(), all)
				writeRegistration(c.OutOrStdout(), report)
			}
			if err != nil {
				return err
			}
			return refused(all)
		},
	}
	f.add(c)
	c.Flags().BoolVar(&execute, "execute", false, "do it")
	return c
}

func writeRegistration(out io.Writer, r schemaReport) {
	would, todo := "would ", 0
	if r.Executed {
		would = ""
	}
	for _, s := range r.Subjects {
		if !registry.Full(s.Level) || s.State == registry.Unknown {
			todo++
			fmt.Fprintf(out, "%sset FULL compatibility of %s\n", would, s.Subject)
		}
		if s.State == registry.Unknown || s.State == registry.Changed {
			todo++
			fmt.Fprintf(out, "%sregister %s as version %d\n", would, s.Subject, s.Latest+1)
		}
	}
	switch {
	case todo == 0:
		fmt.Fprintf(out, "%d schemas are registered\n", len(r.Subjects))
	case !r.Executed:
		fmt.Fprintln(out, "nothing was changed; --execute does it")
	}
}
