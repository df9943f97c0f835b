package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"trunkline/ingest/redacted"
)

// TestDefers is the table of failure classes: what is deferred, of those that are
// complete and not held to be strict. All else is refused.
func TestDefers(t *testing.T) {
	for f, want := range map[failure]bool{
		stale: true, mismatch: true, unknownKey: true,
		missing: false, malformed: false, wrongToken: false, otherTenant: false,
	} {
		for _, strict := range []bool{false, true} {
			for _, complete := range []bool{false, true} {
				if got, want := f.defers(strict, complete), want && complete && !strict; got != want {
					t.Errorf("%s, strict %v, complete %v: deferred %v", f, strict, complete, got)
				}
			}
		}
	}
}

// memoryQuarantine keeps what it is given.
type memoryQuarantine struct {
	mu   sync.Mutex
	kept []Deferred
	put  func(context.Context) error
}

func (q *memoryQuarantine) Put(ctx context.Context, d Deferred) error {
	if q.put != nil {
		if err := q.put(ctx); err != nil {
			return err
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	d.Body = bytes.Clone(d.Body)
	q.kept = append(q.kept, d)
	return nil
}

func (q *memoryQuarantine) taken() []Deferred {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]Deferred(nil), q.kept...)
}

// clock is one that a test sets.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

const octJWKS = `{"keys":[{"kty":"oct","kid":"new","k":"bmV3LXNlY3JldA"}]}` // new-secret

// deferring returns options of an edge with a quarantine and three more tenants
// of CXone: one with published keys, one that is strict, and one of both
// credentials.
func deferring(log RawLog, q Quarantine, p *publisher) Options {
	o := options(log)
	o.Quarantine, o.KeyTransport = q, p
	key := []SigningKey{{ID: "own", Secret: "own-secret"}}
	add := func(id string, c Credentials) {
		o.Tenants = append(o.Tenants, Tenant{ID: id, Vendors: []string{"cxone"}, VendorIDs: []string{"their-" + id}, Auth: Auth{"cxone": c}})
	}
	add("rotating", Credentials{Keys: key, KeysURL: keysURL})
	add("unforgiving", Credentials{Keys: []SigningKey{{ID: "k", Secret: "unforgiving-secret"}}, Strict: true})
	add("careful", Credentials{Keys: []SigningKey{{ID: "k", Secret: "careful-secret"}}, Tokens: []redacted.Text{"careful-token"}})
	return o
}

// fetching runs the fetches of an edge's keys.
func fetching(t *testing.T, e *Edge) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); e.FetchKeys(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	for _, set := range e.keySets() {
		_ = set.Refresh(ctx) // a test may want it to fail
	}
}

func cxonePathOf(tenant string) string { return "/v1/ingest/cxone/" + tenant + "/webhook" }

// named is sign with the id of a key.
func named(kid, secret, body string, at time.Time) string {
	return strings.Replace(sign(secret, body, at), ",", ",kid="+kid+",", 1)
}

