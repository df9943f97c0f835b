package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"

	"github.com/spf13/cobra"

	"trunkline/app"
	"trunkline/ingest/registration"
)

// Exit codes. A process that a signal asked to end, and that drained, ends with
// 0; one that a second signal kills ends with 128+n.
const (
	exitOK          = 0
	exitRuntime     = 1
	exitUsage       = 2
	exitEnvironment = 3 // broker, registry, vendor, port or data dir cannot be had
)

// usageError is a mistake in flags, arguments or configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// environmentError is something outside the program that is missing.
type environmentError struct{ error }

// errQuiet ends with exitRuntime after the command has said all there is to say; in
// a usageError, with exitUsage.
var errQuiet = errors.New("see above")

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && !errors.Is(err, errQuiet) {
		fmt.Fprintln(stderr, "trunkline:", err)
	}
	return exitCode(err)
}

func rootCommand() *cobra.Command {
	root := group(&cobra.Command{
		Use:           "trunkline",
		Short:         "Contact-centre events as trustworthy change streams on Kafka",
		Long:          "Trunkline takes events of Genesys Cloud CX and NICE CXone and writes, exactly once,\nDebezium change records and canonical events to Kafka.",
		SilenceErrors: true,
		SilenceUsage:  true,
	}, devCommand(), dlqCommand(), eventsCommand(), registerCommand(), runCommand(), schemaCommand(), tailCommand(),
		topicsCommand(), topologyCommand(), verifyCommand(), versionCommand())
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, c.CommandPath())}
	})
	return root
}

func exitCode(err error) int {
	var usage usageError
	var environment environmentError
	var addr *app.AddrError
	var setUp *app.SetUpError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &environment), errors.As(err, &addr), errors.As(err, &setUp), errors.Is(err, app.ErrHeld), errors.Is(err, registration.ErrUnavailable):
		return exitEnvironment
	default:
		return exitRuntime
	}
}

// group makes c a command that holds others; alone it prints its help.
func group(c *cobra.Command, of ...*cobra.Command) *cobra.Command {
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError{fmt.Errorf("unknown command %q; see %s --help", args[0], c.CommandPath())}
		}
		return nil
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	c.AddCommand(of...)
	return c
}

// exactly is cobra.ExactArgs with our exit code.
func exactly(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("got %d arguments, want %d; see %s --help", len(args), n, c.CommandPath())}
		}
		return nil
	}
}

// atMost is cobra.MaximumNArgs with our exit code.
func atMost(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > n {
			return usageError{fmt.Errorf("got %d arguments, want %d at most; see %s --help", len(args), n, c.CommandPath())}
		}
		return nil
	}
}

// logger writes JSON lines; normal work is silent.
func logger(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Example: "  trunkline version", Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			version, revision := "development", ""
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						revision = " " + s.Value
					}
				}
				fmt.Fprintf(c.OutOrStdout(), "trunkline %s%s %s\n", version, revision, info.GoVersion)
			}
			return nil
		},
	}
}
