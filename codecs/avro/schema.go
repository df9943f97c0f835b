// Package avro reads Avro schemas and tells which can read what another wrote: the
// rules by which registries let a schema follow another.
package avro

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Schema is an Avro schema as far as reading data written with another one
// depends on it (https://avro.apache.org/docs/1.12.0/specification/). Logical
// types and other attributes do not.
type Schema struct {
	kind typeKind

	// Of record, enum and fixed: full name and full alias names.
	name    string
	aliases []string

	fields     []recordField // record
	symbols    []string      // enum
	hasDefault bool          // enum: what to read for a symbol that it lacks
	items      *Schema       // array, and the values of map
	branches   []*Schema     // union
	size       int64         // fixed
}

type recordField struct {
	name       string
	aliases    []string
	schema     *Schema
	hasDefault bool
}

// typeKind is the name of a type in Avro's own words.
type typeKind string

const (
	kindNull   typeKind = "null"
	kindBool   typeKind = "boolean"
	kindInt    typeKind = "int"
	kindLong   typeKind = "long"
	kindFloat  typeKind = "float"
	kindDouble typeKind = "double"
	kindBytes  typeKind = "bytes"
	kindString typeKind = "string"
	kindRecord typeKind = "record"
	kindEnum   typeKind = "enum"
	kindFixed  typeKind = "fixed"
	kindArray  typeKind = "array"
	kindMap    typeKind = "map"
	kindUnion  typeKind = "union"
)

var primitives = []typeKind{kindNull, kindBool, kindInt, kindLong, kindFloat, kindDouble, kindBytes, kindString}

func (s *Schema) named() bool {
	return s.kind == kindRecord || s.kind == kindEnum || s.kind == kindFixed
}

// String names the schema as messages do.
func (s *Schema) String() string {
	if s.named() {
		return fmt.Sprintf("%s %s", s.kind, s.name)
	}
	return string(s.kind)
}

// Parse reads the text of a schema and reports the first fault in it.
func Parse(text string) (*Schema, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("read schema: there is something behind it")
	}
	p := parser{names: make(map[string]*Schema)}
	s, err := p.parse(v, "")
	if err != nil {
		return nil, err
	}
	for _, check := range p.defaults {
		if err := check(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// parser holds the names that are defined so far.
type parser struct {
	names    map[string]*Schema
	defaults []func() error // checked last: they may need types defined later
}

func (p *parser) parse(v any, namespace string) (*Schema, error) {
	switch v := v.(type) {
	case string:
		return p.reference(v, namespace)
	case []any:
		return p.union(v, namespace)
	case map[string]any:
		return p.object(v, namespace)
	}
	return nil, fmt.Errorf("read schema: %v is no schema", v)
}

func (p *parser) reference(name, namespace string) (*Schema, error) {
	if slices.Contains(primitives, typeKind(name)) {
		return &Schema{kind: typeKind(name)}, nil
	}
	if s, ok := p.names[fullName(name, namespace)]; ok {
		return s, nil
	}
	return nil, fmt.Errorf("read schema: undefined name %q", fullName(name, namespace))
}

func (p *parser) union(vs []any, namespace string) (*Schema, error) {
	u := &Schema{kind: kindUnion}
	seen := make(map[string]bool)
	for _, v := range vs {
		s, err := p.parse(v, namespace)
		if err != nil {
			return nil, err
		}
		if s.kind == kindUnion {
			return nil, errors.New("read schema: union directly in a union")
		}
		if seen[s.String()] {
			return nil, fmt.Errorf("read schema: %s twice in a union", s)
		}
		seen[s.String()] = true
		u.branches = append(u.branches, s)
	}
	return u, nil
}

func (p *parser) object(o map[string]any, namespace string) (*Schema, error) {
	kind, ok := o["type"].(string)
	if !ok {
		return nil, errors.New("read schema: type is missing or no text")
	}
	switch typeKind(kind) {
	case kindRecord, "error":
		return p.record(o, namespace)
	case kindEnum:
		return p.enum(o, namespace)
	case kindFixed:
		return p.fixed(o, namespace)
	case kindArray:
		return p.container(kindArray, o["items"], namespace)
	case kindMap:
		return p.container(kindMap, o["values"], namespace)
	}
	return p.reference(kind, namespace)
}

func (p *parser) container(kind typeKind, items any, namespace string) (*Schema, error) {
	if items == nil {
		return nil, fmt.Errorf("read schema: %s without items or values", kind)
	}
	s, err := p.parse(items, namespace)
	if err != nil {
		return nil, err
	}
	return &Schema{kind: kind, items: s}, nil
}

func (p *parser) record(o map[string]any, namespace string) (*Schema, error) {
	r, namespace, err := p.define(kindRecord, o, namespace)
	if err != nil {
		return nil, err
	}
	fields, ok := o["fields"].([]any)
	if !ok {
		return nil, fmt.Errorf("read schema: %s has no fields", r)
	}
	for _, v := range fields {
		f, err := p.field(v, namespace)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r, err)
		}
		if slices.ContainsFunc(r.fields, func(g recordField) bool { return g.name == f.name }) {
			return nil, fmt.Errorf("read schema: %s has field %q twice", r, f.name)
		}
		r.fields = append(r.fields, f)
	}
	return r, nil
}

