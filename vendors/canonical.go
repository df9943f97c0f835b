package vendors

import (
	"bytes"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Canonical returns the canonical text of v: members sorted by the bytes of
// their names, no spaces, numbers as the vendor wrote them, strings with as few
// escapes as JSON allows. What UTF-8 cannot hold (lone surrogates) stays an
// escape. Equal documents have equal canonical texts, and the canonical text of
// a canonical text is itself. The bytes are the caller's own.
func (v Value) Canonical() []byte { return v.append(nil) }

func (v Value) append(dst []byte) []byte {
	switch v.kind {
	case '{':
		dst = append(dst, '{')
		for i, m := range v.members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendQuoted(dst, m.Name)
			dst = append(dst, ':')
			dst = m.Value.append(dst)
		}
		return append(dst, '}')
	case '[':
		dst = append(dst, '[')
		for i, m := range v.members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = m.Value.append(dst)
		}
		return append(dst, ']')
	default:
		return append(dst, v.text...)
	}
}

// Object is the empty object.
func Object() Value { return Value{kind: '{'} }

// ObjectOf is the object of the given members.
func ObjectOf(members map[string]Value) Value {
	v := Value{kind: '{', members: make([]Member, 0, len(members))}
	for name, value := range members {
		v.members = append(v.members, Member{[]byte(name), value})
	}
	slices.SortFunc(v.members, compareNames)
	return v
}

// Array is the array of the given elements.
func Array(elements ...Value) Value {
	v := Value{kind: '['}
	for _, e := range elements {
		v.members = append(v.members, Member{Value: e})
	}
	return v
}

// String is a JSON string of text, which is valid UTF-8.
func String(text string) Value { return Value{kind: '"', text: appendQuoted(nil, []byte(text))} }

// Int is a JSON number.
func Int(n int64) Value { return Value{kind: '0', text: strconv.AppendInt(nil, n, 10)} }

// Null is the JSON null.
func Null() Value { return Value{kind: 'n', text: []byte("null")} }

func canonicalScalar(raw []byte) []byte {
	// JSON allows no raw control characters, so a string without escapes is
	// canonical as it stands.
	if raw[0] != '"' || bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	return appendQuoted(make([]byte, 0, len(raw)), unquote(raw))
}

// unquote decodes a string that the decoder has validated, quotes included.
// Lone surrogates become the three bytes that UTF-8 would have for them were
// they characters: unlike U+FFFD, that loses nothing.
func unquote(quoted []byte) []byte {
	s := quoted[1 : len(quoted)-1]
	i := bytes.IndexByte(s, '\\')
	if i < 0 {
		return s
	}
	out := append(make([]byte, 0, len(s)), s[:i]...)
	for i < len(s) {
		if s[i] != '\\' {
			out = append(out, s[i])
			i++
			continue
		}
		c := s[i+1]
		i += 2
		switch c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hex4(s[i:])
			i += 4
			if utf16.IsSurrogate(r) && i+6 <= len(s) && s[i] == '\\' && s[i+1] == 'u' {
				if pair := utf16.DecodeRune(r, hex4(s[i+2:])); pair != utf8.RuneError {
					r = pair
					i += 6
				}
			}
			out = appendRune(out, r)
		default: // " \ /
			out = append(out, c)
		}
	}
	return out
}

func hex4(s []byte) rune {
	n, _ := strconv.ParseUint(string(s[:4]), 16, 16)
	return rune(n)
}

func appendRune(dst []byte, r rune) []byte {
	if utf16.IsSurrogate(r) {
		return append(dst, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f)
	}
	return utf8.AppendRune(dst, r)
}

// appendQuoted is the inverse of unquote.
func appendQuoted(dst, s []byte) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20:
			dst = appendControl(dst, c)
		case c == 0xed && i+2 < len(s) && s[i+1] >= 0xa0: // a surrogate: d800 to dfff
			dst = appendEscape(dst, 0xd000|uint16(s[i+1]&0x3f)<<6|uint16(s[i+2]&0x3f))
			i += 2
		default:
			dst = append(dst, c)
		}
		i++
	}
	return append(dst, '"')
}

func appendControl(dst []byte, c byte) []byte {
	switch c {
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	default:
		return appendEscape(dst, uint16(c))
	}
}

func appendEscape(dst []byte, u uint16) []byte {
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[u>>12], hex[u>>8&0xf], hex[u>>4&0xf], hex[u&0xf])
}
