package registration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"trunkline/ingest/oauth"
	"trunkline/ingest/redacted"
)

var (
	subscription = Subscription{Name: "sub", CallbackURL: ours, Filters: DefaultFilters()}
	webhook      = Webhook{Name: "hook", URL: ours, Events: DefaultEvents(), Token: secret + "_token"}
)

// entry is what a vendor holds, given the like of the body.
func entry(id, name, url string) string {
	return fmt.Sprintf(`{"id":%q,"name":%q,"type":"PUSH","callbackUrl":%q,"filters":[],"format":"JSON"}`, id, name, url)
}

func hook(id, name, url, token string) string {
	return fmt.Sprintf(`{"id":%q,"name":%q,"url":%q,"events":["CALL_STARTED","CALL_ENDED","QUEUE_ENTERED","AGENT_ASSIGNED"],`+
		`"authentication":{"type":"bearer","token":%q},"retryPolicy":{"maxRetries":5,"backoffMs":1000}}`, id, name, url, token)
}

// TestBodies checks that what is sent is, byte for byte, what the guides show.
func TestBodies(t *testing.T) {
	for file, w := range map[string]Wanted{
		"I1.json": Subscription{
			Name: "genesys-config-cdc-subscription", CallbackURL: "https://ingest.example.com/v1/ingest/genesys/acme/events",
			Filters: []Filter{{"user", "created", ""}, {"user", "updated", "any"}, {"queue", "created", ""}, {"flow", "published", ""}},
		},
		"I7.json": Webhook{
			Name: "Kafka Event Bus Ingestion", URL: "https://ingestion.enterprise.internal/cxone/webhook",
			Events: DefaultEvents(), Token: "webhook_secret_rotation_key",
		},
	} {
		want, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := w.body()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", file, diff)
		}
	}
}

// TestCheck checks that nothing unfiltered is ordered, and that each fault names
// its field.
func TestCheck(t *testing.T) {
	filters := func(all ...Filter) Wanted { return Subscription{Filters: all} }
	tests := []struct {
		name string
		w    Wanted
		want []string // fields
	}{
		{"defaults", subscription, nil},
		{"a condition", filters(Filter{"user", "updated", "name changed"}), nil},
		{"no filter", filters(), []string{"filters"}},
		{"only a condition", filters(Filter{Condition: "any"}), []string{"filters[0].resource_type", "filters[0].event_type"}},
		{"every resource", filters(Filter{"user", "created", ""}, Filter{"*", "updated", ""}), []string{"filters[1].resource_type"}},
		{"every resource in a word", filters(Filter{"Any", "updated", ""}), []string{"filters[0].resource_type"}},
		{"every event", filters(Filter{"user", "all", ""}), []string{"filters[0].event_type"}},
		{"a prefix", filters(Filter{"user", "up*", ""}), []string{"filters[0].event_type"}},
		{"blank", filters(Filter{" ", "updated", ""}), []string{"filters[0].resource_type"}},
		{"twice", filters(Filter{"user", "created", ""}, Filter{"user", "created", "any"}), []string{"filters[1]"}},

		{"defaults of CXone", webhook, nil},
		{"no event", Webhook{}, []string{"events"}},
		{"every event of CXone", Webhook{Events: []string{"CALL_STARTED", "*"}}, []string{"events[1]"}},
		{"an event twice", Webhook{Events: []string{"A", "A"}}, []string{"events[1]"}},
	}
	for _, tt := range tests {
		var got []string
		tt.w.Check(func(field, _ string, _ ...any) { got = append(got, field) })
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: faults, -want +got:\n%s", tt.name, diff)
		}
	}
}

