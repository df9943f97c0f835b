package codecs

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// HeaderSanitised is on a change whose record differs from what the vendor
// sent: U+0000, lone surrogates or invalid UTF-8 became U+FFFD, and numbers
// beyond every database became text. They are legal in JSON, but one of them
// kills the JDBC sink's whole batch. Raw records keep the original.
const HeaderSanitised = "trunkline.sanitised"

const replacement = "\uFFFD"

// SanitiseText replaces U+0000 and invalid UTF-8 (so encoded surrogates, too)
// in s by U+FFFD and reports whether there was any.
func SanitiseText(s string) (string, bool) {
	if strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) {
		return s, false
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, replacement), "\x00", replacement), true
}

// SanitiseJSON does for JSON text what [SanitiseText] does for text: the bytes
// and also the escapes \u0000 and of lone surrogates are replaced. An escaped
// backslash before u0000 is left alone. A number of more than 10,000 characters,
// or with an exponent beyond ±5,000, becomes a string of the same characters:
// PostgreSQL holds 131,072 digits before the point and 16,383 behind it. data is
// not changed; when there is nothing to replace it is returned itself.
func SanitiseJSON(data []byte) ([]byte, bool) {
	out, changed := data, false
	if bytes.IndexByte(data, 0) >= 0 || !utf8.Valid(data) {
		valid := bytes.ToValidUTF8(data, []byte(replacement))
		out, changed = bytes.ReplaceAll(valid, []byte{0}, []byte(replacement)), true
	}
	for i := 0; ; {
		next := bytes.IndexByte(out[i:], '\\')
		if next < 0 {
			break
		}
		i += next
		size, legal := measureEscape(out[i:])
		if !legal {
			if !changed {
				out, changed = bytes.Clone(out), true
			}
			copy(out[i:], `\ufffd`) // as long as what it replaces
		}
		i += size
	}
	if quoted := quoteNumbers(out); quoted != nil {
		return quoted, true
	}
	return out, changed
}

// The numbers that sinks bear; see [SanitiseJSON].
const (
	maxNumber   = 10_000
	maxExponent = 5_000
)

// quoteNumbers makes strings of the numbers that sinks do not bear; nil when there
// is none.
func quoteNumbers(data []byte) []byte {
	var out []byte
	copied := 0
	for i := 0; i < len(data); {
		c := data[i]
		switch {
		case c == '"':
			i = skipString(data, i)
			continue
		case c != '-' && (c < '0' || c > '9'):
			i++
			continue
		}
		start, exponent := i, 0
		for i++; i < len(data) && isNumber(data[i]); i++ {
			if data[i]|0x20 == 'e' {
				exponent = i + 1
			}
		}
		legal := i-start <= maxNumber
		if exponent > 0 {
			e, err := strconv.Atoi(string(data[exponent:i]))
			legal = legal && err == nil && -maxExponent <= e && e <= maxExponent
		}
		if !legal {
			out = append(append(out, data[copied:start]...), '"')
			out = append(append(out, data[start:i]...), '"')
			copied = i
		}
	}
	if copied == 0 {
		return nil
	}
	return append(out, data[copied:]...)
}

// isNumber reports whether b may stand in a number behind its first character.
func isNumber(b byte) bool {
	return '0' <= b && b <= '9' || b == '.' || b|0x20 == 'e' || b == '+' || b == '-'
}

// skipString returns the index behind the string that begins at i.
func skipString(data []byte, i int) int {
	for i++; ; {
		end := bytes.IndexByte(data[i:], '"')
		if end < 0 {
			return len(data)
		}
		text := data[i : i+end]
		i += end + 1
		if backslashes := len(text) - len(bytes.TrimRight(text, `\`)); backslashes%2 == 0 {
			return i
		}
	}
}

// measureEscape returns the size of the escape at the start of b, a surrogate
// pair being one escape, and whether readers of a change can bear it.
func measureEscape(b []byte) (size int, legal bool) {
	unit, ok := escapedUnit(b)
	switch {
	case !ok:
		return min(2, len(b)), true
	case unit == 0:
		return 6, false
	case !utf16.IsSurrogate(unit):
		return 6, true
	}
	if low, ok := escapedUnit(b[6:]); ok && utf16.DecodeRune(unit, low) != utf8.RuneError {
		return 12, true
	}
	return 6, false
}

// escapedUnit reads the UTF-16 unit of the \uXXXX at the start of b.
func escapedUnit(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(unit), err == nil
}
