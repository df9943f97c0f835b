package ingest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"trunkline/ingest/keys"
)

// Scheme names a convention of signing a delivery.
type Scheme string

// The schemes. The first three have one form in common: see [parseProfile].
const (
	SchemeCXone    Scheme = "cxone"             // X-CXone-Signature, X-CXone-Timestamp
	SchemeNexus    Scheme = "nexus"             // X-Nexus-Signature-256, X-Nexus-Timestamp: CXone Expert
	SchemeHub      Scheme = "hub"               // X-Hub-Signature-256: Genesys Open Messaging (base64), GitHub (hex)
	SchemeStandard Scheme = "standard-webhooks" // webhook-* or svix-*: Standard Webhooks 1.0.0
)

// Schemes lists them in the order in which they are looked for; the first whose
// header is present decides.
var Schemes = []Scheme{SchemeCXone, SchemeNexus, SchemeHub, SchemeStandard}

// convention is where a scheme puts its signatures and how they are read.
type convention struct {
	scheme    Scheme
	header    string
	timestamp string // name of its header; empty: there is none
	id        string // of Standard Webhooks: the header of the delivery's id
	parse     func(convention, http.Header) (signature, bool)
}

var conventions = []convention{
	{scheme: SchemeCXone, header: "X-CXone-Signature", timestamp: "X-CXone-Timestamp", parse: parseProfile},
	{scheme: SchemeNexus, header: "X-Nexus-Signature-256", timestamp: "X-Nexus-Timestamp", parse: parseProfile},
	{scheme: SchemeHub, header: "X-Hub-Signature-256", parse: parseProfile},
	{scheme: SchemeStandard, header: "webhook-signature", timestamp: "webhook-timestamp", id: "webhook-id", parse: parseStandard},
	{scheme: SchemeStandard, header: "svix-signature", timestamp: "svix-timestamp", id: "svix-id", parse: parseStandard},
}

// Signing narrows down where a sender's signatures stand. The zero value takes
// every scheme.
type Signing struct {
	Scheme Scheme // only this one
	// Header is the name of the header in which a sender puts the signature of
	// the form of X-CXone-Signature, and TimestampHeader that of its timestamp, if
	// it has one. No other header is looked at then.
	Header          string
	TimestampHeader string
}

func (s Signing) conventions() []convention {
	if s.Header != "" {
		return []convention{{scheme: SchemeCXone, header: s.Header, timestamp: s.TimestampHeader, parse: parseProfile}}
	}
	return slices.DeleteFunc(slices.Clone(conventions), func(c convention) bool {
		return s.Scheme != "" && s.Scheme != c.scheme
	})
}

// parseSignature reads the signature by the first convention whose header is
// there: missing or malformed if there is none or it cannot be read.
func parseSignature(of []convention, h http.Header) (signature, failure) {
	for _, c := range of {
		values := h.Values(c.header)
		if len(values) == 0 {
			continue
		}
		s := signature{scheme: c.scheme}
		length := 0
		for _, v := range values {
			length += len(v)
		}
		if length > maxSignatureHeader {
			return s, malformed
		}
		if read, ok := c.parse(c, h); ok {
			read.scheme = c.scheme
			return read, ""
		}
		return s, malformed
	}
	return signature{}, missing
}

// parseProfile reads, of these forms, the first that fits:
//
//	t=<unix>[,kid=<id>],v1=<hex>[,v1=<hex>…][,v1a=<base64>…]   over `t.body`
//	[sha256=]<hex or base64>                                   over `timestamp.body`, or `body` without that header
//	<base64url header>..<base64url signature>                  over `body`: a detached JWS
//
// v1 is HMAC-SHA256, v1a the signature of a public key.
func parseProfile(c convention, h http.Header) (signature, bool) {
	header := strings.Join(h.Values(c.header), ",")
	if s, ok := parseTimestamped(header); ok {
		return s, true
	}
	if mac, ok := decodeMAC(strings.TrimPrefix(strings.TrimSpace(header), "sha256=")); ok {
		s := signature{macs: [][]byte{mac}}
		if c.timestamp == "" || len(h.Values(c.timestamp)) == 0 {
			return s, true
		}
		return s, s.stamp(h.Values(c.timestamp), "")
	}
	d, err := keys.ParseDetached(header)
	if err != nil || len(d.KeyID) > maxHeaderValue {
		return signature{}, false
	}
	return signature{jws: d, kid: d.KeyID}, true
}

// parseTimestamped reads the first form of the profile. Not ok: no or several
// timestamps, no signature that could be one, or more of them than a sender in a
// rotation has cause to send.
func parseTimestamped(header string) (s signature, ok bool) {
	seen, stamped := 0, false
	for part := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "t":
			if stamped || !s.stamp([]string{value}, "") {
				return signature{}, false
			}
			stamped = true
		case "kid":
			if s.kid != "" || len(value) > maxHeaderValue {
				return signature{}, false
			}
			s.kid = value
		case "v1":
			seen++
			if mac, err := hex.DecodeString(value); err == nil && len(mac) == sha256.Size {
				s.macs = append(s.macs, mac)
			}
		case "v1a":
			seen++
			s.sign(value)
		}
	}
	return s, stamped && seen <= maxSignatures && s.present()
}

// parseStandard reads a list of signatures, `v1,<base64> v1a,<base64>`, over
// `id.timestamp.body`.
func parseStandard(c convention, h http.Header) (s signature, ok bool) {
	ids, lists := h.Values(c.id), h.Values(c.header)
	if len(ids) != 1 || ids[0] == "" || len(ids[0]) > maxHeaderValue || len(lists) != 1 {
		return signature{}, false
	}
	s.standard = true
	if !s.stamp(h.Values(c.timestamp), ids[0]+".") {
		return signature{}, false
	}
	seen := 0
	for part := range strings.FieldsSeq(lists[0]) {
		if seen++; seen > maxSignatures {
			return signature{}, false
		}
		switch version, value, _ := strings.Cut(part, ","); version {
		case "v1":
			if mac, err := base64.StdEncoding.DecodeString(value); err == nil && len(mac) == sha256.Size {
				s.macs = append(s.macs, mac)
			}
		case "v1a":
			s.sign(value)
		}
	}
	return s, s.present()
}

// stamp sets the time and what is signed before the body: the timestamp as it was
// sent, behind what comes first. Not ok: it is no single plain number.
func (s *signature) stamp(values []string, first string) bool {
	if len(values) != 1 || !isUnix(values[0]) {
		return false
	}
	s.timestamp, s.prefix = values[0], first+values[0]+"."
	return true
}

// sign adds a signature of a public key.
func (s *signature) sign(encoded string) {
	if b, err := base64.StdEncoding.DecodeString(encoded); err == nil && len(b) > 0 {
		s.signatures = append(s.signatures, b)
	}
}

func (s *signature) present() bool { return len(s.macs)+len(s.signatures) > 0 }

// decodeMAC reads an HMAC-SHA256 in hex or in base64 of either alphabet, padded
// or not. Their lengths differ.
func decodeMAC(text string) (mac []byte, ok bool) {
	if mac, err := hex.DecodeString(text); err == nil && len(mac) == sha256.Size {
		return mac, true
	}
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimSuffix(text, "="))
	mac, err := base64.RawStdEncoding.DecodeString(text)
	return mac, err == nil && len(mac) == sha256.Size
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
