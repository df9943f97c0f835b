package embedded

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"trunkline/event"
	"trunkline/topology"
	"trunkline/vendors"
	"trunkline/vendors/cxone"
	"trunkline/vendors/genesys"
)

// happened returns a cloud in which all has happened.
func happened(t *testing.T, cfg CloudConfig) *Cloud {
	t.Helper()
	if cfg.Base.IsZero() {
		cfg.Base = time.Date(2026, time.November, 22, 1, 50, 0, 0, time.UTC)
	}
	cfg.Tenant = "acme"
	c, err := NewCloud(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// call answers one call of a client with a token; the body is JSON or nil.
func call(t *testing.T, c *Cloud, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	access, _ := c.tokens.give()
	r.Header.Set("Authorization", "Bearer "+access)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

// decode reads an answer into v.
func decode(t *testing.T, w *httptest.ResponseRecorder, v any) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), v); w.Code/100 != 2 || err != nil {
		t.Fatalf("answered %d, error %v: %.300s", w.Code, err, w.Body)
	}
}

// TestCloudIsDeterministic proves that a seed is a log and, by every way to ask
// for it, the same bytes.
func TestCloudIsDeterministic(t *testing.T) {
	asks := map[string][][3]string{
		topology.Genesys: {
			{"GET", "/events?since=1999-01-01T00:00:00Z", ""},
			{"POST", "/api/v2/audits/query/realtime", `{"interval":"2026-11-01T00:00:00Z/2026-12-01T00:00:00Z","pageSize":500}`},
			{"GET", "/api/v2/users?pageSize=100", ""}, {"GET", "/api/v2/flows", ""},
		},
		topology.CXone: {
			{"GET", CXoneServices + "/contacts/completed", ""}, {"GET", CXoneServices + "/agents", ""}, {"GET", CXoneServices + "/skills", ""},
			{"GET", CXoneServices + "/agents/states", ""}, {"GET", "/.well-known/jwks.json", ""},
		},
	}
	for _, vendor := range topology.Vendors {
		synctest.Test(t, func(t *testing.T) { // lists tell the time at which they were asked
			var answers [3][]string
			for i, seed := range []int64{7, 7, 8} {
				c := happened(t, CloudConfig{Vendor: vendor, Seed: seed, Events: 2000, Entities: 40})
				for _, body := range c.Told() {
					answers[i] = append(answers[i], string(body))
				}
				for _, ask := range asks[vendor] {
					w := call(t, c, ask[0], ask[1], ask[2])
					if w.Code != http.StatusOK || w.Body.Len() < 100 {
						t.Fatalf("%s: answered %d %s", ask[1], w.Code, w.Body)
					}
					answers[i] = append(answers[i], w.Body.String())
				}
			}
			if !reflect.DeepEqual(answers[0], answers[1]) {
				t.Errorf("%s: two clouds of one seed differ", vendor)
			}
			if reflect.DeepEqual(answers[0], answers[2]) {
				t.Errorf("%s: another seed gives the same", vendor)
			}
		})
	}
}

// mapped is the event that a mapper makes of a body.
func mapped(t *testing.T, vendor string, transport event.Transport, hint string, body []byte) event.Event {
	t.Helper()
	raw := &event.Raw{Vendor: vendor, Tenant: "acme", Transport: transport, TopicHint: hint, Body: body, IngestID: "i/0", ReceivedMs: 1795312200000}
	mapper := map[string]vendors.Mapper{topology.Genesys: genesys.Mapper(), topology.CXone: cxone.Mapper()}[vendor]
	raw.Format = mapper.Detect(body, hint)
	e, err := mapper.Map(raw)
	if err != nil {
		t.Fatalf("map %s: %v", body, err)
	}
	return e
}