// TestPlan checks what is found at the vendors and how it is shown.
func TestPlan(t *testing.T) {
	keep := func(p Plan) string {
		var s strings.Builder
		fmt.Fprintf(&s, "%s %s conflict=%t\n", p.Action, p.ID, p.Conflict)
		for _, l := range p.Lines {
			if l.Mark != Keep {
				fmt.Fprintf(&s, "%s %s: %s\n", l.Mark, l.Field, l.Value)
			}
		}
		for _, n := range p.Notes {
			fmt.Fprintf(&s, "note %s\n", n)
		}
		return s.String()
	}
	noToken := strings.Replace(hook("1", "hook", ours, ""), `,"token":""`, "", 1)
	tests := []struct {
		name string
		w    Wanted
		held []string
		want string // the plan without what is kept, or a part of the error
	}{
		{"nothing", webhook, nil, `create  conflict=false
add name: hook
add url: https://edge.example/v1/ingest/vendor/acme
add events: CALL_STARTED
add events: CALL_ENDED
add events: QUEUE_ENTERED
add events: AGENT_ASSIGNED
add authentication.type: bearer
add authentication.token: [redacted]
add retryPolicy.maxRetries: 5
add retryPolicy.backoffMs: 1000
`},
		{"in order", webhook, []string{hook("1", "hook", ours, secret+"_token")}, "none 1 conflict=false\n"},
		{
			"in another order", Webhook{Name: "hook", URL: ours, Events: []string{"QUEUE_ENTERED", "AGENT_ASSIGNED", "CALL_ENDED", "CALL_STARTED"}, Token: secret + "_token"},
			[]string{hook("1", "hook", ours, secret+"_token")}, "none 1 conflict=false\n",
		},
		{"another token", webhook, []string{hook("1", "hook", ours, secret+"_old")}, `update 1 conflict=false
remove authentication.token: [redacted]
add authentication.token: [redacted]
`},
		{"a token that is not shown", webhook, []string{noToken}, "none 1 conflict=false\nnote the vendor does not show which token it has: --send-token sends the present one, as after a rotation\n"},
		{"a token that is masked", webhook, []string{hook("1", "hook", ours, "hu*****")}, "none 1 conflict=false\nnote the vendor does not show which token it has: --send-token sends the present one, as after a rotation\n"},
		{
			"a token that is sent", Webhook{Name: "hook", URL: ours, Events: DefaultEvents(), Token: secret, SendToken: true}, []string{noToken},
			"update 1 conflict=false\nremove authentication.token: [redacted]\nadd authentication.token: [redacted]\n",
		},
		{"a conflict", webhook, []string{hook("1", "hook", "https://user:"+secret+"@old.example/in?key="+secret, secret+"_token")}, `update 1 conflict=true
remove url: https://old.example/in [redacted]
add url: https://edge.example/v1/ingest/vendor/acme
`},
		{"ours among its name", webhook, []string{hook("1", "hook", theirs, ""), hook("2", "hook", ours, secret+"_token")}, `none 2 conflict=false
note 1 has the same name and delivers to https://old.example/in: delete it at the vendor if it is not another's
`},
		{"twins", webhook, []string{hook("2", "hook", ours, secret+"_token"), hook("1", "hook", ours, secret+"_token")}, `none 1 conflict=false
note 2 has the same name and delivers to https://edge.example/v1/ingest/vendor/acme: delete it at the vendor if it is not another's
`},
		{"none known as ours", webhook, []string{hook("1", "hook", theirs, ""), hook("2", "hook", theirs+"2", "")}, "2 registrations are named hook and none delivers to our URL: 1, 2; delete them"},
		{"renamed", subscription, []string{strings.Replace(entry("1", "old", ours), "old", `old\u001b[31m`, 1)}, "note \"old\\x1b[31m\" (1) delivers here, too, so that events come twice"},
		{"another's that cannot be read", subscription, []string{`{"id":"1","name":"x","filters":"all"}`}, "create"},
		{"ours that cannot be read", subscription, []string{`{"id":"1","name":"sub","callbackUrl":"` + ours + `","filters":"all"}`}, "registration sub (1) has fields of another kind"},
		{"no id", subscription, []string{`{"name":"x"}`}, "one has no id"},
		{"an id that leads elsewhere", subscription, []string{entry("../users", "sub", ours)}, "one has no id, or one of another kind"},
		{"the guide's list", subscription, []string{`{"id":"1","name":"sub","type":"PUSH","callbackUrl":"` + ours + `","filters":[{"resourceType":"user","eventType":"created","condition":"any"},` +
			`{"resourceType":"user","eventType":"updated","condition":"any"},{"resourceType":"queue","eventType":"created","condition":"any"},{"resourceType":"flow","eventType":"published","condition":"any"}],"format":"JSON"}`}, `update 1 conflict=false
add filters: user deleted, condition any
add filters: queue updated, condition any
add filters: queue deleted, condition any
add filters: flow created, condition any
add filters: flow updated, condition any
add filters: flow deleted, condition any
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := (&vendor{t: t}).holds(tt.held...)
			p, err := v.client().Plan(t.Context(), tt.w)
			secretFree(t, p, err)
			got := keep(p)
			if err != nil {
				got = err.Error()
			}
			if strings.HasPrefix(tt.want, "none") || strings.HasPrefix(tt.want, "update") || strings.HasPrefix(tt.want, "create ") {
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("plan, -want +got:\n%s", diff)
				}
			} else if !strings.Contains(got, tt.want) {
				t.Errorf("got %s, want a part %q", got, tt.want)
			}
			if w := v.writes(); len(w) > 0 {
				t.Errorf("a plan called %q", w)
			}
		})
	}
}

// TestPages checks that a registration is found on whichever page it stands, and
// that no page leads to another host.
func TestPages(t *testing.T) {
	for name, v := range map[string]*vendor{
		"Genesys": {pageSize: 3}, "CXone by links": {links: true, pageSize: 3}, "CXone by skip and top": {},
	} {
		w, one := Wanted(webhook), func(i int, name string) string { return hook(fmt.Sprintf("%03d", i), name, theirs, "x") }
		if name == "Genesys" {
			w, one = subscription, func(i int, name string) string { return entry(fmt.Sprintf("%03d", i), name, theirs) }
		}
		v.t = t
		for i := range 250 {
			v.holds(one(i, fmt.Sprint("other ", i)))
		}
		v.holds(one(250, w.record().name))
		p, err := v.client().Plan(t.Context(), w)
		if err != nil || p.ID != "250" {
			t.Errorf("%s: got id %q, %v", name, p.ID, err)
		}
	}
	for next, want := range map[string]string{
		"https://evil.example/ic3api/v2/integrations/webhooks": "on another host",
		"http://api.example/ic3api/v2/integrations/webhooks":   "on another host",
		"?page=2": "more than 100 pages",
	} {
		n := 0
		c := NewClient(&http.Client{Transport: answers(func(w http.ResponseWriter, r *http.Request) {
			n++
			fmt.Fprintf(w, `{"webhooks":[%s],"_links":{"next":%q}}`, hook(fmt.Sprint("id", n), "x", theirs, ""), next)
		})}, "https://api.example")
		if _, err := c.Plan(t.Context(), webhook); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("next %s: got error %v, want a part %q", next, err, want)
		}
	}
}

// answers is a transport made of a handler.
type answers func(http.ResponseWriter, *http.Request)

// RoundTrip implements [http.RoundTripper].
func (f answers) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	f(w, r)
	return w.Result(), nil
}

// TestRefusals checks what becomes of every kind of refusal: how often and when
// it is tried again, what is told, and whether later may be better.
func TestRefusals(t *testing.T) {
	always := func(status int) func(int, *http.Request) (int, bool) {
		return func(int, *http.Request) (int, bool) { return status, false }
	}
	on := func(method string, status int, served bool) func(int, *http.Request) (int, bool) {
		return func(_ int, r *http.Request) (int, bool) {
			if r.Method == method {
				return status, served
			}
			return 0, false
		}
	}
	until := func(n, status int) func(int, *http.Request) (int, bool) {
		return func(i int, _ *http.Request) (int, bool) {
			if i < n {
				return status, false
			}
			return 0, false
		}
	}
	tests := []struct {
		name        string
		w           Wanted
		held        []string
		meddle      func(int, *http.Request) (int, bool)
		retryAfter  string
		want        string // of the error; empty: done
		unavailable bool
		calls       int
		took        time.Duration
	}{
		{"403 of the list", webhook, nil, always(403), "", "list registrations: answered 403, missing.permission: the credential lacks the scope webhook:manage; grant it", false, 1, 0},
		{"403 of Genesys's list", subscription, nil, always(403), "", "the credential lacks the scope eventstreams:read;", false, 1, 0},
		{"403 of a create", subscription, nil, on("POST", 403, false), "", "create registration: answered 403, missing.permission: the credential lacks the scope eventstreams:write;", false, 2, 0},
		{"403 of an update", subscription, []string{entry("1", "sub", ours)}, on("PUT", 403, false), "", "update registration: answered 403", false, 2, 0},
		{"401", webhook, nil, always(401), "", "answered 401, missing.permission, also to a new token: is the credential", false, 1, 0},
		{"404", webhook, nil, always(404), "", "is api.url, or registration.api_url, the API's?", false, 1, 0},
		{"400 that repeats the request", webhook, nil, on("POST", 400, false), "", "create registration: answered 400, missing.permission", false, 2, 0},
		{"503 four times", webhook, nil, until(5, 503), "", "", false, 6, 15 * time.Second},
		{"503 five times", webhook, nil, always(503), "", "list registrations: answered 503", true, 5, 15 * time.Second},
		{"429", webhook, nil, until(2, 429), "30", "", false, 3, 30 * time.Second},
		{"429 that asks for less than we wait", webhook, nil, until(3, 429), "1", "", false, 4, 3 * time.Second},
		{"429 five times", webhook, nil, always(429), "", "answered 429", true, 5, 15 * time.Second},
		{"429 for longer than anyone waits", webhook, nil, always(429), "600", "answered 429, missing.permission: try again in 10m0s", true, 1, 0},
		{"a create that got through, but was answered 502", webhook, nil, on("POST", 502, true), "", "", false, 3, time.Second},
		{"an update that got through, but was answered 502", webhook, []string{hook("1", "hook", theirs, "")}, on("PUT", 502, true), "", "", false, 3, time.Second},
		{"a name that is taken, but not listed", webhook, nil, on("POST", 409, false), "", "answered 409, missing.permission: the vendor holds a registration of this name or URL that it does not list", false, 10, 15 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := (&vendor{t: t, meddle: tt.meddle, twins: true, header: http.Header{}}).holds(tt.held...)
				if tt.retryAfter != "" {
					v.header.Set("Retry-After", tt.retryAfter)
				}
				start := time.Now()
				p, err := v.client().Execute(t.Context(), tt.w)
				secretFree(t, p, err)
				switch {
				case tt.want == "" && (err != nil || p.Action == None || p.ID == ""):
					t.Errorf("got plan %+v, error %v", p, err)
				case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, ErrUnavailable) != tt.unavailable):
					t.Errorf("got error %v, want %q, unavailable %t", err, tt.want, tt.unavailable)
				}
				if took := time.Since(start); took != tt.took || len(v.asked) != tt.calls {
					t.Errorf("took %v and the calls %q, want %v and %d calls", took, v.asked, tt.took, tt.calls)
				}
				if len(v.held) > 1 {
					t.Errorf("the vendor holds %d registrations", len(v.held))
				}
			})
		})
	}
}

// TestRaces checks what becomes of a registration that another one creates or
// deletes between our look and our call.
func TestRaces(t *testing.T) {
	tests := []struct {
		name   string
		held   string
		before string // the call before which it happens
		change func(v *vendor)
		want   []string // writes
		action Action
	}{
		{"another was quicker, with another URL", "", "POST", func(v *vendor) { v.holds(hook("1", "hook", theirs, "x")) },
			[]string{"POST /ic3api/v2/integrations/webhooks", "PUT /ic3api/v2/integrations/webhooks/1"}, Update},
		{"another was quicker, with the same", "", "POST", func(v *vendor) { v.holds(hook("1", "hook", ours, secret+"_token")) },
			[]string{"POST /ic3api/v2/integrations/webhooks"}, None},
		{"it was deleted", hook("1", "hook", theirs, "x"), "PUT", func(v *vendor) { v.held = nil },
			[]string{"PUT /ic3api/v2/integrations/webhooks/1", "POST /ic3api/v2/integrations/webhooks"}, Create},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &vendor{t: t}
				if tt.held != "" {
					v.holds(tt.held)
				}
				raced := false
				v.meddle = func(_ int, r *http.Request) (int, bool) {
					if r.Method == tt.before && !raced {
						raced = true
						tt.change(v)
					}
					return 0, false
				}
				p, err := v.client().Execute(t.Context(), webhook)
				if err != nil || p.Action != tt.action || len(v.held) != 1 {
					t.Fatalf("got %+v, error %v, vendor %v; want %s", p, err, v.held, tt.action)
				}
				if diff := cmp.Diff(tt.want, v.writes()); diff != "" {
					t.Errorf("writes, -want +got:\n%s", diff)
				}
				if diff := cmp.Diff(map[string]string{p.ID: like(t, webhook, p.ID)}, v.state()); diff != "" {
					t.Errorf("vendor, -want +got:\n%s", diff)
				}
			})
		})
	}
}

// TestToken checks that a call that is answered 401 is made once more with a new
// token, and that it is told apart who does not answer and who refuses.
func TestToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, given := &vendor{t: t}, 0
		status := http.StatusOK
		login := answers(func(w http.ResponseWriter, _ *http.Request) {
			given++
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"access_token":"%s-%d","expires_in":3600}`, secret, given)
		})
		client := func() *Client {
			tokens, err := oauth.NewSource(oauth.Options{
				Grant: oauth.CXone{URL: "https://login", KeyID: "id", KeySecret: redacted.Text(secret)}, HTTP: &http.Client{Transport: login},
			})
			if err != nil {
				t.Fatal(err)
			}
			return NewClient(tokens.Client(&http.Client{Transport: v}), "https://api.example")
		}
		v.meddle = func(_ int, r *http.Request) (int, bool) {
			if r.Method == http.MethodPost && r.Header.Get("Authorization") == "Bearer "+secret+"-1" {
				return http.StatusUnauthorized, false
			}
			return 0, false
		}
		if p, err := client().Execute(t.Context(), webhook); err != nil || p.ID != "new-1" {
			t.Errorf("got %+v, error %v", p, err)
		}
		if want := []string{"Bearer hunter-1", "Bearer hunter-1", "Bearer hunter-2"}; !slices.Equal(v.tokens, want) {
			t.Errorf("got tokens %q, want %q", v.tokens, want)
		}
		for answer, unavailable := range map[int]bool{http.StatusUnauthorized: false, http.StatusServiceUnavailable: true} {
			status = answer
			p, err := client().Plan(t.Context(), webhook)
			secretFree(t, p, err)
			if err == nil || errors.Is(err, ErrUnavailable) != unavailable || !strings.Contains(err.Error(), fmt.Sprint("get token: answered ", status)) {
				t.Errorf("token answered %d: got error %v, want unavailable %t", status, err, unavailable)
			}
		}
	})
}

