package ingest

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"trunkline/ingest/keys"
)

// More vectors over testdata/signed.json, at signedAt where they have a time.
const (
	vectorBodyHex    = "7a7fad03116ef60396be18b4e7d0b7dcf63d840bbf29a5d0e1a98b6b0cc2da22"
	vectorBodyBase64 = "en+tAxFu9gOWvhi059C33PY9hAu/KaXQ4amLawzC2iI="
	vectorStandard   = "v1,OSSwXnkHWvJ/9Zd7YsmIJl4MIrLBj9r/B+R5oR1WBzg="
	vectorEd25519    = "g+M0ZH/3RDtKDJAtMeUTLCvf16P9woi5Agq8f0so1IQyDtlJZs8nEiu2i6jQgFg74+LLn0pSpYnlBo65VtguDA=="
	vectorJWS        = "eyJhbGciOiJFZERTQSIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il0sImtpZCI6ImN4b25lLTIwMjYtMTEtYiJ9.." +
		"salz7yM4WC0u8ob15b_om-xbO6rf15huWBlCgK0D0e1IaIbMkX5bCQ5UNzzCfE7FZbRpVlLlL284Fb8Oj4cOCg"
	standardSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	publishedKey   = "cxone-2026-11-b"
)

// publisher answers for the URLs of key sets.
type publisher struct {
	mu   sync.Mutex
	jwks map[string]string // by URL; others cannot be reached
}

func (p *publisher) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	body, ok := p.jwks[r.URL.String()]
	if !ok {
		return nil, errors.New("no route")
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}, Request: r}, nil
}

func (p *publisher) publish(url, jwks string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jwks[url] = jwks
}

const keysURL = "https://keys.example/jwks"

// allKeys is a set that verifies every vector.
func allKeys(t *testing.T) *keys.Set {
	t.Helper()
	configured := []SigningKey{{"current", currentSecret}, {"previous", previousSecret}, {"standard", standardSecret}}
	static, _ := Credentials{Keys: configured}.static()
	set := keys.NewSet(keys.Options{
		Static: static, URL: keysURL, Transport: &publisher{jwks: map[string]string{keysURL: sample(t, "I12.json")}},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); set.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	if err := set.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	return set
}

// vectors are all ways to sign testdata/signed.json that are accepted.
var vectors = []struct {
	name    string
	headers map[string]string
	kid     string
	timed   bool
}{
	{"t= v1=", map[string]string{"X-CXone-Signature": "t=1795312200,v1=" + vectorCurrent}, "current", true},
	{"t= v1= by the previous secret", map[string]string{"X-CXone-Signature": "t=1795312200,v1=" + vectorPrevious}, "previous", true},
	{"t= v1a=", map[string]string{"X-CXone-Signature": "t=1795312200,kid=" + publishedKey + ",v1a=" + vectorEd25519}, publishedKey, true},
	{"t= both", map[string]string{"X-CXone-Signature": "t=1795312200,v1a=" + vectorEd25519 + ",v1=" + vectorPrevious}, "previous", true},
	{"sha256= hex", map[string]string{"X-CXone-Signature": "sha256=" + vectorBodyHex}, "current", false},
	{"sha256= base64", map[string]string{"X-CXone-Signature": "sha256=" + vectorBodyBase64}, "current", false},
	{"bare hex", map[string]string{"X-CXone-Signature": vectorBodyHex}, "current", false},
	{"bare base64", map[string]string{"X-CXone-Signature": vectorBodyBase64}, "current", false},
	{"bare base64url", map[string]string{"X-CXone-Signature": strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(vectorBodyBase64)}, "current", false},
	{"sha256= with timestamp", map[string]string{"X-CXone-Signature": "sha256=" + vectorCurrent, "X-CXone-Timestamp": "1795312200"}, "current", true},
	{"detached JWS", map[string]string{"X-CXone-Signature": vectorJWS}, publishedKey, false},
	{"Nexus", map[string]string{"X-Nexus-Signature-256": "sha256=" + vectorPrevious, "X-Nexus-Timestamp": "1795312200"}, "previous", true},
	{"Hub, as Genesys", map[string]string{"X-Hub-Signature-256": "sha256=" + vectorBodyBase64}, "current", false},
	{"Hub, as GitHub", map[string]string{"X-Hub-Signature-256": "sha256=" + vectorBodyHex}, "current", false},
	{"Standard Webhooks", map[string]string{"webhook-id": "msg_2b8c1f", "webhook-timestamp": "1795312200", "webhook-signature": vectorStandard}, "standard", true},
	{"Svix", map[string]string{"svix-id": "msg_2b8c1f", "svix-timestamp": "1795312200", "svix-signature": "v1a,AAAA v1,AAAA " + vectorStandard}, "standard", true},
}

func header(headers map[string]string) http.Header {
	h := http.Header{}
	for name, value := range headers {
		h.Set(name, value)
	}
	return h
}

// TestVectors verifies each vector, and then with anything changed: the body,
// the clock, the keys, or one character of a header.
func TestVectors(t *testing.T) {
	set := allKeys(t)
	body := sample(t, "signed.json")
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			h := header(v.headers)
			if kid, f := verify(h, body, set, signedAt); kid != v.kid || f != "" {
				t.Errorf("got %q %q, want %q", kid, f, v.kid)
			}
			if _, f := verify(h, body+" ", set, signedAt); f != mismatch {
				t.Errorf("another body: %q", f)
			}
			if _, f := verify(h, body, setOf(t, SigningKey{"k", "another"}), signedAt); f != mismatch && f != unknownKey {
				t.Errorf("another key: %q", f)
			}
			want := failure("")
			if v.timed {
				want = stale
			}
			if _, f := verify(h, body, set, signedAt.Add(time.Hour)); f != want {
				t.Errorf("an hour later: %q, want %q", f, want)
			}
			for name, value := range v.headers {
				if cut := maps.Clone(v.headers); len(v.headers) > 1 {
					delete(cut, name)
					if kid, f := verify(header(cut), body, set, signedAt); f == "" {
						t.Errorf("without %s: verified by %s", name, kid)
					}
				}
				tail := 3 // of base64, where characters differ in unused bits
				for i := range len(value) - tail {
					changed := maps.Clone(v.headers)
					changed[name] = value[:i] + string(value[i]^1) + value[i+1:]
					if kid, f := verify(header(changed), body, set, signedAt); f == "" && !ignored(value, i) {
						t.Errorf("%s: %q verified by %s", name, changed[name], kid)
					}
				}
			}
		})
	}
}

// ignored reports whether the character belongs to a part of the header that
// need not be right: a key's id, or one of several signatures.
func ignored(value string, i int) bool {
	var parts []string
	switch {
	case strings.HasPrefix(value, "t="):
		parts = strings.SplitAfter(value, ",")
	case strings.HasPrefix(value, "v1a,"):
		parts = strings.SplitAfter(value, " ")
	default:
		return false
	}
	signatures := strings.Count(value, "v1=") + strings.Count(value, "v1a=") + strings.Count(value, "v1,") + strings.Count(value, "v1a,")
	for _, part := range parts {
		if i < len(part) {
			return strings.HasPrefix(part, "kid=") || signatures > 1 && strings.HasPrefix(part, "v1")
		}
		i -= len(part)
	}
	return false
}