// TestDeferredDeliveries holds answers, raw log and quarantine against the
// failure classes.
func TestDeferredDeliveries(t *testing.T) {
	signed := sample(t, "signed.json")
	theirs := func(tenant string) string {
		return strings.ReplaceAll(signed, "11e85da0-f32c-7e10-898c-0242ac110003", "their-"+tenant)
	}
	body := theirs("rotating")
	rotating := cxonePathOf("rotating")
	xsig := func(v string) []string { return []string{"X-CXone-Signature", v} }
	forged := xsig(named("new", "guess", body, signedAt))
	tests := []struct {
		name    string
		path    string
		body    string
		headers []string
		change  func(*Options, *memoryQuarantine)
		status  int
		reason  string // of a deferred one
	}{
		{name: "new key", path: rotating, body: body, headers: xsig(named("newer", "x", body, signedAt)), status: 200, reason: "unknown_key"},
		{name: "no key matches", path: rotating, body: body, headers: forged, status: 200, reason: "mismatch"},
		{name: "stale", path: rotating, body: body, headers: xsig(sign("own-secret", body, signedAt.Add(-time.Hour))), status: 200, reason: "stale"},
		{name: "array", path: rotating, body: "[" + body + "," + body + "]", headers: forged, status: 200, reason: "mismatch"},
		{name: "gzip", path: rotating, body: zipped(body), headers: append(forged, "Content-Encoding", "gzip"), status: 200, reason: "mismatch"},
		{name: "token right, signature not", path: cxonePathOf("careful"), body: body, headers: append(forged, "Authorization", "Bearer careful-token"), status: 200, reason: "unknown_key"},
		{name: "either would do and neither does", path: cxonePath, body: signed, headers: append(forged, "Authorization", "Bearer guess"), status: 200, reason: "unknown_key"},
		{name: "to the default tenant", path: "/cxone/webhook", body: body, headers: forged, change: func(o *Options, _ *memoryQuarantine) {
			o.DefaultTenants = map[string]string{"cxone": "rotating"}
		}, status: 200, reason: "mismatch"},

		{name: "no signature", path: rotating, body: body, status: 401},
		{name: "a token instead", path: rotating, body: body, headers: []string{"Authorization", "Bearer x"}, status: 401},
		{name: "signature that cannot be read", path: rotating, body: body, headers: xsig("x"), status: 401},
		{name: "token wrong", path: cxonePathOf("careful"), body: body, headers: append(forged, "Authorization", "Bearer guess"), status: 401},
		{name: "token wrong, signature right", path: cxonePathOf("careful"), body: body, headers: append(xsig(sign("careful-secret", body, signedAt)), "Authorization", "Bearer guess"), status: 401},
		{name: "token missing", path: cxonePathOf("careful"), body: body, headers: xsig(sign("careful-secret", body, signedAt)), status: 401},
		{name: "no JSON", path: rotating, body: body[:50], headers: forged, status: 401},
		{name: "no event", path: rotating, body: `{"a":1}`, headers: forged, status: 401},
		{name: "event of nothing", path: rotating, body: `{"eventType":"CALL_STARTED","timestamp":"2026-11-22T01:50:00Z","data":{}}`, headers: xsig(sign("guess", `{"eventType":"CALL_STARTED","timestamp":"2026-11-22T01:50:00Z","data":{}}`, signedAt)), status: 401},
		{name: "one of two is no event", path: rotating, body: "[" + body + ",{}]", headers: forged, status: 401},
		{name: "no gzip", path: rotating, body: body, headers: append(forged, "Content-Encoding", "gzip"), status: 401},
		{name: "no content type", path: rotating, body: body, headers: append(forged, "Content-Type", ""), status: 401},
		{name: "empty", path: rotating, body: "", headers: forged, status: 401},
		{name: "strict", path: cxonePathOf("unforgiving"), body: body, headers: forged, status: 401},
		{name: "strict and stale", path: cxonePathOf("unforgiving"), body: body, headers: xsig(sign("unforgiving-secret", body, signedAt.Add(-time.Hour))), status: 401},
		{name: "no quarantine", path: rotating, body: body, headers: forged, change: func(o *Options, _ *memoryQuarantine) { o.Quarantine = nil }, status: 401},
		{name: "no default tenant", path: "/cxone/webhook", body: body, headers: forged, status: 401},
		{name: "not the default tenant's", path: "/cxone/webhook", body: theirs("careful"), headers: forged, change: func(o *Options, _ *memoryQuarantine) {
			o.DefaultTenants = map[string]string{"cxone": "rotating"}
		}, status: 401},

		{name: "keys not fetched yet", path: rotating, body: body, headers: forged, change: func(o *Options, _ *memoryQuarantine) { o.KeyTransport = &publisher{} }, status: 503},
		{name: "quarantine down", path: rotating, body: body, headers: forged, change: func(_ *Options, q *memoryQuarantine) {
			q.put = func(context.Context) error { return errors.New("no broker") }
		}, status: 503},
		{name: "quarantine hangs", path: rotating, body: body, headers: forged, change: func(o *Options, q *memoryQuarantine) {
			o.Budget = 20 * time.Millisecond
			q.put = func(context.Context) error { time.Sleep(200 * time.Millisecond); return nil }
		}, status: 503},
		{name: "tenant without topics", path: rotating, body: body, headers: forged, change: func(o *Options, _ *memoryQuarantine) {
			o.TenantReady = func(string, string) bool { return false }
		}, status: 503},
		{name: "quota of bytes spent", path: rotating, body: body, headers: forged, change: func(o *Options, _ *memoryQuarantine) { o.DeferredBytesPerHour = len(body) - 1 }, status: 503},
		{name: "quota of bytes just enough", path: rotating, body: body, headers: forged, change: func(o *Options, _ *memoryQuarantine) { o.DeferredBytesPerHour = len(body) }, status: 200, reason: "mismatch"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			log, q := &memoryLog{}, &memoryQuarantine{}
			o := deferring(log, q, &publisher{jwks: map[string]string{keysURL: octJWKS}})
			if tt.change != nil {
				tt.change(&o, q)
			}
			e := newEdge(t, o)
			fetching(t, e)
			resp := answerTo(e, post(tt.path, tt.body, tt.headers...))
			kept := q.taken()
			if resp.StatusCode != tt.status {
				t.Fatalf("status %d, want %d: %s", resp.StatusCode, tt.status, bodyOf(t, resp))
			}
			if n := len(log.taken()); n != 0 {
				t.Errorf("%d raw records of a delivery that does not verify", n)
			}
			if tt.reason == "" {
				if len(kept) != 0 {
					t.Errorf("kept %v", kept)
				}
				if resp.Header.Get("X-Deferred-Processing") != "" {
					t.Error("it is said to be deferred")
				}
				return
			}
			if got, want := bodyOf(t, resp), `{"status":"deferred","reason":"`+tt.reason+`"}`; got != want {
				t.Errorf("answer %s, want %s", got, want)
			}
			if got := resp.Header.Get("X-Deferred-Processing"); got != "true" {
				t.Errorf("X-Deferred-Processing: %q", got)
			}
			if len(kept) != 1 || string(kept[0].Body) != tt.body || kept[0].Reason != tt.reason {
				t.Fatalf("kept %v", kept)
			}
		})
	}
}

