package integration

import (
	"testing"
	"time"

	"trunkline/app"
	"trunkline/embedded"
	"trunkline/integration/harness"
)

// I2, I3, I8: instances are killed while events flow; nothing is lost, nothing
// appears twice.
func TestKilledInstancesLoseAndDoubleNothing(t *testing.T) {
	const kills, events = 10, 6000
	d := harness.StartDeployment(t)
	edge := d.Run("edge", app.RoleIngest)
	workers := []*harness.Instance{d.Run("p1", app.RoleProcess), d.Run("p2", app.RoleProcess)}

	sent := simulate(t, edge, embedded.SimulatorConfig{Events: events / 2, Rate: 150})
	for kill := range kills {
		victim := workers[kill%len(workers)]
		// A kill every few seconds meets joins, recoveries and commits alike.
		pause(t, time.Duration(1+kill%3)*time.Second)
		victim.Kill()
		victim.Start()
	}
	sent()
	harness.Drained(t, d.Config)
	balance(t, d.Config)
}

// balance demands a ledger without findings.
func balance(t *testing.T, c app.Config) {
	t.Helper()
	report := ledgerOf(t, c)
	if !report.OK {
		if err := report.WriteText(t.Output()); err != nil {
			t.Error(err)
		}
		t.Error("the ledger does not balance")
	}
	if report.RawRecords == 0 || report.Changes == 0 {
		t.Errorf("got %d raw records and %d changes: nothing was tested", report.RawRecords, report.Changes)
	}
}
