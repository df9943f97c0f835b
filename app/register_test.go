package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"trunkline/ingest"
	"trunkline/topology"
)

// registerConfig is a configuration with the edge section and the vendors of
// tenant acme, both in flow style.
func registerConfig(edge, vendors string) string {
	return `kafka: {brokers: ["localhost:9092"]}
registry: {url: "http://localhost:8081"}
edge: {` + edge + `}
tenants:
- id: acme
  ack: kafka
  vendors: {` + vendors + `}
`
}

const (
	publicURL  = "public_url: 'https://edge.example'"
	genesysAPI = "api: {url: 'https://api.example', oauth: {url: 'https://login.example', client_id: i, client_secret: s}}"
	cxoneAPI   = "api: {url: 'https://api.example/v33', access_key: {url: 'https://login.example', id: i, secret: s}}"
)

// TestRegisterConfig shows that each fault names its field and the cure, at the
// start of any command where it is wrong at any rate, else at registration.
func TestRegisterConfig(t *testing.T) {
	withFilters := func(filters string) string {
		return "genesys: {tokens: [x], registration: {filters: " + filters + "}}"
	}
	tests := []struct {
		name, edge, vendors string
		load, register      []string // parts of the errors; none: no error
	}{
		{name: "both", edge: publicURL, vendors: "genesys: {tokens: [x], " + genesysAPI + "}, cxone: {tokens: [x], " + cxoneAPI + "}"},
		{name: "all", edge: "", vendors: "genesys: {tokens: [x], " + genesysAPI + ", registration: {name: n, callback_url: 'https://e.example/in', api_url: 'https://b.example/p'," +
			" filters: [{resource_type: user, event_type: updated, condition: c}]}}, cxone: {tokens: [x], " + cxoneAPI + ", registration: {callback_url: 'https://e.example/cxone/webhook', events: [CALL_STARTED]}}"},
		{name: "nothing of it", vendors: "genesys: {tokens: [x]}, cxone: {signing_secrets: [s]}", register: []string{
			"edge.public_url: is missing; give the https URL at which vendors find the edge",
			"tenants[0].vendors.genesys.api.url: is missing", "tenants[0].vendors.genesys.api: has no credential; give it oauth (Genesys) or access_key (CXone)",
			"tenants[0].vendors.cxone.tokens: is empty; the vendor sends the first of them",
		}},
		{name: "one name at one account", edge: publicURL, vendors: "cxone: {tokens: [x], " + cxoneAPI + ", registration: {name: Kafka Event Bus Ingestion}}, genesys: {tokens: [x], " + genesysAPI + "}}\n" +
			"- id: beta\n  vendors: {cxone: {tokens: [y], " + cxoneAPI + "}, genesys: {tokens: [y], " + genesysAPI + ", registration: {name: another}}",
			register: []string{`tenants[1].vendors.cxone.registration.name: "Kafka Event Bus Ingestion" is also that of tenant acme, which has the same credential; give one of them another`}},
		{name: "no such vendor", edge: publicURL, vendors: "genesys: {tokens: [x], " + genesysAPI + "}", register: []string{"tenants: none has the vendor cxone"}},

		{name: "plain http", edge: "public_url: 'http://edge.example'", vendors: "genesys: {tokens: [x]}", load: []string{"edge.public_url: must start with https://"}},
		{name: "a query", edge: "public_url: 'https://edge.example?x=y'", vendors: "genesys: {tokens: [x], registration: {callback_url: '/in', api_url: x}}", load: []string{
			"edge.public_url: has a query or a fragment: leave it out", "genesys.registration.callback_url: is no URL", "genesys.registration.api_url: is no http(s) URL",
		}},
		{name: "no filter", vendors: withFilters("[]"), load: []string{"tenants[0].vendors.genesys.registration.filters: is empty, which would subscribe to every event of the organisation; name"}},
		{name: "only a condition", vendors: withFilters("[{condition: any}]"), load: []string{
			`registration.filters[0].resource_type: "" would subscribe to every resource of the organisation; name one, as user`,
			`registration.filters[0].event_type: "" would subscribe to every event of the resource; name one, as updated`,
		}},
		{name: "of the other vendor", vendors: "genesys: {tokens: [x], registration: {events: [A]}}, cxone: {tokens: [x], registration: {filters: [{resource_type: user, event_type: created}]}}",
			load: []string{"genesys.registration.events: is for cxone; leave it out", "cxone.registration.filters: is for genesys; leave it out"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			expect := func(when string, err error, want []string) {
				t.Helper()
				if (err != nil) != (len(want) > 0) {
					t.Fatalf("%s: got error %v, want parts %q", when, err, want)
				}
				for _, part := range want {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%s: error %q lacks %q", when, err, part)
					}
				}
			}
			c, err := parseConfig([]byte(registerConfig(tt.edge, tt.vendors)))
			expect("load", err, tt.load)
			if err != nil {
				return
			}
			var all []string
			for _, vendor := range topology.Vendors {
				if _, err := Registrars(c, RegisterOptions{Vendor: vendor, Tenant: ""}); err != nil {
					all = append(all, err.Error())
				}
			}
			if len(all) > 0 {
				err = fmt.Errorf("%s", strings.Join(all, "\n"))
			}
			expect("register", err, tt.register)
		})
	}
}

