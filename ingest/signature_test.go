package ingest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"trunkline/ingest/keys"
	"trunkline/ingest/redacted"
)

// The vectors over testdata/signed.json at signedAt.
const (
	vectorCurrent  = "a91784a3a6795502c7d4c8cb737c0c418751710cacdeb0c69c897b0be167ccb5"
	vectorPrevious = "06b9a2889df7a885828e47356d590868aeaf77ddd386602332baa2f6eb95797f"
)

// setOf returns the keys of a configuration.
func setOf(t testing.TB, configured ...SigningKey) *keys.Set {
	t.Helper()
	static, faults := Credentials{Keys: configured}.static()
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return keys.NewSet(keys.Options{Static: static})
}

// verify returns the id of the key by which the headers sign the body.
func verify(h http.Header, body string, set *keys.Set, now time.Time) (kid string, f failure) {
	s, f := parseSignature(conventions, h)
	if f != "" {
		return "", f
	}
	k, f := s.verify([]byte(body), set, now, 5*time.Minute)
	return k.ID, f
}

func TestVerifyTimestamped(t *testing.T) {
	current := SigningKey{ID: "current", Secret: currentSecret}
	previous := SigningKey{ID: "previous", Secret: previousSecret}
	both := []SigningKey{current, previous}
	body := sample(t, "signed.json")
	wrong := strings.Repeat("0", 64)
	tests := []struct {
		name    string
		header  []string
		keys    []SigningKey
		now     time.Duration // after signedAt
		body    string        // default: the signed one
		kid     string
		failure failure
	}{
		{name: "current", header: []string{"t=1795312200,v1=" + vectorCurrent}, keys: both, kid: "current"},
		{name: "previous", header: []string{"t=1795312200,v1=" + vectorPrevious}, keys: both, kid: "previous"},
		{name: "both, as in sample I10", header: []string{"t=1795312200,v1=" + vectorPrevious + ",v1=" + vectorCurrent}, keys: both, kid: "current"},
		{name: "only the old key known", header: []string{"t=1795312200,v1=" + vectorCurrent + ",v1=" + vectorPrevious}, keys: []SigningKey{previous}, kid: "previous"},
		{name: "upper case hex, spaces, other parts", header: []string{" v1=" + strings.ToUpper(vectorCurrent) + " , t=1795312200,kid=x,v0=y,v1a=zz"}, keys: both, kid: "current"},
		{name: "two header lines", header: []string{"t=1795312200", "v1=" + vectorCurrent}, keys: both, kid: "current"},
		{name: "last of eight", header: []string{"t=1795312200" + strings.Repeat(",v1="+wrong, 7) + ",v1=" + vectorCurrent}, keys: both, kid: "current"},
		{name: "good among undecodable", header: []string{"t=1795312200,v1=zz,v1=" + vectorCurrent[:62] + ",v1=" + vectorCurrent}, keys: both, kid: "current"},
		{name: "at the end of the window", header: []string{"t=1795312200,v1=" + vectorCurrent}, keys: both, now: 300 * time.Second, kid: "current"},
		{name: "at its start", header: []string{"t=1795312200,v1=" + vectorCurrent}, keys: both, now: -300 * time.Second, kid: "current"},

		{name: "old", header: []string{"t=1795312200,v1=" + vectorCurrent}, keys: both, now: 301 * time.Second, failure: stale},
		{name: "from the future", header: []string{"t=1795312200,v1=" + vectorCurrent}, keys: both, now: -301 * time.Second, failure: stale},
		{name: "far beyond", header: []string{"t=999999999999999999,v1=" + vectorCurrent}, keys: both, failure: stale},
		{name: "unknown key id", header: []string{"t=1795312200,kid=new,v1=" + wrong}, keys: both, failure: unknownKey},
		{name: "wrong for a known key id", header: []string{"t=1795312200,kid=current,v1=" + wrong}, keys: both, failure: mismatch},
		{name: "unknown key id and old", header: []string{"t=1795312200,kid=new,v1=" + wrong}, keys: both, now: 301 * time.Second, failure: stale},
		{name: "two key ids", header: []string{"t=1795312200,kid=a,kid=b,v1=" + vectorCurrent}, keys: both, failure: malformed},
		{name: "other body", header: []string{"t=1795312200,v1=" + vectorCurrent}, keys: both, body: body + " ", failure: mismatch},
		{name: "other timestamp", header: []string{"t=1795312201,v1=" + vectorCurrent}, keys: both, failure: mismatch},
		{name: "timestamp with a leading zero", header: []string{"t=01795312200,v1=" + vectorCurrent}, keys: both, failure: mismatch},
		{name: "other key", header: []string{"t=1795312200,v1=" + vectorCurrent}, keys: []SigningKey{previous}, failure: mismatch},
		{name: "wrong", header: []string{"t=1795312200,v1=" + wrong}, keys: both, failure: mismatch},
		{name: "nine", header: []string{"t=1795312200" + strings.Repeat(",v1="+wrong, 8) + ",v1=" + vectorCurrent}, keys: both, failure: malformed},
		{name: "no timestamp", header: []string{"v1=" + vectorCurrent}, keys: both, failure: malformed},
		{name: "two timestamps", header: []string{"t=1795312200,t=1795312200,v1=" + vectorCurrent}, keys: both, failure: malformed},
		{name: "negative timestamp", header: []string{"t=-1,v1=" + vectorCurrent}, keys: both, failure: malformed},
		{name: "no number", header: []string{"t=now,v1=" + vectorCurrent}, keys: both, failure: malformed},
		{name: "endless number", header: []string{"t=" + strings.Repeat("1", 19) + ",v1=" + vectorCurrent}, keys: both, failure: malformed},
		{name: "no signature", header: []string{"t=1795312200"}, keys: both, failure: malformed},
		{name: "cut short", header: []string{"t=1795312200,v1=" + vectorCurrent[:62]}, keys: both, failure: malformed},
		{name: "empty", header: []string{""}, keys: both, failure: malformed},
		{name: "too long", header: []string{"t=1795312200,v1=" + vectorCurrent + strings.Repeat(",", maxSignatureHeader)}, keys: both, failure: malformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.body == "" {
				tt.body = body
			}
			h := http.Header{http.CanonicalHeaderKey("X-CXone-Signature"): tt.header}
			kid, f := verify(h, tt.body, setOf(t, tt.keys...), signedAt.Add(tt.now))
			if kid != tt.kid || f != tt.failure {
				t.Errorf("got %q %q, want %q %q", kid, f, tt.kid, tt.failure)
			}
		})
	}
}

