package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"trunkline/event"
	"trunkline/ingest/redacted"
	"trunkline/topology"
	"trunkline/vendors"
	"trunkline/vendors/cxone"
	"trunkline/vendors/genesys"
)

const (
	currentSecret  = "webhook_secret_rotation_key"
	previousSecret = "previous_webhook_secret"
	devToken       = "dev-token"
	requestID      = "019aaaaa-0000-7000-8000-000000000001"
)

// signedAt is the timestamp of the signature vectors.
var signedAt = time.Unix(1795312200, 0)

// memoryLog is a raw log that keeps what it acknowledges.
type memoryLog struct {
	mu      sync.Mutex
	records []Record
	calls   int
	fail    func(context.Context) error
}

func (l *memoryLog) Append(ctx context.Context, records []Record) error {
	l.mu.Lock()
	fail := l.fail
	l.calls++
	l.mu.Unlock()
	if fail != nil {
		if err := fail(ctx); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range records {
		r.Value = bytes.Clone(r.Value)
		l.records = append(l.records, r)
	}
	return nil
}

func (l *memoryLog) taken() []Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.records)
}

// options returns those of an edge with the built-in tenant, one tenant with the
// vendor's default policy and one without topics.
func options(log RawLog) Options {
	keys := func(secrets ...redacted.Text) []SigningKey {
		var all []SigningKey
		for i, s := range secrets {
			all = append(all, SigningKey{ID: []string{"current", "previous"}[i], Secret: s})
		}
		return all
	}
	either := Credentials{
		Tokens: []redacted.Text{devToken}, Keys: keys(currentSecret, previousSecret), Require: RequireEither,
	}
	return Options{
		Log: log, Spool: &memorySpool{log: log},
		Tenants: []Tenant{
			{
				ID: "acme", Vendors: topology.Vendors, Ack: AckKafka, VendorIDs: []string{"11e85da0-f32c-7e10-898c-0242ac110003"},
				Auth: Auth{topology.Genesys: either, topology.CXone: either},
			},
			{
				ID: "strict", Vendors: []string{topology.CXone},
				Auth: Auth{topology.CXone: {Tokens: []redacted.Text{"strict-token"}, Keys: keys("strict-secret")}},
			},
			{
				ID: "fresh", Vendors: []string{topology.Genesys},
				Auth: Auth{topology.Genesys: {Tokens: []redacted.Text{"fresh-token"}}},
			},
		},
		Mappers:     map[string]vendors.Mapper{topology.Genesys: genesys.Mapper(), topology.CXone: cxone.Mapper()},
		TenantReady: func(_, tenant string) bool { return tenant != "fresh" },
		Now:         func() time.Time { return signedAt },
		NewID:       func() string { return requestID },
		Random:      func(int) int { return 6 },
	}
}

