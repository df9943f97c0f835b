package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"trunkline/app"
	"trunkline/event"
	"trunkline/ingest"
	"trunkline/integration/harness"
	"trunkline/topology"
)

// The fate of an event is told with the positions of all records, whatever it was, by
// event id or ingest id; each sight is a record of its own, and so is a redrive.
//
// Seen failing with outputs joined by ingest id, and with tombstones counted.
func TestEventsShow(t *testing.T) {
	d := harness.StartDeployment(t)
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, jwks("old")) }))
	defer vendor.Close()
	c := d.Config
	c.Tenants[0].Vendors[topology.CXone] = app.Credentials{KeysURL: vendor.URL, Require: ingest.RequireSignature}
	if err := app.WriteConfig(d.File, c); err != nil {
		t.Fatal(err)
	}
	edge := d.Run("edge", app.RoleIngest)
	d.Run("p1", app.RoleProcess)
	now := time.Now().UnixMilli()
	// send delivers events in one array and returns the id of the request.
	send := func(events ...string) string {
		t.Helper()
		status, answer := harness.Post(t, edge.Addrs["edge"]+"/v1/ingest/genesys/"+app.DevTenant+"/events", "Bearer "+app.DevToken, "application/json", []byte("["+strings.Join(events, ",")+"]"))
		var accepted struct {
			IngestID string `json:"ingest_id"`
		}
		if err := json.Unmarshal([]byte(answer), &accepted); err != nil || status != http.StatusOK {
			t.Fatalf("got %d %s, %v", status, answer, err)
		}
		harness.Drained(t, c, edge.Addrs["metrics"])
		return accepted.IngestID
	}
	user := func(id, eventType, name string, ts int64) string {
		return fmt.Sprintf(`{"id":%q,"resourceType":"user","eventType":%q,"resourceId":"u-1","ts_ms":%d,"data":{"id":"u-1","name":%q}}`, id, eventType, ts, name)
	}
	first := send(user("e-made", "created", "Ann", now-10_000))
	odd := send(
		user("e-made", "created", "Ann", now-10_000), user("e-late", "updated", "Bea", now-60_000), user("e-same", "updated", "Ann", now-5000),
		`{"id":"e-weather","eventType":"weather.changed"}`, `{"eventType":"heartbeat"}`, `{"id":"e-dead","resourceType":"user","eventType":"updated"}`,
	)
	send(user("e-deleted", "deleted", "Ann", now-1000))
	if status, answer := postSigned(t, edge.Addrs["edge"], "secret of nobody", `{"eventId":"e-deferred","eventType":"CALL_STARTED","timestamp":"2026-11-22T01:50:00.123Z","data":{"contactId":"4","masterContactId":"4"}}`); status != http.StatusOK {
		t.Fatalf("deferred: %d %s", status, answer)
	}

	show := func(id string) app.EventReport {
		t.Helper()
		return decode[app.EventReport](t, command(t, d, 0, "events", "show", id, "--json")[0])
	}
	for _, tt := range []struct {
		id, eventID string
		kind        event.FateKind
		in          string // the topic that tells it
		canonical   int
		check       func(app.EventOutcome) bool
	}{
		{first + "/0", "e-made", event.FateChange, "genesys.config.changes", 1, func(o app.EventOutcome) bool { return o.Op == event.Create }},
		{"e-late", "e-late", event.FateLate, "late-events", 1, func(o app.EventOutcome) bool { return o.TsMs == now-60_000 && o.RowMs == now-10_000 }},
		{"e-same", "e-same", event.FateUnchanged, "fates", 1, func(app.EventOutcome) bool { return true }},
		{"e-weather", "e-weather", event.FateEventOnly, "fates", 1, func(app.EventOutcome) bool { return true }},
		{odd + "/4", "", event.FateFiltered, "fates", 0, func(o app.EventOutcome) bool { return o.Reason == "heartbeat" }},
		{odd + "/5", "", event.FateDeadLetter, "dead-letters", 0, func(o app.EventOutcome) bool {
			return o.Reason == string(event.MissingField) && o.Stage == "normalise" && o.Detail != ""
		}},
		{"e-deleted", "e-deleted", event.FateChange, "genesys.config.changes", 1, func(o app.EventOutcome) bool { return o.Op == event.Delete }},
	} {
		r := show(tt.id)
		if len(r.Records) != 1 || len(r.Records[0].Outcomes) != 1 || len(r.Records[0].Canonical) != tt.canonical {
			t.Errorf("%s: got %+v, want one record with one fate", tt.id, r)
			continue
		}
		record, o := r.Records[0], r.Records[0].Outcomes[0]
		if record.EventID != tt.eventID || record.Tenant != app.DevTenant || record.Transport != "push" || record.Accepted.UnixMilli() < now || record.IngestID == "" {
			t.Errorf("%s: got %+v", tt.id, record)
		}
		if o.Kind != tt.kind || !strings.HasPrefix(o.At, tt.in+"/") || !tt.check(o) {
			t.Errorf("%s: got %+v, want %s in %s", tt.id, o, tt.kind, tt.in)
		}
	}

	twice := show("e-made").Records
	if len(twice) != 2 || twice[1].Outcomes[0].Kind != event.FateDuplicate || twice[1].Outcomes[0].First != twice[0].Raw || twice[1].Outcomes[0].Reason != "same_body" {
		t.Errorf("seen twice: got %+v", twice)
	}
	if r := show("e-deferred"); len(r.Records) != 0 || len(r.Quarantined) != 1 || r.Quarantined[0].Vendor != topology.CXone || r.Quarantined[0].EventID != "e-deferred" {
		t.Errorf("deferred: got %+v", r)
	}
	replayed(t, d, 0, "--execute")
	harness.Drained(t, c)
	again := show(odd + "/5").Records
	if len(again) != 2 || again[1].RedriveOf != again[0].Raw || len(again[0].Outcomes) != 1 || len(again[1].Outcomes) != 1 {
		t.Fatalf("redriven: got %+v, want two records with a fate each", again)
	}
	for i, r := range again {
		if r.Outcomes[0].Kind != event.FateDeadLetter || r.Outcomes[0].Time.Before(r.Appended) || r.Outcomes[0].At == again[1-i].Outcomes[0].At {
			t.Errorf("redriven: got %+v, want a letter of its own", r)
		}
	}
	text := strings.Join(command(t, d, 0, "events", "show", "e-made"), "\n")
	if !strings.Contains(text, "change c  genesys.config.changes/") || !strings.Contains(text, "duplicate (same_body) of "+twice[0].Raw) || strings.Contains(text, "Ann") { // I10
		t.Errorf("as text:\n%s", text)
	}

	nobody := harness.Start(t, "events", "show", "e-nobody", "--config", d.File)
	if code := nobody.Wait(); code != 1 || !strings.Contains(nobody.Stderr(), "looked at 9 raw records and 1 deliveries since") {
		t.Errorf("unknown: exit code %d, %s", code, nobody.Stderr())
	}
	truncate(t, c, string(topology.RawTopic(topology.Genesys)))
	if r := show("e-made").Records; len(r) != 2 || !r[0].Accepted.IsZero() || len(r[0].Outcomes) != 1 || len(r[0].Canonical) != 1 || r[1].Outcomes[0].Kind != event.FateDuplicate {
		t.Errorf("without raw records: got %+v", r)
	}
}
