package ingest

import (
	"strings"
	"testing"

	"trunkline/ingest/redacted"
)

func TestNewEdgeFaults(t *testing.T) {
	token := func(s redacted.Text) Credentials { return Credentials{Tokens: []redacted.Text{s}} }
	tenant := func(id, vendor string, c Credentials) Tenant {
		return Tenant{ID: id, Vendors: []string{vendor}, Auth: Auth{vendor: c}}
	}
	key := SigningKey{ID: "k", Secret: "secret"}
	tests := []struct {
		name   string
		change func(*Options)
		want   []string // parts of the error; none: no error
	}{
		{"as it is", func(*Options) {}, nil},
		{"no log", func(o *Options) { o.Log = nil }, []string{"raw log: is missing"}},
		{"no mapper", func(o *Options) { o.Mappers = nil }, []string{`vendor "genesys": is unknown or has no mapper`}},
		{"limits", func(o *Options) { o.Budget, o.MaxBody = -1, -1 }, []string{"budget: is -1", "max body: is -1"}},
		{"unknown vendor", func(o *Options) { o.Tenants = []Tenant{tenant("a", "avaya", token("x"))} }, []string{`vendor "avaya"`}},
		{"no id", func(o *Options) { o.Tenants = []Tenant{tenant("", "cxone", token("x"))} }, []string{"tenant id: is empty"}},
		{"twice", func(o *Options) {
			o.Tenants = []Tenant{tenant("a", "cxone", token("x")), tenant("a", "cxone", token("y"))}
		}, []string{`tenant "a": cxone is configured twice`}},
		{"no credentials", func(o *Options) { o.Tenants = []Tenant{{ID: "a", Vendors: []string{"cxone"}}} }, []string{`tenant "a": cxone: no credential`}},
		{"credentials for another vendor", func(o *Options) {
			o.Tenants = []Tenant{{ID: "a", Vendors: []string{"cxone"}, Auth: Auth{"cxone": token("x"), "genesys": token("y")}}}
		}, []string{"credentials for genesys, which is not among its vendors"}},
		{"empty token and secret", func(o *Options) {
			o.Tenants = []Tenant{tenant("a", "cxone", Credentials{Tokens: []redacted.Text{""}, Keys: []SigningKey{{ID: "k"}}})}
		}, []string{"a token is empty", "signing secret 1: is empty"}},
		{"policy without its credential", func(o *Options) {
			o.Tenants = []Tenant{
				tenant("a", "cxone", Credentials{Tokens: []redacted.Text{"x"}, Require: RequireSignature}),
				tenant("b", "cxone", Credentials{Keys: []SigningKey{key}, Require: RequireBoth}),
				tenant("c", "cxone", Credentials{Tokens: []redacted.Text{"z"}, Require: "nothing"}),
			}
		}, []string{"require signature without a signing secret", "require both without a token", `require "nothing"`}},
		{"too many keys", func(o *Options) {
			c := Credentials{}
			for i := range maxKeys + 1 {
				c.Keys = append(c.Keys, SigningKey{Secret: redacted.Text(strings.Repeat("s", i+1))})
			}
			o.Tenants = []Tenant{tenant("a", "cxone", c)}
		}, []string{"17 signing secrets: at most 16"}},
		{"shared between tenants", func(o *Options) {
			o.Tenants = []Tenant{tenant("a", "cxone", token("x")), tenant("b", "cxone", token("x"))}
		}, []string{`tenant "b": cxone: a token is also that of tenant "a"`}},
		{"keys at a URL", func(o *Options) {
			jwt := &JWT{Issuer: "i", Audience: "a", KeysURL: keysURL}
			o.Tenants = []Tenant{
				tenant("a", "cxone", Credentials{KeysURL: keysURL}),
				tenant("b", "genesys", Credentials{JWT: jwt}),
				tenant("c", "cxone", Credentials{JWT: jwt, KeysURL: keysURL + "2"}),
				tenant("d", "cxone", Credentials{Tokens: []redacted.Text{"d"}, KeysURL: keysURL + "2"}),
			}
		}, nil},
		{"URLs that are none", func(o *Options) {
			o.Tenants = []Tenant{
				tenant("a", "cxone", Credentials{KeysURL: "http://keys.example/jwks"}),
				tenant("b", "cxone", Credentials{JWT: &JWT{Issuer: "i", KeysURL: "keys"}}),
			}
		}, []string{`tenant "a": cxone: URL of keys: must start with https://`, "JWT: URL of keys: is no URL", "JWT: want an issuer and an audience"}},
		{"keys shared without tokens", func(o *Options) {
			both := func(token redacted.Text) Credentials {
				return Credentials{Tokens: []redacted.Text{token}, KeysURL: keysURL}
			}
			o.Tenants = []Tenant{tenant("a", "cxone", both("x")), tenant("b", "cxone", both("y")), tenant("c", "cxone", Credentials{KeysURL: keysURL})}
		}, []string{`tenant "c": cxone: a URL of keys is also that of tenant "b"`}},
		{"keys shared with a tenant without tokens", func(o *Options) {
			o.Tenants = []Tenant{
				tenant("a", "cxone", Credentials{KeysURL: keysURL}),
				tenant("b", "cxone", Credentials{Tokens: []redacted.Text{"x"}, KeysURL: keysURL}),
			}
		}, []string{`tenant "b": cxone: a URL of keys is also that of tenant "a"`}},
		{"issuer shared", func(o *Options) {
			jwt := &JWT{Issuer: "i", Audience: "a", KeysURL: keysURL}
			o.Tenants = []Tenant{tenant("a", "cxone", Credentials{JWT: jwt}), tenant("b", "cxone", Credentials{JWT: jwt})}
		}, []string{`tenant "b": cxone: a JWT issuer and audience is also that of tenant "a"`}},
		{"schemes", func(o *Options) {
			signing := func(id string, s Signing) Tenant {
				return tenant(id, "cxone", Credentials{Keys: []SigningKey{{ID: "k", Secret: redacted.Text(id)}}, Signing: s})
			}
			o.Tenants = []Tenant{
				signing("a", Signing{Scheme: "none"}), signing("b", Signing{Scheme: SchemeHub, Header: "X"}), signing("c", Signing{TimestampHeader: "X"}),
				signing("fine", Signing{Header: "X", TimestampHeader: "Y"}),
			}
		}, []string{`tenant "a": cxone: scheme "none": want one of`, `tenant "b": cxone: signature header`, `tenant "c": cxone: signature header`}},
		{"public key that is none", func(o *Options) {
			o.Tenants = []Tenant{tenant("a", "cxone", Credentials{Keys: []SigningKey{{ID: "k", Secret: "whpk_x"}}})}
		}, []string{"signing secret 1: whpk_ must be followed by base64"}},
		{"rates", func(o *Options) {
			a, b := tenant("a", "cxone", token("x")), tenant("b", "cxone", token("y"))
			a.Rate, b.Rate = Rate{PerSecond: 1}, Rate{PerSecond: -1, Burst: 1}
			o.Tenants = []Tenant{a, b}
		}, []string{`tenant "a": rate`, `tenant "b": rate`}},
		{"default tenant", func(o *Options) { o.DefaultTenants = map[string]string{"genesys": "strict"} }, []string{`default tenant "strict": is not configured for genesys`}},
		{"quarantine", func(o *Options) { o.DeferFor, o.DeferredPerHour, o.ReplayWindow = -1, -1, -1 }, []string{"defer for: is -1", "deferred per hour: is -1", "replay window: is -1"}},
		{"shared between vendors", func(o *Options) {
			o.Tenants = []Tenant{tenant("a", "cxone", token("x")), tenant("b", "genesys", token("x"))}
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options(&memoryLog{})
			tt.change(&o)
			_, err := NewEdge(o)
			if (err != nil) != (len(tt.want) > 0) {
				t.Fatalf("got error %v, want parts %q", err, tt.want)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q lacks %q", err, part)
				}
			}
		})
	}
}

