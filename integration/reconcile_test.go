package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"trunkline/app"
	"trunkline/event"
	"trunkline/ingest"
	"trunkline/integration/harness"
	"trunkline/topology"
)

// auditVendor audits what it does, pushes each audit once, and answers queries.
type auditVendor struct {
	mu     sync.Mutex
	audits []time.Time     // by number
	pages  chan<- struct{} // told of each page; nil: nobody is
}

// audit is the n-th one, of a queue of its own, as it stands in answers.
func (v *auditVendor) audit(n int) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"id":"audit-%d","serviceName":"Routing","eventDate":%q,"action":"Update","status":"SUCCESS","entityType":"Queue",`+
		`"entity":{"id":"q-%d","name":"Queue %d"},"propertyChanges":[{"property":"n","newValues":["%d"]}]}`,
		n, v.audits[n].UTC().Format("2006-01-02T15:04:05.000Z"), n, n, n))
}

// act does n things, a minute ago: an audit is not asked for before it has settled.
// Each is pushed to the edge once, to none if that is nil; it returns how many pushes
// were accepted.
func (v *auditVendor) act(t *testing.T, edge *harness.Instance, n int) (accepted int) {
	t.Helper()
	for range n {
		v.mu.Lock()
		v.audits = append(v.audits, time.Now().Add(-time.Minute))
		body := v.audit(len(v.audits) - 1)
		frame := fmt.Sprintf(`{"topicName":"v2.audits.entitytype.Queue.entityid.q-%d","version":"2","eventBody":%s}`,
			len(v.audits)-1, strings.Replace(string(body), "eventDate", "eventTime", 1))
		v.mu.Unlock()
		if edge == nil {
			continue
		}
		if status, _ := harness.Post(t, edge.Addrs["edge"]+"/v1/ingest/genesys/"+app.DevTenant+"/events", "Bearer "+app.DevToken, "application/json", []byte(frame)); status == http.StatusOK {
			accepted++
		}
	}
	return accepted
}

func (v *auditVendor) serve(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"audit-token","token_type":"bearer","expires_in":3600}`)
	})
	mux.HandleFunc("GET /api/v2/audits/query/realtime/servicemapping", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"services":[{"name":"Directory"},{"name":"Routing"}]}`)
	})
	mux.HandleFunc("POST /api/v2/audits/query/realtime", func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Interval             string
			PageNumber, PageSize int
		}
		if r.Header.Get("Authorization") != "Bearer audit-token" || json.NewDecoder(r.Body).Decode(&q) != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(w).Encode(v.page(q.Interval, q.PageNumber, q.PageSize))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func (v *auditVendor) page(interval string, number, size int) map[string]any {
	v.mu.Lock()
	defer v.mu.Unlock()
	from, to, _ := strings.Cut(interval, "/")
	found := []json.RawMessage{}
	for n, at := range v.audits {
		if text := at.UTC().Format(time.RFC3339); from <= text && text < to {
			found = append(found, v.audit(n))
		}
	}
	begin := min((number-1)*size, len(found))
	if v.pages != nil {
		select {
		case v.pages <- struct{}{}:
		default:
		}
	}
	return map[string]any{
		"entities": found[begin:min(begin+size, len(found))], "pageSize": size, "pageNumber": number,
		"total": len(found), "pageCount": (len(found) + size - 1) / size,
	}
}

// I3, I8: what the vendor pushed while the edge was killed, or answered 503 for longer
// than the vendor tries, is asked for when the edge is back, long before the next run is
// due, and also when it is killed while it asks; nothing becomes two changes.
//
// Seen failing with outages that wake nobody.
func TestMissedPushesAreAskedFor(t *testing.T) {
	v := &auditVendor{}
	url := v.serve(t)
	d := harness.StartDeployment(t)
	c := d.Config
	c.Tenants[0].Ack = ingest.AckKafka // so that the edge is out when Kafka is
	genesys := c.Tenants[0].Vendors[topology.Genesys]
	genesys.API = app.API{URL: url, CallsPerMinute: 6000, OAuth: &app.OAuth{URL: url, ClientID: "trunkline", ClientSecret: "s"}}
	genesys.Reconcile = &app.Reconcile{Every: 10 * time.Hour, RetryWindow: 2 * time.Second, Services: []string{"Routing"}}
	c.Tenants[0].Vendors[topology.Genesys] = genesys
	if err := app.WriteConfig(d.File, c); err != nil {
		t.Fatal(err)
	}
	edge := d.Run("edge", app.RoleIngest)
	d.Run("process", app.RoleProcess)
	untilAll := func(what string) {
		t.Helper()
		harness.Until(t, what, func() bool { return len(auditsIn(t, d.Config)) == len(v.audits) })
	}
	if n := v.act(t, edge, 50); n != 50 {
		t.Fatalf("the edge accepted %d of 50 pushes", n)
	}

	edge.Kill()
	v.act(t, edge, 600)
	pages := make(chan struct{}, 1)
	v.mu.Lock()
	v.pages = pages
	v.mu.Unlock()
	edge.Start()
	for range 3 { // it is in the middle of them
		<-pages
	}
	edge.Kill()
	edge.Start()
	edge.UntilReady()
	untilAll("what was pushed to a dead edge is in the raw log")

	signalBrokers(d, syscall.SIGSTOP)
	if n := v.act(t, edge, 1); n != 0 {
		t.Fatal("an edge without Kafka accepts")
	}
	v.act(t, nil, 300) // the vendor holds these back, and gives them up
	pause(t, 3*time.Second)
	signalBrokers(d, syscall.SIGCONT)
	harness.Until(t, "the edge accepts again", func() bool { return v.act(t, edge, 1) == 1 })
	untilAll("what was to be pushed while the edge was out is in the raw log")

	harness.Drained(t, d.Config)
	balance(t, d.Config)
	changes := map[string]int{}
	err := app.Tail(t.Context(), d.Config, app.TailOptions{What: "genesys.config.changes"}, func(l app.TailLine) error {
		changes[string(l.Key)]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(changes) != len(v.audits) {
		t.Errorf("%d queues changed, want %d", len(changes), len(v.audits))
	}
	for key, n := range changes {
		if n != 1 {
			t.Errorf("%s changed %d times, want once", key, n)
		}
	}
}

// auditsIn counts the raw records of each audit, and shows that both ways lead there.
func auditsIn(t *testing.T, c app.Config) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, r := range rawRecords(t, c) {
		if by := event.Transport(r.Headers[event.HeaderTransport]); by != event.Push && by != event.Poll {
			t.Fatalf("a record came by %s", by)
		}
		_, id, _ := strings.Cut(string(r.Key), "#")
		all[id]++
	}
	return all
}
