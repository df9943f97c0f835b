package ingest

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"

	"trunkline/ingest/keys"
)

// The values of the header sig_status that the edge writes.
const (
	sigVerified = "verified"
	sigBearer   = "bearer"
	sigDeferred = "deferred" // verified, but not at its arrival
	SigNone     = "none"     // we asked the vendor for it
)

// tokenHash stands for a token in comparisons: equal lengths, so that the time
// taken tells nothing.
type tokenHash [sha256.Size]byte

func hashToken(token string) tokenHash { return sha256.Sum256([]byte(token)) }

// maxToken bounds, in bytes, the JWTs that are read.
const maxToken = 8 << 10

// bearer is the token of a delivery.
type bearer struct {
	present bool
	hash    tokenHash
	jwt     *keys.Token // nil: it is none
}

// bearerOf reads the token of the headers. It verifies nothing.
func bearerOf(h http.Header) bearer {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return bearer{}
	}
	kind, token, ok := strings.Cut(values[0], " ")
	if token = strings.TrimSpace(token); !ok || token == "" || !strings.EqualFold(kind, "Bearer") {
		return bearer{}
	}
	b := bearer{present: true, hash: hashToken(token)}
	if len(token) <= maxToken && strings.Count(token, ".") == 2 {
		b.jwt, _ = keys.ParseToken(token) // what cannot be read is no JWT
	}
	return b
}

// knows reports whether the token is one of the sender's. Every token is tried.
func (s *sender) knows(b bearer, now time.Time) bool {
	if !b.present {
		return false
	}
	match := 0
	for i := range s.tokens {
		match |= subtle.ConstantTimeCompare(s.tokens[i][:], b.hash[:])
	}
	return match == 1 || s.issued(b, now)
}

// issued reports whether the token is a JWT of the sender's issuer. One by a key
// that is not known yet asks for the new keys and is refused meanwhile: it cannot
// be kept for later, for it is a secret.
func (s *sender) issued(b bearer, now time.Time) bool {
	if s.issuerKeys == nil || b.jwt == nil {
		return false
	}
	candidates, known := s.issuerKeys.Candidates(b.jwt.KeyID)
	for _, k := range candidates {
		if k.VerifyToken(b.jwt, s.token, now) {
			s.issuerKeys.Used(k)
			return true
		}
	}
	if !known {
		s.issuerKeys.WantNew()
	}
	return false
}

// awaits reports whether the token may be of the sender's issuer, whose keys were
// not fetched yet.
func (s *sender) awaits(b bearer) bool {
	return s.issuerKeys != nil && b.jwt != nil && !s.issuerKeys.Loaded()
}

// claim is what the headers of a delivery show of one sender, before a byte of
// the body is read.
type claim struct {
	sender    *sender
	bearer    bool // its token is the sender's
	signature signature
	failure   failure // of the token, or of reading the signature
}

// claim judges the headers. Not ok: the sender's policy cannot be met any more,
// whatever the body.
func (s *sender) claim(b bearer, h http.Header, now time.Time) (c claim, ok bool) {
	c = claim{sender: s, bearer: s.knows(b, now), failure: missing}
	if s.keys != nil {
		c.signature, c.failure = parseSignature(s.conventions, h)
	}
	if ok := s.require.met(c.bearer, c.failure == ""); ok {
		return c, true
	}
	switch {
	case c.failure == malformed:
	case b.present && !c.bearer:
		c.failure = wrongToken
	default:
		c.failure = missing
	}
	return c, false
}

// verification is how a delivery was found to be its sender's.
type verification struct {
	status string // verified, bearer or deferred
	kid    string
}

// verify checks the claim over the received bytes (I9). A signature may be of a
// time that is off by window.
func (c claim) verify(body []byte, now time.Time, window time.Duration) (verification, failure) {
	f := c.failure
	var by keys.Key
	if f == "" {
		by, f = c.signature.verify(body, c.sender.keys, now, window)
	}
	switch {
	case !c.sender.require.met(c.bearer, f == ""):
		return verification{}, f
	case f == "":
		return verification{status: sigVerified, kid: by.ID}, ""
	default:
		return verification{status: sigBearer}, ""
	}
}
