package vendors

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []string
		array    bool
		fails    bool
	}{
		{name: "object", in: " {\"a\": 1 }\n", want: []string{`{"a": 1 }`}},
		{name: "array", in: "[ {\"a\": 1} ,\t[2] , \"x\",3]", want: []string{`{"a": 1}`, `[2]`, `"x"`, `3`}, array: true},
		{name: "empty array", in: `[ ]`, array: true},
		{name: "scalar", in: `42`, want: []string{`42`}},
		{name: "byte order mark", in: "\ufeff[{}]", want: []string{`{}`}, array: true},
		{name: "bad UTF-8 in one element", in: "[{\"a\":\"\xff\"},{}]", want: []string{"{\"a\":\"\xff\"}", `{}`}, array: true},
		{name: "doubled names in one element", in: `[{"a":1,"a":2},{}]`, want: []string{`{"a":1,"a":2}`, `{}`}, array: true},
		{name: "empty", in: ``, fails: true},
		{name: "text", in: `hello`, fails: true},
		{name: "cut off", in: `[{"a":1},`, fails: true},
		{name: "cut off in an element", in: `[{"a":1},{"b`, fails: true},
		{name: "trailing comma", in: `[1,]`, fails: true},
		{name: "two values", in: `{} {}`, fails: true},
		{name: "more after an array", in: `[{}]x`, fails: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			elements, array, err := Split([]byte(tt.in))
			if tt.fails {
				if err == nil {
					t.Fatalf("got %q, want an error", elements)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range elements {
				got = append(got, string(e))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || array != tt.array {
				t.Errorf("array %v, want %v; elements (-want +got):\n%s", array, tt.array, diff)
			}
		})
	}
}

// FuzzSplit holds that Split takes the syntax that encoding/json takes (as far
// as both go down) and that its elements are the body's own bytes, in order.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{`[{"a":1}, {"b":[2]}]`, `{"a":"\ud800"}`, `[`, ` [ ] `, "[\"\xff\"]", `[1,2]3`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		elements, _, err := Split(body)
		if valid := json.Valid(trimBOM(body)); valid != (err == nil) {
			t.Fatalf("valid JSON: %v, but Split: %v", valid, err)
		}
		rest := body
		for _, e := range elements {
			i := bytes.Index(rest, e)
			if i < 0 {
				t.Fatalf("element %q is not in the rest of the body %q", e, rest)
			}
			rest = rest[i+len(e):]
		}
	})
}
