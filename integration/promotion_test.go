package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/linkedin/goavro/v2"

	"trunkline/app"
	"trunkline/codecs"
	"trunkline/drift"
	"trunkline/event"
	"trunkline/integration/harness"
	"trunkline/stream"
	"trunkline/topology"
)

const busSubject = "ccaaus.events.genesys.acme-value"

// I3: a vendor adds fifty fields overnight: nothing stops, and each of them is listed.
// One is promoted once it is eligible; a promotion that broke midway is repeated. While
// instances are replaced one after the other both versions are written, and readers of
// either read all of them; tail shows both. A start without the registry goes on with
// the version of the start before.
//
// Seen failing with stages that write by version 1 only, with ids that are kept without
// their text, with readers that take every record for version 1, and with a promotion
// that registers without --execute.
func TestPromotion(t *testing.T) {
	d := harness.StartDeployment(t)
	c := d.Config
	r := standIn(t, c.Registry.URL)
	c.Registry.URL = r.URL
	configureFile(t, d, c)
	edge, worker := d.Run("edge", app.RoleIngest), d.Run("p1", app.RoleProcess)
	sent := 0
	send := func(n int) {
		t.Helper()
		var more strings.Builder
		for i := range 49 {
			fmt.Fprintf(&more, `"new%d":%d,`, i, i)
		}
		for range n {
			sent++
			postAs(t, edge, c.Tenants[0], fmt.Sprintf(
				`{%s"queueName":"queue %d","id":"promo-%d","resourceType":"user","eventType":"updated","resourceId":"u-%d","ts_ms":%d,"data":{"id":"u-%d"}}`,
				more.String(), sent, sent, sent%16, time.Now().UnixMilli(), sent%16))
		}
	}
	schema := func(code int, args ...string) string {
		t.Helper()
		return trunkline(t, code, append(append([]string{"schema"}, args...), "--config", d.File)...)
	}
	versions := func() (found map[int]int) {
		t.Helper()
		found = map[int]int{}
		for _, record := range canonicalRecords(t, c) {
			id, _, err := codecs.Unframe(record)
			if err != nil {
				t.Fatal(err)
			}
			found[id]++
		}
		return found
	}

	send(32)
	harness.Drained(t, c, edge.Addrs["metrics"])
	worker.Stop()
	var listed struct{ Fields []drift.Field }
	if err := json.Unmarshal([]byte(schema(0, "drift", "--json")), &listed); err != nil {
		t.Fatal(err)
	}
	if len(listed.Fields) != 50 {
		t.Errorf("got %d unknown fields, want 50", len(listed.Fields))
	}
	for _, f := range listed.Fields {
		if f.Count != 32 || f.Vendor != topology.Genesys || f.EventType != "config.user.updated" || !slices.Equal(f.Tenants, []string{"acme"}) {
			t.Errorf("got %+v, want 32 sights", f)
		}
	}
	wantIn(t, schema(0, "drift", "--vendor", "genesys", "--since", "1h"), `"x_queueName"`, "no: first seen on ")
	if text := schema(0, "drift", "--type", "another"); strings.Contains(text, "x_") {
		t.Errorf("of another type: got %s", text)
	}

	schema(2, "promote", "x_queueName")
	schema(2, "promote", "x_queueName", "--days", "1", "--vendor", "cxone")
	schema(2, "promote", "transport", "--force")
	schema(2, "promote", "x_queueName", "--force", "--name", "tenant_id")
	schema(2, "promote", "x_queueName", "--force", "--name", "Queue")
	wantIn(t, schema(0, "promote", "x_queueName", "--days", "2", "--force"), "nothing was changed")
	worker.Start() // it reads the registry before the promotion
	worker.UntilReady()
	// What two processes counted on 30 days of the log stands in the topic.
	keepDays(t, c)
	wantIn(t, schema(0, "promote", "x_queueName"), busSubject, `+ /fields/queue_name {`, `"trunkline.source":"x_queueName"`, "nothing was changed")
	schema(0, "diff")
	broken := "/subjects/late-events-value/versions"
	r.broken.Store(&broken)
	schema(3, "promote", "x_queueName", "--execute")
	if one := promotedIn(t, c, r.URL); one == 0 || one == 3 {
		t.Errorf("after a failure midway %d subjects of 3 have the field, want some", one)
	}
	r.broken.Store(nil)
	wantIn(t, schema(0, "promote", "x_queueName", "--execute"), "registered late-events-value as version 2")
	if all := promotedIn(t, c, r.URL); all != 3 {
		t.Errorf("after a repetition %d subjects have the field, want 3", all)
	}
	wantIn(t, schema(0, "promote", "x_queueName", "--execute"), `3 subjects have field "queue_name"`)
	schema(0, "check")
	schema(0, "diff")
	before := versions()
	if len(before) != 1 {
		t.Fatalf("before: got records of ids %v, want of one", before)
	}
	one := slices.Collect(maps.Keys(before))[0]

	// One instance after the other: p1 knows nothing of the promotion, p2 does.
	second := d.Run("p2", app.RoleProcess)
	send(64)
	harness.Drained(t, c, edge.Addrs["metrics"])
	mixed := versions()
	if len(mixed) != 2 || mixed[one] <= 32 {
		t.Fatalf("got records of ids %v, want more of %d and some of another", mixed, one)
	}
	for _, i := range []*harness.Instance{worker, second} {
		i.Kill()
		i.Start()
	}
	worker.UntilReady()
	second.UntilReady()
	worker.Kill()
	second.Kill()
	r.away.Store(true)
	for _, i := range []*harness.Instance{worker, second} {
		i.Start()
		i.UntilReady()
	}
	send(16)
	late := time.Now().Add(-time.Hour).UnixMilli()
	postAs(t, edge, c.Tenants[0], fmt.Sprintf(
		`{"queueName":"late","id":"promo-late","resourceType":"user","eventType":"updated","resourceId":"u-1","ts_ms":%d,"data":{"id":"u-1"}}`, late))
	harness.Drained(t, c, edge.Addrs["metrics"])
	r.away.Store(false)
	after := versions()
	if len(after) != 2 || after[one] != mixed[one] {
		t.Errorf("after a start without the registry: got records of ids %v, want no more of %d than in %v", after, one, mixed)
	}

	readByBoth(t, c, one)
	tailed := map[string]int{}
	for _, what := range []string{"events", "late"} {
		err := app.Tail(t.Context(), c, app.TailOptions{What: what}, func(l app.TailLine) error {
			var e struct {
				EventID   string            `json:"event_id"`
				QueueName *string           `json:"queue_name"`
				Metadata  map[string]string `json:"metadata"`
			}
			if err := json.Unmarshal(l.Value, &e); err != nil {
				return err
			}
			switch {
			case e.EventID == "" || e.Metadata["x_queueName"] == "":
				t.Errorf("tail shows %s", l.Value)
			case e.QueueName == nil:
				tailed["1"]++
			case `"`+*e.QueueName+`"` == e.Metadata["x_queueName"] && e.Metadata["schema_version"] == "2":
				tailed["2"]++
			default:
				t.Errorf("tail shows %s", l.Value)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	total := sent + 2 // the late event is on both topics
	if want := map[string]int{"1": after[one], "2": total - after[one]}; !maps.Equal(tailed, want) {
		t.Errorf("tail shows events of versions %v, want %v", tailed, want)
	}
	report, err := app.Verify(t.Context(), c, app.VerifyOptions{Rows: true})
	if err != nil || !report.OK || report.RawRecords != int64(sent)+1 || report.Fates[event.FateLate] != 1 {
		t.Errorf("got %+v, %v", report, err)
	}
}

// keepDays writes what two processes would have written over 30 days before today.
func keepDays(t *testing.T, c app.Config) {
	t.Helper()
	var records []stream.Outgoing
	for _, process := range []string{"a", "b"} {
		table := drift.NewTable(process)
		for day := range drift.Days {
			e := &event.Event{
				Key: event.Key{Vendor: topology.Genesys, Tenant: "acme"}, Type: "config.user.updated", Metadata: map[string]string{"x_queueName": `"a"`},
			}
			e.Origin.Raw.AppendMs = time.Now().AddDate(0, 0, -day).UnixMilli()
			table.Observe(e)
		}
		err := table.Flush(func(rows map[string][]byte) error {
			for key, row := range rows {
				records = append(records, stream.Outgoing{Topic: string(topology.DriftTopic), Key: key, Value: row})
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	a := stream.NewAppender(stream.Config{Brokers: c.Kafka.Brokers, Instance: "test"}, topology.Partition)
	defer a.Close() //nolint:errcheck // what it wrote is acknowledged
	if err := a.Append(t.Context(), records); err != nil {
		t.Fatal(err)
	}
}

// promotedIn counts the subjects whose newest version has the field.
func promotedIn(t *testing.T, c app.Config, url string) (n int) {
	t.Helper()
	for _, topic := range c.Layout().CanonicalTopics() {
		status, text := harness.Fetch(t, url+"/subjects/"+topic+"-value/versions/latest/schema")
		if promoted, err := codecs.Promotions(text); status != http.StatusOK || err != nil {
			t.Errorf("%s: got %d %s, %v", topic, status, text, err)
		} else if len(promoted) == 1 && promoted[0].Name == "queue_name" && promoted[0].Source == "x_queueName" {
			n++
		}
	}
	return n
}

// canonicalRecords are the values of the tenant's bus topic of Genesys.
func canonicalRecords(t *testing.T, c app.Config) (values [][]byte) {
	t.Helper()
	topics := []string{topology.CanonicalTopic(topology.Genesys, "acme")}
	err := stream.Read(t.Context(), stream.Config{Brokers: c.Kafka.Brokers}, stream.Range{Topics: topics}, func(r stream.Record) error {
		values = append(values, r.Value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// readByBoth reads every record by version 1 and by version 2, as a client does that
// takes the writer's schema from the registry by the id; goavro resolves it to the
// reader's when the record is written anew.
func readByBoth(t *testing.T, c app.Config, one int) {
	t.Helper()
	two, err := codecs.Promote([]codecs.Promotion{{Name: "queue_name", Source: "x_queueName"}})
	if err != nil {
		t.Fatal(err)
	}
	readers := map[string]*goavro.Codec{}
	for _, text := range []string{codecs.CanonicalSchema(), two} {
		if readers[text], err = goavro.NewCodec(text); err != nil {
			t.Fatal(err)
		}
	}
	client := plainClient(t, c)
	resolve := func(writer, reader *goavro.Codec, b []byte) map[string]any {
		t.Helper()
		native, rest, err := writer.NativeFromBinary(b)
		if err != nil || len(rest) > 0 {
			t.Fatalf("%v, %d bytes are left", err, len(rest))
		}
		if b, err = reader.BinaryFromNative(nil, native); err == nil {
			native, _, err = reader.NativeFromBinary(b)
		}
		if err != nil {
			t.Fatal(err)
		}
		return native.(map[string]any)
	}
	for _, record := range canonicalRecords(t, c) {
		id, payload, err := codecs.Unframe(record)
		if err != nil {
			t.Fatal(err)
		}
		text, err := client.SchemaTextByID(t.Context(), id)
		if err != nil || readers[text] == nil {
			t.Fatalf("id %d: %v, %s", id, err, text)
		}
		byOne := resolve(readers[text], readers[codecs.CanonicalSchema()], payload)
		byTwo := resolve(readers[text], readers[two], payload)
		quoted, _ := byOne["metadata"].(map[string]any)["x_queueName"].(string)
		queue := byTwo["queue_name"]
		delete(byTwo, "queue_name")
		switch {
		case quoted == "" || fmt.Sprint(byOne) != fmt.Sprint(byTwo):
			t.Errorf("version 1 reads %v, version 2 %v", byOne, byTwo)
		case id == one && queue != nil, id != one && fmt.Sprint(queue) != fmt.Sprint(goavro.Union("string", strings.Trim(quoted, `"`))):
			t.Errorf("version 2 reads %v of a record of id %d with %s", queue, id, quoted)
		}
	}
}
