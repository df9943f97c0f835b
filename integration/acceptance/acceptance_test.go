package acceptance

import (
	"flag"
	"os"
	"testing"
	"time"

	"trunkline/app"
	"trunkline/codecs"
	"trunkline/event"
	"trunkline/integration/harness"
)

var (
	seed   = flag.Int64("seed", 0, "seed of the traffic; 0 takes one from the clock")
	events = flag.Int("events", 6000, "deliveries of each run")
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// Both vendors create, update and delete, out of order and twice. Then the tables of
// Debezium's sink, the fold of the change topics and the view API hold the same rows;
// Debezium's checks and our ledger find nothing (I3 to I5). Once with Connect's JSON,
// once with Avro and the schemas as a registry of others holds them.
func TestConsumersAccept(t *testing.T) {
	if !harness.Real() {
		t.Skip("Debezium's sink into PostgreSQL and Debezium's own checks: make test-real")
	}
	needs(t)
	if *seed == 0 {
		*seed = time.Now().UnixNano() % 1e6
	}
	t.Logf("seed %d: make acceptance EVENTS=%d SEED=%[1]d sends the same events", *seed, *events)
	for _, format := range []codecs.Format{codecs.FormatJSON, codecs.FormatAvro} {
		t.Run(string(format), func(t *testing.T) { accept(t, format) })
	}
}

func accept(t *testing.T, format codecs.Format) {
	t.Helper()
	d := start(t, format)
	began := time.Now()
	ids := send(t, d.all.Addrs["edge"], *seed, *events)
	harness.Drained(t, d.Config, d.all.Addrs["metrics"])
	drained := time.Since(began)

	report, err := app.Verify(t.Context(), d.Config, app.VerifyOptions{Rows: true, Wait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK {
		if err := report.WriteText(t.Output()); err != nil {
			t.Error(err)
		}
		t.Error("the ledger found what no consumer would")
	}
	folded, err := foldChanges(t.Context(), d.Config)
	if err != nil {
		t.Fatal(err)
	}
	if folded.ops[event.Create] == 0 || folded.ops[event.Update] == 0 || folded.ops[event.Delete] == 0 || folded.nulls == 0 ||
		report.Fates[event.FateDuplicate] == 0 || report.Fates[event.FateLate] == 0 {
		t.Errorf("changes %v, fates %v: not everything was tested", folded.ops, report.Fates)
	}

	d.sunk(folded)
	sunk := time.Since(began)
	inTables, err := d.sunkRows(folded)
	if err != nil {
		t.Fatal(err)
	}
	complain(t, "the sink's tables", unlike(inTables, folded.rows))
	inView, err := d.viewRows(folded, ids)
	if err != nil {
		t.Fatal(err)
	}
	complain(t, "the view API", unlike(inView, folded.withoutNames()))

	verified := time.Now()
	v := d.verify()
	checked := time.Since(verified)
	if v.Violations > 0 || v.Records["tombstone"] != folded.nulls {
		t.Errorf("Debezium's checks: got %d violations and %d tombstones, want none and %d\n%s",
			v.Violations, v.Records["tombstone"], folded.nulls, v.said)
	}
	for op, n := range folded.ops {
		if v.Records[string(op)] != n {
			t.Errorf("Debezium's checks saw %d records of %s, want %d", v.Records[string(op)], op, n)
		}
	}
	if format == codecs.FormatJSON {
		d.verifyForged()
	}
	t.Logf("%s: %d raw records, changes %v, %d rows; drained after %.0f s, in the tables after %.0f s; %v checked by Debezium in %.0f s",
		format, report.RawRecords, folded.ops, len(folded.rows), drained.Seconds(), sunk.Seconds(), v.Records, checked.Seconds())
}

func complain(t *testing.T, who string, faults []string) {
	t.Helper()
	if len(faults) == 0 {
		return
	}
	t.Errorf("%s: %d rows are not the fold of the changes", who, len(faults))
	for _, fault := range faults[:min(10, len(faults))] {
		t.Error(fault)
	}
}