func newEdge(t testing.TB, o Options) *Edge {
	t.Helper()
	e, err := NewEdge(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func post(path, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
			continue
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func answerTo(e *Edge, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	e.Handler().ServeHTTP(w, r)
	return w.Result()
}

func bodyOf(t testing.TB, resp *http.Response) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

func sample(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

const (
	genesysPath = "/v1/ingest/genesys/acme/events"
	cxonePath   = "/v1/ingest/cxone/acme/webhook"
	seedEvent   = `{"id":"e1","resourceType":"user","eventType":"updated","resourceId":"u1","ts_ms":1795312260123,"data":{"id":"u1","name":"Ana"}}`
)

// TestAnswers is the table of answers that both vendors share.
func TestAnswers(t *testing.T) {
	bearer := []string{"Authorization", "Bearer " + devToken}
	with := func(more ...string) []string { return append(slices.Clone(bearer), more...) }
	accepted := func(n int) string {
		return fmt.Sprintf(`{"status":"accepted","events":%d,"ingest_id":"%s"}`, n, requestID)
	}
	const dead = `{"status":"dead-lettered"}`
	tests := []struct {
		name    string
		request *http.Request
		status  int
		body    string // of a 200
		records int
		header  [2]string // one header that the answer must carry
	}{
		{name: "event", request: post(genesysPath, seedEvent, bearer...), status: 200, body: accepted(1), records: 1},
		{name: "cxone event", request: post(cxonePath, sample(t, "signed.json"), bearer...), status: 200, body: accepted(1), records: 1},
		{name: "array", request: post(genesysPath, "[ "+seedEvent+" ,\n"+seedEvent+"]", bearer...), status: 200, body: accepted(2), records: 2},
		{name: "array with odd elements", request: post(genesysPath, `[1,"x",null,[],{}]`, bearer...), status: 200, body: accepted(5), records: 5},
		{name: "unknown shape", request: post(genesysPath, `{"hello":"world"}`, bearer...), status: 200, body: accepted(1), records: 1},
		{name: "+json and charset", request: post(genesysPath, seedEvent, with("Content-Type", "", "Content-Type", "application/cloudevents+json; charset=utf-8")...), status: 200, body: accepted(1), records: 1},
		{name: "gzip", request: post(genesysPath, zipped(seedEvent), with("Content-Encoding", "gzip")...), status: 200, body: accepted(1), records: 1},
		{name: "bearer in lower case", request: post(genesysPath, seedEvent, "Authorization", "bearer "+devToken), status: 200, body: accepted(1), records: 1},

		{name: "no JSON", request: post(genesysPath, `{"id":`, bearer...), status: 200, body: dead, records: 1},
		{name: "two values", request: post(genesysPath, `{} {}`, bearer...), status: 200, body: dead, records: 1},
		{name: "only a byte order mark", request: post(genesysPath, "\uFEFF", bearer...), status: 200, body: dead, records: 1},
		{name: "no UTF-8", request: post(genesysPath, "{\"id\":\"\xff\"}", bearer...), status: 200, body: dead, records: 1},
		{name: "too deep", request: post(genesysPath, strings.Repeat(`{"a":`, 64)+"[]"+strings.Repeat("}", 64), bearer...), status: 200, body: dead, records: 1},
		{name: "doubled name", request: post(genesysPath, `{"a":1,"a":2}`, bearer...), status: 200, body: dead, records: 1},
		{name: "array of one good and one bad", request: post(genesysPath, `[{"a":1,"a":2},{}]`, bearer...), status: 200, body: accepted(2), records: 2},

		{name: "empty", request: post(genesysPath, "", bearer...), status: 400},
		{name: "white space", request: post(genesysPath, " \r\n\t", bearer...), status: 400},
		{name: "empty array", request: post(genesysPath, " [ ] ", bearer...), status: 400},
		{name: "gzip of nothing", request: post(genesysPath, zipped(""), with("Content-Encoding", "gzip")...), status: 400},
		{name: "no gzip", request: post(genesysPath, seedEvent, with("Content-Encoding", "gzip")...), status: 400},
		{name: "gzip broken off", request: post(genesysPath, zipped(seedEvent)[:40], with("Content-Encoding", "gzip")...), status: 400},
		{name: "long topic", request: post(genesysPath+"?topic="+strings.Repeat("t", 257), seedEvent, bearer...), status: 400},

		{name: "no credential", request: post(genesysPath, seedEvent), status: 401, header: [2]string{"WWW-Authenticate", "Bearer"}},
		{name: "wrong token", request: post(genesysPath, seedEvent, "Authorization", "Bearer other"), status: 401, header: [2]string{"WWW-Authenticate", "Bearer"}},
		{name: "empty token", request: post(genesysPath, seedEvent, "Authorization", "Bearer "), status: 401},
		{name: "other kind", request: post(genesysPath, seedEvent, "Authorization", "Basic "+devToken), status: 401},
		{name: "two authorizations", request: post(genesysPath, seedEvent, with(bearer...)...), status: 401},
		{name: "another tenant's token", request: post(cxonePath, seedEvent, "Authorization", "Bearer strict-token"), status: 401},
		{name: "signature missing", request: post("/v1/ingest/cxone/strict/webhook", seedEvent, "Authorization", "Bearer strict-token"), status: 401},
		{name: "wrong token and no JSON", request: post(genesysPath, "x", "Authorization", "Bearer other", "Content-Type", ""), status: 401},
		{name: "wrong token and too large", request: post(genesysPath, strings.Repeat("x", 2<<20), "Authorization", "Bearer other"), status: 401},

		{name: "unknown tenant", request: post("/v1/ingest/genesys/nobody/events", seedEvent, bearer...), status: 404},
		{name: "unknown tenant, no credential", request: post("/v1/ingest/genesys/nobody/events", seedEvent), status: 404},
		{name: "tenant without the vendor", request: post("/v1/ingest/genesys/strict/events", seedEvent, bearer...), status: 404},
		{name: "tenant with a slash", request: post("/v1/ingest/genesys/ac%2Fme/events", seedEvent, bearer...), status: 404},
		{name: "unknown path", request: post("/v1/ingest/genesys", seedEvent, bearer...), status: 404},
		{name: "trailing slash", request: post(genesysPath+"/", seedEvent, bearer...), status: 404},
		{name: "path that would be redirected", request: post("//v1/ingest/genesys/acme/events", seedEvent, bearer...), status: 404},
		{name: "path with dots", request: post("/v1/../v1/ingest/genesys/acme/events", seedEvent, bearer...), status: 404},

		{name: "get", request: httptest.NewRequest(http.MethodGet, genesysPath, nil), status: 405, header: [2]string{"Allow", "POST"}},
		{name: "put", request: httptest.NewRequest(http.MethodPut, cxonePath, nil), status: 405, header: [2]string{"Allow", "POST"}},
		{name: "head without tenant", request: httptest.NewRequest(http.MethodHead, "/cxone/webhook", nil), status: 405, header: [2]string{"Allow", "POST"}},
		{name: "post to health", request: post("/healthz", ""), status: 405, header: [2]string{"Allow", "GET, HEAD"}},

		{name: "as large as allowed", request: post(genesysPath, fit(1<<20), bearer...), status: 200, body: accepted(1), records: 1},
		{name: "too large", request: post(genesysPath, fit(1<<20+1), bearer...), status: 413, header: [2]string{"Connection", "close"}},
		{name: "too large, length unknown", request: chunked(post(genesysPath, fit(1<<20+1), bearer...)), status: 413, header: [2]string{"Connection", "close"}},
		{name: "gzip event too large", request: post(genesysPath, zipped(varied(1<<20+1)), with("Content-Encoding", "gzip")...), status: 413},
		{name: "gzip bomb", request: post(genesysPath, zipped(fit(9<<20)), with("Content-Encoding", "gzip")...), status: 413},
		{name: "gzip ratio", request: post(genesysPath, zipped(fit(900_000)), with("Content-Encoding", "gzip")...), status: 413},
		{name: "as many events as allowed", request: post(genesysPath, "["+strings.Repeat("{},", 9_999)+"{}]", bearer...), status: 200, body: accepted(10_000), records: 10_000},
		{name: "too many events", request: post(genesysPath, "\uFEFF ["+strings.Repeat("{},", 10_000)+"{}]", bearer...), status: 413},
		{name: "commas inside an event", request: post(genesysPath, "[[1"+strings.Repeat(",1", 20_000)+"]]", bearer...), status: 200, body: accepted(1), records: 1},
		{name: "commas inside a text", request: post(genesysPath, `["\"`+strings.Repeat(",", 20_000)+`"]`, bearer...), status: 200, body: accepted(1), records: 1},

		{name: "no content type", request: post(genesysPath, seedEvent, with("Content-Type", "")...), status: 415},
		{name: "text", request: post(genesysPath, seedEvent, with("Content-Type", "", "Content-Type", "text/plain")...), status: 415},
		{name: "unreadable content type", request: post(genesysPath, seedEvent, with("Content-Type", "", "Content-Type", "application/json; =")...), status: 415},
		{name: "other content coding", request: post(genesysPath, seedEvent, with("Content-Encoding", "br")...), status: 415},
		{name: "gzip twice", request: post(genesysPath, zipped(zipped(seedEvent)), with("Content-Encoding", "gzip, gzip")...), status: 415},

		{name: "no topics yet", request: post("/v1/ingest/genesys/fresh/events", seedEvent, "Authorization", "Bearer fresh-token"), status: 503, header: [2]string{"Retry-After", "7"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			log := &memoryLog{}
			o := options(log)
			o.Budget = time.Minute // how fast this machine is, is no matter here
			resp := answerTo(newEdge(t, o), tt.request)
			body := bodyOf(t, resp)
			if resp.StatusCode != tt.status {
				t.Fatalf("status %d, want %d: %s", resp.StatusCode, tt.status, body)
			}
			if tt.status == http.StatusOK && body != tt.body {
				t.Errorf("body %s, want %s", body, tt.body)
			}
			if !json.Valid([]byte(body)) {
				t.Errorf("body is no JSON: %q", body)
			}
			if got := len(log.taken()); got != tt.records {
				t.Errorf("%d raw records, want %d", got, tt.records)
			}
			if name := tt.header[0]; name != "" && resp.Header.Get(name) != tt.header[1] {
				t.Errorf("%s: %q, want %q", name, resp.Header.Get(name), tt.header[1])
			}
		})
	}
}

// fit returns an event of n bytes.
func fit(n int) string {
	const frame = `{"a":""}`
	return frame[:6] + strings.Repeat("x", n-len(frame)) + frame[6:]
}

// varied is an event of n bytes that gzip does not shrink a hundredfold.
func varied(n int) string {
	var b strings.Builder
	b.WriteString(`{"a":"`)
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%x", i*2654435761)
	}
	return b.String() + `"}`
}

func chunked(r *http.Request) *http.Request {
	r.ContentLength = -1
	return r
}

// TestRawRecord compares whole records: bytes unchanged, the mapper's key, the
// headers of the raw record contract.
func TestRawRecord(t *testing.T) {
	type want struct {
		Key, Value string
		Headers    map[string]string
	}
	headers := func(vendor, format string, more ...string) map[string]string {
		h := map[string]string{
			"ingest_id": requestID + "/0", "vendor": vendor, "tenant": "acme", "transport": "push", "format": format,
			"received_ms": "1795312200000", "content_type": "application/json", "sig_status": "bearer",
		}
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = more[i+1]
		}
		return h
	}
	unkeyed := func(vendor string) string {
		return vendor + "/acme/-/" + requestID + "%2F0"
	}
	eventBridge := `{"detail-type":"v2.users.{id}.presence","detail":{"topicName":"v2.nothing","eventBody":{}}}`
	tests := []struct {
		name, path, body string
		headers          []string
		want             want
	}{
		{
			name: "bytes as received", path: genesysPath, body: " {\"resourceType\" : \"x\",\t\"eventType\":\"\\u0041\", \"n\":1.50}\r\n",
			want: want{Headers: headers("genesys", "genesys.seed"), Key: unkeyed("genesys")},
		},
		{
			name: "byte order mark", path: cxonePath, body: "\uFEFF{\"a\":1}",
			want: want{Headers: headers("cxone", "unknown"), Key: unkeyed("cxone")},
		},
		{
			name: "no JSON", path: genesysPath, body: `{"resourceType":"user","eventType":`,
			want: want{Headers: headers("genesys", "unknown"), Key: unkeyed("genesys")},
		},
		{
			name: "doubled name in a known shape", path: genesysPath, body: `{"detail-type":"x","detail":{"a":1,"a":2}}`,
			want: want{Headers: headers("genesys", "unknown"), Key: unkeyed("genesys")},
		},
		{
			name: "EventBridge", path: genesysPath, body: eventBridge,
			want: want{Headers: headers("genesys", "genesys.eventbridge", "transport", "eventbridge"), Key: unkeyed("genesys")},
		},
		{
			name: "topic hint and delivery id", path: genesysPath + "?topic=v2.nothing", body: `{"a":1}`,
			headers: []string{"X-Request-Id", "r1", "webhook-id", "w1"},
			want:    want{Headers: headers("genesys", "genesys.notification", "topic_hint", "v2.nothing", "source_id", "w1"), Key: unkeyed("genesys")},
		},
		{
			name: "Nexus delivery id first", path: genesysPath, body: `{"a":1}`,
			headers: []string{"X-Request-Id", "r1", "X-Nexus-Delivery-Id", "n1"},
			want:    want{Headers: headers("genesys", "unknown", "source_id", "n1"), Key: unkeyed("genesys")},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			log := &memoryLog{}
			r := post(tt.path, tt.body, append(tt.headers, "Authorization", "Bearer "+devToken)...)
			if resp := answerTo(newEdge(t, options(log)), r); resp.StatusCode != http.StatusOK {
				t.Fatalf("status %d: %s", resp.StatusCode, bodyOf(t, resp))
			}
			records := log.taken()
			if len(records) != 1 {
				t.Fatalf("%d records, want 1", len(records))
			}
			got := want{Key: event.PartitionKey(records[0].Key), Value: string(records[0].Value), Headers: map[string]string{}}
			for _, h := range records[0].Headers {
				got.Headers[h.Key] = string(h.Value)
			}
			tt.want.Value = tt.body
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRawKey proves that the record carries the key that the mapper finds, for
// each element of an array by itself, in the order of the array.
func TestRawKey(t *testing.T) {
	log := &memoryLog{}
	elements := []string{seedEvent, `{"x": 1}`, strings.ReplaceAll(seedEvent, `"u1"`, `"a/b#c\u0000"`)}
	r := post(genesysPath, "["+strings.Join(elements, " ,\n")+"]", "Authorization", "Bearer "+devToken)
	if resp := answerTo(newEdge(t, options(log)), r); resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", resp.StatusCode, bodyOf(t, resp))
	}
	for i, record := range log.taken() {
		headers := map[string][]byte{}
		for _, h := range record.Headers {
			headers[h.Key] = h.Value
		}
		raw := event.RawOf(headers, record.Value)
		key, id, ok := genesys.Mapper().Key(&raw)
		if !ok {
			key, id = event.Unkeyed("genesys", "acme", raw.IngestID), raw.IngestID
		}
		if ok != (i != 1) {
			t.Errorf("element %d has a key: %v", i, ok)
		}
		if got, want := record.Key, event.RecordKey(key, id); got != want {
			t.Errorf("element %d: key %q, want %q", i, got, want)
		}
		if got, want := raw.IngestID, fmt.Sprintf("%s/%d", requestID, i); got != want {
			t.Errorf("ingest id %q, want %q", got, want)
		}
		if got, want := string(record.Value), elements[i]; got != want {
			t.Errorf("element %d: %s, want %s", i, got, want)
		}
		if got, want := record.Topic, "raw.genesys"; got != want {
			t.Errorf("topic %q, want %q", got, want)
		}
	}
}

func TestHealth(t *testing.T) {
	var reasons []string
	o := options(&memoryLog{})
	o.Ready = func(context.Context) []string { return reasons }
	e := newEdge(t, o)
	check := func(path string, status int, body string) {
		t.Helper()
		resp := answerTo(e, httptest.NewRequest(http.MethodGet, path, nil))
		if got := bodyOf(t, resp); resp.StatusCode != status || got != body {
			t.Errorf("%s: %d %s, want %d %s", path, resp.StatusCode, got, status, body)
		}
	}
	check("/healthz", 200, `{"status":"ok"}`)
	check("/readyz", 200, `{"status":"ready"}`)
	reasons = []string{"no broker answers"}
	check("/healthz", 200, `{"status":"ok"}`)
	check("/readyz", 503, `{"status":"not ready","reasons":["no broker answers"]}`)
}

// TestNothingLeaks posts payloads and secrets in every way that is refused or
// goes wrong, and looks for them in the logs and answers (I10).
func TestNothingLeaks(t *testing.T) {
	const mark = "s3cr3t-m4rk"
	var logs bytes.Buffer
	log := &memoryLog{}
	o := options(log)
	o.Logger = slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o.Tenants = append(o.Tenants, Tenant{ID: "marked", Vendors: []string{"genesys"}, Auth: Auth{"genesys": {Tokens: []redacted.Text{mark}}}})
	m := o.Mappers["genesys"]
	e := newEdge(t, o)
	const path = "/v1/ingest/genesys/marked/events"
	auth := []string{"Authorization", "Bearer " + mark}

	var answers strings.Builder
	send := func(r *http.Request) {
		resp := answerTo(e, r)
		fmt.Fprint(&answers, resp.Header, bodyOf(t, resp))
	}
	send(post(path, mark, auth...))
	send(post(path, `{"a":"`+mark+`"}`, auth...))
	send(post(path, mark, "Authorization", "Bearer x"+mark))
	send(post(cxonePath, mark, "X-CXone-Signature", "t=1,v1="+mark))
	send(post(path, mark, "Authorization", "Bearer "+mark, "Content-Encoding", "gzip"))
	send(post(path, mark, "Authorization", "Bearer "+mark, "Content-Type", mark))
	send(post("/"+mark, mark, auth...))
	m.Detect = func(body []byte, _ string) event.Format { panic(string(body)) }
	e.o.Mappers = map[string]vendors.Mapper{"genesys": m}
	send(post(path, mark, auth...))
	e.o.Mappers = o.Mappers
	log.fail = func(context.Context) error { panic(mark) }
	send(post(path, mark, auth...))

	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&logs, verb, o.Tenants[3])
	}
	marshalled, err := json.Marshal(o.Tenants)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"log": logs.String(), "answers": answers.String(), "JSON": string(marshalled)} {
		if strings.Contains(text, mark) || strings.Contains(text, fmt.Sprintf("%x", mark)) {
			t.Errorf("the %s tell it: %s", name, text)
		}
	}
	if !strings.Contains(logs.String(), "panic of type string") {
		t.Errorf("no panic was logged: %s", logs.String())
	}
}

// TestServerOverTCP proves what only a real connection shows: limits of the
// server and answers to many senders at once, each with its own records.
func TestServerOverTCP(t *testing.T) {
	log := &memoryLog{}
	o := options(log)
	o.NewID = nil
	var mu sync.Mutex
	outcomes := map[Outcome]int{}
	o.Answered = func(_, _ string, out Outcome) { mu.Lock(); defer mu.Unlock(); outcomes[out]++ }
	e := newEdge(t, o)
	server := httptest.NewUnstartedServer(nil)
	server.Config = NewHTTPServer(e.Handler())
	server.Start()
	defer server.Close()

	const senders, each = 8, 20
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for range each {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+genesysPath, strings.NewReader("["+seedEvent+","+seedEvent+"]"))
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Authorization", "Bearer "+devToken)
				resp, err := server.Client().Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("status %d", resp.StatusCode)
				}
			}
		})
	}
	wg.Wait()
	ids := map[string]bool{}
	for _, r := range log.taken() {
		for _, h := range r.Headers {
			if h.Key == event.HeaderIngestID {
				ids[string(h.Value)] = true
			}
		}
	}
	if got, want := len(ids), senders*each*2; got != want {
		t.Errorf("%d different ingest ids, want %d", got, want)
	}
	if got, want := outcomes[Accepted], senders*each; got != want {
		t.Errorf("%d answers counted, want %d", got, want)
	}
}
