package vendors

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"trunkline/event"
)

// Bounds of a document. What exceeds them is a dead letter.
const (
	MaxBytes = 1 << 20 // of a body and of an image
	MaxDepth = 64      // of nested objects and arrays
)

// Value is one JSON value of a parsed document. The zero Value is an absent
// one. A Value may alias the bytes it was parsed from and is never changed.
type Value struct {
	kind    jsontext.Kind // 0 when absent
	text    []byte        // canonical text of a scalar
	members []Member      // of an object, sorted by name; of an array, without names
}

// Member is one name and value of an object. The name is decoded; a lone
// surrogate stands in it as its three bytes of generalised UTF-8.
type Member struct {
	Name  []byte
	Value Value
}

// Parse reads one JSON text. It rejects, with a detail that quotes no content
// (I10), what is longer than [MaxBytes] (too_large), and as malformed_json what
// is no JSON, holds raw bytes that are no UTF-8, is nested deeper than
// [MaxDepth], or has two members of one name in one object, of which a reader
// would silently drop one. A leading byte order mark is skipped.
func Parse(body []byte) (Value, error) { return parse(body, false) }

// ParseTop reads only the top level of a JSON text: enough to tell its shape.
// The objects and arrays in it are present but empty.
func ParseTop(body []byte) (Value, error) { return parse(body, true) }

func parse(body []byte, topOnly bool) (Value, error) {
	if len(body) > MaxBytes {
		return Value{}, event.Reject(event.TooLarge, "body has %d bytes: at most %d are read", len(body), MaxBytes)
	}
	body = trimBOM(body)
	if !utf8.Valid(body) {
		return Value{}, event.Reject(event.MalformedJSON, "body is not valid UTF-8: send JSON as UTF-8")
	}
	p := parser{dec: lenientDecoder(body), body: body, topOnly: topOnly}
	v, err := p.value()
	if err == nil {
		err = p.end()
	}
	if err != nil {
		return Value{}, p.reject(err)
	}
	return v, nil
}

// lenientDecoder leaves UTF-8 and doubled names to its caller: escapes of lone
// surrogates are legal JSON, and a doubled name is to be named with its path.
func lenientDecoder(body []byte) *jsontext.Decoder {
	return jsontext.NewDecoder(bytes.NewBuffer(body),
		jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
}

func trimBOM(body []byte) []byte { return bytes.TrimPrefix(body, []byte("\uFEFF")) }

type parser struct {
	dec     *jsontext.Decoder
	body    []byte
	path    [][]byte // names of the members that are open
	depth   int
	topOnly bool
}

func (p *parser) value() (Value, error) {
	kind := p.dec.PeekKind()
	switch {
	case (kind != '{' && kind != '[') || (p.topOnly && p.depth > 0):
		raw, err := p.dec.ReadValue()
		if err != nil {
			return Value{}, err
		}
		if kind == '{' || kind == '[' {
			return Value{kind: kind}, nil
		}
		return Value{kind: kind, text: canonicalScalar(p.own(raw))}, nil
	case p.depth == MaxDepth:
		return Value{}, event.Reject(event.MalformedJSON, "nested deeper than %d levels", MaxDepth)
	}
	p.depth++
	defer func() { p.depth-- }()
	if _, err := p.dec.ReadToken(); err != nil {
		return Value{}, err
	}
	if kind == '{' {
		return p.object()
	}
	return p.array()
}

func (p *parser) object() (Value, error) {
	v := Value{kind: '{'}
	for p.dec.PeekKind() != '}' {
		raw, err := p.dec.ReadValue()
		if err != nil {
			return Value{}, err
		}
		name := unquote(p.own(raw))
		p.path = append(p.path, name)
		member, err := p.value()
		if err != nil {
			return Value{}, err
		}
		p.path = p.path[:len(p.path)-1]
		if v.members == nil {
			v.members = make([]Member, 0, 4)
		}
		v.members = append(v.members, Member{name, member})
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return Value{}, err
	}
	slices.SortFunc(v.members, compareNames)
	for i := 1; i < len(v.members); i++ {
		if bytes.Equal(v.members[i-1].Name, v.members[i].Name) {
			p.path = append(p.path, v.members[i].Name)
			return Value{}, event.Reject(event.MalformedJSON, "%q stands twice in its object: send every name once", p.where())
		}
	}
	return v, nil
}

func (p *parser) array() (Value, error) {
	v := Value{kind: '['}
	for p.dec.PeekKind() != ']' {
		element, err := p.value()
		if err != nil {
			return Value{}, err
		}
		v.members = append(v.members, Member{Value: element})
	}
	_, err := p.dec.ReadToken()
	return v, err
}

// own turns what the decoder lent into a part of the body, which stays.
func (p *parser) own(lent jsontext.Value) []byte {
	end := p.dec.InputOffset()
	return p.body[end-int64(len(lent)) : end : end]
}

func (p *parser) end() error {
	_, err := p.dec.ReadToken()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return event.Reject(event.MalformedJSON, "more than one JSON value: send an array")
	default:
		return err
	}
}

