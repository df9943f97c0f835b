package vendors

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/event"
)

func TestCanonical(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, tt := range []struct {
		name, in, want string
		reason         event.Reason
		detail         string // a part of it
	}{
		{name: "sorted by bytes, no spaces", in: " { \"b\" : 1 , \"a\" : [ true , null ] , \"B\":{} } \n", want: `{"B":{},"a":[true,null],"b":1}`},
		{name: "numbers as written", in: `[1.0,1e400,-0,12345678901234567890,0.10,1E+2]`, want: `[1.0,1e400,-0,12345678901234567890,0.10,1E+2]`},
		{name: "fewest escapes, no HTML escapes", in: `"\u0041\/<>&\u2028\u00e9\"\\"`, want: "\"A/<>&\u2028é\\\"\\\\\""},
		{name: "control characters", in: `"\u0000\u0008\u000c\u000A\u000d\u0009\u001F\u007f"`, want: "\"\\u0000\\b\\f\\n\\r\\t\\u001f\x7f\""},
		{name: "surrogate pair becomes its character", in: `"\ud83d\uDE00"`, want: `"😀"`},
		{name: "lone surrogates stay escapes", in: `["\uD83D","\ude00\ud83d","\ud83dx","\ud83d\n","\ud83d\u0041","\ud83d\ud83d\ude00"]`,
			want: `["\ud83d","\ude00\ud83d","\ud83dx","\ud83d\n","\ud83dA","\ud83d😀"]`},
		{name: "characters beside the surrogates", in: "\"\ud7ff\ue000\"", want: "\"\ud7ff\ue000\""},
		{name: "escaped names", in: `{"\u0062":1,"a\ud800":2}`, want: `{"a\ud800":2,"b":1}`},
		{name: "byte order mark", in: "\ufeff{}", want: `{}`},
		{name: "as deep as allowed", in: nested(MaxDepth), want: nested(MaxDepth)},

		{name: "too deep", in: nested(MaxDepth + 1), reason: event.MalformedJSON, detail: "64"},
		{name: "doubled name", in: `{"data":{"items":[{"id":1,"id":1}]}}`, reason: event.MalformedJSON, detail: `"data.items.id"`},
		{name: "doubled by an escape", in: `{"a":1,"\u0061":2}`, reason: event.MalformedJSON, detail: `"a"`},
		{name: "raw bytes that are no UTF-8", in: "{\"a\":\"\xff\"}", reason: event.MalformedJSON, detail: "UTF-8"},
		{name: "raw surrogate", in: "\"\xed\xa0\x80\"", reason: event.MalformedJSON, detail: "UTF-8"},
		{name: "UTF-16", in: "\xff\xfe{\x00}\x00", reason: event.MalformedJSON, detail: "UTF-8"},
		{name: "cut off", in: `{"secret":"hunter2`, reason: event.MalformedJSON, detail: "byte"},
		{name: "not JSON quotes nothing", in: `{"secret":hunter2}`, reason: event.MalformedJSON, detail: "byte"},
		{name: "empty", in: ``, reason: event.MalformedJSON},
		{name: "two values", in: `{}{}`, reason: event.MalformedJSON, detail: "more than one"},
		{name: "too large", in: `"` + strings.Repeat("a", MaxBytes) + `"`, reason: event.TooLarge, detail: "1048576"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := Parse([]byte(tt.in))
			if tt.reason != "" {
				rejected, ok := errors.AsType[*event.Rejected](err)
				if !ok || rejected.Reason != tt.reason || !strings.Contains(rejected.Detail, tt.detail) {
					t.Fatalf("got error %v, want %s naming %s", err, tt.reason, tt.detail)
				}
				if strings.Contains(rejected.Detail, "hunter2") { // (I10)
					t.Errorf("detail quotes the body: %s", rejected.Detail)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := string(v.Canonical()); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// FuzzCanonical holds that a canonical text means what its source means to
// another reader of JSON, and that it is canonical itself.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{
		`{"b":[1.50,-0,1e400,{"\u0061":"\u0000\ud800\ud83d\ude00"}],"a":null,"":"\/"}`,
		`[[[]],{},"\udc00\ud800",true]`, "\ufeff 12 ", `{"a":1,"a":2}`, `"`, "{\"\xff\":1}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := Parse(body)
		if err != nil {
			if _, ok := errors.AsType[*event.Rejected](err); !ok {
				t.Fatalf("got %T, want *event.Rejected", err)
			}
			return
		}
		canonical := v.Canonical()
		again, err := Parse(canonical)
		if err != nil {
			t.Fatalf("canonical text %q: %v", canonical, err)
		}
		if got := again.Canonical(); !bytes.Equal(got, canonical) {
			t.Errorf("got %q of canonical %q", got, canonical)
		}
		if len(canonical) > len(body) {
			t.Errorf("canonical text of %d bytes is longer than its source of %d", len(canonical), len(body))
		}
		if diff := cmp.Diff(decode(t, trimBOM(body)), decode(t, canonical)); diff != "" {
			t.Errorf("meaning changed (-source +canonical):\n%s", diff)
		}
	})
}

func decode(t *testing.T, text []byte) (v any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("decode %q: %v", text, err)
	}
	return v
}

func TestField(t *testing.T) {
	v, err := Parse([]byte(`{"a":{"b":"x","n":null},"list":[1],"v":"7.0","w":12,"t":true}`))
	if err != nil {
		t.Fatal(err)
	}
	if text, ok := v.Field("a", "b").Text(); text != "x" || !ok {
		t.Errorf("got %q, %v", text, ok)
	}
	for _, path := range [][]string{{"none"}, {"a", "n"}, {"a", "b", "c"}, {"list", "0"}, {"a", "none", "c"}} {
		if v.Field(path...).Exists() {
			t.Errorf("%v exists", path)
		}
	}
	for name, want := range map[string]int64{"v": 7, "w": 12} {
		if n, ok := v.Field(name).Whole(); n != want || !ok {
			t.Errorf("%s: got %d, %v, want %d", name, n, ok, want)
		}
	}
	if n, ok := v.Field("t").Whole(); ok {
		t.Errorf("true is the number %d", n)
	}
	changed := v.Field("a").With("b", Int(1)).With("c", String("\"")).Default("b", Int(2)).Default("n", Int(3))
	if got, want := string(changed.Canonical()), `{"b":1,"c":"\"","n":3}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := string(changed.Without(NamesOf("n", "b")).Canonical()), `{"c":"\""}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	merged := v.Field("a").Rename("n", "b2").Rename("none", "z").Merge(ObjectOf(map[string]Value{"a": Int(0), "b": Int(7)}))
	if got, want := string(merged.Canonical()), `{"a":0,"b":7,"b2":null}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := string(v.Field("a").Rename("n", "b").Canonical()), `{"b":null}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := string(Value{}.Merge(Object().With("a", Int(0))).Canonical()), `{"a":0}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if a := v.Field("a"); !a.Has("n") || a.Has("none") || v.Field("list").Has("") {
		t.Errorf("%s: members that are not there, or not those that are", v.Canonical())
	}
	if got, want := string(v.Field("a").Canonical()), `{"b":"x","n":null}`; got != want {
		t.Errorf("source became %s, want %s", got, want)
	}
}

func TestFlag(t *testing.T) {
	for in, want := range map[string]struct{ set, ok bool }{
		`true`: {true, true}, `"True"`: {true, true}, `"true"`: {true, true},
		`false`: {false, true}, `"False"`: {false, true},
		`"yes"`: {}, `1`: {}, `null`: {}, `""`: {}, `{}`: {},
	} {
		v, err := Parse([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		if set, ok := v.Flag(); set != want.set || ok != want.ok {
			t.Errorf("%s: got %v, %v, want %+v", in, set, ok, want)
		}
	}
}

func BenchmarkParseCanonical(b *testing.B) {
	body := []byte(`{"id":"e1b6a1f2-0001-4000-8000-000000000001","subscriptionId":"sub-7f3a","organizationId":"23faea37-1117-4c0a-88a2-572c46780b03","resourceType":"user","eventType":"updated","resourceId":"7c3e5d10-7777-4b82-8d94-121212121212","resource":{"id":"7c3e5d10-7777-4b82-8d94-121212121212"},"ts_ms":1795312260123,"version":7,"data":{"id":"7c3e5d10-7777-4b82-8d94-121212121212","name":"Ana Ruiz","email":"ana.ruiz@example.com","state":"active","department":"Claims","title":"Lead","version":7,"division":{"id":"e7c1a0b2-4444-4e5f-9a61-dddddddddddd","name":"Home"}}}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		v, err := Parse(body)
		if err != nil {
			b.Fatal(err)
		}
		v.Field("data").Canonical()
	}
}