func TestMalformedSignatures(t *testing.T) {
	set := allKeys(t)
	body := sample(t, "signed.json")
	standard := func(id, timestamp, signature string) map[string]string {
		return map[string]string{"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature}
	}
	for name, headers := range map[string]map[string]string{
		"hex cut short":             {"X-Hub-Signature-256": "sha256=" + vectorBodyHex[:62]},
		"base64 cut short":          {"X-Hub-Signature-256": "sha256=" + vectorBodyBase64[:40]},
		"hex of base64":             {"X-Hub-Signature-256": "sha256=" + vectorBodyHex + vectorBodyHex},
		"SHA-1":                     {"X-Hub-Signature-256": "sha1=" + vectorBodyHex},
		"timestamp that is none":    {"X-Nexus-Signature-256": "sha256=" + vectorCurrent, "X-Nexus-Timestamp": "now"},
		"empty timestamp":           {"X-Nexus-Signature-256": "sha256=" + vectorCurrent, "X-Nexus-Timestamp": ""},
		"JWS with a payload":        {"X-CXone-Signature": strings.Replace(vectorJWS, "..", ".e30.", 1)},
		"JWS by no algorithm":       {"X-CXone-Signature": "eyJhbGciOiJub25lIn0.."},
		"JWS of two parts":          {"X-CXone-Signature": "eyJhbGciOiJFZERTQSJ9.AAAA"},
		"standard without id":       standard("", "1795312200", vectorStandard),
		"standard without time":     standard("msg_2b8c1f", "", vectorStandard),
		"standard without version":  standard("msg_2b8c1f", "1795312200", strings.TrimPrefix(vectorStandard, "v1,")),
		"standard, nine signatures": standard("msg_2b8c1f", "1795312200", strings.Repeat("v1,AAAA ", 8)+vectorStandard),
		"t=, nine with v1a":         {"X-CXone-Signature": "t=1795312200" + strings.Repeat(",v1a=AAAA", 8) + ",v1=" + vectorCurrent},
		"too long":                  {"X-Hub-Signature-256": "sha256=" + vectorBodyHex + strings.Repeat(" ", 5000)},
	} {
		if kid, f := verify(header(headers), body, set, signedAt); f != malformed {
			t.Errorf("%s: got %q %q", name, kid, f)
		}
	}
	if _, f := verify(http.Header{}, body, set, signedAt); f != missing {
		t.Errorf("no signature: %q", f)
	}
	twice := header(standard("msg_2b8c1f", "1795312200", vectorStandard))
	twice.Add("webhook-id", "msg_2b8c1f")
	if _, f := verify(twice, body, set, signedAt); f != malformed {
		t.Errorf("two ids: %q", f)
	}
}

// TestSigning shows that a tenant can be held to one scheme or header, and that
// the first header present decides.
func TestSigning(t *testing.T) {
	named := Signing{Header: "x-8x8-signature"}
	stamped := Signing{Header: "X-Sig", TimestampHeader: "X-Time"}
	tests := []struct {
		name    string
		signing Signing
		headers map[string]string
		kid     string
		failure failure
	}{
		{"any", Signing{}, map[string]string{"X-Hub-Signature-256": vectorBodyHex}, "current", ""},
		{"the first decides", Signing{}, map[string]string{"X-Hub-Signature-256": vectorBodyHex, "X-CXone-Signature": "x"}, "", malformed},
		{"held to another", Signing{Scheme: SchemeCXone}, map[string]string{"X-Hub-Signature-256": vectorBodyHex}, "", missing},
		{"held to this", Signing{Scheme: SchemeHub}, map[string]string{"X-Hub-Signature-256": vectorBodyHex, "X-CXone-Signature": "x"}, "current", ""},
		{"held to Standard Webhooks", Signing{Scheme: SchemeStandard}, vectors[len(vectors)-1].headers, "standard", ""},
		{"header of its own", named, map[string]string{"x-8x8-signature": vectorJWS}, publishedKey, ""},
		{"and no other", named, map[string]string{"X-CXone-Signature": vectorJWS}, "", missing},
		{"with a timestamp", stamped, map[string]string{"X-Sig": vectorCurrent, "X-Time": "1795312200"}, "current", ""},
		{"and not without", stamped, map[string]string{"X-Sig": vectorCurrent}, "", mismatch},
	}
	set := allKeys(t)
	for _, tt := range tests {
		s, f := parseSignature(tt.signing.conventions(), header(tt.headers))
		kid := ""
		if f == "" {
			var k keys.Key
			k, f = s.verify([]byte(sample(t, "signed.json")), set, signedAt, time.Minute)
			kid = k.ID
		}
		if kid != tt.kid || f != tt.failure {
			t.Errorf("%s: got %q %q, want %q %q", tt.name, kid, f, tt.kid, tt.failure)
		}
	}
}
