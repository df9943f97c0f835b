package oauth

import (
	"fmt"
	"log/slog"
)

// Secret is what a token is got with. It prints as [redacted] with every verb, in
// logs and in JSON (I10).
type Secret string

const redacted = "[redacted]"

// Format implements [fmt.Formatter].
func (Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue implements [slog.LogValuer].
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler].
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// sealed is a text that no printer finds: fmt calls no method of what stands in
// an unexported field, and prints it raw. Nil is the empty text.
type sealed func() string

func seal(text string) sealed {
	if text == "" {
		return nil
	}
	return func() string { return text }
}

func (s sealed) open() string {
	if s == nil {
		return ""
	}
	return s()
}