// TestQuota spends the quota of one sender, which is another's no business, until
// the next hour.
func TestQuota(t *testing.T) {
	q := &memoryQuarantine{}
	o := deferring(&memoryLog{}, q, &publisher{jwks: map[string]string{keysURL: octJWKS}})
	c := &clock{at: signedAt.Truncate(time.Hour)}
	o.Now, o.DeferredPerHour = c.now, 3
	e := newEdge(t, o)
	fetching(t, e)
	body := sample(t, "signed.json")
	send := func(path string, want int) {
		t.Helper()
		resp := answerTo(e, post(path, body, "X-CXone-Signature", sign("guess", body, c.now())))
		if resp.StatusCode != want {
			t.Errorf("%v after the hour: status %d, want %d", c.now().Sub(signedAt.Truncate(time.Hour)), resp.StatusCode, want)
		}
		if want == 503 && resp.Header.Get("Retry-After") != "7" {
			t.Errorf("Retry-After %q", resp.Header.Get("Retry-After"))
		}
	}
	rotating := cxonePathOf("rotating")
	for range 3 {
		send(rotating, 200)
	}
	c.set(c.now().Add(time.Hour - time.Nanosecond))
	send(rotating, 503)
	send(cxonePath, 200)
	answer := answerTo(e, post(rotating, body, "X-CXone-Signature", sign("own-secret", body, c.now())))
	if answer.StatusCode != http.StatusOK {
		t.Errorf("a delivery that verifies is answered %d", answer.StatusCode)
	}
	c.set(c.now().Add(time.Nanosecond))
	send(rotating, 200)
	if got, want := len(q.taken()), 5; got != want {
		t.Errorf("kept %d, want %d", got, want)
	}
}

