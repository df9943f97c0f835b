// Package secret keeps secrets out of whatever is printed (I10).
package secret

import (
	"fmt"
	"log/slog"
)

// Text is a token, a password or a signing secret. It prints as [redacted] with
// every verb, in logs and in JSON.
type Text string

const redacted = "[redacted]"

// Format implements [fmt.Formatter].
func (Text) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue implements [slog.LogValuer].
func (Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler].
func (Text) MarshalText() ([]byte, error) { return []byte(redacted), nil }
