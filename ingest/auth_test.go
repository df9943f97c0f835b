package ingest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"trunkline/ingest/redacted"
)

const issuerURL = "https://login.example/jwks"

// issuerSecret signs the tokens of the tests; issuerJWKS publishes it.
const (
	issuerSecret = "0123456789abcdef0123456789abcdef"
	issuerJWKS   = `{"keys":[{"kty":"oct","kid":"issuer","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}]}`
)

// issue makes a token as the issuer does, unless it is changed.
func issue(t *testing.T, change func(kid, secret *string, c *jwt.Claims)) string {
	t.Helper()
	kid, secret := "issuer", issuerSecret
	claims := jwt.Claims{Issuer: "https://login.example", Audience: jwt.Audience{"trunkline"}, Expiry: jwt.NewNumericDate(signedAt.Add(time.Hour))}
	change(&kid, &secret, &claims)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(secret)}, new(jose.SignerOptions).WithHeader("kid", kid))
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// withIssuer adds a tenant that is known by tokens of an issuer, besides a static
// one and a signature.
func withIssuer(o Options, require Policy) Options {
	o.Tenants = append(o.Tenants, Tenant{ID: "issued", Vendors: []string{"cxone"}, Auth: Auth{"cxone": {
		Tokens: []redacted.Text{"static-token"}, Keys: []SigningKey{{ID: "k", Secret: "issued-secret"}}, Require: require,
		JWT: &JWT{Issuer: "https://login.example", Audience: "trunkline", KeysURL: issuerURL},
	}}})
	return o
}

// TestTokensAndPolicies posts with each token, each with a true signature, a
// wrong one and none, under each policy.
func TestTokensAndPolicies(t *testing.T) {
	body := sample(t, "signed.json")
	token := func(change func(kid, secret *string, c *jwt.Claims)) string { return issue(t, change) }
	tokens := []struct {
		name, token string
		ok          bool
	}{
		{"static", "static-token", true},
		{"issued", token(func(*string, *string, *jwt.Claims) {}), true},
		{"key by another name", token(func(kid, _ *string, _ *jwt.Claims) { *kid = "x" }), true},
		{"none", "", false},
		{"expired", token(func(_, _ *string, c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(signedAt.Add(-time.Hour)) }), false},
		{"other issuer", token(func(_, _ *string, c *jwt.Claims) { c.Issuer = "https://evil.example" }), false},
		{"other audience", token(func(_, _ *string, c *jwt.Claims) { c.Audience = jwt.Audience{"other"} }), false},
		{"other secret", token(func(_, secret *string, _ *jwt.Claims) { *secret = strings.Repeat("x", 32) }), false},
		{"by a signing secret", token(func(_, secret *string, _ *jwt.Claims) { *secret = "issued-secret" + strings.Repeat("x", 19) }), false},
		{"too long", token(func(_, _ *string, c *jwt.Claims) { c.Subject = strings.Repeat("x", maxToken) }), false},
		{"no JWT", "a.b.c", false},
	}
	signatures := map[string]bool{sign("issued-secret", body, signedAt): true, sign("guess", body, signedAt): false, "": false}
	for _, require := range []Policy{RequireSignature, RequireBearer, RequireBoth, RequireEither} {
		e := newEdge(t, withIssuer(func() Options {
			o := options(&memoryLog{})
			o.KeyTransport = &publisher{jwks: map[string]string{issuerURL: issuerJWKS}}
			return o
		}(), require))
		fetching(t, e)
		for _, tk := range tokens {
			for signature, signed := range signatures {
				authorization := ""
				if tk.token != "" {
					authorization = "Bearer " + tk.token
				}
				resp := answerTo(e, post(cxonePathOf("issued"), body, "Authorization", authorization, "X-CXone-Signature", signature))
				if got, want := resp.StatusCode == http.StatusOK, require.met(tk.ok, signed); got != want {
					t.Errorf("require %s, token %s, signature right %v: status %d", require, tk.name, signed, resp.StatusCode)
				}
			}
		}
	}
}

// TestTokenOfNewKey is refused until the issuer's keys were fetched anew, which it
// asks for.
func TestTokenOfNewKey(t *testing.T) {
	p := &publisher{jwks: map[string]string{issuerURL: `{"keys":[{"kty":"oct","kid":"old","k":"b2xk"}]}`}}
	o := withIssuer(options(&memoryLog{}), RequireBearer)
	o.KeyTransport = p
	c := &clock{at: signedAt}
	o.Now = c.now
	e := newEdge(t, o)
	fetching(t, e)
	send := func() int {
		return answerTo(e, post(cxonePathOf("issued"), seedEvent, "Authorization", "Bearer "+issue(t, func(*string, *string, *jwt.Claims) {}))).StatusCode
	}
	p.publish(issuerURL, issuerJWKS)
	if got := send(); got != http.StatusUnauthorized {
		t.Errorf("status %d before the keys were fetched", got)
	}
	c.set(signedAt.Add(time.Minute)) // since the last fetch
	for deadline := time.Now().Add(5 * time.Second); send() != http.StatusOK; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the new keys are not fetched")
		}
	}
}

