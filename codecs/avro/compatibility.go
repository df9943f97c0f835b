package avro

import (
	"fmt"
	"slices"
	"strings"
)

// Level is a level of compatibility as registries name them: what a new schema
// owes to the older ones of its subject.
type Level string

// The levels.
const (
	None               Level = "NONE"
	Backward           Level = "BACKWARD" // the new one reads what the last one wrote
	BackwardTransitive Level = "BACKWARD_TRANSITIVE"
	Forward            Level = "FORWARD" // the last one reads what the new one writes
	ForwardTransitive  Level = "FORWARD_TRANSITIVE"
	Full               Level = "FULL" // both
	FullTransitive     Level = "FULL_TRANSITIVE"
)

// Valid reports whether the level is one of those above.
func (l Level) Valid() bool {
	switch l {
	case None, Backward, BackwardTransitive, Forward, ForwardTransitive, Full, FullTransitive:
		return true
	}
	return false
}

// Transitive reports whether the level looks at all older schemas, not just at
// the last one.
func (l Level) Transitive() bool { return strings.HasSuffix(string(l), "_TRANSITIVE") }

func (l Level) backward() bool {
	return strings.HasPrefix(string(l), "BACKWARD") || strings.HasPrefix(string(l), "FULL")
}

func (l Level) forward() bool {
	return strings.HasPrefix(string(l), "FORWARD") || strings.HasPrefix(string(l), "FULL")
}

// Fault is a place where one schema cannot read what the other wrote.
type Fault struct {
	Rule   string `json:"rule"`  // the error type of Avro's SchemaCompatibility
	Field  string `json:"field"` // its path, "/" for the schema itself
	Detail string `json:"detail"`
}

func (f Fault) String() string { return f.Rule + " at " + f.Field + ": " + f.Detail }

// Check returns why the schema breaks the level against an older one, or nothing.
func (l Level) Check(schema, older *Schema) []Fault {
	var faults []Fault
	if l.backward() {
		faults = append(faults, unreadable("new", schema, "old", older)...)
	}
	if l.forward() {
		faults = append(faults, unreadable("old", older, "new", schema)...)
	}
	return faults
}

// unreadable returns why data written with the one schema cannot be read with
// the other, or nothing: the schema resolution of the Avro specification with
// the error types of Avro's own SchemaCompatibility.
func unreadable(readerIs string, reader *Schema, writerIs string, writer *Schema) []Fault {
	r := resolution{reader: readerIs, writer: writerIs, seen: make(map[[2]*Schema]bool)}
	r.resolve("", reader, writer)
	return r.faults
}

// resolution collects the faults of one reader with one writer.
type resolution struct {
	reader, writer string              // what they are, for messages
	seen           map[[2]*Schema]bool // ends recursion: assumed to be readable
	faults         []Fault
}

func (r *resolution) fault(rule, path, format string, args ...any) {
	if path == "" {
		path = "/"
	}
	r.faults = append(r.faults, Fault{Rule: rule, Field: path, Detail: fmt.Sprintf(format, args...)})
}

func (r *resolution) resolve(path string, reader, writer *Schema) {
	pair := [2]*Schema{reader, writer}
	if r.seen[pair] {
		return
	}
	r.seen[pair] = true
	switch {
	case writer.kind == kindUnion:
		for i, b := range writer.branches {
			r.resolve(fmt.Sprintf("%s/%d", path, i), reader, b)
		}
	case reader.kind == kindUnion:
		if !slices.ContainsFunc(reader.branches, func(b *Schema) bool { return r.reads(b, writer) }) {
			r.fault("MISSING_UNION_BRANCH", path, "the %s schema's union lacks a branch that reads the %s schema's %s", r.reader, r.writer, writer)
		}
	case reader.kind != writer.kind:
		if !promotes(writer.kind, reader.kind) {
			r.fault("TYPE_MISMATCH", path, "the %s schema's %s cannot read the %s schema's %s", r.reader, reader, r.writer, writer)
		}
	case reader.kind == kindArray:
		r.resolve(path+"/items", reader.items, writer.items)
	case reader.kind == kindMap:
		r.resolve(path+"/values", reader.items, writer.items)
	case reader.named():
		r.resolveNamed(path, reader, writer)
	}
}

// reads is resolve for one branch of a union: its faults do not count, those of
// all branches together do.
func (r *resolution) reads(reader, writer *Schema) bool {
	branch := resolution{seen: make(map[[2]*Schema]bool)}
	for pair := range r.seen {
		branch.seen[pair] = true
	}
	branch.resolve("", reader, writer)
	return len(branch.faults) == 0
}

func (r *resolution) resolveNamed(path string, reader, writer *Schema) {
	if unqualified(reader.name) != unqualified(writer.name) && !slices.Contains(reader.aliases, writer.name) {
		r.fault("NAME_MISMATCH", path, "the %s schema's %s is not the %s schema's %s", r.reader, reader, r.writer, writer)
		return
	}
	switch reader.kind {
	case kindFixed:
		if reader.size != writer.size {
			r.fault("FIXED_SIZE_MISMATCH", path, "%s has %d bytes in the %s schema and %d in the %s", reader, reader.size, r.reader, writer.size, r.writer)
		}
	case kindEnum:
		if reader.hasDefault {
			return
		}
		for _, s := range writer.symbols {
			if !slices.Contains(reader.symbols, s) {
				r.fault("MISSING_ENUM_SYMBOLS", path, "%s has no symbol %q in the %s schema, and no default", reader, s, r.reader)
			}
		}
	case kindRecord:
		for _, f := range reader.fields {
			written, ok := writtenField(f, writer)
			switch {
			case ok:
				r.resolve(path+"/"+f.name, f.schema, written.schema)
			case !f.hasDefault:
				r.fault("READER_FIELD_MISSING_DEFAULT_VALUE", path+"/"+f.name,
					"field %q has no default value in the %s schema and is missing in the %s schema", f.name, r.reader, r.writer)
			}
		}
	}
}

// writtenField is the writer's field that the reader's field stands for: that of
// its name, else that of an alias.
func writtenField(f recordField, writer *Schema) (recordField, bool) {
	for _, name := range append([]string{f.name}, f.aliases...) {
		if i := slices.IndexFunc(writer.fields, func(w recordField) bool { return w.name == name }); i >= 0 {
			return writer.fields[i], true
		}
	}
	return recordField{}, false
}

// promotes reports whether what was written as the one type can be read as the
// other.
func promotes(written, read typeKind) bool {
	switch written {
	case kindInt:
		return read == kindLong || read == kindFloat || read == kindDouble
	case kindLong:
		return read == kindFloat || read == kindDouble
	case kindFloat:
		return read == kindDouble
	case kindString:
		return read == kindBytes
	case kindBytes:
		return read == kindString
	}
	return false
}

func unqualified(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }
