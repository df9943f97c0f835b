package codecs_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/codecs"
)

func TestSanitiseJSON(t *testing.T) {
	tests := []struct{ in, want string }{
		{`{"a":"b"}`, `{"a":"b"}`},
		{`"\u0000"`, `"\ufffd"`},
		{`"\\u0000"`, `"\\u0000"`},     // an escaped backslash, then text
		{`"\\\u0000"`, `"\\\ufffd"`},   // an escaped backslash, then a NUL
		{`"\\\\u0000"`, `"\\\\u0000"`}, // two escaped backslashes, then text
		{`"\u00001"`, `"\ufffd1"`},
		{`"\u00010"`, `"\u00010"`},
		{`"\ud800"`, `"\ufffd"`},
		{`"\uD800x"`, `"\ufffdx"`},
		{`"\udc00"`, `"\ufffd"`},
		{`"\\ud800"`, `"\\ud800"`},
		{`"\ud83d\ude00"`, `"\ud83d\ude00"`},
		{`"\ud83d\ud83d\ude00"`, `"\ufffd\ud83d\ude00"`},
		{`"\ude00\ud83d"`, `"\ufffd\ufffd"`},
		{`"\ud83d\u0000"`, `"\ufffd\ufffd"`},
		{`"\ud83d\\ude00"`, `"\ufffd\\ude00"`},
		{`{"\u0000k":1}`, `{"\ufffdk":1}`},
		{"\"a\x00b\"", "\"a\uFFFDb\""},
		{"\"a\xffb\\u0000\"", "\"a\uFFFDb\\ufffd\""},
		{"\"\xed\xa0\x80\"", "\"\uFFFD\""}, // an encoded surrogate
		{"\"\u2028😀é\"", "\"\u2028😀é\""},
		{`[1e5000,-1E-5000,0.5e+12,12]`, `[1e5000,-1E-5000,0.5e+12,12]`},
		{`[1e5001,-1E-5001,2e+99999999999999999999]`, `["1e5001","-1E-5001","2e+99999999999999999999"]`},
		{`{"a":1e99999,"b":"1e99999","c\\":1e99999,"\"":"\\\"1e99999"}`, `{"a":"1e99999","b":"1e99999","c\\":"1e99999","\"":"\\\"1e99999"}`},
		{`1e99999`, `"1e99999"`},
		{`"\"1e99999"`, `"\"1e99999"`},
		{`["\u0000",1e99999]`, `["\ufffd","1e99999"]`},
		{strings.Repeat("9", 10_000), strings.Repeat("9", 10_000)},
		{strings.Repeat("9", 10_001), `"` + strings.Repeat("9", 10_001) + `"`},
		{`"\ud8`, `"\ud8`}, // cut off: no JSON, but no panic either
		{`"\`, `"\`},
		{``, ``},
	}
	for _, tt := range tests {
		in := []byte(tt.in)
		got, changed := codecs.SanitiseJSON(in)
		if string(got) != tt.want || changed != (tt.in != tt.want) {
			t.Errorf("SanitiseJSON(%.200q) = %.200q, %t, want %.200q", tt.in, got, changed, tt.want)
		}
		if string(in) != tt.in {
			t.Errorf("SanitiseJSON(%q) wrote into its input: %q", tt.in, in)
		}
	}
}

// A sanitised text says what the text said, but for the characters that no sink
// bears, and sanitising it again changes nothing.
func TestSanitiseJSONKeepsMeaning(t *testing.T) {
	g := newGenerator(1)
	for range 5000 {
		in := g.image()
		got, changed := codecs.SanitiseJSON(in)
		want, err1 := plain(in)
		read, err2 := plain(got)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if diff := cmp.Diff(want, read); diff != "" {
			t.Fatalf("%s became %s (-want +got):\n%s", in, got, diff)
		}
		if changed == bytes.Equal(in, got) {
			t.Fatalf("%s became %s, changed is %t", in, got, changed)
		}
		if again, changed := codecs.SanitiseJSON(got); changed {
			t.Fatalf("%s became %s the second time", got, again)
		}
	}
}

func TestSanitiseText(t *testing.T) {
	tests := []struct{ in, want string }{
		{"Ann", "Ann"},
		{"", ""},
		{"a\x00b", "a\uFFFDb"},
		{"\xed\xa0\x80", "\uFFFD"},
		{"\xff\x00", "\uFFFD\uFFFD"},
		{`\u0000`, `\u0000`}, // text, not JSON
		{"\uFFFD", "\uFFFD"},
	}
	for _, tt := range tests {
		if got, changed := codecs.SanitiseText(tt.in); got != tt.want || changed != (tt.in != tt.want) {
			t.Errorf("SanitiseText(%q) = %q, %t, want %q", tt.in, got, changed, tt.want)
		}
	}
}
