package vendors

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"trunkline/event"
)

func TestEventTime(t *testing.T) {
	const at = 1795312260123 // 2026-11-22T01:51:00.123Z
	for _, tt := range []struct {
		in     string
		want   int64
		source event.TsSource
		fails  bool
	}{
		{in: `1795312260123`, want: at, source: event.TsEvent},
		{in: `"1795312260123"`, want: at, source: event.TsEvent},
		{in: `1795312260`, want: at - 123, source: event.TsEvent},
		{in: `"1795312260"`, want: at - 123, source: event.TsEvent},
		{in: `1795312260.123`, want: at, source: event.TsEvent},
		{in: `1.795312260123e12`, want: at, source: event.TsEvent},
		{in: `"2026-11-22T01:51:00.123Z"`, want: at, source: event.TsEvent},
		{in: `"2026-11-22T01:51:00.123999999Z"`, want: at, source: event.TsEvent},
		{in: `"2026-11-22T02:51:00.1230+01:00"`, want: at, source: event.TsEvent},
		{in: `"2026-11-22T01:51:00.123+0000"`, want: at, source: event.TsEvent},
		{in: `"2026-11-22T01:51:00.123"`, want: at, source: event.TsEvent},
		{in: `"2026-11-22T01:51:00"`, want: at - 123, source: event.TsEvent},
		{in: `"2026-11-22T01:51:00Z"`, want: at - 123, source: event.TsEvent},
		{in: `99999999999`, want: 99999999999000, source: event.TsEvent},
		{in: `100000000000`, want: 100000000000, source: event.TsEvent},
		{in: `null`, want: 1, source: event.TsIngest},
		{in: `""`, want: 1, source: event.TsIngest},

		{in: `"yesterday"`, fails: true},
		{in: `"2026-11-22"`, fails: true},
		{in: `"0x1p4"`, fails: true},
		{in: `"Inf"`, fails: true},
		{in: `true`, fails: true},
		{in: `{}`, fails: true},
		{in: `0`, fails: true},
		{in: `-5`, fails: true},
		{in: `1e400`, fails: true},
		{in: `1795312260123000`, fails: true}, // µs
		{in: `"0001-01-01T00:00:00Z"`, fails: true},
	} {
		v, err := Parse([]byte(tt.in))
		if err != nil {
			t.Fatal(err)
		}
		got, source, err := EventTime(1, TimeField{Path: "none"}, TimeField{"eventTime", v, event.TsEvent})
		if rejected, ok := errors.AsType[*event.Rejected](err); tt.fails != ok || ok && (rejected.Reason != event.InvalidField || !strings.Contains(rejected.Detail, "eventTime")) {
			t.Errorf("%s: got error %v, want one naming eventTime: %v", tt.in, err, tt.fails)
		}
		if err == nil && (got != tt.want || source != tt.source) {
			t.Errorf("%s: got %d by %s, want %d by %s", tt.in, got, source, tt.want, tt.source)
		}
	}
}

func TestFirstID(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		fails    bool
	}{
		{in: `"a/b#c\u0000é%"`, want: "a/b#c\x00é%"},
		{in: `427000000001`, want: "427000000001"},
		{in: `12345678901234567890`, want: "12345678901234567890"},
		{in: `""`, want: "second"},
		{in: `null`, want: "second"},
		{in: `"` + strings.Repeat("x", maxText) + `"`, want: strings.Repeat("x", maxText)},
		{in: `"` + strings.Repeat("x", maxText+1) + `"`, fails: true},
		{in: strings.Repeat("1", maxText+1), fails: true},
		{in: `"\ud800"`, fails: true},
		{in: `{}`, fails: true},
		{in: `true`, fails: true},
	} {
		v, err := Parse([]byte(tt.in))
		if err != nil {
			t.Fatal(err)
		}
		got, err := FirstID(Named{Path: "absent"}, Named{"id", v}, Named{"other", String("second")})
		rejected, ok := errors.AsType[*event.Rejected](err)
		if ok != tt.fails || ok && rejected.Reason != event.InvalidField {
			t.Errorf("%.40s: got error %v, want one: %v", tt.in, err, tt.fails)
		}
		if !ok && got != tt.want {
			t.Errorf("%.40s: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

// Unknown fields are bounded, and what finds no room is counted, not hidden.
func TestMetadataBounds(t *testing.T) {
	for _, tt := range []struct {
		name           string
		fields, length int
		kept           int
		overflow       string
	}{
		{name: "all fit", fields: maxUnknownFields, length: 1, kept: maxUnknownFields},
		{name: "too many", fields: maxUnknownFields + 3, length: 1, kept: maxUnknownFields, overflow: "3"},
		{name: "too long", fields: 4, length: 3000, kept: 2, overflow: "2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := Object().With("known", Int(1))
			for i := range tt.fields {
				v = v.With("f"+strconv.Itoa(i), String(strings.Repeat("x", tt.length)))
			}
			var md Metadata
			md.Unknown("detail.", v, NamesOf("known"))
			got := md.Map()
			if got["x_overflow"] != tt.overflow {
				t.Errorf("got x_overflow %q, want %q", got["x_overflow"], tt.overflow)
			}
			delete(got, "x_overflow")
			if len(got) != tt.kept {
				t.Errorf("got %d fields, want %d", len(got), tt.kept)
			}
			if got["x_detail.f0"] != `"`+strings.Repeat("x", tt.length)+`"` {
				t.Errorf("got %q for x_detail.f0", got["x_detail.f0"])
			}
		})
	}
}

func TestMetadataEmpty(t *testing.T) {
	var md Metadata
	md.Unknown("", Object(), nil)
	if got := md.Map(); got != nil {
		t.Errorf("got %v, want nil", got)
	}
}
