package registration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	secret = "hunter" // a part of every secret of these tests
	ours   = "https://edge.example/v1/ingest/vendor/acme"
	theirs = "https://old.example/in"
)

// vendor plays both vendors' APIs without a network, so that time can be faked.
type vendor struct {
	t        *testing.T
	held     []map[string]any
	pageSize int  // of its lists, 0 for what is asked for
	links    bool // between pages of CXone
	masks    bool // shows no tokens
	twins    bool // takes a name twice

	// meddle is called with every request before it is served, or after it was if
	// it says so; the status is answered instead, if it is not 0.
	meddle func(n int, r *http.Request) (status int, served bool)
	header http.Header // of what meddle answers
	asked  []string    // method, path and query
	tokens []string    // that calls carried
	made   int
}

// client is a client of the API.
func (v *vendor) client() *Client {
	return NewClient(&http.Client{Transport: v}, "https://api.example/")
}

// writes are the calls that could change something.
func (v *vendor) writes() []string {
	return slices.DeleteFunc(slices.Clone(v.asked), func(s string) bool { return strings.HasPrefix(s, "GET ") })
}

// RoundTrip implements [http.RoundTripper].
func (v *vendor) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	v.asked = append(v.asked, r.Method+" "+r.URL.RequestURI())
	v.tokens = append(v.tokens, r.Header.Get("Authorization"))
	w := httptest.NewRecorder()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		v.t.Error(err)
	}
	status, served := 0, false
	if v.meddle != nil {
		status, served = v.meddle(len(v.asked), r)
	}
	if status == 0 || served {
		v.serve(w, r, body)
	}
	if status != 0 {
		w = httptest.NewRecorder()
		maps.Copy(w.Header(), v.header)
		w.WriteHeader(status)
		// As bad as an answer can be: it repeats the request, as a code and as a text.
		fmt.Fprintf(w, `{"code":%q,"error":"missing.permission","message":%q}`, leak(body), body)
	}
	return w.Result(), nil
}

// leak is the token of a request.
func leak(body []byte) string {
	var b cxoneBody
	if json.Unmarshal(body, &b) != nil {
		return ""
	}
	return b.Authentication.Token
}

func (v *vendor) serve(w http.ResponseWriter, r *http.Request, body []byte) {
	answer := func(status int, body any) {
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(body); err != nil {
			v.t.Error(err)
		}
	}
	collection, id := Subscription{}.at().path, ""
	if strings.HasPrefix(r.URL.Path, "/ic3api/") {
		collection = Webhook{}.at().path
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, collection+"/"); ok {
		id = rest
	} else if r.URL.Path != collection {
		v.t.Errorf("call of %s", r.URL.Path)
	}
	if r.Method == http.MethodGet {
		v.list(answer, r)
		return
	}
	var sent map[string]any
	if err := json.Unmarshal(body, &sent); err != nil || r.Header.Get("Content-Type") != "application/json" {
		v.t.Errorf("%s of %q, %v", r.Method, body, err)
	}
	if sent["id"] != nil {
		v.t.Errorf("%s names an id", r.Method)
	}
	switch i := slices.IndexFunc(v.held, func(h map[string]any) bool { return h["id"] == id }); {
	case r.Method == http.MethodPost && !v.twins && slices.ContainsFunc(v.held, func(h map[string]any) bool { return h["name"] == sent["name"] }):
		answer(http.StatusConflict, nil)
	case r.Method == http.MethodPost && id == "":
		v.made++
		sent["id"] = fmt.Sprintf("new-%d", v.made)
		v.held = append(v.held, sent)
		answer(http.StatusCreated, map[string]any{"id": sent["id"]})
	case r.Method == http.MethodPut && i >= 0:
		sent["id"] = id
		v.held[i] = sent
		w.WriteHeader(http.StatusNoContent)
	default:
		answer(http.StatusNotFound, nil)
	}
}

// list answers a page, in the ways of paging of each vendor.
func (v *vendor) list(answer func(int, any), r *http.Request) {
	number := func(name string) int {
		n, err := strconv.Atoi(r.URL.Query().Get(name))
		if err != nil {
			v.t.Errorf("list asked with %q: %v", r.URL.RawQuery, err)
		}
		return n
	}
	cut := func(from, size int) []map[string]any {
		shown := []map[string]any{}
		for _, h := range v.held[min(from, len(v.held)):min(from+size, len(v.held))] {
			h = maps.Clone(h)
			if _, ok := h["authentication"]; ok && v.masks {
				h["authentication"] = map[string]any{"type": "bearer"}
			}
			shown = append(shown, h)
		}
		return shown
	}
	if strings.HasPrefix(r.URL.Path, "/api/") {
		size, page := number("pageSize"), number("pageNumber")
		if v.pageSize > 0 {
			size = v.pageSize
		}
		answer(http.StatusOK, map[string]any{
			"entities": cut((page-1)*size, size), "pageNumber": page, "pageCount": (len(v.held) + size - 1) / size,
		})
		return
	}
	skip, top := number("skip"), number("top")
	if !v.links {
		answer(http.StatusOK, cut(skip, top))
		return
	}
	if v.pageSize > 0 {
		top = v.pageSize
	}
	links := map[string]any{}
	if skip+top < len(v.held) {
		links["next"] = fmt.Sprintf("webhooks?skip=%d&top=%d", skip+top, top)
	}
	answer(http.StatusOK, map[string]any{"webhooks": cut(skip, top), "_links": links})
}

// holds are what the vendor shall hold, as JSON.
func (v *vendor) holds(entries ...string) *vendor {
	for _, e := range entries {
		var h map[string]any
		if err := json.Unmarshal([]byte(e), &h); err != nil {
			v.t.Fatal(err)
		}
		v.held = append(v.held, h)
	}
	return v
}

// state is what the vendor holds, as JSON by id.
func (v *vendor) state() map[string]string {
	all := map[string]string{}
	for _, h := range v.held {
		text, err := json.Marshal(h)
		if err != nil {
			v.t.Fatal(err)
		}
		all[fmt.Sprint(h["id"])] = string(text)
	}
	return all
}

// like is the wanted body with an id, as state has it.
func like(t *testing.T, w Wanted, id string) string {
	t.Helper()
	body, err := w.body()
	if err != nil {
		t.Fatal(err)
	}
	var h map[string]any
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&h); err != nil {
		t.Fatal(err)
	}
	h["id"] = id
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// secretFree fails if a secret stands in what an operator is shown.
func secretFree(t *testing.T, p Plan, err error) {
	t.Helper()
	text, e := json.Marshal(p)
	if e != nil {
		t.Fatal(e)
	}
	if said := fmt.Sprintf("%s %+v %v", text, p, err); strings.Contains(said, secret) {
		t.Errorf("a secret is told: %s", said)
	}
}
