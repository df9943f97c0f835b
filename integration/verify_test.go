package integration

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"trunkline/app"
	"trunkline/embedded"
	"trunkline/event"
	"trunkline/integration/harness"
	"trunkline/ledger"
)

// I3: `trunkline verify` balances all that a deployment holds, or the raw records
// of a range while others come in, waits for fates that are still under way, and
// tells by its exit code.
//
// Seen failing with app.Verify not taking From, not taking To, not waiting, or
// reading its later passes from the start, and with findings that end with 0.
func TestVerify(t *testing.T) {
	d := harness.StartDeployment(t)
	start := func(args ...string) *harness.Process {
		return harness.Start(t, slices.Concat([]string{"verify", "--config", d.File}, args)...)
	}
	result := func(p *harness.Process, code int) ledger.Report {
		t.Helper()
		var r ledger.Report
		p.JSON(&r)
		if got := p.Wait(); got != code || r.OK != (code == 0) {
			t.Errorf("exit code %d, want %d: %+v\n%s", got, code, r, p.Stderr())
		}
		return r
	}
	at := func(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

	edge := d.Run("edge", app.RoleIngest)
	simulate(t, edge, embedded.SimulatorConfig{Events: 100})()
	first := appendTimes(t, d.Config)
	cut := first[len(first)-1].Add(time.Millisecond)
	harness.Until(t, "what follows is later", func() bool { return time.Now().After(cut) })

	r := result(start("--wait", "0s", "--json"), 1)
	if n := int64(len(first)); r.RawRecords != n || r.NoFate.Count != n || r.Balanced || len(r.NoFate.Examples) == 0 {
		t.Errorf("without a stage at work: got %+v, want %d raw records without a fate", r, n)
	}

	earlier := start("--to", at(cut), "--wait", "2m", "--json")
	d.Run("p1", app.RoleProcess)
	sent := simulate(t, edge, embedded.SimulatorConfig{Seed: 10, Events: 200, Rate: 100})
	if r = result(earlier, 0); r.RawRecords != int64(len(first)) {
		t.Errorf("up to %s: got %d raw records, want %d", at(cut), r.RawRecords, len(first))
	}
	if r = result(start("--from", at(cut), "--wait", "2m", "--json"), 0); r.RawRecords == 0 {
		t.Errorf("from %s: got no raw records", at(cut))
	}
	sent()
	harness.Drained(t, d.Config)

	all := appendTimes(t, d.Config)
	end := all[(len(first)+len(all))/2]
	within := len(slices.DeleteFunc(slices.Clone(all[len(first):]), func(at time.Time) bool { return !at.Before(end) }))
	if r = result(start("--from", at(cut), "--to", at(end), "--json"), 0); r.RawRecords != int64(within) {
		t.Errorf("from %s to %s: got %d raw records, want %d", at(cut), at(end), r.RawRecords, within)
	}
	r = result(start("--rows", "--json"), 0)
	if r.RawRecords != int64(len(all)) || r.Fates[event.FateChange] == 0 || r.Rows == 0 {
		t.Errorf("all: got %+v, want %d raw records, changes and rows", r, len(all))
	}
	p := start()
	for line := ""; !strings.Contains(line, "the ledger balances"); { // without that line the test ends
		line = p.Line()
	}
	if got := p.Wait(); got != 0 {
		t.Errorf("exit code %d, want 0:\n%s", got, p.Stderr())
	}
}

// appendTimes lists when the raw records were appended, in order.
func appendTimes(t *testing.T, c app.Config) []time.Time {
	t.Helper()
	var times []time.Time
	for _, r := range rawRecords(t, c) {
		times = append(times, r.Time)
	}
	slices.SortFunc(times, time.Time.Compare)
	if len(times) == 0 {
		t.Fatal("there are no raw records")
	}
	return times
}

// What verify cannot do it says in one line, and tells by its exit code whose
// fault it is.
//
// Seen failing without VerifyOptions.Validate, and with errors of app.Verify that
// are not the environment's.
func TestVerifyTellsWhatIsWrong(t *testing.T) {
	closed, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableACLs()) // nobody may do anything
	if err != nil {
		t.Fatal(err)
	}
	defer closed.Close()
	file := filepath.Join(t.TempDir(), "trunkline.yaml")
	if err := app.WriteConfig(file, app.DevConfig(closed.ListenAddrs(), "http://127.0.0.1:1", 1)); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		code int
		want string // in the one line that is printed
	}{
		{"from after to", []string{"--from", "1m", "--to", "1h"}, 2, "from:"},
		{"from at to", []string{"--from", "2026-11-24T00:00:00Z", "--to", "2026-11-24T00:00:00Z"}, 2, "from:"},
		{"rows of a range", []string{"--rows", "--from", "1h"}, 2, "rows:"},
		{"from no time", []string{"--from", "yesterday"}, 2, `from: "yesterday"`},
		{"to without a unit", []string{"--to", "5"}, 2, `to: "5"`},
		{"negative wait", []string{"--wait", "-1s"}, 2, "wait:"},
		{"an argument", []string{"everything"}, 2, "arguments"},
		{"unknown flag", []string{"--form", "1h"}, 2, "--form"},
		{"no configuration", []string{"--config", "/nonexistent.yaml"}, 2, "/nonexistent.yaml"},
		{"topics out of reach", nil, 3, "not authorized"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := harness.Start(t, slices.Concat([]string{"verify", "--config", file}, tt.args)...)
			if got := p.Wait(); got != tt.code {
				t.Errorf("exit code %d, want %d", got, tt.code)
			}
			said := strings.TrimSpace(p.Stderr())
			if !strings.Contains(said, tt.want) || strings.Contains(said, "\n") {
				t.Errorf("got %q, want one line with %q", said, tt.want)
			}
		})
	}
}
