package vendors

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"trunkline/event"
)

// namespace of the event ids that Trunkline derives from content. To change it
// is to make every event in flight a new one.
var namespace = uuid.MustParse("7d0f1f0e-5b0a-5c6e-9b57-2f1f6d0c7a41")

// ContentID is the event id of content that carries none: the UUIDv5 of parts
// joined by "|". The same content has the same id on every path.
func ContentID(parts ...string) string {
	return uuid.NewSHA1(namespace, []byte(strings.Join(parts, "|"))).String()
}

// RawID is the event id of last resort: one delivery, byte for byte.
func RawID(raw *event.Raw, format event.Format) string {
	return ContentID(raw.Tenant, string(format), string(raw.Body))
}

// Digest is the SHA-256 of the canonical text of v, in hex.
func Digest(v Value) string {
	sum := sha256.Sum256(v.Canonical())
	return hex.EncodeToString(sum[:])
}

// maxText bounds ids and type names: they become record keys and metadata.
const maxText = 512

// Named is a value with the path it was found at.
type Named struct {
	Path  string
	Value Value
}

// FirstID returns the first id among candidates, "" when there is none: absent,
// null and empty ids do not count. An id is a JSON string, or a JSON number,
// whose text it then is. Anything else is invalid_field, also an id longer than
// 512 bytes or with a lone surrogate, which no record key can carry.
func FirstID(candidates ...Named) (string, error) {
	for _, c := range candidates {
		if c.Value.kind == '0' && len(c.Value.text) <= maxText {
			return string(c.Value.text), nil
		}
		if id, err := TextAt(c); id != "" || err != nil {
			return id, err
		}
	}
	return "", nil
}

// TextAt returns a string of at most 512 bytes, "" when it is absent or null.
// Anything else is invalid_field.
func TextAt(n Named) (string, error) {
	if !n.Value.Exists() {
		return "", nil
	}
	text, ok := n.Value.Text()
	if !ok {
		return "", event.Reject(event.InvalidField, "%s: send a string", n.Path)
	}
	return text, CheckText(n.Path, text)
}

// CheckText rejects a text that no key or name can carry.
func CheckText(path, text string) error {
	if len(text) > maxText || !utf8.ValidString(text) {
		return event.Reject(event.InvalidField, "%s: send at most %d bytes of text, without lone surrogates", path, maxText)
	}
	return nil
}

// Missing rejects an event for a field it lacks; cure says what would be right.
func Missing(path, cure string) error {
	return event.Reject(event.MissingField, "%s is missing: %s", path, cure)
}
