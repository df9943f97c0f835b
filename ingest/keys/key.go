// Package keys holds what the credentials of deliveries are verified with: the
// secrets of a configuration, and the keys that a vendor publishes, fetched and
// kept fresh. Which algorithm verifies is a property of the key, never of the
// message.
package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Algorithm is how a key signs.
type Algorithm string

// The algorithms.
const (
	HS256 Algorithm = "HS256"
	RS256 Algorithm = "RS256"
	ES256 Algorithm = "ES256"
	EdDSA Algorithm = "EdDSA" // Ed25519
)

// secret is the material of an HS256 key. It is a type of its own, so that no
// bytes of a public key pass for one.
type secret []byte

// Key verifies signatures of one algorithm. It prints as its id, with every
// verb (I10).
type Key struct {
	ID        string
	Algorithm Algorithm

	material any    // secret, ed25519.PublicKey, *ecdsa.PublicKey or *rsa.PublicKey
	standard secret // of HS256: the secret as Standard Webhooks reads it
	print    [sha256.Size]byte
}

// Format implements [fmt.Formatter].
func (k Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, k.ID) }

// MarshalText implements [encoding.TextMarshaler].
func (k Key) MarshalText() ([]byte, error) { return []byte(k.ID), nil }

// Static is a key of the configuration: a secret as it is, or as Standard
// Webhooks writes them, `whsec_` and base64 of a secret or `whpk_` and base64 of
// an Ed25519 public key. Only that scheme decodes a `whsec_` secret: others
// are signed with its text.
func Static(id, text string) (Key, error) {
	if text == "" {
		return Key{}, errors.New("is empty")
	}
	if encoded, ok := strings.CutPrefix(text, "whpk_"); ok {
		public, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(public) != ed25519.PublicKeySize {
			return Key{}, errors.New("whpk_ must be followed by base64 of the 32 bytes of an Ed25519 public key")
		}
		return newKey(id, ed25519.PublicKey(public))
	}
	k, err := newKey(id, secret(text))
	if encoded, ok := strings.CutPrefix(text, "whsec_"); ok {
		if decoded, err := base64.StdEncoding.DecodeString(encoded); err == nil && len(decoded) > 0 {
			k.standard = decoded
		}
	}
	return k, err
}

// minRSABits is the shortest modulus that is taken for a signature.
const minRSABits = 2048

var errUnfit = errors.New("no key that signatures are verified with: want a secret, RSA of 2048 bits, P-256 or Ed25519")

// newKey finds the algorithm by the material.
func newKey(id string, material any) (Key, error) {
	k := Key{ID: id, material: material}
	var form []byte
	switch m := material.(type) {
	case secret:
		k.Algorithm, k.standard, form = HS256, m, m
	case ed25519.PublicKey:
		k.Algorithm, form = EdDSA, m
	case *rsa.PublicKey:
		if m.N.BitLen() < minRSABits {
			return Key{}, errUnfit
		}
		k.Algorithm, form = RS256, fmt.Appendf(nil, "%x %d", m.N, m.E)
	case *ecdsa.PublicKey:
		point, err := m.Bytes()
		if err != nil || m.Curve.Params().BitSize != 256 {
			return Key{}, errUnfit
		}
		k.Algorithm, form = ES256, point
	default:
		return Key{}, errUnfit
	}
	if len(form) == 0 {
		return Key{}, errUnfit
	}
	k.print = sha256.Sum256(slices.Concat([]byte(k.Algorithm+" "+Algorithm(id)+" "), form))
	return k, nil
}

// Standard is the key as Standard Webhooks uses it.
func (k Key) Standard() Key {
	if k.Algorithm == HS256 {
		k.material = k.standard
	}
	return k
}

// same reports whether both are one key under one name.
func (k Key) same(o Key) bool { return k.print == o.print }

// Message is what was signed: a prefix and the body as received.
type Message struct {
	Prefix string
	Body   []byte

	whole  []byte
	digest []byte
}

func (m *Message) bytes() []byte {
	if m.whole == nil {
		m.whole = slices.Concat([]byte(m.Prefix), m.Body)
	}
	return m.whole
}

func (m *Message) sum() []byte {
	if m.digest == nil {
		h := sha256.New()
		h.Write([]byte(m.Prefix))
		h.Write(m.Body)
		m.digest = h.Sum(nil)
	}
	return m.digest
}

// Verify reports whether one of the macs, for a secret, or one of the
// signatures, for a public key, is the key's over m. Each is tried, so that the
// time taken does not tell which of them fitted.
func (k Key) Verify(m *Message, macs, signatures [][]byte) bool {
	found := 0
	switch key := k.material.(type) {
	case secret:
		if len(macs) == 0 {
			return false
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(m.Prefix))
		mac.Write(m.Body)
		want := mac.Sum(nil)
		for _, got := range macs {
			found |= subtle.ConstantTimeCompare(got, want)
		}
	case ed25519.PublicKey:
		for _, s := range signatures {
			if len(s) == ed25519.SignatureSize && ed25519.Verify(key, m.bytes(), s) {
				found = 1
			}
		}
	case *rsa.PublicKey:
		for _, s := range signatures {
			if rsa.VerifyPKCS1v15(key, crypto.SHA256, m.sum(), s) == nil {
				found = 1
			}
		}
	case *ecdsa.PublicKey:
		for _, s := range signatures {
			if verifyES256(key, m.sum(), s) {
				found = 1
			}
		}
	}
	return found == 1
}

// verifyES256 takes both forms of a P-256 signature: r and s of 32 bytes each, as
// in a JWS, and ASN.1.
func verifyES256(key *ecdsa.PublicKey, digest, signature []byte) bool {
	if len(signature) != 64 {
		return ecdsa.VerifyASN1(key, digest, signature)
	}
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	return ecdsa.Verify(key, digest, r, s)
}

// jose is the material in the form of go-jose.
func (k Key) jose() any {
	if s, ok := k.material.(secret); ok {
		return []byte(s)
	}
	return k.material
}

// joseAlgorithms are those that a message may name. Which of them counts is
// decided by the key.
var joseAlgorithms = []jose.SignatureAlgorithm{jose.HS256, jose.RS256, jose.ES256, jose.EdDSA}
