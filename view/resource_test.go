package view

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/event"
	"trunkline/state"
)

const at = int64(1_764_000_000_123) // 2025-11-24T16:00:00.123Z

func TestResource(t *testing.T) {
	var f fakeTable
	user := event.Key{Vendor: "genesys", Tenant: "acme", Type: "user", ID: "u1"}
	f.put(user, liveRow(`{"name":"<A&B>"}`, at))
	call := event.Key{Vendor: "cxone", Tenant: "acme", Type: "conversation", ID: "c1"}
	partial := liveRow(`{"state":"x"}`, at-1000)
	partial.Version, partial.Partial = event.Version{}, true
	f.put(call, partial)
	base := serve(t, Options{Entities: &f})

	for _, c := range []struct{ path, want string }{
		{"/v1/genesys/acme/resources/user/u1", `{"vendor":"genesys","tenant":"acme","type":"user","id":"u1","version":7,` +
			`"event_time":"2025-11-24T16:00:00.123Z","ts_ms":1764000000123,"partial":false,` +
			`"last_change":{"op":"u","event_id":"e-1","event_type":"config.user.updated",` +
			`"raw":{"topic":"raw.genesys","partition":3,"offset":41,"append_ms":1764000000143}},"resource":{"name":"<A&B>"}}`},
		{"/v1/cxone/acme/interactions/c1", `{"vendor":"cxone","tenant":"acme","type":"conversation","id":"c1","version":null,` +
			`"event_time":"2025-11-24T15:59:59.123Z","ts_ms":1763999999123,"partial":true,` +
			`"last_change":{"op":"u","event_id":"e-1","event_type":"config.user.updated",` +
			`"raw":{"topic":"raw.genesys","partition":3,"offset":41,"append_ms":1763999999143}},"resource":{"state":"x"}}`},
	} {
		got := ask(t, http.MethodGet, base+c.path)
		if d := cmp.Diff(c.want+"\n", got.Body); d != "" || got.Status != http.StatusOK {
			t.Errorf("%s: %d (-want +got)\n%s", c.path, got.Status, d)
		}
		wantHeader := http.Header{
			"Content-Type": {"application/json; charset=utf-8"}, "X-Watermark": {"2025-11-24T16:00:00.123Z"},
			"Content-Length": {fmt.Sprint(len(got.Body))}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"},
		}
		if d := cmp.Diff(wantHeader, got.Header); d != "" {
			t.Errorf("%s: headers (-want +got)\n%s", c.path, d)
		}
		head := ask(t, http.MethodHead, base+c.path)
		if d := cmp.Diff(answer{http.StatusOK, wantHeader, ""}, head); d != "" {
			t.Errorf("HEAD %s (-want +got)\n%s", c.path, d)
		}
	}
}