// where is the path of the open member, short enough for a header.
func (p *parser) where() string {
	const limit = 120
	path := strings.ToValidUTF8(string(bytes.Join(p.path, []byte("."))), "\uFFFD")
	if len(path) > limit {
		path = strings.ToValidUTF8(path[:limit], "") + "…"
	}
	return path
}

func (p *parser) reject(err error) error {
	if r, ok := errors.AsType[*event.Rejected](err); ok {
		return r
	}
	// The decoder's own text would quote the body (I10).
	return event.Reject(event.MalformedJSON, "not JSON at byte %d of %d", p.dec.InputOffset(), len(p.body))
}

// Exists reports whether v is present and not null.
func (v Value) Exists() bool { return v.kind != 0 && v.kind != 'n' }

// IsObject reports whether v is an object.
func (v Value) IsObject() bool { return v.kind == '{' }

// IsArray reports whether v is an array.
func (v Value) IsArray() bool { return v.kind == '[' }

// Elements returns the elements of an array, or the values of an object.
func (v Value) Elements() []Value {
	elements := make([]Value, len(v.members))
	for i, m := range v.members {
		elements[i] = m.Value
	}
	return elements
}

// Field returns the value at a path of names, absent where a name is or where
// something on the way is no object.
func (v Value) Field(path ...string) Value {
	for _, name := range path {
		if v.kind != '{' {
			return Value{}
		}
		i, found := v.find(name)
		if !found {
			return Value{}
		}
		v = v.members[i].Value
	}
	return v
}

func (v Value) find(name string) (int, bool) {
	return slices.BinarySearchFunc(v.members, name, func(m Member, name string) int {
		return strings.Compare(string(m.Name), name)
	})
}

// Text returns the decoded text of a string; ok is false for any other kind.
// A lone surrogate stands in it as bytes that are no valid UTF-8.
func (v Value) Text() (text string, ok bool) {
	if v.kind != '"' {
		return "", false
	}
	return string(unquote(v.text)), true
}

// With returns the object v with the member name set to value.
func (v Value) With(name string, value Value) Value {
	i, found := v.find(name)
	members := slices.Clone(v.members)
	if found {
		members[i].Value = value
	} else {
		members = slices.Insert(members, i, Member{[]byte(name), value})
	}
	return Value{kind: '{', members: members}
}

// Default returns the object v with the member name set to value, unless it
// has one that is not null.
func (v Value) Default(name string, value Value) Value {
	if v.Field(name).Exists() {
		return v
	}
	return v.With(name, value)
}

// Has reports whether the object v has the member name, though it be null.
func (v Value) Has(name string) bool {
	_, found := v.find(name)
	return v.kind == '{' && found
}

// Rename returns the object v with its member from called to.
func (v Value) Rename(from, to string) Value {
	if !v.Has(from) {
		return v
	}
	return v.Without(NamesOf(from)).With(to, v.Field(from))
}

// Merge returns the object v with the members of the object over, which take
// the place of those of their names.
func (v Value) Merge(over Value) Value {
	members := make([]Member, 0, len(v.members)+len(over.members)+2)
	for _, m := range v.members {
		if _, found := over.find(string(m.Name)); !found {
			members = append(members, m)
		}
	}
	members = append(members, over.members...)
	slices.SortFunc(members, compareNames)
	return Value{kind: '{', members: members}
}

// Without returns the object v without the named members.
func (v Value) Without(names Names) Value {
	members := make([]Member, 0, len(v.members)+2)
	for _, m := range v.members {
		if !names[string(m.Name)] {
			members = append(members, m)
		}
	}
	return Value{kind: '{', members: members}
}

func compareNames(a, b Member) int { return bytes.Compare(a.Name, b.Name) }

// Names is a set of member names.
type Names map[string]bool

// NamesOf is the set of the given names.
func NamesOf(names ...string) Names {
	set := make(Names, len(names))
	for _, n := range names {
		set[n] = true
	}
	return set
}

// Flag reads a boolean, also one that is told as text, such as "True"; ok is
// false for anything else.
func (v Value) Flag() (set, ok bool) {
	text, _ := v.Text()
	switch {
	case v.kind == 't', strings.EqualFold(text, "true"):
		return true, true
	case v.kind == 'f', strings.EqualFold(text, "false"):
		return false, true
	}
	return false, false
}

// Whole returns the whole part of a number, or of a string that holds one; ok
// is false for what is none or below zero.
func (v Value) Whole() (n int64, ok bool) {
	text := string(v.text)
	if v.kind == '"' {
		text, _ = v.Text()
	}
	whole, _, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	return n, err == nil && n >= 0
}