// TestRelease defers deliveries and verifies them again after what happens
// meanwhile.
func TestRelease(t *testing.T) {
	body := " " + strings.ReplaceAll(sample(t, "signed.json"), "11e85da0", "22e85da0")
	nothing := func(*Edge, *publisher, *clock) {}
	rotate := func(e *Edge, p *publisher, _ *clock) {
		p.publish(keysURL, octJWKS)
		for _, set := range e.keySets() {
			_ = set.Refresh(t.Context())
		}
	}
	wait := func(d time.Duration) func(*Edge, *publisher, *clock) {
		return func(e *Edge, p *publisher, c *clock) { c.set(signedAt.Add(d)); rotate(e, p, c) }
	}
	tests := []struct {
		name      string
		tenant    string
		signature string
		headers   []string
		then      func(*Edge, *publisher, *clock)
		change    func(*Deferred)
		want      Verdict
	}{
		{name: "the key became known", signature: named("new", "new-secret", body, signedAt), then: rotate, want: Released},
		{name: "after a day less a second", signature: named("new", "new-secret", body, signedAt), then: wait(24*time.Hour - time.Second), want: Released},
		{name: "it was late", signature: sign("own-secret", body, signedAt.Add(-24*time.Hour)), then: nothing, want: Released},
		{name: "token and signature", tenant: "careful", signature: sign("careful-secret", body, signedAt.Add(-time.Hour)), headers: []string{"Authorization", "Bearer careful-token"}, then: nothing, want: Released},

		{name: "the key is unknown still", signature: named("new", "new-secret", body, signedAt), then: nothing, want: Held},
		{name: "forged", signature: named("new", "guess", body, signedAt), then: rotate, want: Held},
		{name: "late and forged", signature: sign("guess", body, signedAt.Add(-time.Hour)), then: rotate, want: Held},
		{name: "body changed", signature: named("new", "new-secret", body, signedAt), then: rotate, change: func(d *Deferred) { d.Body = append(d.Body, ' ') }, want: Held},

		{name: "after a day", signature: named("new", "new-secret", body, signedAt), then: wait(24*time.Hour + time.Second), want: Expired},
		{name: "too late", signature: sign("own-secret", body, signedAt.Add(-24*time.Hour-time.Second)), then: nothing, want: Expired},
		{name: "tenant gone", signature: named("new", "new-secret", body, signedAt), then: rotate, change: func(d *Deferred) { d.Tenant = "gone" }, want: Expired},
		{name: "vendor gone", signature: named("new", "new-secret", body, signedAt), then: rotate, change: func(d *Deferred) { d.Vendor = "genesys" }, want: Expired},
		{name: "token not shown", tenant: "careful", signature: sign("careful-secret", body, signedAt.Add(-time.Hour)), headers: []string{"Authorization", "Bearer careful-token"}, then: nothing, change: func(d *Deferred) { d.Bearer = false }, want: Expired},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.tenant == "" {
				tt.tenant = "rotating"
			}
			log, q := &memoryLog{}, &memoryQuarantine{}
			p := &publisher{jwks: map[string]string{keysURL: `{"keys":[{"kty":"oct","kid":"old","k":"b2xk"}]}`}}
			o := deferring(log, q, p)
			c := &clock{at: signedAt}
			told := make(chan string, 9)
			o.Now, o.KeysChanged = c.now, func(vendor, tenant string) { told <- vendor + " " + tenant }
			e := newEdge(t, o)
			fetching(t, e)
			headers := append(tt.headers, "X-CXone-Signature", tt.signature, "webhook-id", "w1")
			if resp := answerTo(e, post(cxonePathOf(tt.tenant)+"?topic=hint", body, headers...)); resp.StatusCode != http.StatusOK {
				t.Fatalf("status %d: %s", resp.StatusCode, bodyOf(t, resp))
			}
			var d Deferred
			kept, err := json.Marshal(q.taken()[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(kept, &d); err != nil {
				t.Fatal(err)
			}
			tt.then(e, p, c)
			if tt.change != nil {
				tt.change(&d)
			}
			got, err := e.Release(t.Context(), d)
			if got != tt.want || err != nil {
				t.Fatalf("%s, %v, want %s", got, err, tt.want)
			}
			records := log.taken()
			if tt.want != Released {
				if len(records) > 0 {
					t.Errorf("%d records of a delivery that is %s", len(records), got)
				}
				return
			}
			headersOf := map[string]string{}
			for _, h := range records[0].Headers {
				headersOf[h.Key] = string(h.Value)
			}
			kid := map[string]string{"careful": "k"}[tt.tenant]
			if kid == "" {
				kid = map[bool]string{true: "new", false: "own"}[strings.Contains(tt.signature, "kid=new")]
			}
			want := map[string]string{
				"ingest_id": requestID + "/0", "vendor": "cxone", "tenant": tt.tenant, "transport": "push", "format": "cxone.seed",
				"received_ms": "1795312200000", "content_type": "application/json", "sig_status": "deferred", "sig_kid": kid,
				"source_id": "w1", "topic_hint": "hint",
			}
			if diff := cmp.Diff(want, headersOf); diff != "" || string(records[0].Value) != body {
				t.Errorf("record of %q (-want +got):\n%s", records[0].Value, diff)
			}
			if _, err := e.Release(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			if again := log.taken(); len(again) != 2 || cmp.Diff(again[0], again[1]) != "" {
				t.Errorf("released again it is another record")
			}
			log.fail = func(context.Context) error { return errors.New("no broker") }
			if got, err := e.Release(t.Context(), d); got != Held || err == nil {
				t.Errorf("without a log: %s, %v", got, err)
			}
			if got, want := <-told, "cxone rotating"; got != want {
				t.Errorf("told of keys of %s, want %s", got, want)
			}
		})
	}
}

// TestDeferredHoldsNoToken looks for tokens and secrets in what is kept, and for
// payloads in the logs (I10).
func TestDeferredHoldsNoToken(t *testing.T) {
	var logs bytes.Buffer
	q := &memoryQuarantine{}
	o := deferring(&memoryLog{}, q, &publisher{jwks: map[string]string{keysURL: octJWKS}})
	o.Logger = slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	e := newEdge(t, o)
	fetching(t, e)
	body := sample(t, "signed.json")
	for _, tenant := range []string{"careful", "acme"} {
		answerTo(e, post(cxonePathOf(tenant), body, "X-CXone-Signature", named("m4rk", "guess", body, signedAt),
			"Authorization", "Bearer careful-token", "Cookie", "careful-token", "X-Api-Key", "careful-token"))
	}
	kept, err := json.Marshal(q.taken())
	if err != nil || len(q.taken()) != 2 {
		t.Fatalf("kept %s, %v", kept, err)
	}
	if strings.Contains(string(kept), "careful-token") || strings.Contains(fmt.Sprint(q.taken()), "careful-token") {
		t.Errorf("a token is kept: %s", kept)
	}
	for _, mark := range []string{"careful-token", "m4rk", "427000000001", "v1="} {
		if strings.Contains(logs.String(), mark) {
			t.Errorf("the log tells %q: %s", mark, logs.String())
		}
	}
	if !strings.Contains(logs.String(), "credentials=unknown_key") {
		t.Errorf("the log tells no class: %s", logs.String())
	}
}