func TestPolicy(t *testing.T) {
	tokens, keys := []redacted.Text{"t"}, []SigningKey{{"k", "s"}}
	defaults := []struct {
		vendor string
		c      Credentials
		want   Policy
	}{
		{"cxone", Credentials{Tokens: tokens, Keys: keys}, RequireBoth},
		{"cxone", Credentials{Keys: keys}, RequireSignature},
		{"cxone", Credentials{Tokens: tokens}, RequireBearer},
		{"genesys", Credentials{Tokens: tokens, Keys: keys}, RequireEither},
		{"genesys", Credentials{Keys: keys}, RequireSignature},
		{"cxone", Credentials{Tokens: tokens, Keys: keys, Require: RequireBearer}, RequireBearer},
	}
	for _, tt := range defaults {
		if got := tt.c.policy(tt.vendor); got != tt.want {
			t.Errorf("%s %+v: policy %s, want %s", tt.vendor, tt.c, got, tt.want)
		}
	}
	for p, want := range map[Policy][4]bool{ // neither, bearer, signature, both
		RequireSignature: {false, false, true, true},
		RequireBearer:    {false, true, false, true},
		RequireBoth:      {false, false, false, true},
		RequireEither:    {false, true, true, true},
	} {
		got := [4]bool{p.met(false, false), p.met(true, false), p.met(false, true), p.met(true, true)}
		if got != want {
			t.Errorf("%s: %v, want %v", p, got, want)
		}
	}
}