// TestRegisteredDeliveries shows that what is ordered is what the edge takes: at
// the path that the vendor was given and, from CXone, with the token.
func TestRegisteredDeliveries(t *testing.T) {
	var ordered struct {
		URL            string `json:"url"`
		CallbackURL    string `json:"callbackUrl"`
		Authentication struct {
			Token string `json:"token"`
		} `json:"authentication"`
	}
	paths := map[string]bool{}
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "token"):
			fmt.Fprint(w, `{"access_token":"t","expires_in":60}`)
		case r.Method == http.MethodGet:
			fmt.Fprint(w, `{}`)
		default:
			paths[r.URL.Path] = true
			if err := json.NewDecoder(r.Body).Decode(&ordered); err != nil {
				t.Error(err)
			}
			fmt.Fprint(w, `{"id":"1"}`)
		}
	}))
	defer vendor.Close()
	c, err := parseConfig([]byte(strings.NewReplacer("https://login.example", vendor.URL, "https://api.example", vendor.URL).Replace(
		registerConfig(publicURL, "genesys: {tokens: [current, previous], "+genesysAPI+"}, cxone: {tokens: [current, previous], "+cxoneAPI+"}"))))
	if err != nil {
		t.Fatal(err)
	}
	edge, err := ingest.NewEdge(ingest.Options{Log: discard{}, Tenants: []ingest.Tenant{c.Tenants[0].edge()}, Mappers: mappers})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range topology.Vendors {
		all, err := Registrars(c, RegisterOptions{Vendor: name, Tenant: "acme"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := all[0].Execute(t.Context()); err != nil {
			t.Fatal(err)
		}
		callback, token := ordered.CallbackURL, "current" // which the operator gives Genesys
		if name == topology.CXone {
			callback, token = ordered.URL, ordered.Authentication.Token
		}
		u, err := url.Parse(callback)
		if err != nil || u.Scheme != "https" || u.Host != "edge.example" || token != "current" {
			t.Errorf("%s: delivers to %q with token %q, %v", name, callback, token, err)
		}
		r := httptest.NewRequest(http.MethodPost, u.Path, strings.NewReader(`{"id":"e","resourceType":"user","eventType":"created","resourceId":"u"}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		edge.Handler().ServeHTTP(w, r)
		if body, _ := io.ReadAll(w.Body); w.Code != http.StatusOK {
			t.Errorf("%s: a delivery to %s is answered %d %s", name, u.Path, w.Code, body)
		}
	}
	for _, want := range []string{"/api/v2/eventstreams/subscriptions", "/ic3api/v2/integrations/webhooks"} {
		if !paths[want] {
			t.Errorf("called %v, want %s", paths, want)
		}
	}
}

// discard is a raw log that takes everything.
type discard struct{}

func (discard) Append(context.Context, []ingest.Record) error { return nil }