// TestUnreachable checks that a vendor that is not there is told of at once, and
// that who interrupts is not told it was the vendor.
func TestUnreachable(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	_, err := NewClient(http.DefaultClient, gone.URL).Plan(t.Context(), webhook)
	if !errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), "?") {
		t.Errorf("got error %v, want %v without a query", err, ErrUnavailable)
	}
	for _, when := range []string{"in a pause", "in a call"} {
		ctx, cancel := context.WithCancel(t.Context())
		c := (&vendor{t: t, meddle: func(int, *http.Request) (int, bool) { cancel(); return 503, false }}).client()
		if when == "in a call" {
			cancel()
		}
		if _, err := c.Execute(ctx, webhook); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
			t.Errorf("interrupted %s: got error %v, want %v", when, err, context.Canceled)
		}
		cancel()
	}
}

// TestIdempotent registers at random vendors with random configurations, through
// random outages. A dry run only reads and foretells; after the execution the
// vendor holds the wanted body under one id, and everything else as before; a
// second one changes nothing.
func TestIdempotent(t *testing.T) {
	const runs = 1000
	counts := map[string]int{}
	for seed := range uint64(runs) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 5))
			v, w := randomVendor(t, r)
			before := v.state()
			dry, err := v.client().Plan(t.Context(), w)
			if diff := cmp.Diff(before, v.state()); diff != "" || len(v.writes()) > 0 {
				t.Fatalf("seed %d: a dry run called %q and changed\n%s", seed, v.writes(), diff)
			}
			if err != nil { // not ours to decide
				counts["refused"]++
				if _, err := v.client().Execute(t.Context(), w); err == nil || len(v.writes()) > 0 {
					t.Fatalf("seed %d: error %v after the calls %q", seed, err, v.writes())
				}
				return
			}
			left := r.IntN(tries) // outages, fewer than tries
			v.meddle = func(int, *http.Request) (int, bool) {
				if left == 0 || r.IntN(2) == 0 {
					return 0, false
				}
				left--
				return []int{500, 503, 429}[r.IntN(3)], r.IntN(2) == 0
			}
			p, err := v.client().Execute(t.Context(), w)
			v.meddle = nil
			secretFree(t, p, err)
			if err != nil || p.Action != dry.Action || p.ID == "" {
				t.Fatalf("seed %d: got %+v, error %v; the dry run told %+v", seed, p, err, dry)
			}
			counts[string(p.Action)]++

			after := v.state()
			if held, ok := before[p.ID]; p.Action != None && ok == (p.Action == Create) || p.Action == None && held != after[p.ID] {
				t.Fatalf("seed %d: %s of %s; the vendor held %v", seed, p.Action, p.ID, before)
			}
			// The one thing that cannot be known is a token that is not shown.
			unknown := p.Action == None && v.masks
			if diff := cmp.Diff(unordered(t, like(t, w, p.ID), unknown), unordered(t, after[p.ID], unknown)); diff != "" {
				t.Fatalf("seed %d: the vendor after %s, -want +got:\n%s", seed, p.Action, diff)
			}
			delete(after, p.ID)
			delete(before, p.ID)
			if diff := cmp.Diff(before, after); diff != "" {
				t.Fatalf("seed %d: others, -before +after:\n%s", seed, diff)
			}

			v.asked = nil
			state := v.state()
			again, err := v.client().Execute(t.Context(), w)
			if err != nil || again.Action != None || again.ID != p.ID || len(v.writes()) > 0 || !cmp.Equal(state, v.state()) {
				t.Fatalf("seed %d: the second execution called %q: %+v, error %v", seed, v.writes(), again, err)
			}
		})
	}
	for _, kind := range []string{"none", "create", "update", "refused"} {
		if counts[kind] < runs/100 {
			t.Errorf("%d of %d runs were %s: the generator is too narrow", counts[kind], runs, kind)
		}
	}
}

