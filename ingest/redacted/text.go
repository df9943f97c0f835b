// Package redacted keeps secrets out of whatever is printed (I10).
package redacted

import (
	"fmt"
	"log/slog"
)

// Text is a token, a password or a signing secret. It prints as [redacted] with
// every verb, in logs and in JSON.
type Text string

const mark = "[redacted]"

// Format implements [fmt.Formatter].
func (Text) Format(f fmt.State, _ rune) { fmt.Fprint(f, mark) }

// LogValue implements [slog.LogValuer].
func (Text) LogValue() slog.Value { return slog.StringValue(mark) }

// MarshalText implements [encoding.TextMarshaler].
func (Text) MarshalText() ([]byte, error) { return []byte(mark), nil }