// TestCloudTellsOneEvent proves that an event has one identity by each way that
// tells it: a change as it is delivered, audited and notified; a step of a
// conversation on the stream and in pages, or as it is delivered and notified.
func TestCloudTellsOneEvent(t *testing.T) {
	c := happened(t, CloudConfig{Vendor: topology.Genesys, Seed: 3, Events: 600, Entities: 40, Plain: true})
	want := map[string]event.Key{} // as delivered or streamed
	audits, pages, frames := map[string]event.Key{}, map[string]event.Key{}, map[string]event.Key{}
	changes, steps := map[string]event.Key{}, map[string]event.Key{}
	for _, e := range c.log.all(func(entry) bool { return true }) {
		by := event.Push
		if e.streamed {
			by = event.SSE
		}
		got := mapped(t, topology.Genesys, by, "", e.body)
		want[got.ID] = got.Key
		if got.Key != e.subject.key {
			t.Fatalf("%s is of %v, want %v", e.body, got.Key, e.subject.key)
		}
		switch {
		case isChange(e.message):
			changes[got.ID] = got.Key
		case e.streamed:
			steps[got.ID] = got.Key
		}
		for _, f := range notifications(e) {
			body, err := json.Marshal(f)
			if err != nil {
				t.Fatal(err)
			}
			if got := mapped(t, topology.Genesys, event.WebSocket, "", body); got.Key.Type != event.TypeAgentState && got.Key.Type != event.TypeQueueMembership && !strings.HasPrefix(f.TopicName, "v2.flows.") {
				frames[got.ID] = got.Key
			}
		}
	}
	var audited struct{ Entities []json.RawMessage }
	decode(t, call(t, c, "POST", "/api/v2/audits/query/realtime", `{"interval":"2026-11-01T00:00:00Z/2026-12-01T00:00:00Z","pageSize":1000}`), &audited)
	for _, a := range audited.Entities {
		got := mapped(t, topology.Genesys, event.Poll, "", a)
		audits[got.ID] = got.Key
	}
	for next, more := "since=1999-01-01T00:00:00Z", true; more; {
		var page struct {
			Events []struct {
				ID   string
				Data json.RawMessage
			}
			NextCursor string
			HasMore    bool
		}
		decode(t, call(t, c, "GET", "/events?limit=7&"+next, ""), &page)
		for _, e := range page.Events {
			got := mapped(t, topology.Genesys, event.Poll, "", e.Data)
			pages[got.ID] = got.Key
		}
		next, more = "after="+page.NextCursor, page.HasMore
	}
	if !reflect.DeepEqual(audits, changes) || len(audits) == 0 {
		t.Errorf("%d changes were audited, want %d under their ids", len(audits), len(changes))
	}
	if !reflect.DeepEqual(pages, steps) || len(pages) == 0 {
		t.Errorf("%d events are in the pages, want %d under their ids", len(pages), len(steps))
	}
	maps.Copy(frames, steps) // which channels leave to the stream
	if !reflect.DeepEqual(frames, want) {
		t.Errorf("%d events were notified or streamed, want %d under their ids", len(frames), len(want))
	}
}

// TestCloudListsMap proves that records of every list of CXone are events, and
// that a later poll is given what was updated since, and nothing else.
func TestCloudListsMap(t *testing.T) {
	c := happened(t, CloudConfig{Vendor: topology.CXone, Seed: 3, Events: 400, Entities: 40, Plain: true})
	lists := map[string]string{
		"agents": "agents", "skills": "skills", "agents/states": "agentStates",
		"agents/skills": "agentSkillAssignments", "contacts/completed": "completedContacts",
	}
	for list, name := range lists {
		seen, newest := map[string]bool{}, int64(0)
		for target := CXoneServices + "/" + list + "?top=7"; target != ""; {
			var page map[string]json.RawMessage
			decode(t, call(t, c, "GET", target, ""), &page)
			var records []json.RawMessage
			var links struct{ Next string }
			for field, to := range map[string]any{name: &records, "_links": &links} {
				if err := json.Unmarshal(page[field], to); err != nil {
					t.Fatalf("%s: %s: %v", list, field, err)
				}
			}
			for _, record := range records {
				e := mapped(t, topology.CXone, event.Poll, list, record)
				if seen[e.ID] || e.TsSource != event.TsEvent {
					t.Errorf("%s: %s is event %s at a time by %s: seen before, or without a time", list, record, e.ID, e.TsSource)
				}
				seen[e.ID], newest = true, max(newest, e.TsMs)
			}
			target = links.Next
		}
		if len(seen) == 0 {
			t.Errorf("%s is empty", list)
		}
		after := isoMillis(newest + 1)
		if w := call(t, c, "GET", CXoneServices+"/"+list+"?updatedSince="+after, ""); w.Code != http.StatusNoContent {
			t.Errorf("%s: a poll of nothing is answered %d, want 204", list, w.Code)
		}
	}
}