// sign is the header by which a sender proves that it knows the secret.
func sign(secret, body string, at time.Time) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d.%s", at.Unix(), body)
	return fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac.Sum(nil)))
}

// TestSignedDeliveries posts signed bodies through the edge, to the path with
// and without a tenant.
func TestSignedDeliveries(t *testing.T) {
	const alias, strict = "/cxone/webhook", "/v1/ingest/cxone/strict/webhook"
	signed := sample(t, "signed.json")
	i10 := "t=1795312200,v1=" + vectorPrevious + ",v1=" + vectorCurrent
	other := strings.ReplaceAll(signed, "11e85da0", "22e85da0")
	xsig := func(v string) []string { return []string{"X-CXone-Signature", v} }
	token := func(v string) []string { return []string{"Authorization", "Bearer " + v} }
	tests := []struct {
		name    string
		path    string
		body    string
		headers []string
		status  int
		tenant  string // of the raw record
		sig     string // its sig_status
		kid     string
	}{
		{name: "I10", path: alias, body: signed, headers: append(xsig(i10), token(currentSecret)...), status: 200, tenant: "acme", sig: "verified", kid: "current"},
		{name: "I10 to the tenant's path", path: cxonePath, body: signed, headers: append(xsig(i10), token(currentSecret)...), status: 200, tenant: "acme", sig: "verified", kid: "current"},
		{name: "by token", path: alias, body: signed, headers: token(devToken), status: 200, tenant: "acme", sig: "bearer"},
		{name: "token and a wrong signature, either will do", path: cxonePath, body: signed, headers: append(xsig("t=1,v1=00"), token(devToken)...), status: 200, tenant: "acme", sig: "bearer"},
		{name: "genesys", path: genesysPath, body: signed, headers: xsig(i10), status: 200, tenant: "acme", sig: "verified", kid: "current"},
		{name: "unreadable and signed", path: alias, body: "{", headers: xsig(sign(currentSecret, "{", signedAt)), status: 200, tenant: "acme", sig: "verified", kid: "current"},
		{name: "signed as sent, not as unpacked", path: alias, body: zipped(signed), headers: append(xsig(sign(previousSecret, zipped(signed), signedAt)), "Content-Encoding", "gzip"), status: 200, tenant: "acme", sig: "verified", kid: "previous"},
		{name: "strict tenant, both", path: strict, body: signed, headers: append(xsig(sign("strict-secret", signed, signedAt)), token("strict-token")...), status: 200, tenant: "strict", sig: "verified", kid: "current"},
		{name: "strict tenant by credential", path: alias, body: other, headers: append(xsig(sign("strict-secret", other, signedAt)), token("strict-token")...), status: 200, tenant: "strict", sig: "verified", kid: "current"},

		{name: "no credential", path: alias, body: signed, status: 401},
		{name: "nobody's signature", path: alias, body: signed, headers: xsig(sign("guess", signed, signedAt)), status: 401},
		{name: "nobody's token", path: alias, body: signed, headers: token("guess"), status: 401},
		{name: "strict tenant, wrong token", path: strict, body: signed, headers: append(xsig(sign("strict-secret", signed, signedAt)), token("guess")...), status: 401},
		{name: "strict tenant, wrong signature", path: strict, body: signed, headers: append(xsig(sign(currentSecret, signed, signedAt)), token("strict-token")...), status: 401},
		{name: "another tenant's signature", path: strict, body: signed, headers: xsig(i10), status: 401},
		{name: "stale", path: cxonePath, body: signed, headers: xsig(sign(currentSecret, signed, signedAt.Add(-time.Hour))), status: 401},
		{name: "wrong signature and no JSON", path: cxonePath, body: "{", headers: xsig(i10), status: 401},
		{name: "another tenant's id in the payload", path: alias, body: other, headers: token(devToken), status: 401},
		{name: "another tenant's id behind a byte order mark", path: alias, body: "\uFEFF " + other, headers: token(devToken), status: 401},
		{name: "another tenant's id in one of two", path: alias, body: "[" + signed + "," + other + "]", headers: token(devToken), status: 401},
		{name: "a tenant id that is no text", path: alias, body: `{"tenantId":7}`, headers: token(devToken), status: 401},
		{name: "no tenant id", path: alias, body: `{"tenantId":null}`, headers: token(devToken), status: 200, tenant: "acme", sig: "bearer"},
		{name: "credentials of two tenants", path: alias, body: signed, headers: append(xsig(sign("loose-secret", signed, signedAt)), token(devToken)...), status: 401},
		{name: "two tenants, each its own path", path: cxonePath, body: signed, headers: append(xsig(sign("loose-secret", signed, signedAt)), token(devToken)...), status: 200, tenant: "acme", sig: "bearer"},
		{name: "tenant without topics", path: alias, body: signed, headers: token("new-token"), status: 503},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			log := &memoryLog{}
			o := options(log)
			o.Tenants = append(o.Tenants,
				Tenant{ID: "loose", Vendors: []string{"cxone"}, Auth: Auth{"cxone": {Keys: []SigningKey{{"k", "loose-secret"}}}}},
				Tenant{ID: "new", Vendors: []string{"cxone"}, Auth: Auth{"cxone": {Tokens: []redacted.Text{"new-token"}}}},
			)
			o.TenantReady = func(_, tenant string) bool { return tenant != "new" }
			resp := answerTo(newEdge(t, o), post(tt.path, tt.body, tt.headers...))
			if resp.StatusCode != tt.status {
				t.Fatalf("status %d, want %d: %s", resp.StatusCode, tt.status, bodyOf(t, resp))
			}
			if tt.status == http.StatusUnauthorized {
				if got, want := bodyOf(t, resp), `{"status":"refused","error":"credentials are missing or wrong"}`; got != want {
					t.Errorf("the answer tells what is wrong: %s, want %s", got, want)
				}
			}
			records := log.taken()
			if tt.tenant == "" {
				if len(records) != 0 {
					t.Errorf("%d records of a refused delivery", len(records))
				}
				return
			}
			got := map[string]string{}
			for _, h := range records[0].Headers {
				got[h.Key] = string(h.Value)
			}
			if got["tenant"] != tt.tenant || got["sig_status"] != tt.sig || got["sig_kid"] != tt.kid {
				t.Errorf("got %s %s %s, want %s %s %s", got["tenant"], got["sig_status"], got["sig_kid"], tt.tenant, tt.sig, tt.kid)
			}
		})
	}
}
