package acceptance

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/event"
)

// Rows are compared by what they say, however JSON writes it, and every difference
// is seen.
//
// Seen failing with any of the comparisons of unlike taken out, and with numbers
// compared as float64.
func TestUnlike(t *testing.T) {
	a, b := event.Key{Vendor: "genesys", Tenant: "acme", Type: "user", ID: "a"}, event.Key{Vendor: "cxone", Tenant: "acme", Type: "user", ID: "a"}
	text := func(s string) *string { return &s }
	number := func(n int64) *int64 { return &n }
	of := func(name *string, version *int64, data string) row {
		t.Helper()
		d, err := canonical([]byte(data))
		if err != nil {
			t.Fatal(err)
		}
		return row{name, version, d}
	}
	const data = `{"a":1.50E2,"b":9007199254740993,"c":[null,"x\u00e9"]}`
	want := rows{a: of(text("Ann"), number(1), data)}
	tests := []struct {
		name string
		got  rows
		want []string
	}{
		{"the same", want, nil},
		{"written otherwise", rows{a: of(text("Ann"), number(1), `{"c": [null, "xé"], "b": 9007199254740993, "a": 150.0}`)}, nil},
		{"none", nil, []string{"genesys/acme/user/a is not there"}},
		{"another vendor", rows{b: want[a]}, []string{"cxone/acme/user/a is there, want none", "genesys/acme/user/a is not there"}},
		{"another name", rows{a: of(text("Anna"), number(1), data)}, []string{"genesys/acme/user/a: another name"}},
		{"no name", rows{a: of(nil, number(1), data)}, []string{"genesys/acme/user/a: another name"}},
		{"another version", rows{a: of(text("Ann"), number(2), data)}, []string{"genesys/acme/user/a: another version"}},
		{
			"another number", rows{a: of(text("Ann"), number(1), `{"a":1}`)},
			[]string{`genesys/acme/user/a: got {"a":{"number":"1"}}, want ` + want[a].Data},
		},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, unlike(tt.got, want)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	one, other := of(nil, nil, `9007199254740993`), of(nil, nil, `9007199254740992`)
	if one.Data == other.Data {
		t.Error("two numbers beyond 2^53 are called equal")
	}
}
