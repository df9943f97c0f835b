package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// The vectors over testdata/signed.json; testdata/I12.json verifies them.
const (
	vectorPrefix  = "1795312200."
	vectorEd25519 = "g+M0ZH/3RDtKDJAtMeUTLCvf16P9woi5Agq8f0so1IQyDtlJZs8nEiu2i6jQgFg74+LLn0pSpYnlBo65VtguDA=="
	vectorJWS     = "eyJhbGciOiJFZERTQSIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il0sImtpZCI6ImN4b25lLTIwMjYtMTEtYiJ9.." +
		"salz7yM4WC0u8ob15b_om-xbO6rf15huWBlCgK0D0e1IaIbMkX5bCQ5UNzzCfE7FZbRpVlLlL284Fb8Oj4cOCg"
	vectorCurrent = "a91784a3a6795502c7d4c8cb737c0c418751710cacdeb0c69c897b0be167ccb5"
)

func sample(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func static(t *testing.T, id, text string) Key {
	t.Helper()
	k, err := Static(id, text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// parse returns the current keys of a JWK Set.
func parse(t *testing.T, jwks []byte) []Key {
	t.Helper()
	current, _, err := parseJWKS(jwks)
	if err != nil {
		t.Fatal(err)
	}
	return current
}

func TestVectors(t *testing.T) {
	body := sample(t, "signed.json")
	published := parse(t, sample(t, "I12.json"))
	if len(published) != 1 || published[0].ID != "cxone-2026-11-b" || published[0].Algorithm != EdDSA {
		t.Fatalf("got keys %v", published)
	}
	signature, err := base64.StdEncoding.DecodeString(vectorEd25519)
	if err != nil {
		t.Fatal(err)
	}
	mac, err := hex.DecodeString(vectorCurrent)
	if err != nil {
		t.Fatal(err)
	}
	d, err := ParseDetached(vectorJWS)
	if err != nil {
		t.Fatal(err)
	}
	if d.KeyID != published[0].ID {
		t.Errorf("the JWS names key %q", d.KeyID)
	}
	current := static(t, "current", "webhook_secret_rotation_key")
	seed := sha256.Sum256([]byte("ccaas test seed 1"))
	whpk := static(t, "whpk", "whpk_"+base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)))
	for _, tampered := range []bool{false, true} {
		body := body
		if tampered {
			body = append([]byte(" "), body...)
		}
		m := func() *Message { return &Message{Prefix: vectorPrefix, Body: body} }
		for name, got := range map[string]bool{
			"HMAC":                   current.Verify(m(), [][]byte{mac}, nil),
			"Ed25519":                published[0].Verify(m(), nil, [][]byte{signature}),
			"Ed25519, key as whpk_":  whpk.Verify(m(), nil, [][]byte{signature}),
			"detached unencoded JWS": published[0].VerifyDetached(d, body),
		} {
			if got == tampered {
				t.Errorf("%s, body tampered with %v: verifies %v", name, tampered, got)
			}
		}
	}
}

// pair is a key of ours and what only its owner has.
type pair struct {
	key     Key
	private any
	sign    func(digest, message []byte) []byte
	public  crypto.PublicKey
}

// pairs are one of each kind.
func pairs(t *testing.T) map[Algorithm]pair {
	t.Helper()
	all := map[Algorithm]pair{}
	add := func(material, private, public any, sign func(digest, message []byte) []byte) {
		k, err := newKey("k", material)
		if err != nil {
			t.Fatal(err)
		}
		all[k.Algorithm] = pair{k, private, sign, public}
	}
	must := func(b []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	s := []byte("0123456789abcdef0123456789abcdef")
	add(secret(s), s, nil, func(_, message []byte) []byte {
		mac := hmac.New(sha256.New, s)
		mac.Write(message)
		return mac.Sum(nil)
	})
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	add(&r.PublicKey, r, r.Public(), func(digest, _ []byte) []byte {
		return must(rsa.SignPKCS1v15(nil, r, crypto.SHA256, digest))
	})
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	add(&e.PublicKey, e, e.Public(), func(digest, _ []byte) []byte {
		return must(ecdsa.SignASN1(rand.Reader, e, digest))
	})
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	add(public, private, public, func(_, message []byte) []byte { return ed25519.Sign(private, message) })
	return all
}

// TestVerifyTriesEach puts the true signature of each kind of key at each place
// among wrong ones, and nowhere.
func TestVerifyTriesEach(t *testing.T) {
	body := []byte(`{"a":1}`)
	message := append([]byte("7."), body...)
	digest := sha256.Sum256(message)
	for algorithm, p := range pairs(t) {
		good := p.sign(digest[:], message)
		wrong := make([]byte, len(good))
		for at := -1; at < 4; at++ {
			candidates := [][]byte{wrong, nil, good[:len(good)-1], wrong}
			if at >= 0 {
				candidates[at] = good
			}
			if got, want := p.key.Verify(&Message{Prefix: "7.", Body: body}, candidates, candidates), at >= 0; got != want {
				t.Errorf("%s at %d: verifies %v", algorithm, at, got)
			}
		}
		if p.key.Verify(&Message{Prefix: "8.", Body: body}, [][]byte{good}, [][]byte{good}) {
			t.Errorf("%s: verifies another prefix", algorithm)
		}
	}
}

// TestES256Forms shows that a P-256 signature may be as in a JWS, too.
func TestES256Forms(t *testing.T) {
	p := pairs(t)[ES256]
	private, ok := p.private.(*ecdsa.PrivateKey)
	if !ok {
		t.Fatal("no P-256 key")
	}
	digest := sha256.Sum256([]byte("x"))
	r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	plain := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	if !p.key.Verify(&Message{Body: []byte("x")}, nil, [][]byte{plain}) {
		t.Error("r and s do not verify")
	}
	if p.key.Verify(&Message{Body: []byte("y")}, nil, [][]byte{plain}) {
		t.Error("another message verifies")
	}
}

// TestKeyFixesAlgorithm proves that nobody signs with what is public: no form of
// a public key serves as an HMAC secret, whatever the message says of its
// algorithm, and no key takes the signature of another kind.
func TestKeyFixesAlgorithm(t *testing.T) {
	body := []byte(`{"a":1}`)
	all := pairs(t)
	for algorithm, p := range all {
		if algorithm == HS256 {
			continue
		}
		der, err := x509.MarshalPKIXPublicKey(p.public)
		if err != nil {
			t.Fatal(err)
		}
		jwk, err := json.Marshal(jose.JSONWebKey{Key: p.public, KeyID: "k"})
		if err != nil {
			t.Fatal(err)
		}
		forms := [][]byte{der, jwk, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})}
		switch public := p.public.(type) {
		case *rsa.PublicKey:
			forms = append(forms, public.N.Bytes(), x509.MarshalPKCS1PublicKey(public))
		case ed25519.PublicKey:
			forms = append(forms, public)
		}
		for i, form := range forms {
			mac := hmac.New(sha256.New, form)
			mac.Write(body)
			forged := [][]byte{mac.Sum(nil)}
			if p.key.Verify(&Message{Body: body}, forged, forged) {
				t.Errorf("%s: an HMAC with form %d of the public key verifies", algorithm, i)
			}
			if len(form) < 32 {
				continue
			}
			if d, err := ParseDetached(detached(t, jose.HS256, form, body)); err != nil || p.key.VerifyDetached(d, body) {
				t.Errorf("%s: a JWS by HS256 with form %d of the public key verifies (%v)", algorithm, i, err)
			}
		}
	}
	for signer, s := range all {
		for verifier, v := range all {
			d, err := ParseDetached(detached(t, jose.SignatureAlgorithm(signer), s.private, body))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := v.key.VerifyDetached(d, body), signer == verifier; got != want {
				t.Errorf("JWS by %s, key of %s: verifies %v", signer, verifier, got)
			}
		}
	}
	for _, alg := range []string{"none", "HS512", "PS256", "RS512", ""} {
		header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + alg + `"}`))
		if _, err := ParseDetached(header + "..AAAA"); err == nil {
			t.Errorf("a JWS by %q is read", alg)
		}
		if _, err := ParseToken(header + ".e30."); err == nil {
			t.Errorf("a JWT by %q is read", alg)
		}
	}
}

// detached signs the body as RFC 7515 appendix F has it.
func detached(t *testing.T, alg jose.SignatureAlgorithm, key any, body []byte) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(body)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := jws.DetachedCompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func TestVerifyToken(t *testing.T) {
	now := time.Unix(1795312200, 0)
	want := Issued{Issuer: "https://login.example", Audience: "trunkline"}
	all := pairs(t)
	at := func(d time.Duration) *jwt.NumericDate { return jwt.NewNumericDate(now.Add(d)) }
	good := func() jwt.Claims {
		return jwt.Claims{Issuer: want.Issuer, Audience: jwt.Audience{"other", want.Audience}, Expiry: at(time.Minute)}
	}
	tests := []struct {
		name   string
		change func(*jwt.Claims)
		ok     bool
	}{
		{"good", func(*jwt.Claims) {}, true},
		{"expired within the leeway", func(c *jwt.Claims) { c.Expiry = at(-59 * time.Second) }, true},
		{"expired", func(c *jwt.Claims) { c.Expiry = at(-61 * time.Second) }, false},
		{"never expires", func(c *jwt.Claims) { c.Expiry = nil }, false},
		{"not yet valid", func(c *jwt.Claims) { c.NotBefore = at(61 * time.Second) }, false},
		{"other issuer", func(c *jwt.Claims) { c.Issuer = "https://login.example/" }, false},
		{"no issuer", func(c *jwt.Claims) { c.Issuer = "" }, false},
		{"other audience", func(c *jwt.Claims) { c.Audience = jwt.Audience{"other"} }, false},
		{"no audience", func(c *jwt.Claims) { c.Audience = nil }, false},
	}
	for _, tt := range tests {
		claims := good()
		tt.change(&claims)
		for signer, s := range all {
			token, err := ParseToken(signedToken(t, jose.SignatureAlgorithm(signer), s.private, claims))
			if err != nil {
				t.Fatal(err)
			}
			for verifier, v := range all {
				if got, want := v.key.VerifyToken(token, want, now), tt.ok && signer == verifier; got != want {
					t.Errorf("%s, by %s, key of %s: verifies %v", tt.name, signer, verifier, got)
				}
			}
		}
	}
}