// Any id reaches its own row, however it is encoded in the path: also ids that a
// router would take for a path.
func TestResourceIDs(t *testing.T) {
	ids := []string{
		"plain", "a#b", "a/b", "/", "//", "a\x00b", "\x00", "100%", "%2F", "%252F", "a b", " ", "+", "é", "日本", "😀", "?", "a?stale=ok",
		".", "..", "../user", "", "a;b=c", "a&b", `"\`, "\x7f\n", "a:b@c", "\xff\xfe", "resources", "{id}",
	}
	var f fakeTable
	for i, id := range ids {
		f.put(event.Key{Vendor: "genesys", Tenant: "acme", Type: "user", ID: id}, liveRow(fmt.Sprintf(`{"n":%d}`, i), at))
		f.put(event.Key{Vendor: "cxone", Tenant: "acme", Type: "conversation", ID: id}, liveRow(fmt.Sprintf(`{"n":%d}`, i+1000), at))
	}
	base := serve(t, Options{Entities: &f})
	encodings := map[string]func(string) string{"shortest": url.PathEscape, "every byte": func(s string) string {
		var b strings.Builder
		for i := range len(s) {
			fmt.Fprintf(&b, "%%%02x", s[i])
		}
		return b.String()
	}}
	for i, id := range ids {
		for name, encode := range encodings {
			for path, n := range map[string]int{"/v1/genesys/acme/resources/user/": i, "/v1/cxone/acme/interactions/": i + 1000} {
				got := ask(t, http.MethodGet, base+path+encode(id))
				var row resource
				if err := json.Unmarshal([]byte(got.Body), &row); err != nil || got.Status != http.StatusOK {
					t.Errorf("%s id %q, %s: %d %s (%v)", path, id, name, got.Status, got.Body, err)
					continue
				}
				if want := fmt.Sprintf(`{"n":%d}`, n); string(row.Resource) != want {
					t.Errorf("%s id %q, %s: got %s, want %s", path, id, name, row.Resource, want)
				}
				if want := strings.ToValidUTF8(id, "\ufffd"); row.ID != want && id != "\xff\xfe" {
					t.Errorf("id: got %q, want %q", row.ID, want)
				}
			}
		}
	}
}

// The image is served byte for byte as the row holds it, and no answer is older
// than its watermark.
func TestResourceIsTheImageVerbatim(t *testing.T) {
	var f fakeTable
	base := serve(t, Options{Entities: &f})
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	for i := range 300 {
		image := "{" + members(rnd, 3) + "}"
		k := event.Key{Vendor: "genesys", Tenant: "acme", Type: "user", ID: fmt.Sprint(i)}
		ts := at + rnd.Int64N(1_000_000)
		f.put(k, liveRow(image, ts))
		got := ask(t, http.MethodGet, base+"/v1/genesys/acme/resources/user/"+k.ID)
		var row resource
		if err := json.Unmarshal([]byte(got.Body), &row); err != nil {
			t.Fatalf("seed %d: %v in %s", seed, err, got.Body)
		}
		if d := cmp.Diff(image, string(row.Resource)); d != "" {
			t.Fatalf("seed %d (-want +got)\n%s", seed, d)
		}
		if w := got.Header.Get(headerWatermark); w < row.EventTime {
			t.Fatalf("seed %d: watermark %s before event time %s", seed, w, row.EventTime)
		}
	}
}

// members generates the members of an object with what encoders like to change:
// numbers beyond float64, escapes, characters of HTML and JavaScript, doubled
// names.
func members(rnd *rand.Rand, depth int) string {
	names := []string{"a", "é", `\u00e9`, "<b>", "a&b", "", "\u2028", "😀", `\ud83d\ude00`, `\/`}
	scalars := []string{
		"1.0", "1e400", "-0", "12345678901234567890123", "0.1000", `"<script>&amp;"`, `"\u003c"`, "\"\u2028\u2029\"",
		`"\u0000"`, `"\ud800"`, `""`, "null", "true", `"é"`, `"\/"`,
	}
	var ms []string
	for range rnd.IntN(5) {
		value := scalars[rnd.IntN(len(scalars))]
		switch {
		case depth > 0 && rnd.IntN(4) == 0:
			value = "{" + members(rnd, depth-1) + "}"
		case rnd.IntN(4) == 0:
			value = "[" + value + "," + value + "]"
		}
		ms = append(ms, `"`+names[rnd.IntN(len(names))]+`":`+value)
	}
	return strings.Join(ms, ",")
}

// Whatever a reader may not see is the same answer, with and without tokens.
func TestAbsentIsOneAnswer(t *testing.T) {
	var f fakeTable
	f.put(event.Key{Vendor: "genesys", Tenant: "acme", Type: "user", ID: "u1"}, liveRow(`{}`, at))
	f.put(event.Key{Vendor: "genesys", Tenant: "other", Type: "user", ID: "u1"}, liveRow(`{"secret":1}`, at))
	marker := liveRow("", at)
	marker.Live, marker.Image, marker.DeletedMs = false, nil, at
	f.put(event.Key{Vendor: "genesys", Tenant: "acme", Type: "user", ID: "deleted"}, marker)
	f.put(event.Key{Vendor: "genesys", Tenant: "acme", Type: "user", ID: "held"}, state.Entity{
		HighestMs: at, Held: []state.Held{{Clock: "raw.genesys/0", DueMs: at, Body: []byte("x")}},
	})
	base := serve(t, Options{Entities: &f, Tokens: map[string][]string{"t1": {"acme"}}})

	want := ask(t, http.MethodGet, base+"/v1/genesys/acme/resources/user/missing", "Authorization", "Bearer t1")
	if want.Status != http.StatusNotFound || want.Body != `{"error":"not_found","message":"there is no such resource"}`+"\n" || want.Header.Get(headerWatermark) == "" {
		t.Fatalf("got %+v", want)
	}
	for _, path := range []string{
		"/v1/genesys/acme/resources/user/deleted", "/v1/genesys/acme/resources/user/held", "/v1/cxone/acme/resources/user/u1",
		"/v1/genesys/acme/interactions/u1", "/v1/genesys/other/resources/user/u1", "/v1/genesys/other/resources/user/missing",
		"/v1/genesys/nobody/resources/user/u1", "/v1/none/acme/resources/user/u1", "/v1/genesys/acme%2F/resources/user/u1",
		"/v1/genesys//resources/user/u1", "/v1/genesys/acme/resources//u1", "/v1/genesys/acme/resources/user/",
	} {
		got := ask(t, http.MethodGet, base+path, "Authorization", "Bearer t1")
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got)\n%s", path, d)
		}
	}

	f.notReady = errBehind
	want = ask(t, http.MethodGet, base+"/v1/genesys/acme/resources/user/u1", "Authorization", "Bearer t1")
	foreign := ask(t, http.MethodGet, base+"/v1/genesys/other/resources/user/u1", "Authorization", "Bearer t1")
	if d := cmp.Diff(want, foreign); d != "" {
		t.Errorf("foreign tenant while catching up (-want +got)\n%s", d)
	}
}

// What goes wrong inside is 503, never 500, and no image reaches a log or an
// error body (I10).
func TestNoFailureIsAn500(t *testing.T) {
	k := event.Key{Vendor: "genesys", Tenant: "acme", Type: "user", ID: "u1"}
	for name, breakIt := range map[string]func(*fakeTable){
		"read error":     func(f *fakeTable) { f.readErr = errors.New("disk") },
		"panic":          func(f *fakeTable) { f.onRow = func() { panic("hunter2") } },
		"no entity row":  func(f *fakeTable) { f.rows[k.String()] = []byte{99, 0} },
		"image no JSON":  func(f *fakeTable) { f.put(k, liveRow(`{"a":hunter2}`, at)) },
		"image cut off":  func(f *fakeTable) { f.put(k, liveRow(`{"a":"hunter2`, at)) },
		"empty database": func(f *fakeTable) { f.rows[k.String()] = []byte{} },
	} {
		t.Run(name, func(t *testing.T) {
			var f fakeTable
			f.put(k, liveRow(`{}`, at))
			breakIt(&f)
			var log logBuffer
			base := serve(t, Options{Entities: &f, Logger: log.logger()})
			got := ask(t, http.MethodGet, base+"/v1/genesys/acme/resources/user/u1")
			want := `{"error":"unavailable","message":`
			if got.Status != http.StatusServiceUnavailable || !strings.HasPrefix(got.Body, want) || got.Header.Get("Retry-After") != "1" {
				t.Errorf("got %d %s %v", got.Status, got.Body, got.Header)
			}
			if s := log.String(); s == "" || strings.Contains(s, "hunter2") || strings.Contains(got.Body, "hunter2") {
				t.Errorf("want a log without content, got %q", s)
			}
		})
	}
}

func TestCodec(t *testing.T) {
	row := liveRow(`{"a":1}`, at)
	got, err := Codec{}.Decode(row.Encode("", state.Rules{}))
	if d := cmp.Diff(&row, got); d != "" || err != nil {
		t.Errorf("(-want +got)\n%s%v", d, err)
	}
	if _, err := (Codec{}).Decode([]byte("no row")); err == nil {
		t.Error("decode of no row: want an error")
	}
	if _, err := (Codec{}).Encode(row); err == nil {
		t.Error("encode: want an error")
	}
}

// FuzzPath holds that every path has an answer of the API's own, never a
// redirect, a panic or a 500 (the log stays silent).
func FuzzPath(f *testing.F) {
	for _, p := range []string{"/", "", "/v1/genesys/acme/resources/user/%00", "/v1//..//%2e", "/v1/a/b/resources/c/d/e?stale=ok", "//x", "*"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			t.Skip()
		}
		var log logBuffer
		a, err := New(Options{Entities: &fakeTable{}, Watermark: &Watermark{}, Logger: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		code := answerCode(a.Handler(), &http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}})
		if !slices.Contains([]int{200, 404}, code) || log.String() != "" {
			t.Errorf("%q: %d %s", path, code, log.String())
		}
	})
}