// TestCloudStreamResumes proves where a stream begins: after the id that is named,
// at the oldest that is remembered without one, and nowhere after one that is
// remembered no more or is of another cloud's life.
func TestCloudStreamResumes(t *testing.T) {
	c := happened(t, CloudConfig{Vendor: topology.Genesys, Seed: 3, Events: 800, Entities: 16, Plain: true, Remembered: 80})
	told := c.log.all(func(e entry) bool { return e.streamed })
	remembered := told[len(told)-10:] // of the newest 80 entries, an eighth
	server := httptest.NewServer(c)
	defer server.Close()
	ids := func(after string) (got []string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/stream", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		access, _ := c.tokens.give()
		r.Header.Set("Authorization", "Bearer "+access)
		r.Header.Set("Last-Event-ID", after)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return []string{fmt.Sprint(resp.StatusCode)}
		}
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				got = append(got, id)
			}
			if last := len(got) - 1; last >= 0 && got[last] == c.log.id(told[len(told)-1].n) {
				break
			}
		}
		return got
	}
	var want []string
	for _, e := range remembered {
		want = append(want, c.log.id(e.n))
	}
	if got := ids(""); !reflect.DeepEqual(got, want) {
		t.Errorf("without an id: got %v, want %v", got, want)
	}
	if got := ids(want[3]); !reflect.DeepEqual(got, want[4:]) {
		t.Errorf("after the fourth: got %v, want %v", got, want[4:])
	}
	other := newCloudLog(time.Unix(0, 0), 0).id(told[len(told)-2].n)
	for _, id := range []string{c.log.id(told[0].n), other, "what"} {
		if got := ids(id); !reflect.DeepEqual(got, []string{"410"}) {
			t.Errorf("after %s: got %v, want 410", id, got)
		}
	}
}

// TestCloudTokens proves that tokens end by time, by revocation and by use, and
// what is refreshed with what came with them.
func TestCloudTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := happened(t, CloudConfig{Vendor: topology.CXone, Events: 1, TokenLife: time.Minute})
		ask := func(path, body string) (status int, answer map[string]any) {
			w := httptest.NewRecorder()
			c.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body)))
			_ = json.Unmarshal(w.Body.Bytes(), &answer)
			return w.Code, answer
		}
		use := func(token any) int {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/ic3api/v2/integrations/webhooks", http.NoBody)
			r.Header.Set("Authorization", fmt.Sprint("Bearer ", token))
			w := httptest.NewRecorder()
			c.ServeHTTP(w, r)
			return w.Code
		}
		want := func(what string, got, status int) {
			t.Helper()
			if got != status {
				t.Errorf("%s: got %d, want %d", what, got, status)
			}
		}
		status, _ := ask("/authentication/v1/token/access-key", `{"accessKeyId":"trunkline","accessKeySecret":"other"}`)
		want("a wrong secret", status, http.StatusUnauthorized)
		_, first := ask("/authentication/v1/token/access-key", `{"accessKeyId":"trunkline","accessKeySecret":"secret"}`)
		want("a new token", use(first["access_token"]), http.StatusOK)
		want("none", use(""), http.StatusUnauthorized)
		refresh := fmt.Sprintf(`{"token":%q}`, first["refresh_token"])
		_, second := ask("/public/user/refresh", refresh)
		want("a refreshed token", use(second["token"]), http.StatusOK)
		status, _ = ask("/public/user/refresh", refresh)
		want("a refresh token again", status, http.StatusUnauthorized)
		time.Sleep(time.Minute)
		want("an expired token", use(second["token"]), http.StatusUnauthorized)
		_, third := ask("/authentication/v1/token/access-key", `{"accessKeyId":"trunkline","accessKeySecret":"secret"}`)
		for range callsPerMinute {
			want("a token within its limit", use(third["access_token"]), http.StatusOK)
		}
		want("a token over its limit", use(third["access_token"]), http.StatusTooManyRequests)
		time.Sleep(10 * time.Second)
		want("a token that rested", use(third["access_token"]), http.StatusOK)
		c.RevokeTokens()
		want("a revoked token", use(third["access_token"]), http.StatusUnauthorized)
	})
}

// edgeOf is a consumer of deliveries in the test's own time.
type edgeOf func(body string, r *http.Request) int

func (f edgeOf) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	status := f(string(body), r)
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(`{"status":"accepted"}`)), Request: r}, nil
}

