package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestMistakes checks that a mistake in a command line ends with exit code 2 and a
// word that helps.
func TestMistakes(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "trunkline.yaml")
	tests := []struct{ line, want string }{
		{"nothing", `unknown command "nothing"; see trunkline --help`},
		{"dlq nothing", `unknown command "nothing"; see trunkline dlq --help`},
		{"topics diff --nothing", "see trunkline topics diff --help"},
		{"verify everything", "got 1 arguments, want 0"},
		{"schema diff a b", "want 1 at most"},
	}
	for _, line := range []string{"dlq list", "dlq show dead-letters/0/0", "dlq replay", "events show e-1", "register genesys", "run", "schema check", "schema show s", "tail changes", "topics apply", "topology", "verify"} {
		tests = append(tests, struct{ line, want string }{line + " --config " + missing, "name the file with --config"})
	}
	for _, tt := range tests {
		var stdout, stderr bytes.Buffer
		if code := execute(t.Context(), strings.Fields(tt.line), &stdout, &stderr); code != exitUsage || !strings.Contains(stderr.String(), tt.want) || stdout.Len() > 0 {
			t.Errorf("%s: exit code %d, said %q, want %d and %q", tt.line, code, stderr.String(), exitUsage, tt.want)
		}
	}
}

// TestCommandsAreAlike checks that every command shows itself in an example, and that
// what all of them have means the same everywhere.
func TestCommandsAreAlike(t *testing.T) {
	flags := map[string]string{"config": "configuration file", "execute": "do it", "json": "print "}
	var check func(c *cobra.Command)
	check = func(c *cobra.Command) {
		if !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s: the example %q does not show it", c.CommandPath(), c.Example)
		}
		for name, want := range flags {
			if f := c.Flags().Lookup(name); f != nil && (!strings.HasPrefix(f.Usage, want) || strings.Contains(f.Usage, "`")) {
				t.Errorf("%s --%s: %q, want %q and no type of its own", c.CommandPath(), name, f.Usage, want)
			}
		}
		for _, of := range c.Commands() {
			check(of)
		}
	}
	for _, c := range rootCommand().Commands() {
		check(c)
	}
}