func (p *parser) field(v any, namespace string) (recordField, error) {
	o, ok := v.(map[string]any)
	if !ok {
		return recordField{}, fmt.Errorf("read field: %v is no object", v)
	}
	f := recordField{}
	f.name, _ = o["name"].(string)
	if !simpleName.MatchString(f.name) {
		return recordField{}, fmt.Errorf("read field: invalid name %q", f.name)
	}
	t, ok := o["type"]
	if !ok {
		return recordField{}, fmt.Errorf("read field %q: type is missing", f.name)
	}
	var err error
	if f.schema, err = p.parse(t, namespace); err != nil {
		return recordField{}, fmt.Errorf("field %q: %w", f.name, err)
	}
	if f.aliases, err = texts(o, "aliases"); err != nil {
		return recordField{}, fmt.Errorf("read field %q: %w", f.name, err)
	}
	var d any
	if d, f.hasDefault = o["default"]; f.hasDefault {
		p.defaults = append(p.defaults, func() error {
			if !isDefault(f.schema, d) {
				return fmt.Errorf("read field %q: %v is no default of type %s", f.name, d, f.schema)
			}
			return nil
		})
	}
	return f, nil
}

func (p *parser) enum(o map[string]any, namespace string) (*Schema, error) {
	e, _, err := p.define(kindEnum, o, namespace)
	if err != nil {
		return nil, err
	}
	if _, ok := o["symbols"]; !ok {
		return nil, fmt.Errorf("read schema: %s has no symbols", e)
	}
	if e.symbols, err = texts(o, "symbols"); err != nil {
		return nil, fmt.Errorf("read %s: %w", e, err)
	}
	for i, s := range e.symbols {
		if !simpleName.MatchString(s) || slices.Contains(e.symbols[:i], s) {
			return nil, fmt.Errorf("read schema: %s has the invalid or repeated symbol %q", e, s)
		}
	}
	var d any
	if d, e.hasDefault = o["default"]; e.hasDefault && !isDefault(e, d) {
		return nil, fmt.Errorf("read schema: %s has the default %v, which is none of its symbols", e, d)
	}
	return e, nil
}

func (p *parser) fixed(o map[string]any, namespace string) (*Schema, error) {
	f, _, err := p.define(kindFixed, o, namespace)
	if err != nil {
		return nil, err
	}
	n, _ := o["size"].(json.Number)
	if f.size, err = n.Int64(); err != nil || f.size < 0 {
		return nil, fmt.Errorf("read schema: %s has no size", f)
	}
	return f, nil
}

var (
	simpleName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	qualifiedName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)
)

// define starts a named schema and returns the namespace of what is inside it.
func (p *parser) define(kind typeKind, o map[string]any, namespace string) (*Schema, string, error) {
	name, _ := o["name"].(string)
	if own, ok := o["namespace"].(string); ok {
		namespace = own
	}
	name = fullName(name, namespace)
	if !qualifiedName.MatchString(name) || slices.Contains(primitives, typeKind(name)) {
		return nil, "", fmt.Errorf("read schema: invalid name %q", name)
	}
	if _, ok := p.names[name]; ok {
		return nil, "", fmt.Errorf("read schema: %q is defined twice", name)
	}
	namespace = ""
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		namespace = name[:i]
	}
	s := &Schema{kind: kind, name: name}
	aliases, err := texts(o, "aliases")
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", s, err)
	}
	for _, a := range aliases {
		s.aliases = append(s.aliases, fullName(a, namespace))
	}
	p.names[name] = s
	return s, namespace, nil
}

func fullName(name, namespace string) string {
	if namespace == "" || strings.Contains(name, ".") {
		return strings.TrimPrefix(name, ".")
	}
	return namespace + "." + name
}

// texts reads a list of texts that may be missing.
func texts(o map[string]any, key string) ([]string, error) {
	v, ok := o[key]
	if !ok {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%s is no list", key)
	}
	var ts []string
	for _, v := range list {
		t, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("%s has the entry %v, which is no text", key, v)
		}
		ts = append(ts, t)
	}
	return ts, nil
}

// isDefault reports whether the JSON value is a default of the schema. That of a
// union belongs to its first branch: Avro 1.12 allows any, goavro and older
// readers do not.
func isDefault(s *Schema, v any) bool {
	switch s.kind {
	case kindNull:
		return v == nil
	case kindBool:
		_, ok := v.(bool)
		return ok
	case kindInt:
		return isInteger(v, math.MinInt32, math.MaxInt32)
	case kindLong:
		return isInteger(v, math.MinInt64, math.MaxInt64)
	case kindFloat, kindDouble:
		_, ok := v.(json.Number)
		return ok
	case kindString:
		_, ok := v.(string)
		return ok
	case kindBytes, kindFixed:
		return isByteText(s, v)
	case kindEnum:
		t, ok := v.(string)
		return ok && slices.Contains(s.symbols, t)
	case kindArray:
		list, ok := v.([]any)
		return ok && !slices.ContainsFunc(list, func(v any) bool { return !isDefault(s.items, v) })
	case kindMap:
		o, ok := v.(map[string]any)
		for _, v := range o {
			ok = ok && isDefault(s.items, v)
		}
		return ok
	case kindUnion:
		return len(s.branches) > 0 && isDefault(s.branches[0], v)
	case kindRecord:
		o, ok := v.(map[string]any)
		for _, f := range s.fields {
			v, given := o[f.name]
			ok = ok && (given && isDefault(f.schema, v) || !given && f.hasDefault)
		}
		return ok
	}
	return false
}

func isInteger(v any, least, greatest int64) bool {
	n, ok := v.(json.Number)
	if !ok {
		return false
	}
	i, err := n.Int64()
	return err == nil && i >= least && i <= greatest
}

// isByteText tells a text whose code points are the values of bytes.
func isByteText(s *Schema, v any) bool {
	t, ok := v.(string)
	if !ok || strings.ContainsFunc(t, func(r rune) bool { return r > 0xff }) {
		return false
	}
	return s.kind == kindBytes || int64(utf8.RuneCountInString(t)) == s.size
}
