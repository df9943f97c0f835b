package keys

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// unnamed is the id of a published key without one. A fingerprint would tell
// something of a secret.
const unnamed = "unnamed"

// maxKeyID bounds the ids that travel in record headers and logs.
const maxKeyID = 128

// parseJWKS reads a JWK Set (RFC 7517), with secrets (kty oct) as well. Keys for
// other uses and of other kinds are left out, and private keys, for who publishes
// those has lost them. revoked are the keys that are flagged so. A set without
// any key of ours is an error: it is more likely a fault than a wish to refuse
// everything.
func parseJWKS(body []byte) (current, revoked []Key, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, nil, errors.New("it is no JWK Set")
	}
	for _, raw := range set.Keys {
		var about struct {
			KeyID     string          `json:"kid"`
			Algorithm string          `json:"alg"`
			Use       string          `json:"use"`
			Revoked   json.RawMessage `json:"revoked"` // true, or an object that says when
		}
		var jwk jose.JSONWebKey
		if json.Unmarshal(raw, &about) != nil || jwk.UnmarshalJSON(raw) != nil || len(about.KeyID) > maxKeyID {
			continue
		}
		if about.Use != "" && about.Use != "sig" {
			continue
		}
		material := jwk.Key
		if s, ok := material.([]byte); ok {
			material = secret(s)
		}
		id := strings.ToValidUTF8(about.KeyID, "?")
		if id == "" {
			id = unnamed
		}
		k, err := newKey(id, material)
		if err != nil || !k.signsAs(about.Algorithm) {
			continue
		}
		switch string(about.Revoked) {
		case "", "null", "false":
			current = append(current, k)
		default:
			revoked = append(revoked, k)
		}
	}
	if len(current)+len(revoked) == 0 {
		return nil, nil, errors.New("it has no key for signatures by HS256, RS256, ES256 or EdDSA")
	}
	return current, revoked, nil
}

// signsAs reports whether a JWK's alg, which may be absent, is the one of the
// key. Ed25519 is the newer name of EdDSA with that curve (RFC 9864).
func (k Key) signsAs(alg string) bool {
	return alg == "" || alg == string(k.Algorithm) || alg == "Ed25519" && k.Algorithm == EdDSA
}
