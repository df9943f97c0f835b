package view

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/event"
)

type openAPIDocument struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]struct {
		Parameters []struct {
			Ref string `json:"$ref"`
		} `json:"parameters"`
		Get *struct {
			Security  *[]any         `json:"security"`
			Responses map[string]any `json:"responses"`
		} `json:"get"`
	} `json:"paths"`
	Components struct {
		Parameters map[string]struct {
			Name, In string
			Required bool
		} `json:"parameters"`
		Schemas map[string]struct {
			Required   []string       `json:"required"`
			Properties map[string]any `json:"properties"`
		} `json:"schemas"`
	} `json:"components"`
}

func served(t *testing.T, base string) (doc openAPIDocument, text string) {
	t.Helper()
	got := ask(t, http.MethodGet, base+"/openapi.json")
	if err := json.Unmarshal([]byte(got.Body), &doc); err != nil || got.Status != 200 {
		t.Fatalf("%d: %v", got.Status, err)
	}
	return doc, got.Body
}

// The document and the route table say the same: paths, variables, who needs a
// token, and which answers a table can give.
func TestOpenAPIDescribesTheRoutes(t *testing.T) {
	o := Options{Entities: &fakeTable{}, Watermark: &Watermark{}}
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	doc, _ := served(t, serve(t, o))
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("got version %q", doc.OpenAPI)
	}
	var patterns []string
	variable := regexp.MustCompile(`\{(\w+)\}`)
	for _, r := range a.routes {
		patterns = append(patterns, r.pattern)
		path := doc.Paths[r.pattern]
		if path.Get == nil {
			t.Errorf("%s: not in the document", r.pattern)
			continue
		}
		var want, got []string
		for _, m := range variable.FindAllStringSubmatch(r.pattern, -1) {
			want = append(want, m[1])
		}
		for _, ref := range path.Parameters {
			p, ok := doc.Components.Parameters[ref.Ref[len("#/components/parameters/"):]]
			if !ok {
				t.Errorf("%s: %s leads nowhere", r.pattern, ref.Ref)
			}
			if p.In == "path" {
				got = append(got, p.Name)
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: variables (-routes +document)\n%s", r.pattern, d)
		}
		answers := path.Get.Responses
		if open := path.Get.Security != nil && len(*path.Get.Security) == 0; open != r.open || (answers["401"] == nil) != r.open {
			t.Errorf("%s: open is %t, the document says otherwise", r.pattern, r.open)
		}
		if r.reads != nil && (answers["503"] == nil || answers["404"] == nil) {
			t.Errorf("%s: reads a table, the document lacks 404 or 503", r.pattern)
		}
	}
	slices.Sort(patterns)
	if d := cmp.Diff(patterns, slices.Sorted(maps.Keys(doc.Paths))); d != "" {
		t.Errorf("paths (-routes +document)\n%s", d)
	}
}

// Every reference leads somewhere, and every answer has exactly the members that
// its schema tells.
func TestOpenAPIDescribesTheAnswers(t *testing.T) {
	f := fakeTable{}
	f.put(event.Key{Vendor: "genesys", Tenant: "acme", Type: "user", ID: "u"}, liveRow(`{}`, at))
	base := serve(t, Options{Entities: &f})
	doc, text := served(t, base)

	var tree any
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"#/components/(\w+)/(\w+)"`).FindAllStringSubmatch(text, -1) {
		section, _ := tree.(map[string]any)["components"].(map[string]any)[m[1]].(map[string]any)
		if section[m[2]] == nil {
			t.Errorf("%s leads nowhere", m[0])
		}
	}

	members := func(path string, into ...string) []string {
		t.Helper()
		var v any
		if err := json.Unmarshal([]byte(ask(t, http.MethodGet, base+path).Body), &v); err != nil {
			t.Fatal(err)
		}
		for _, name := range into {
			v = v.(map[string]any)[name]
			if list, ok := v.([]any); ok {
				v = list[0]
			}
		}
		return slices.Sorted(maps.Keys(v.(map[string]any)))
	}
	const row = "/v1/genesys/acme/resources/user/u"
	for schema, got := range map[string][]string{
		"Resource":   members(row),
		"LastChange": members(row, "last_change"),
		"Position":   members(row, "last_change", "raw"),
		"Tables":     members("/v1/tables"),
		"Table":      members("/v1/tables", "tables"),
		"Error":      members("/v1/none"),
	} {
		s := doc.Components.Schemas[schema]
		if d := cmp.Diff(slices.Sorted(maps.Keys(s.Properties)), got); d != "" {
			t.Errorf("%s (-document +answer)\n%s", schema, d)
		}
		if d := cmp.Diff(slices.Sorted(slices.Values(s.Required)), got); d != "" {
			t.Errorf("%s: required (-document +answer)\n%s", schema, d)
		}
	}
}
