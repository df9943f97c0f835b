package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"trunkline/app"
	"trunkline/event"
	"trunkline/integration/harness"
	"trunkline/topology"
)

// streamVendor tells its events to whoever connects, after the id he names.
type streamVendor struct {
	events  atomic.Int64 // told so far
	readers atomic.Int64 // connected now
	tokens  atomic.Int64 // given
}

func (v *streamVendor) serve(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, _ *http.Request) {
		v.tokens.Add(1)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"stream-token","token_type":"bearer","expires_in":3600}`)
	})
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer stream-token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		v.readers.Add(1)
		defer v.readers.Add(-1)
		w.Header().Set("Content-Type", "text/event-stream")
		after, _ := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64)
		for n := after + 1; r.Context().Err() == nil; {
			for ; n <= v.events.Load(); n++ {
				fmt.Fprintf(w, "id: %d\nevent: conversation\ndata: {\"id\":\"s-%d\",\"eventType\":\"conversation.message\",\"conversationId\":\"c-%d\",\"timestamp\":%q,\"n\":%d}\n\n",
					n, n, n%20, time.UnixMilli(1795312200000+n).UTC().Format("2006-01-02T15:04:05.000Z"), n)
			}
			_ = http.NewResponseController(w).Flush()
			pause(t, 5*time.Millisecond)
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// I2, I8: an event stream is read by one edge; when that is killed, or another takes
// over, every event of the vendor is a record, and none becomes two changes.
//
// Seen failing with the stream begun anew by each process.
func TestStreamOutlivesItsReaders(t *testing.T) {
	v := &streamVendor{}
	url := v.serve(t)
	d := harness.StartDeployment(t)
	c := d.Config
	genesys := c.Tenants[0].Vendors[topology.Genesys]
	genesys.Stream = &app.Stream{URL: url + "/stream"}
	genesys.API = app.API{OAuth: &app.OAuth{URL: url, ClientID: "trunkline", ClientSecret: "s"}}
	c.Tenants[0].Vendors[topology.Genesys] = genesys
	if err := app.WriteConfig(d.File, c); err != nil {
		t.Fatal(err)
	}
	edges := []*harness.Instance{d.Run("e1", app.RoleIngest), d.Run("e2", app.RoleIngest)}
	d.Run("p1", app.RoleProcess)
	told := func() int { return len(rawRecords(t, d.Config)) }
	for round := range 4 {
		before := v.events.Add(500)
		harness.Until(t, "the events are in the raw log", func() bool { return told() >= int(before) })
		v.events.Add(500)
		for _, e := range edges { // one of them reads, and is in the middle
			e.Kill()
			if round%2 == 0 {
				e.Start()
			}
		}
		for _, e := range edges {
			if !e.Running() {
				e.Start()
			}
			e.UntilReady()
		}
	}
	edges[0].Kill() // its session ends: what it read, the other takes over
	v.events.Add(500)
	want := int(v.events.Load())
	harness.Until(t, "every event is in the raw log", func() bool { return told() >= want })
	if n := v.readers.Load(); n != 1 {
		t.Errorf("%d edges read the stream, want 1", n)
	}
	seen := map[string]int{}
	for _, r := range rawRecords(t, d.Config) {
		if by := string(r.Headers[event.HeaderTransport]); by != string(event.SSE) {
			t.Fatalf("a record came by %s", by)
		}
		_, id, _ := strings.Cut(string(r.Key), "#")
		seen[id]++
	}
	for n := 1; n <= want; n++ {
		if id := fmt.Sprintf("s-%d", n); seen[id] != 1 {
			t.Fatalf("event %s stands %d times in the raw log, want once", id, seen[id])
		}
	}
	harness.Drained(t, d.Config)
	balance(t, d.Config)
}