// randomVendor returns a vendor that holds a few registrations, some of them
// nearly or wholly as it is wanted.
func randomVendor(t *testing.T, r *rand.Rand) (*vendor, Wanted) {
	t.Helper()
	pick := func(all ...string) string { return all[r.IntN(len(all))] }
	some := func(all []string) []string {
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		return all[:1+r.IntN(len(all))]
	}
	v := &vendor{t: t, pageSize: 1 + r.IntN(3), links: r.IntN(2) == 0, masks: r.IntN(3) == 0, twins: r.IntN(2) == 0}
	random := func(name, at string) Wanted {
		return Webhook{Name: name, URL: at, Events: some(DefaultEvents()), Token: redacted.Text(secret + pick("_a", "_b"))}
	}
	if r.IntN(2) == 0 {
		random = func(name, at string) Wanted {
			filters := DefaultFilters()
			r.Shuffle(len(filters), func(i, j int) { filters[i], filters[j] = filters[j], filters[i] })
			return Subscription{Name: name, CallbackURL: at, Filters: filters[:1+r.IntN(len(filters))]}
		}
	}
	w := random("a", ours)
	for i := range r.IntN(6) {
		held := random(pick("a", "b", "c"), pick(ours, ours, theirs, theirs+"2"))
		if r.IntN(4) == 0 {
			held = w
		}
		v.holds(like(t, held, fmt.Sprint("old-", i)))
	}
	return v, w
}

// unordered is a registration whose sets are sorted, without its token if that is
// not known.
func unordered(t *testing.T, held string, tokenUnknown bool) map[string]any {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(held), &all); err != nil {
		t.Fatal(err)
	}
	for _, set := range []string{"filters", "events"} {
		if elements, ok := all[set].([]any); ok {
			slices.SortFunc(elements, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
	}
	if _, ok := all["authentication"]; ok && tokenUnknown {
		delete(all, "authentication")
	}
	return all
}
