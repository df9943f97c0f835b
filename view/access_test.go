package view

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/event"
)

func TestAccess(t *testing.T) {
	var f fakeTable
	for _, tenant := range []string{"acme", "blue"} {
		f.put(event.Key{Vendor: "genesys", Tenant: tenant, Type: "user", ID: "u"}, liveRow(`{}`, at))
	}
	closed := serve(t, Options{Entities: &f, Tokens: map[string][]string{"t-acme": {"acme"}, "t-both": {"acme", "blue"}}})
	open := serve(t, Options{Entities: &f})
	const acme, blue = "/v1/genesys/acme/resources/user/u", "/v1/genesys/blue/resources/user/u"
	for _, c := range []struct {
		base, path string
		headers    []string
		want       int
	}{
		{closed, acme, nil, 401},
		{closed, acme, []string{"Authorization", ""}, 401},
		{closed, acme, []string{"Authorization", "Bearer"}, 401},
		{closed, acme, []string{"Authorization", "Bearer "}, 401},
		{closed, acme, []string{"Authorization", "Bearer t-acm"}, 401},
		{closed, acme, []string{"Authorization", "Bearer t-acme2"}, 401},
		{closed, acme, []string{"Authorization", "Basic t-acme"}, 401},
		{closed, acme, []string{"Authorization", "t-acme"}, 401},
		{closed, acme, []string{"Authorization", "Bearer t-acme", "Authorization", "Bearer t-both"}, 401},
		{closed, acme + "?access_token=t-acme", nil, 401},
		{closed, acme, []string{"Authorization", "Bearer t-acme"}, 200},
		{closed, acme, []string{"Authorization", "bearer  t-acme "}, 200},
		{closed, acme, []string{"Authorization", "Bearer t-both"}, 200},
		{closed, blue, []string{"Authorization", "Bearer t-acme"}, 404},
		{closed, blue, []string{"Authorization", "Bearer t-both"}, 200},
		{closed, "/v1/genesys/blue/interactions/u", []string{"Authorization", "Bearer t-acme"}, 404},
		{closed, "/v1/tables", nil, 401},
		{closed, "/v1/tables", []string{"Authorization", "Bearer t-acme"}, 200},
		{closed, "/healthz", nil, 200},
		{closed, "/readyz", nil, 200},
		{closed, "/openapi.json", nil, 200},
		{open, acme, nil, 200},
		{open, blue, []string{"Authorization", "Bearer what"}, 200},
	} {
		got := ask(t, http.MethodGet, c.base+c.path, c.headers...)
		if got.Status != c.want {
			t.Errorf("%s %q: got %d, want %d", c.path, c.headers, got.Status, c.want)
		}
		if challenge := got.Header.Get("WWW-Authenticate"); (challenge == "Bearer") != (c.want == 401) {
			t.Errorf("%s %q: WWW-Authenticate %q with %d", c.path, c.headers, challenge, got.Status)
		}
	}
}

func TestOnlyReads(t *testing.T) {
	base := serve(t, Options{Entities: &fakeTable{}})
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get"} {
		for _, path := range []string{"/healthz", "/v1/tables", "/v1/genesys/acme/resources/user/u1"} {
			got := ask(t, method, base+path)
			if got.Status != 405 || got.Header.Get("Allow") != "GET, HEAD" || !strings.HasPrefix(got.Body, `{"error":"method_not_allowed"`) {
				t.Errorf("%s %s: got %+v", method, path, got)
			}
		}
	}
	for _, path := range []string{"", "/", "/v1", "/v1/", "/v1/tables/", "//v1/tables", "/v1/x/../tables", "/metrics", "/v1/genesys/acme/resources/user"} {
		if got := ask(t, "GET", base+path); got.Status != 404 || !strings.HasPrefix(got.Body, `{"error":"not_found"`) {
			t.Errorf("GET %s: got %+v", path, got)
		}
	}
}

func TestOptions(t *testing.T) {
	full := Options{Entities: &fakeTable{}, Watermark: &Watermark{}}
	with := func(tokens map[string][]string) Options { o := full; o.Tokens = tokens; return o }
	for name, c := range map[string]struct {
		o    Options
		want []string // parts of the error
	}{
		"complete":      {full, nil},
		"with tokens":   {with(map[string][]string{"dev-token": {"acme"}}), nil},
		"nothing":       {Options{}, []string{"entities", "watermark"}},
		"empty token":   {with(map[string][]string{"": {"acme"}}), []string{"tokens"}},
		"token in two":  {with(map[string][]string{"s3cret x": {"acme"}}), []string{"tokens", "acme"}},
		"no tenants":    {with(map[string][]string{"s3cret": nil}), []string{"tokens"}},
		"an empty one":  {with(map[string][]string{"s3cret": {""}}), []string{"tokens"}},
		"binary token":  {with(map[string][]string{"s3cret\x00": {"a"}}), []string{"tokens"}},
		"newline token": {with(map[string][]string{"s3cret\n": {"a"}}), []string{"tokens"}},
	} {
		_, err := New(c.o)
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		for _, part := range c.want {
			if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s: got %v, want %s and no token (I10)", name, err, part)
			}
		}
	}
}

func TestHealthAndTables(t *testing.T) {
	f := fakeTable{notReady: errBehind}
	base := serve(t, Options{Entities: &f})
	check := func(path string, status int, body string) {
		t.Helper()
		got := ask(t, http.MethodGet, base+path)
		if d := cmp.Diff(body+"\n", got.Body); d != "" || got.Status != status {
			t.Errorf("%s: %d (-want +got)\n%s", path, got.Status, d)
		}
		if (got.Header.Get("Retry-After") != "") != (status == 503) {
			t.Errorf("%s: Retry-After %q", path, got.Header.Get("Retry-After"))
		}
	}
	check("/healthz", 200, `{"status":"ok"}`)
	check("/readyz", 503, `{"status":"not_ready","reasons":["table entity-table: the view is catching up"]}`)
	check("/v1/tables", 200, `{"tables":[{"name":"entity-table","state":"catching_up","watermark":"1970-01-01T00:00:00.000Z"}]}`)
	f.notReady = nil
	f.put(event.Key{ID: "u"}, liveRow(`{}`, at))
	check("/readyz", 200, `{"status":"ready"}`)
	check("/v1/tables", 200, `{"tables":[{"name":"entity-table","state":"running","watermark":"2025-11-24T16:00:00.123Z"}]}`)
}

// logBuffer keeps what was logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func answerCode(h http.Handler, r *http.Request) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}
