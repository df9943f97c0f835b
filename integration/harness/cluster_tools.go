package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Shell runs a command line as an operator would type it; kafka-configs.sh in it
// is Kafka's own.
func (c *Cluster) Shell(t testing.TB, line string) {
	t.Helper()
	b, dir := c.brokers[0], t.TempDir()
	java := strings.Join(b.java(c.jars, "kafka.admin.ConfigCommand").Args, "' '")
	script := fmt.Sprintf("#!/bin/sh\nexec '%s' \"$@\"\n", java)
	if err := os.WriteFile(filepath.Join(dir, "kafka-configs.sh"), []byte(script), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	shell := exec.CommandContext(t.Context(), "bash", "-c", line) //nolint:gosec // what our own binary said
	shell.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	if out, err := shell.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}
