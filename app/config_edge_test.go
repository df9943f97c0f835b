package app

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/ingest"
	"trunkline/ingest/redacted"
)

// edgeConfig is a configuration with the given edge section, tenant fields and
// credentials of CXone.
func edgeConfig(edge, tenant, cxone string) string {
	const frame = `kafka: {brokers: ["localhost:9092"]}
registry: {url: "http://localhost:8081"}
EDGE
tenants:
- id: acme
  vendors:
    cxone: {CXONE}
`
	return strings.NewReplacer("EDGE", edge, "- id: acme", "- id: acme"+tenant, "CXONE", cxone).Replace(frame)
}

// TestEdgeConfig reads every field of the edge's credentials and shows that each
// fault names its field and the cure.
func TestEdgeConfig(t *testing.T) {
	const token = "tokens: [x]"
	tests := []struct {
		name, edge, tenant, cxone string
		want                      []string // parts of the error; none: no error
	}{
		{name: "least", cxone: token},
		{name: "most", edge: "edge: {replay_window: 1m, default_tenants: {cxone: acme}, admin_token: a, quarantine: {keep: 1h, deliveries_per_hour: 1, bytes_per_hour: 1}}",
			tenant: "\n  rate: {deliveries_per_second: 0.5, burst: 1}",
			cxone:  "tokens: [x], jwt: {issuer: i, audience: a, keys_url: 'https://k.example'}, signing_secrets: [s], keys_url: 'https://k.example', scheme: hub, require: both, strict: true"},
		{name: "headers", cxone: "signing_secrets: [s], signature_header: X-Sig, timestamp_header: X-Time"},
		{name: "keys on this machine", cxone: "keys_url: 'http://127.0.0.1:1/jwks'"},

		{name: "misspelt", cxone: token + ", key_url: x", want: []string{"key_url"}},
		{name: "nothing", want: []string{"tenants[0].vendors.cxone: has no credentials; give it tokens, jwt, signing_secrets or keys_url"}},
		{name: "empty token", cxone: "tokens: ['']", want: []string{"cxone.tokens: one is empty; leave it out"}},
		{name: "empty secret", cxone: "signing_secrets: [a, '']", want: []string{"cxone.signing_secrets[1]: is empty"}},
		{name: "plain http", cxone: "keys_url: 'http://k.example'", want: []string{"cxone.keys_url: must start with https://"}},
		{name: "half an issuer", cxone: "jwt: {keys_url: k}", want: []string{"jwt.issuer: is empty", "jwt.audience: is empty", "jwt.keys_url: is no URL: want https://host/path"}},
		{name: "scheme", cxone: token + ", scheme: x", want: []string{"cxone.scheme: \"x\" is unknown; use one of [\"cxone\" \"nexus\" \"hub\" \"standard-webhooks\"]"}},
		{name: "scheme and header", cxone: token + ", scheme: hub, signature_header: X", want: []string{"signature_header: stands beside scheme"}},
		{name: "timestamp alone", cxone: token + ", timestamp_header: X", want: []string{"timestamp_header: stands without signature_header; add it"}},
		{name: "no header", cxone: token + ", signature_header: 'a b'", want: []string{"signature_header: \"a b\" is no name of a header"}},
		{name: "policy", cxone: token + ", require: x", want: []string{"require: \"x\" is unknown; use signature, bearer, both or either"}},
		{name: "policy without a secret", cxone: token + ", require: both", want: []string{"require: both needs signing_secrets or keys_url"}},
		{name: "policy without a token", cxone: "keys_url: 'https://k.example', require: bearer", want: []string{"require: bearer needs tokens or jwt"}},
		{name: "notifications of another vendor, of nothing", cxone: token + ", notifications: {topics: []}",
			want: []string{"cxone.notifications: are an interface of genesys", "cxone.notifications.topics: is empty; name a topic", "cxone.api.url: is missing, and notifications need it"}},
		{name: "notifications", cxone: token + ", notifications: {topics: [v2.flows.x, 'v2.conversations.{id}']}",
			want: []string{"notifications.topics[1]: \"v2.conversations.{id}\" is no template whose ids can be listed; it may begin with one of"}},
		{name: "rate", tenant: "\n  rate: {deliveries_per_second: 2}", cxone: token, want: []string{"tenants[0].rate: 2 a second and 0 at once is no bound"}},
		{name: "default tenants", edge: "edge: {default_tenants: {cxone: b, avaya: acme}}", cxone: token,
			want: []string{"edge.default_tenants.cxone: \"b\" is no tenant with this vendor", "edge.default_tenants: \"avaya\" is unknown"}},
		{name: "kept too long", edge: "edge: {quarantine: {keep: 25h}}", cxone: token, want: []string{"edge.quarantine.keep: 25h0m0s is not between 0 and half of dedup_window 48h0m0s"}},
		{name: "negative", edge: "edge: {replay_window: -1s, quarantine: {deliveries_per_hour: -1, bytes_per_hour: -1}}", cxone: token,
			want: []string{"edge.replay_window: -1s is negative", "edge.quarantine.deliveries_per_hour: -1 is negative", "edge.quarantine.bytes_per_hour: -1 is negative"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseConfig([]byte(edgeConfig(tt.edge, tt.tenant, tt.cxone)))
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

// TestTenantOfEdge shows that nothing of the credentials is lost on the way.
func TestTenantOfEdge(t *testing.T) {
	c, err := parseConfig([]byte(edgeConfig("", "\n  vendor_ids: [v]\n  rate: {deliveries_per_second: 2, burst: 3}",
		"tokens: [x, y], jwt: {issuer: i, audience: a, keys_url: 'https://i.example'}, signing_secrets: [s, p], keys_url: 'https://k.example', "+
			"signature_header: X-Sig, timestamp_header: X-Time, require: both, strict: true")))
	if err != nil {
		t.Fatal(err)
	}
	want := ingest.Tenant{
		ID: "acme", Vendors: []string{"cxone"}, VendorIDs: []string{"v"}, Ack: ingest.AckSpool, Rate: ingest.Rate{PerSecond: 2, Burst: 3},
		Auth: ingest.Auth{"cxone": {
			Tokens: []redacted.Text{"x", "y"}, JWT: &ingest.JWT{Issuer: "i", Audience: "a", KeysURL: "https://i.example"},
			Keys: []ingest.SigningKey{{ID: "acme-1", Secret: "s"}, {ID: "acme-2", Secret: "p"}}, KeysURL: "https://k.example",
			Signing: ingest.Signing{Header: "X-Sig", TimestampHeader: "X-Time"}, Require: ingest.RequireBoth, Strict: true,
		}},
	}
	if diff := cmp.Diff(want, c.Tenants[0].edge()); diff != "" {
		t.Errorf("tenant (-want +got):\n%s", diff)
	}
}
