package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"trunkline/app"
	"trunkline/event"
	"trunkline/integration/harness"
	"trunkline/ledger"
	"trunkline/topology"
)

// outcomes are the outputs of one deployment by the ingest id of their raw
// record.
func outcomes(t *testing.T, c app.Config) map[string][]app.TailLine {
	t.Helper()
	all := map[string][]app.TailLine{}
	for _, what := range []string{"changes", "late", "dead", "fates"} {
		err := app.Tail(t.Context(), c, app.TailOptions{What: what}, func(l app.TailLine) error {
			id := l.Headers[event.HeaderIngestID]
			all[id] = append(all[id], l)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// sendTo posts to a vendor's edge and returns the request's ingest id.
func sendTo(t *testing.T, d *harness.Dev, vendor string, body []byte) string {
	t.Helper()
	path := map[string]string{topology.Genesys: "/events", topology.CXone: "/webhook"}[vendor]
	return deliver(t, d.Addrs.Edge, vendor+"/"+app.DevTenant+path, body)
}

// deliver does so to a path of an edge.
func deliver(t *testing.T, edge, path string, body []byte) string {
	t.Helper()
	status, answer := harness.Post(t, edge+"/v1/ingest/"+path, "Bearer "+app.DevToken, "application/json", body)
	var accepted struct {
		IngestID string `json:"ingest_id"`
	}
	if status != 200 || json.Unmarshal([]byte(answer), &accepted) != nil {
		t.Fatalf("%s: got %d %s, want 200", body, status, answer)
	}
	return accepted.IngestID
}

func seedUser(id, resource string) string {
	quoted, _ := json.Marshal(resource)
	return fmt.Sprintf(`{"id":%q,"resourceType":"user","eventType":"created","resourceId":%s,"data":{"id":%s,"big":9007199254740993.10}}`, id, quoted, quoted)
}

// I6, I3: whatever vendors send, each record is a change or event, or a dead
// letter that is byte for byte what was sent, and what follows is not held up.
func TestOddPayloads(t *testing.T) {
	d := harness.StartDev(t, t.TempDir())
	ids := []string{"a#b", "a/b/c", "nul\x00", "50%", "%2F", "ünï ☎", " ", "u-1"}
	for i, id := range ids {
		post(t, d.Addrs.Edge, seedUser(fmt.Sprint("odd-", i), id))
	}
	// The same ids from the other vendor are another entity.
	cxone := `{"eventId":"odd-0","eventType":"CALL_STARTED","data":{"contactId":"u-1","masterContactId":"u-1"}}`
	sendTo(t, d, topology.CXone, []byte(cxone))

	utf16 := func(s string) []byte {
		b := []byte{0xff, 0xfe}
		for _, r := range s {
			b = append(b, byte(r), 0)
		}
		return b
	}
	letters := [][]byte{
		utf16(`{"id":"x"}`),
		[]byte("{\"id\":\"latin\xe9\",\"resourceType\":\"user\",\"eventType\":\"created\",\"resourceId\":\"l\"}"),
		[]byte(`{"id":"twice","resourceType":"user","eventType":"created","resourceId":"a","resourceId":"b"}`),
		[]byte(strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)),
		[]byte(`not json`),
		[]byte(`{"hello":"world"}`),
		[]byte(`{"id":"no-resource","resourceType":"user","eventType":"created"}`),
		[]byte(`"text"`),
		[]byte("\x00\x01\x02"),
	}
	for _, body := range letters {
		sendTo(t, d, topology.Genesys, body)
	}
	unknown := []string{
		`{"version":"0","id":"eb","detail-type":"v2.weather.{id}.storm","source":"aws.partner/genesys.com/x","time":"2026-11-24T00:00:00Z","detail":{"topicName":"v2.weather.7.storm","version":"2","eventBody":{"wind":9}}}`,
		`{"topicName":"v2.unheard.of","version":"2","eventBody":{"a":1}}`,
	}
	var eventOnly []string
	for _, body := range unknown {
		eventOnly = append(eventOnly, sendTo(t, d, topology.Genesys, []byte(body))+"/0")
	}
	post(t, d.Addrs.Edge, seedUser("last", "last"))
	harness.Drained(t, d.Config, d.Addrs.Metrics)

	for _, id := range ids {
		status, body := harness.Fetch(t, d.Addrs.View+"/v1/genesys/acme/resources/user/"+url.PathEscape(id))
		if status != 200 || !strings.Contains(body, `9007199254740993.10`) {
			t.Errorf("row of %q: got %d %s", id, status, body)
		}
	}
	if status, body := harness.Fetch(t, d.Addrs.View+"/v1/cxone/acme/interactions/u-1"); status != 200 {
		t.Errorf("the conversation with a user's id: got %d %s", status, body)
	}
	var dead [][]byte
	found := outcomes(t, d.Config)
	for _, lines := range found {
		if lines[0].Topic == string(topology.DeadLettersTopic) {
			dead = append(dead, rawValue(t, lines[0].Value))
		}
	}
	for _, body := range letters {
		if !slices.ContainsFunc(dead, func(b []byte) bool { return bytes.Equal(b, body) }) {
			t.Errorf("no dead letter is %q", body)
		}
	}
	if len(dead) != len(letters) {
		t.Errorf("got %d dead letters, want %d", len(dead), len(letters))
	}
	for _, id := range eventOnly {
		if len(found[id]) != 1 || !strings.Contains(string(found[id][0].Value), `"event_only"`) {
			t.Errorf("unknown type: got %v, want the fate event_only", found[id])
		}
	}
	balance(t, d.Config)
}

// rawValue is the record's value as it stood before tail made it JSON.
func rawValue(t *testing.T, v json.RawMessage) []byte {
	t.Helper()
	var text string
	if json.Unmarshal(v, &text) == nil && text != "text" { // which was JSON itself
		return []byte(text)
	}
	var encoded struct{ Base64 []byte }
	if json.Unmarshal(v, &encoded) == nil && encoded.Base64 != nil {
		return encoded.Base64
	}
	return v
}

// I4, I5: disorder within the hold is sorted out, what comes after is late, a
// repeated delivery is one event whatever brings it, a delete leaves a tombstone.
func TestDisorderDuplicatesAndDeletes(t *testing.T) {
	d := harness.StartDev(t, t.TempDir())
	update := func(id string, tsMs int) string {
		return fmt.Sprintf(`{"id":%q,"resourceType":"queue","eventType":"updated","resourceId":"q","ts_ms":%d,"data":{"id":"q","n":%q}}`, id, tsMs, id)
	}
	const base = 1795312200000
	// One array: they arrive together, in the wrong order.
	post(t, d.Addrs.Edge, "["+update("third", base+3)+","+update("first", base+1)+","+update("second", base+2)+"]")
	post(t, d.Addrs.Edge, update("first", base+1))
	harness.Drained(t, d.Config, d.Addrs.Metrics)
	late := sendTo(t, d, topology.Genesys, []byte(update("too-late", base)))

	audit := `"topicName":"v2.audits.entitytype.Flow.entityid.f","version":"2","eventBody":{"id":"audit-1","serviceName":"Architect","level":"USER","eventTime":"2026-11-22T01:52:09.000Z","action":"Update","entityType":"Flow","entity":{"id":"f","name":"IVR"},"propertyChanges":[{"property":"x","newValues":["1"]}]}`
	one := sendTo(t, d, topology.Genesys, []byte(`{`+audit+`}`))
	two := sendTo(t, d, topology.Genesys, []byte(`{"version":"0","id":"eb-1","detail-type":"v2.audits.entitytype.{id}.entityid.{id}","source":"aws.partner/genesys.com/cloud/x/y","time":"2026-11-22T01:52:10Z","detail":{`+audit+`}}`))
	harness.Drained(t, d.Config, d.Addrs.Metrics)
	gone := sendTo(t, d, topology.Genesys, fmt.Appendf(nil, `{"id":"gone","resourceType":"queue","eventType":"deleted","resourceId":"q","ts_ms":%d}`, base+9))
	harness.Drained(t, d.Config, d.Addrs.Metrics)

	var order []string
	var tombstoned bool
	err := app.Tail(t.Context(), d.Config, app.TailOptions{What: "genesys.config.changes", Key: `"q"`}, func(l app.TailLine) error {
		var v struct{ Source struct{ EventID string } }
		if string(l.Value) == "null" {
			tombstoned = true
			return nil
		}
		if err := json.Unmarshal(l.Value, &v); err != nil {
			return err
		}
		order = append(order, v.Source.EventID)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(order), "[first second third gone]"; got != want || !tombstoned {
		t.Errorf("got %s, tombstone %t, want %s and a tombstone", got, tombstoned, want)
	}
	found := outcomes(t, d.Config)
	for id, want := range map[string]string{late + "/0": "late-events", one + "/0": "genesys.config.changes", two + "/0": "fates"} {
		if len(found[id]) != 1 || found[id][0].Topic != want {
			t.Errorf("got %v, want one record on %s", found[id], want)
		}
	}
	if n := len(found[gone+"/0"]); n != 2 {
		t.Errorf("got %d records of a delete, want the change and its tombstone", n)
	}
	if status, _ := harness.Fetch(t, d.Addrs.View+"/v1/genesys/acme/resources/queue/q"); status != 404 {
		t.Errorf("the deleted queue answers %d, want 404", status)
	}
	balance(t, d.Config)
}

// Bad requests get a clear answer, never a 5xx, and leave no record.
func TestBadRequests(t *testing.T) {
	d := harness.StartDev(t, t.TempDir())
	const good, bearer, asJSON = `{"hello":"world"}`, "Bearer " + app.DevToken, "application/json"
	tests := []struct {
		name, path, authorization, contentType, body string
		want                                         int
	}{
		{"wrong token", "genesys/acme/events", "Bearer nope", asJSON, good, 401},
		{"no token", "genesys/acme/events", "", asJSON, good, 401},
		{"unknown tenant", "genesys/nobody/events", bearer, asJSON, good, 404},
		{"too large", "genesys/acme/events", bearer, asJSON, `{"a":"` + strings.Repeat("x", 2<<20) + `"}`, 413},
		{"not JSON", "genesys/acme/events", bearer, "text/xml", "<a/>", 415},
		{"no type", "genesys/acme/events", bearer, "", good, 415},
		{"empty", "genesys/acme/events", bearer, asJSON, "", 400},
		{"blank", "genesys/acme/events", bearer, asJSON, " \n", 400},
		{"unsigned webhook", "cxone/acme/webhook", "", asJSON, good, 401},
		{"unreadable but authenticated", "genesys/acme/events", bearer, asJSON, "{", 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, answer := harness.Post(t, d.Addrs.Edge+"/v1/ingest/"+tt.path, tt.authorization, tt.contentType, []byte(tt.body))
			if got != tt.want {
				t.Errorf("got %d %s, want %d", got, answer, tt.want)
			}
		})
	}
	harness.Drained(t, d.Config, d.Addrs.Metrics)
	report := ledgerOf(t, d.Config)
	if report.RawRecords != 1 || report.Fates[event.FateDeadLetter] != 1 {
		t.Errorf("got %d raw records, %d dead letters, want the unreadable one alone", report.RawRecords, report.Fates[event.FateDeadLetter])
	}
}

func ledgerOf(t *testing.T, c app.Config) ledger.Report {
	t.Helper()
	report, err := app.Verify(t.Context(), c, app.VerifyOptions{Rows: true})
	if err != nil {
		t.Fatal(err)
	}
	return report
}