// TestTokenBeforeFirstFetch is answered 503 if the token may be the issuer's.
func TestTokenBeforeFirstFetch(t *testing.T) {
	o := withIssuer(options(&memoryLog{}), RequireBearer)
	o.KeyTransport = &publisher{}
	e := newEdge(t, o)
	fetching(t, e)
	for token, want := range map[string]int{
		issue(t, func(*string, *string, *jwt.Claims) {}): http.StatusServiceUnavailable,
		"static-token": http.StatusOK, "guess": http.StatusUnauthorized,
	} {
		if got := answerTo(e, post(cxonePathOf("issued"), seedEvent, "Authorization", "Bearer "+token)).StatusCode; got != want {
			t.Errorf("token of %d bytes: status %d, want %d", len(token), got, want)
		}
	}
}

// TestRate holds a tenant to its rate; what does not verify does not count.
func TestRate(t *testing.T) {
	log := &memoryLog{}
	o := options(log)
	c := &clock{at: signedAt}
	o.Now = c.now
	o.Tenants[0].Rate = Rate{PerSecond: 2, Burst: 3}
	e := newEdge(t, o)
	accepted := func(n int, token string) (ok, limited int) {
		for range n {
			resp := answerTo(e, post(genesysPath, seedEvent, "Authorization", "Bearer "+token))
			switch resp.StatusCode {
			case http.StatusOK:
				ok++
			case http.StatusTooManyRequests:
				limited++
				if got := resp.Header.Get("Retry-After"); got != "7" {
					t.Errorf("Retry-After %q", got)
				}
			}
		}
		return ok, limited
	}
	if ok, limited := accepted(9, "guess"); ok+limited != 0 {
		t.Errorf("%d accepted and %d limited of what does not verify", ok, limited)
	}
	if ok, limited := accepted(5, devToken); ok != 3 || limited != 2 {
		t.Errorf("at once: %d accepted and %d limited, want 3 and 2", ok, limited)
	}
	c.set(signedAt.Add(time.Second))
	if ok, limited := accepted(5, devToken); ok != 2 || limited != 3 {
		t.Errorf("after a second: %d accepted and %d limited, want 2 and 3", ok, limited)
	}
	if got, want := len(log.taken()), 5; got != want {
		t.Errorf("%d records, want %d", got, want)
	}
}

// TestAdmin lists and refreshes keys, for who knows the token, and tells no
// secret.
func TestAdmin(t *testing.T) {
	p := &publisher{jwks: map[string]string{keysURL: octJWKS, issuerURL: issuerJWKS}}
	o := withIssuer(deferring(&memoryLog{}, nil, p), RequireEither)
	c := &clock{at: signedAt}
	o.Now = c.now
	e := newEdge(t, o)
	fetching(t, e)
	admin := e.AdminHandler("admin-token")
	call := func(method, path, token string) (int, string) {
		r := httptest.NewRequest(method, path, nil)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		admin.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	for _, token := range []string{"", "guess", devToken} {
		for _, path := range []string{"/admin/keys", "/admin/keys/refresh"} {
			method := map[string]string{"/admin/keys": "GET", "/admin/keys/refresh": "POST"}[path]
			if status, _ := call(method, path, token); status != http.StatusUnauthorized {
				t.Errorf("%s by token %q: status %d", path, token, status)
			}
		}
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/admin/keys", nil)
	e.AdminHandler("").ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("without a token configured: status %d", w.Code)
	}

	body := sample(t, "signed.json")
	c.set(signedAt.Add(time.Minute))
	if resp := answerTo(e, post(cxonePathOf("rotating"), body, "X-CXone-Signature", sign("new-secret", body, signedAt))); resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d", resp.StatusCode)
	}
	c.set(signedAt.Add(2 * time.Minute))
	p.publish(keysURL, `{"keys":[{"kty":"oct","kid":"newer","k":"bmV3ZXI"}]}`)
	if status, text := call("POST", "/admin/keys/refresh", "admin-token"); status != http.StatusOK || strings.Contains(text, "error") {
		t.Errorf("refresh: %d %s", status, text)
	}
	status, text := call("GET", "/admin/keys", "admin-token")
	var listed struct{ Keys []map[string]string }
	if err := json.Unmarshal([]byte(text), &listed); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s: %v", status, text, err)
	}
	lines := map[string]bool{}
	for _, k := range listed.Keys {
		lines[fmt.Sprint(k["tenant"], " ", k["vendor"], " ", k["use"], " ", k["source"], " ", k["kid"], " ", k["alg"], " ", k["first_seen"], " ", k["last_used"], " ", k["kept_until"])] = true
	}
	for _, want := range []string{
		"rotating cxone signature configured own HS256 2026-11-22T01:50:00Z  ",
		"rotating cxone signature published new HS256 2026-11-22T01:50:00Z 2026-11-22T01:51:00Z 2026-11-22T02:52:00Z",
		"rotating cxone signature published newer HS256 2026-11-22T01:52:00Z  ",
		"issued cxone bearer published issuer HS256 2026-11-22T01:50:00Z  ",
		"acme genesys signature configured current HS256 2026-11-22T01:50:00Z  ",
	} {
		if !lines[want] {
			t.Errorf("there is no line %q: %v", want, lines)
		}
	}
	for _, s := range []string{"secret", "bmV3", "MDEy", "token", issuerSecret} {
		if strings.Contains(text, s) {
			t.Errorf("the list tells %q: %s", s, text)
		}
	}

	p.mu.Lock()
	delete(p.jwks, keysURL)
	p.mu.Unlock()
	if status, text := call("POST", "/admin/keys/refresh", "admin-token"); status != http.StatusServiceUnavailable || strings.Count(text, `"error"`) != 1 || !strings.Contains(text, "no route") {
		t.Errorf("refresh of what cannot be reached: %d %s", status, text)
	}
}
