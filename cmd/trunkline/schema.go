package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"trunkline/app"
	"trunkline/registry"
)

func schemaCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "schema",
		Short: "Compare what this program writes by with what the registry holds",
		Long: "Compare the schemas that this program writes by with those of the registry. Every subject stands\n" +
			"under FULL compatibility: old readers read new records, new readers old ones.",
		Example: "  trunkline schema check && trunkline schema register --execute",
	}, schemaListCommand(), schemaShowCommand(), schemaDiffCommand(), schemaRegisterCommand(), schemaCheckCommand(),
		schemaDriftCommand(), schemaPromoteCommand())
}

// schemaFlags are those of every command about schemas.
type schemaFlags struct {
	config string
	json   bool
}

func (f *schemaFlags) add(c *cobra.Command) {
	configFlag(c, &f.config)
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON object")
}

// standings asks the registry about the subject that args may name, or about all.
func (f *schemaFlags) standings(c *cobra.Command, args []string) (app.Config, []app.SchemaStanding, error) {
	cfg, err := loadConfig(f.config)
	if err != nil {
		return cfg, nil, err
	}
	subject := ""
	if len(args) > 0 {
		subject = args[0]
	}
	all, err := app.SchemaStandings(c.Context(), cfg, subject)
	return cfg, all, schemaError(err)
}

// schemaError tells whose fault an error is.
func schemaError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*app.UnknownSubjectError)), errors.As(err, new(*registry.IncompatibleError)), registry.NotFound(err):
		return usageError{err}
	default:
		return environmentError{err}
	}
}

// schemaReport is what the commands print with --json.
type schemaReport struct {
	Registry string               `json:"registry"`
	Subjects []app.SchemaStanding `json:"subjects"`
	Executed bool                 `json:"executed,omitempty"` // register only
}

func schemaListCommand() *cobra.Command {
	var f schemaFlags
	c := &cobra.Command{
		Use: "list", Short: "List what is written by and how the registry knows it",
		Long: "List every subject that this program writes under: whether its text is the registry's newest version\n" +
			"(same), an older one (older), none (changed), or the subject is unknown; the compatibility level; the id.",
		Example: "  trunkline schema list --json", Args: exactly(0),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, all, err := f.standings(c, args)
			if err != nil {
				return err
			}
			if f.json {
				return json.NewEncoder(c.OutOrStdout()).Encode(schemaReport{Registry: cfg.Registry.URL, Subjects: all})
			}
			return writeStandings(c.OutOrStdout(), all)
		},
	}
	f.add(c)
	return c
}

func writeStandings(out io.Writer, all []app.SchemaStanding) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SUBJECT\tSTATE\tLEVEL\tID\tVERSION\tNEWEST")
	for _, s := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Subject, s.State, s.Level, some(s.ID), some(s.Version), some(s.Latest))
	}
	return w.Flush()
}

// some is a number, or a dash for none.
func some(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

func schemaShowCommand() *cobra.Command {
	var f schemaFlags
	var version string
	c := &cobra.Command{
		Use: "show SUBJECT", Short: "Print the text of a schema",
		Long:    "Print the text that this program writes by, byte for byte, or with --version one of the registry's.",
		Example: "  trunkline schema show genesys.config.changes-value\n  trunkline schema show genesys.config.changes-value --version latest",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(f.config)
			if err != nil {
				return err
			}
			var text string
			if version == "" {
				schemas, err := app.WrittenSchemas(cfg, args[0])
				if err != nil {
					return schemaError(err)
				}
				text = schemas[0].Text
			} else {
				n, err := parseVersion(version)
				if err != nil {
					return usageError{err}
				}
				if text, err = app.RegisteredSchema(c.Context(), cfg, args[0], n); err != nil {
					return schemaError(err)
				}
			}
			if f.json {
				return json.NewEncoder(c.OutOrStdout()).Encode(map[string]string{"subject": args[0], "text": text})
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), text)
			return err
		},
	}
	f.add(c)
	c.Flags().StringVar(&version, "version", "", "a version of the registry, or latest")
	return c
}

// parseVersion reads a version; the newest is -1.
func parseVersion(s string) (int, error) {
	if s == "latest" {
		return -1, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("version: %q is neither a number from 1 nor latest", s)
	}
	return n, nil
}

func schemaDiffCommand() *cobra.Command {
	var f schemaFlags
	c := &cobra.Command{
		Use: "diff [SUBJECT]", Short: "Show where our texts and the registry's newest differ",
		Long: "Show every place where what this program writes by and the registry's newest version say different\n" +
			"things. Exit code 1 when anything differs.",
		Example: "  trunkline schema diff", Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, all, err := f.standings(c, args)
			if err != nil {
				return err
			}
			if f.json {
				err = json.NewEncoder(c.OutOrStdout()).Encode(schemaReport{Registry: cfg.Registry.URL, Subjects: all})
			} else {
				writeDifferences(c.OutOrStdout(), all)
			}
			for _, s := range all {
				if s.State != registry.Same && err == nil {
					err = errQuiet
				}
			}
			return err
		},
	}
	f.add(c)
	return c
}

// writeDifferences returns how many subjects differ.
func writeDifferences(out io.Writer, all []app.SchemaStanding) (differ int) {
	for _, s := range all {
		switch s.State {
		case registry.Same:
			continue
		case registry.Unknown:
			fmt.Fprintf(out, "%s: the registry does not know it\n", s.Subject)
		default:
			fmt.Fprintf(out, "%s: the registry's version %d is another\n", s.Subject, s.Latest)
		}
		differ++
		for _, d := range s.Differences {
			if d.Registry != nil {
				fmt.Fprintf(out, "  - %s %s\n", d.Path, d.Registry)
			}
			if d.Ours != nil {
				fmt.Fprintf(out, "  + %s %s\n", d.Path, d.Ours)
			}
		}
	}
	return differ
}
