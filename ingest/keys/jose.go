package keys

import (
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Detached is a JWS without its payload (RFC 7515 appendix F), which may be
// unencoded (RFC 7797).
type Detached struct {
	KeyID string // of its header; empty when it names none

	algorithm Algorithm
	jws       *jose.JSONWebSignature
}

// ParseDetached reads the compact form `header..signature`. It verifies nothing.
func ParseDetached(compact string) (*Detached, error) {
	jws, err := jose.ParseDetached(compact, []byte{}, joseAlgorithms)
	if err != nil || len(jws.Signatures) != 1 {
		return nil, errors.New("read detached JWS: want header..signature by HS256, RS256, ES256 or EdDSA")
	}
	header := jws.Signatures[0].Protected
	return &Detached{KeyID: header.KeyID, algorithm: Algorithm(header.Algorithm), jws: jws}, nil
}

// VerifyDetached reports whether d is the key's signature over the body. A JWS
// that names another algorithm than the key's is none of the key's.
func (k Key) VerifyDetached(d *Detached, body []byte) bool {
	return d.algorithm == k.Algorithm && d.jws.DetachedVerify(body, k.jose()) == nil
}

// clockLeeway is by how much the clocks of a token's issuer and ours may differ.
const clockLeeway = time.Minute

// Token is a JWT.
type Token struct {
	KeyID string // of its header; empty when it names none

	algorithm Algorithm
	jwt       *jwt.JSONWebToken
}

// ParseToken reads a signed JWT. It verifies nothing.
func ParseToken(compact string) (*Token, error) {
	t, err := jwt.ParseSigned(compact, joseAlgorithms)
	if err != nil || len(t.Headers) != 1 {
		return nil, errors.New("read JWT: want header.claims.signature by HS256, RS256, ES256 or EdDSA")
	}
	return &Token{KeyID: t.Headers[0].KeyID, algorithm: Algorithm(t.Headers[0].Algorithm), jwt: t}, nil
}

// Issued is what the claims of an accepted token say: who issued it, and for
// whom.
type Issued struct {
	Issuer   string
	Audience string
}

// VerifyToken reports whether t is signed by the key, issued as wanted, and valid
// at now. A token that never expires is not.
func (k Key) VerifyToken(t *Token, want Issued, now time.Time) bool {
	if t.algorithm != k.Algorithm {
		return false
	}
	var claims jwt.Claims
	if err := t.jwt.Claims(k.jose(), &claims); err != nil || claims.Expiry == nil {
		return false
	}
	return claims.ValidateWithLeeway(jwt.Expected{
		Issuer: want.Issuer, AnyAudience: jwt.Audience{want.Audience}, Time: now,
	}, clockLeeway) == nil
}