// TestCloudRetries proves the vendors' policies: when a delivery is sent again,
// and when it is lost.
func TestCloudRetries(t *testing.T) {
	for vendor, want := range map[string][]time.Duration{
		topology.Genesys: {0, 5 * time.Second, 10 * time.Second, 15 * time.Second, 20 * time.Second, 25 * time.Second},
		topology.CXone:   {0, time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second, 31 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			var at []time.Duration
			began := time.Now()
			c, err := NewCloud(CloudConfig{
				Vendor: vendor, Tenant: "acme", Events: 1, Plain: true,
				Client: &http.Client{Transport: edgeOf(func(string, *http.Request) int {
					at = append(at, time.Since(began))
					return http.StatusServiceUnavailable
				})},
			})
			if err != nil {
				t.Fatal(err)
			}
			c.Subscribe(Subscription{URL: "http://edge/"})
			if err := c.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := c.Report().Deliveries; !reflect.DeepEqual(at, want) || got != (DeliveryOutcomes{Lost: 1}) {
				t.Errorf("%s: sent at %v, want %v; outcomes %+v", vendor, at, want, got)
			}
		})
	}
}

// TestCloudFaults proves that faults do to deliveries what they say, and that the
// counts tell it.
func TestCloudFaults(t *testing.T) {
	for _, vendor := range topology.Vendors {
		synctest.Test(t, func(t *testing.T) {
			var got []string
			forged := 0
			c, err := NewCloud(CloudConfig{
				Vendor: vendor, Tenant: "acme", Events: 2000, Plain: true, Seed: 4,
				Client: &http.Client{Transport: edgeOf(func(body string, r *http.Request) int {
					if strings.Contains(body, "forged-") {
						forged++
						if r.Header.Get("Authorization") != "" {
							t.Error("a forgery carries the token")
						}
						return http.StatusUnauthorized
					}
					got = append(got, body)
					return http.StatusOK
				})},
			})
			if err != nil {
				t.Fatal(err)
			}
			c.sending = make(chan struct{}, 1) // one after the other
			c.Subscribe(Subscription{URL: "http://edge/", Token: "t"})
			c.SetFaults(Faults{Drop: 0.1, Duplicate: 0.1, Reorder: 0.1, Forge: 0.1})
			if err := c.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			r := c.Report()
			seen, moved, newest := map[string]int{}, 0, -1
			order := map[string]int{}
			for i, body := range c.Told() {
				order[string(body)] = i
			}
			for _, body := range got {
				n, told := order[body]
				if seen[body]++; !told {
					t.Fatalf("nobody told %s", body)
				}
				if n < newest {
					moved++
				}
				newest = max(newest, n)
			}
			d := r.Deliveries
			if len(seen) != d.Accepted || d.Accepted+d.Dropped != r.Told-r.Streamed || d.Forged+d.Lost+d.Refused > 0 {
				t.Errorf("%s: %d events arrived; %+v", vendor, len(seen), r)
			}
			for what, n := range map[string]int{"dropped": d.Dropped, "doubled": len(got) - len(seen), "moved": moved, "forged": forged} {
				share := float64(n) / float64(r.Told)
				if share < 0.02 || share > 0.2 {
					t.Errorf("%s: %d of %d were %s, want about a tenth", vendor, n, r.Told, what)
				}
			}
		})
	}
}

// TestCloudConnections proves that a silent stream beats, that its heart can be
// stopped, and that a share of the calls is answered what the faults say.
func TestCloudConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := happened(t, CloudConfig{Vendor: topology.Genesys, Events: 1, Plain: true})
		listen := func() string {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Second)
			defer cancel()
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/stream", http.NoBody)
			access, _ := c.tokens.give()
			r.Header.Set("Authorization", "Bearer "+access)
			w := httptest.NewRecorder()
			c.ServeHTTP(w, r)
			return w.Body.String()
		}
		const opening = ": connected\nretry: 2000\n\n"
		if got, want := listen(), opening+strings.Repeat(": hb\n\n", 4); got != want {
			t.Errorf("in a minute: got %q, want %q", got, want)
		}
		c.SetFaults(Faults{Mute: true})
		if got := listen(); got != opening {
			t.Errorf("mute: got %q, want %q", got, opening)
		}
		c.SetFaults(Faults{Refuse: 0.25, RefuseWith: http.StatusTooManyRequests})
		refused := 0
		for range 400 {
			if w := call(t, c, "GET", "/api/v2/users", ""); w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") == "1" {
				refused++
			}
		}
		if refused < 70 || refused > 130 {
			t.Errorf("%d of 400 calls were refused, want about 100", refused)
		}
	})
}
