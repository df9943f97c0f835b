package ingest

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"
)

// The values of the header sig_status that the edge writes.
const (
	sigVerified = "verified"
	sigBearer   = "bearer"
)

// tokenHash stands for a token in comparisons: equal lengths, so that the time
// taken tells nothing.
type tokenHash [sha256.Size]byte

func hashToken(token string) tokenHash { return sha256.Sum256([]byte(token)) }

// proof is what a delivery shows of its sender.
type proof struct {
	token    tokenHash
	hasToken bool
	scheme   scheme
	signed   bool
}

// proofOf reads the credentials of the headers. It verifies nothing.
func proofOf(h http.Header) proof {
	var p proof
	p.scheme, p.signed = presentScheme(h)
	if values := h.Values("Authorization"); len(values) == 1 {
		kind, token, ok := strings.Cut(values[0], " ")
		if token = strings.TrimSpace(token); ok && token != "" && strings.EqualFold(kind, "Bearer") {
			p.token, p.hasToken = hashToken(token), true
		}
	}
	return p
}

// failure is why no sender can be verified by the headers alone.
func (p proof) failure() failure {
	if p.hasToken || p.signed {
		return mismatch
	}
	return missing
}

// knows reports whether the token is one of the sender's. Every token is tried.
func (s *sender) knows(p proof) bool {
	if !p.hasToken {
		return false
	}
	match := 0
	for i := range s.tokens {
		match |= subtle.ConstantTimeCompare(s.tokens[i][:], p.token[:])
	}
	return match == 1
}

// mayVerify reports whether the sender's policy can still be met: it is what the
// headers alone decide, before a byte of the body is read.
func (s *sender) mayVerify(p proof) bool {
	return s.require.met(s.knows(p), p.signed && len(s.keys) > 0)
}

// verification is how a delivery was found to be its sender's.
type verification struct {
	status string // verified or bearer
	kid    string
}

// verify checks the delivery's credentials over the received bytes (I9).
func (s *sender) verify(p proof, h http.Header, body []byte, now time.Time) (verification, failure) {
	kid, f := "", missing
	if p.signed && len(s.keys) > 0 {
		kid, f = p.scheme.verify(h, body, s.keys, now)
	}
	switch {
	case !s.require.met(s.knows(p), f == ""):
		return verification{}, cmp.Or(f, mismatch) // a good signature: what failed is the token
	case f == "":
		return verification{status: sigVerified, kid: kid}, ""
	default:
		return verification{status: sigBearer}, ""
	}
}
