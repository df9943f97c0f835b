package acceptance

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"trunkline/app"
	"trunkline/codecs"
	"trunkline/embedded"
	"trunkline/event"
	"trunkline/integration/harness"
	"trunkline/topology"
)

// rate is what each vendor sends in a second.
const rate = 400

// send plays both vendors and the odd events, and returns the ids of the entities
// that a change names otherwise.
func send(t *testing.T, edge string, seed int64, events int) map[event.Key]string {
	t.Helper()
	ids := map[event.Key]string{}
	named := make(chan event.Key)
	ended := make(chan error, len(topology.Vendors))
	for i, vendor := range topology.Vendors {
		s, err := embedded.NewSimulator(embedded.SimulatorConfig{
			Vendor: vendor, Tenant: app.DevTenant, EdgeURL: edge, Token: app.DevToken,
			Seed: seed*100 + int64(i), Events: events / len(topology.Vendors), Rate: rate,
			Accepted: func(a embedded.Acceptance) {
				for _, d := range a.Deliveries {
					named <- d.Key
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := s.Run(t.Context())
			ended <- err
		}()
	}
	for running := len(topology.Vendors); running > 0; {
		select {
		case k := <-named:
			note(ids, k)
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			running--
		}
	}
	for _, k := range sendOdd(t, edge) {
		note(ids, k)
	}
	return ids
}

// note keeps the id of an entity that a change cannot carry.
func note(ids map[event.Key]string, k event.Key) {
	written := k
	if clean, changed := codecs.SanitiseText(k.ID); changed {
		written.ID = clean
		ids[written] = k.ID
	}
}

// oddIDs are legal, and each must be one row of one table.
var oddIDs = []string{
	"a#b", "a/b/c", "a%2Fb", "100%", "nul\x00l", "Ünï ☎ 𝄞", " ", ".", "..", `"quoted"`, `back\slash`, "it's; drop table x",
	"null", "{}", "line\nbreak", "tab\t", "\ufeff", "\u2028", "x' OR ''='", "e\u0301", "é", "${env:KAFKA}", strings.Repeat("Ä", 256),
}

// oddData is what resources of vendors may hold. What is no text or number for a
// database is replaced in changes.
const oddData = `"nul":"a\u0000b","nul\u0000name":1,"lone":"\ud800 and \udfff","pair":"\ud834\udd1e","escaped":"\\u0000","raw":"Ünï ☎ 𝄞","controls":"\u0001\u001f\u007f",
"big":9007199254740993.10,"bigger":18446744073709551616,"small":-0.0,"exponent":1.50E+2,"far":1e400,"near":-1e-400,"beyond":1e999999,"below":-1E-999999,"zero":0e999999,
"null":null,"true":true,"empty":{},"none":[],"":"no name","'; drop table x; --":"x","${env:DATABASE}":"${topic}","nested":[[[{"a":[1,{"b":[]}]}]]]`

// sendOdd sends the lives of entities with odd ids and contents, and returns them.
func sendOdd(t *testing.T, edge string) []event.Key {
	t.Helper()
	var keys []event.Key
	base := time.Now().UnixMilli()
	long := strings.Repeat("0123456789abcdef", 20_000)
	for n, id := range oddIDs {
		quoted, err := json.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, event.Key{Vendor: topology.Genesys, Tenant: app.DevTenant, Type: "user", ID: id})
		// Every third is deleted in the end, every sixth is back after that.
		steps := []string{"created", "updated", "updated", "deleted", "created"}[:3+[]int{0, 1, 0, 2, 0, 1}[n%6]]
		for i, step := range steps {
			data := fmt.Sprintf(`,"data":{"id":%s,"name":"N\u0000 %d","step":%d,"long":%q,%s}`, quoted, n, i, long[:n*1000], oddData)
			if step == "deleted" {
				data = ""
			}
			post(t, edge, topology.Genesys, fmt.Sprintf(`{"id":"odd-%d-%d","resourceType":"user","eventType":%q,"resourceId":%s,"version":%d,"ts_ms":%d%s}`,
				n, i, step, quoted, i+1, base+int64(i), data))
		}
		keys = append(keys, event.Key{Vendor: topology.CXone, Tenant: app.DevTenant, Type: event.TypeConversation, ID: id})
		for i, step := range []string{"CALL_STARTED", "QUEUE_ENTERED", "CALL_ENDED"} {
			post(t, edge, topology.CXone, fmt.Sprintf(`{"eventId":"odd-%d-%d","eventType":%q,"timestamp":%q,"data":{"contactId":%s,"masterContactId":%[5]s,%s}}`,
				n, i, step, time.UnixMilli(base+int64(i)).UTC().Format("2006-01-02T15:04:05.000Z"), quoted, oddData))
		}
	}
	// A delete of what never was: key-only before.
	post(t, edge, topology.Genesys, fmt.Sprintf(`{"id":"odd-ghost","resourceType":"queue","eventType":"deleted","resourceId":"never was","ts_ms":%d}`, base))
	return keys
}

func post(t *testing.T, edge, vendor, body string) {
	t.Helper()
	path := map[string]string{topology.Genesys: "/events", topology.CXone: "/webhook"}[vendor]
	status, answer := harness.Post(t, edge+"/v1/ingest/"+vendor+"/"+app.DevTenant+path, "Bearer "+app.DevToken, "application/json", []byte(body))
	if status != 200 {
		t.Fatalf("got %d %s, want 200", status, answer)
	}
}
