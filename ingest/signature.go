package ingest

import (
	"strconv"
	"time"

	"trunkline/ingest/keys"
)

// Bounds of what one delivery can make the edge compute. How many keys are tried
// is bounded by [keys.Set].
const (
	maxSignatures      = 8
	maxKeys            = 16      // of a configuration
	maxSignatureHeader = 4 << 10 // bytes
)

// failure is the class of a credential that does not verify, as logs tell it.
// The empty failure is a success.
type failure string

const (
	missing    failure = "missing"
	malformed  failure = "malformed"
	stale      failure = "stale"
	mismatch   failure = "mismatch"
	unknownKey failure = "unknown_key" // mismatch, and the key that it names is not known
	wrongToken failure = "wrong_token"
	// otherTenant: the credentials verify and the delivery is not theirs alone.
	otherTenant failure = "other_tenant"
)

// signature is what the headers of a delivery carry of one scheme.
type signature struct {
	scheme     Scheme
	kid        string // the key it names; it may name none
	timestamp  string // unix seconds as sent; empty: it has none
	prefix     string // signed before the body
	macs       [][]byte
	signatures [][]byte // of public keys
	jws        *keys.Detached
	standard   bool // keys are read as Standard Webhooks does
}

// verify checks the signature over the received bytes and returns the key that
// made it. Every signature is tried with every key, so that the time taken does
// not tell which of them fitted; with none of them a signature is either of a key
// yet unknown or forged.
func (s signature) verify(body []byte, set *keys.Set, now time.Time, window time.Duration) (by keys.Key, f failure) {
	if s.timestamp != "" {
		unix, _ := strconv.ParseInt(s.timestamp, 10, 64) // it is a number
		within := int64(window / time.Second)
		if sec := now.Unix(); unix < sec-within || unix > sec+within {
			return keys.Key{}, stale
		}
	}
	candidates, known := set.Candidates(s.kid)
	m := keys.Message{Prefix: s.prefix, Body: body}
	found := false
	for _, k := range candidates {
		if s.madeBy(k, &m) && !found {
			by, found = k, true
		}
	}
	switch {
	case found:
		set.Used(by)
		return by, ""
	case s.kid != "" && !known:
		return keys.Key{}, unknownKey
	default:
		return keys.Key{}, mismatch
	}
}

func (s signature) madeBy(k keys.Key, m *keys.Message) bool {
	switch {
	case s.jws != nil:
		return k.VerifyDetached(s.jws, m.Body)
	case s.standard:
		return k.Standard().Verify(m, s.macs, s.signatures)
	default:
		return k.Verify(m, s.macs, s.signatures)
	}
}
