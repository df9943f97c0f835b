package ingest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Bounds of what one delivery can make the edge compute.
const (
	maxSignatures      = 8
	maxKeys            = 16
	maxSignatureHeader = 4 << 10 // bytes
)

// replayWindow bounds how far a signed timestamp may lie from the edge's clock,
// either way.
const replayWindow = 300 * time.Second

// failure is the class of a credential that does not verify, as logs tell it.
// The empty failure is a success.
type failure string

const (
	missing   failure = "missing"
	malformed failure = "malformed"
	stale     failure = "stale"
	mismatch  failure = "mismatch"
	// otherTenant: the credentials verify and the delivery is not theirs alone.
	otherTenant failure = "other_tenant"
)

// scheme is one convention of signing a delivery. Its algorithm is fixed by the
// scheme and the keys, never by the message.
type scheme struct {
	name string
	// present reports whether the headers carry a signature of this scheme.
	present func(http.Header) bool
	// verify checks it over the received bytes and returns the id of the key
	// that made it.
	verify func(h http.Header, body []byte, keys []SigningKey, now time.Time) (kid string, f failure)
}

// schemes lists the conventions in the order in which they are looked for; the
// first one present decides.
var schemes = []scheme{timestamped}

// presentScheme returns the scheme by which the headers are signed.
func presentScheme(h http.Header) (scheme, bool) {
	for _, s := range schemes {
		if s.present(h) {
			return s, true
		}
	}
	return scheme{}, false
}

const signatureHeader = "X-CXone-Signature"

// timestamped is `X-CXone-Signature: t=<unix>,v1=<hex>[,v1=<hex>…]`: HMAC-SHA256
// of `t.body`. Other parts of the header are left for schemes that know them.
var timestamped = scheme{
	name:    "timestamped",
	present: func(h http.Header) bool { return len(h.Values(signatureHeader)) > 0 },
	verify:  verifyTimestamped,
}

func verifyTimestamped(h http.Header, body []byte, keys []SigningKey, now time.Time) (string, failure) {
	t, macs, ok := parseTimestamped(strings.Join(h.Values(signatureHeader), ","))
	if !ok {
		return "", malformed
	}
	// ok: t is a number.
	unix, _ := strconv.ParseInt(t, 10, 64)
	window := int64(replayWindow / time.Second)
	if sec := now.Unix(); unix < sec-window || unix > sec+window {
		return "", stale
	}
	kid, found := "", false
	for _, k := range keys {
		mac := hmac.New(sha256.New, []byte(k.Secret))
		mac.Write([]byte(t + "."))
		mac.Write(body)
		want := mac.Sum(nil)
		// Every signature is compared with every key, so that the time taken
		// does not tell which of them fitted.
		for _, got := range macs {
			if hmac.Equal(got, want) && !found {
				kid, found = k.ID, true
			}
		}
	}
	if !found {
		return "", mismatch
	}
	return kid, ""
}

// parseTimestamped reads the timestamp, as it was signed, and the decoded v1
// signatures. Not ok: no or several timestamps, no signature of the right
// length, or more of them than a sender in a rotation has cause to send.
func parseTimestamped(header string) (t string, macs [][]byte, ok bool) {
	if len(header) > maxSignatureHeader {
		return "", nil, false
	}
	seen := 0
	for part := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "t":
			if t != "" || !isUnix(value) {
				return "", nil, false
			}
			t = value
		case "v1":
			if seen++; seen > maxSignatures {
				return "", nil, false
			}
			if mac, err := hex.DecodeString(value); err == nil && len(mac) == sha256.Size {
				macs = append(macs, mac)
			}
		}
	}
	return t, macs, t != "" && len(macs) > 0
}

// isUnix reports whether s is a plain decimal number that fits int64.
func isUnix(s string) bool {
	if s == "" || len(s) > 18 {
		return false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