func signedToken(t *testing.T, alg jose.SignatureAlgorithm, key any, claims jwt.Claims) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func TestStatic(t *testing.T) {
	for _, bad := range []string{"", "whpk_", "whpk_AAAA", "whpk_!"} {
		if _, err := Static("k", bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	// Only Standard Webhooks decodes; what is no base64 it takes as it is.
	for text, standard := range map[string]string{"whsec_c2VjcmV0": "secret", "plain": "plain", "whsec_*": "whsec_*"} {
		k := static(t, "k", text)
		if got := string(k.material.(secret)); got != text {
			t.Errorf("%q is used as %q", text, got)
		}
		if got := string(k.Standard().material.(secret)); got != standard {
			t.Errorf("%q is used as %q for Standard Webhooks", text, got)
		}
	}
}

// TestKeysDoNotLeak prints keys in every way (I10).
func TestKeysDoNotLeak(t *testing.T) {
	k := static(t, "current", "s3cr3t")
	marshalled, err := json.Marshal(map[string]any{"k": k, "p": &k})
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%v %+v %#v %s %q %x %v", k, k, k, k, k, k, &k) + string(marshalled)
	for _, form := range []string{"s3cr3t", hex.EncodeToString([]byte("s3cr3t")), base64.StdEncoding.EncodeToString([]byte("s3cr3t")), fmt.Sprintf("%d", secret("s3cr3t"))} {
		if strings.Contains(text, form) {
			t.Errorf("it shows %s: %s", form, text)
		}
	}
}

func TestParseJWKS(t *testing.T) {
	all := pairs(t)
	jwk := func(alg Algorithm, more string) string {
		key := any(all[alg].public)
		if alg == HS256 {
			key = all[alg].private
		}
		b, err := json.Marshal(jose.JSONWebKey{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSuffix(string(b), "}") + more + "}"
	}
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := json.Marshal(jose.JSONWebKey{Key: short.Public()})
	if err != nil {
		t.Fatal(err)
	}
	private, err := json.Marshal(jose.JSONWebKey{Key: all[EdDSA].private})
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := json.Marshal(jose.JSONWebKey{Key: p384.Public()})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, key string
		want      string // id and algorithm; empty: left out
		revoked   bool
	}{
		{"secret", jwk(HS256, `,"kid":"a","alg":"HS256"`), "a HS256", false},
		{"RSA without alg", jwk(RS256, `,"kid":"a"`), "a RS256", false},
		{"P-256", jwk(ES256, `,"kid":"a","use":"sig"`), "a ES256", false},
		{"Ed25519 by its newer name", jwk(EdDSA, `,"kid":"a","alg":"Ed25519"`), "a EdDSA", false},
		{"without kid", jwk(EdDSA, ``), "unnamed EdDSA", false},
		{"revoked", jwk(EdDSA, `,"kid":"a","revoked":true`), "a EdDSA", true},
		{"revoked then", jwk(EdDSA, `,"kid":"a","revoked":{"revoked_at":1795312200}`), "a EdDSA", true},
		{"not revoked", jwk(EdDSA, `,"kid":"a","revoked":false`), "a EdDSA", false},

		{"secret that says RS256", jwk(HS256, `,"kid":"a","alg":"RS256"`), "", false},
		{"RSA that says HS256", jwk(RS256, `,"kid":"a","alg":"HS256"`), "", false},
		{"RSA for PSS", jwk(RS256, `,"kid":"a","alg":"PS256"`), "", false},
		{"for encryption", jwk(RS256, `,"kid":"a","use":"enc"`), "", false},
		{"long kid", jwk(EdDSA, `,"kid":"`+strings.Repeat("a", 129)+`"`), "", false},
		{"weak RSA", string(weak), "", false},
		{"private", string(private), "", false},
		{"P-384", string(curve), "", false},
		{"empty secret", `{"kty":"oct","k":""}`, "", false},
		{"unknown kind", `{"kty":"new"}`, "", false},
		{"no object", `7`, "", false},
	}
	for _, tt := range tests {
		other := static(t, "other", "x")
		current, revoked, err := parseJWKS([]byte(`{"keys":[` + tt.key + `,{"kty":"oct","kid":"other","k":"eA"}]}`))
		if err != nil || len(current) == 0 || !current[len(current)-1].same(other) {
			t.Fatalf("%s: the other key is lost: %v", tt.name, err)
		}
		got := current[:len(current)-1]
		if tt.revoked {
			got = append(got, revoked...)
		}
		var names []string
		for _, k := range got {
			names = append(names, k.ID+" "+string(k.Algorithm))
		}
		text := strings.Join(names, ", ")
		if text != tt.want || tt.revoked != (len(revoked) == 1) {
			t.Errorf("%s: got %q and %d revoked, want %q", tt.name, text, len(revoked), tt.want)
		}
	}
	for _, bad := range []string{"", "{", "[]", "{}", `{"keys":[]}`, `{"keys":[{"kty":"new"}]}`, `<html>`} {
		if _, _, err := parseJWKS([]byte(bad)); err == nil {
			t.Errorf("%q is taken for a set of keys", bad)
		}
	}
}
