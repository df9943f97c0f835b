package acceptance

import (
	"bytes"
	"encoding/json"
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

// Debezium's sink reads our changes as Connect's JSON, without a registry.
func TestConsumersAcceptJSON(t *testing.T) { accept(t, codecs.FormatJSON) }

// Debezium's sink reads our changes as Avro, with the schemas that a registry of
// others holds.
func TestConsumersAcceptAvro(t *testing.T) { accept(t, codecs.FormatAvro) }

// accept lets both vendors create, update and delete, out of order and twice, and
// holds what consumers make of it against each other: the tables of the sink, the
// fold of the change topics and the view API hold the same rows; Debezium's checks
// and our ledger find nothing.
func accept(t *testing.T, format codecs.Format) {
	t.Helper()
	if !harness.Real() {
		t.Skip("Debezium's sink into PostgreSQL and Debezium's own checks: make test-real")
	}
	if *seed == 0 {
		*seed = time.Now().UnixNano() % 1e6
	}
	t.Logf("seed %d: make acceptance EVENTS=%d SEED=%[1]d sends the same events", *seed, *events)
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
	complain(t, "the view API", unlike(inView, folded.rows.withoutNames()))

	verified := time.Now()
	v := d.verify()
	if v.Violations > 0 || v.Records["tombstone"] != folded.nulls {
		t.Errorf("Debezium's checks: got %+v, want no violation and %d tombstones", v, folded.nulls)
	}
	for op, n := range folded.ops {
		if v.Records[string(op)] != n {
			t.Errorf("Debezium's checks saw %d records of %s, want %d", v.Records[string(op)], op, n)
		}
	}
	t.Logf("%s: %d raw records, changes %v, %d rows; drained after %.0f s, in the tables after %.0f s; %v checked by Debezium in %.0f s",
		format, report.RawRecords, folded.ops, len(folded.rows), drained.Seconds(), sunk.Seconds(), v.Records, time.Since(verified).Seconds())
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

// verdict is what Verify.java prints.
type verdict struct {
	Violations int
	Records    map[string]int // by op
}

// verify has Debezium check every record of the change topics.
func (d *deployment) verify() (v verdict) {
	d.t.Helper()
	jars := harness.Tools(d.t, "debezium") + "/*:" + harness.Tools(d.t, "avro") + "/*"
	// Debezium's tests name classes of a registry that are not there, and must then
	// not be verified.
	cmd := d.java("-Xmx512m", "-Duse.apicurio=true", "-XX:+UnlockDiagnosticVMOptions", "-XX:-BytecodeVerificationRemote",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", jars, "Verify.java", d.file)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if err == nil {
		err = json.Unmarshal(lines[len(lines)-1], &v)
	}
	if err != nil || v.Violations > 0 {
		d.t.Errorf("Verify.java: %v\n%s", err, said.Bytes())
	}
	return v
}
