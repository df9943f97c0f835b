package state

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// memberNames are texts and their canonical quotes, among them such whose
// quotes sort differently.
var memberNames = map[string]string{
	"": `""`, "name": `"name"`, "name ": `"name "`, "name!": `"name!"`, "name\"": `"name\""`, "nam": `"nam"`,
	"a": `"a"`, "a\\": `"a\\"`, "a\n": `"a\n"`, "\x01": `"\u0001"`, "/": `"/"`, "ü": `"ü"`, "😀": `"😀"`, "\uffff": "\"\uffff\"",
	"\xed\xa0\x80": `"\ud800"`, // a lone surrogate stays an escape
	"\xed\xb0\x80": `"\udc00"`,
}

var memberValues = []string{`null`, `true`, `1.0`, `9007199254740993`, `1e400`, `"x"`, `"\ud800"`, `[]`, `[1,{"b":2}]`, `{"a":{"b":[]}}`, `{}`}

func randomMembers(g *rand.Rand) map[string]string {
	ms := map[string]string{}
	for name := range memberNames {
		if g.IntN(4) == 0 {
			ms[name] = memberValues[g.IntN(len(memberValues))]
		}
	}
	return ms
}

// render writes members as canonical JSON.
func render(ms map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(ms)) {
		parts = append(parts, memberNames[name]+":"+ms[name])
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// TestMergeAgainstMap holds that merging canonical images is copying one map
// over another, and that the result is canonical.
func TestMergeAgainstMap(t *testing.T) {
	for seed := range uint64(500) {
		g := rand.New(rand.NewPCG(seed, 6))
		row, patch := randomMembers(g), randomMembers(g)
		for _, partial := range []bool{true, false} {
			want := maps.Clone(patch)
			if partial {
				want = maps.Clone(row)
				maps.Copy(want, patch)
			}
			rowText, patchText := []byte(render(row)), []byte(render(patch))
			got, err := mergeImage(rowText, patchText, partial)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if diff := cmp.Diff(render(want), string(got)); diff != "" {
				t.Fatalf("seed %d: partial %v: (-want +got):\n%s", seed, partial, diff)
			}
			if string(rowText) != render(row) || string(patchText) != render(patch) {
				t.Fatalf("seed %d: merging changed its arguments", seed)
			}
		}
	}
}

func TestMergeImage(t *testing.T) {
	tests := []struct {
		name       string
		row, patch string // "" is none
		partial    bool
		want       string
		err        string
	}{
		{name: "nothing known", want: `{}`},
		{name: "event without image", row: `{"a":1}`, want: `{"a":1}`},
		{name: "partial without image", row: `{"a":1}`, partial: true, want: `{"a":1}`},
		{name: "first partial", patch: `{"a":1}`, partial: true, want: `{"a":1}`},
		{name: "full replaces", row: `{"a":1,"b":2}`, patch: `{"a":3}`, want: `{"a":3}`},
		{name: "partial lays over", row: `{"a":1,"b":2}`, patch: `{"a":3,"c":4}`, partial: true, want: `{"a":3,"b":2,"c":4}`},
		{name: "shallow", row: `{"a":{"b":1,"c":2}}`, patch: `{"a":{"b":3}}`, partial: true, want: `{"a":{"b":3}}`},
		{name: "null stays", row: `{"a":1}`, patch: `{"a":null}`, partial: true, want: `{"a":null}`},
		{name: "no object", row: `{"a":1}`, patch: `[1]`, partial: true, err: "read the event's image: want an object"},
		{name: "row is no object", row: `1`, patch: `{}`, partial: true, err: "read the row's image: want an object"},
		{name: "cut off", row: `{"a":1}`, patch: `{"a":`, partial: true, err: "read the event's image: jsontext"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := mergeImage(orNil(tt.row), orNil(tt.patch), tt.partial)
			if tt.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.err) {
					t.Fatalf("got error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || string(got) != tt.want {
				t.Errorf("got %s, %v, want %s", got, err, tt.want)
			}
		})
	}
}

func orNil(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

func TestImageName(t *testing.T) {
	name := func(s string) *string { return &s }
	tests := []struct {
		image string
		want  *string
	}{
		{`{"id":"1","name":"Sales"}`, name("Sales")},
		{`{"name":"a \"b\" \n ü"}`, name("a \"b\" \n ü")},
		{`{"name":""}`, name("")},
		{`{"name":"\ud800x"}`, name("\ufffdx")},
		{`{"name":null}`, nil},
		{`{"name":{"first":"A"}}`, nil},
		{`{"name":7}`, nil},
		{`{"a":{"name":"inner"}}`, nil},
		{`{}`, nil},
		{`[]`, nil},
		{`{"name":"cut`, nil},
		{``, nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, imageName([]byte(tt.image))); diff != "" {
			t.Errorf("imageName(%s) (-want +got):\n%s", tt.image, diff)
		}
	}
}
