package embedded

import (
	"fmt"
	"slices"
	"strings"
)

// compatibility is a level of the registry: what a new schema of a subject owes
// to the older ones.
type compatibility string

const (
	compatNone               compatibility = "NONE"
	compatBackward           compatibility = "BACKWARD" // the new one reads what the last one wrote
	compatBackwardTransitive compatibility = "BACKWARD_TRANSITIVE"
	compatForward            compatibility = "FORWARD" // the last one reads what the new one writes
	compatForwardTransitive  compatibility = "FORWARD_TRANSITIVE"
	compatFull               compatibility = "FULL" // both
	compatFullTransitive     compatibility = "FULL_TRANSITIVE"
)

func (c compatibility) valid() bool {
	switch c {
	case compatNone, compatBackward, compatBackwardTransitive, compatForward, compatForwardTransitive, compatFull, compatFullTransitive:
		return true
	}
	return false
}

// transitive reports whether the level looks at all older schemas, not just at
// the last one.
func (c compatibility) transitive() bool { return strings.HasSuffix(string(c), "_TRANSITIVE") }

func (c compatibility) backward() bool {
	return strings.HasPrefix(string(c), "BACKWARD") || strings.HasPrefix(string(c), "FULL")
}

func (c compatibility) forward() bool {
	return strings.HasPrefix(string(c), "FORWARD") || strings.HasPrefix(string(c), "FULL")
}

// check returns why the schema breaks the level against an older one, or nothing.
func (c compatibility) check(schema, older *avroSchema) []string {
	var faults []string
	if c.backward() {
		faults = append(faults, unreadable("new", schema, "old", older)...)
	}
	if c.forward() {
		faults = append(faults, unreadable("old", older, "new", schema)...)
	}
	return faults
}

// unreadable returns why data written with the one schema cannot be read with
// the other, or nothing: the schema resolution of the Avro specification with
// the error types of Avro's own SchemaCompatibility.
func unreadable(readerIs string, reader *avroSchema, writerIs string, writer *avroSchema) []string {
	r := avroResolution{reader: readerIs, writer: writerIs, seen: make(map[[2]*avroSchema]bool)}
	r.resolve("", reader, writer)
	return r.faults
}

// avroResolution collects the faults of one reader with one writer.
type avroResolution struct {
	reader, writer string                  // what they are, for messages
	seen           map[[2]*avroSchema]bool // ends recursion: assumed to be readable
	faults         []string
}

func (r *avroResolution) fault(kind, path, format string, args ...any) {
	if path == "" {
		path = "/"
	}
	r.faults = append(r.faults, fmt.Sprintf("%s at %s: %s", kind, path, fmt.Sprintf(format, args...)))
}

func (r *avroResolution) resolve(path string, reader, writer *avroSchema) {
	pair := [2]*avroSchema{reader, writer}
	if r.seen[pair] {
		return
	}
	r.seen[pair] = true
	switch {
	case writer.kind == avroUnion:
		for i, b := range writer.branches {
			r.resolve(fmt.Sprintf("%s/%d", path, i), reader, b)
		}
	case reader.kind == avroUnion:
		if !slices.ContainsFunc(reader.branches, func(b *avroSchema) bool { return r.reads(b, writer) }) {
			r.fault("MISSING_UNION_BRANCH", path, "the %s schema's union lacks a branch that reads the %s schema's %s", r.reader, r.writer, writer)
		}
	case reader.kind != writer.kind:
		if !promotes(writer.kind, reader.kind) {
			r.fault("TYPE_MISMATCH", path, "the %s schema's %s cannot read the %s schema's %s", r.reader, reader, r.writer, writer)
		}
	case reader.kind == avroArray:
		r.resolve(path+"/items", reader.items, writer.items)
	case reader.kind == avroMap:
		r.resolve(path+"/values", reader.items, writer.items)
	case reader.named():
		r.resolveNamed(path, reader, writer)
	}
}

// reads is resolve for one branch of a union: its faults do not count, those of
// all branches together do.
func (r *avroResolution) reads(reader, writer *avroSchema) bool {
	branch := avroResolution{seen: make(map[[2]*avroSchema]bool)}
	for pair := range r.seen {
		branch.seen[pair] = true
	}
	branch.resolve("", reader, writer)
	return len(branch.faults) == 0
}

func (r *avroResolution) resolveNamed(path string, reader, writer *avroSchema) {
	if unqualified(reader.name) != unqualified(writer.name) && !slices.Contains(reader.aliases, writer.name) {
		r.fault("NAME_MISMATCH", path, "the %s schema's %s is not the %s schema's %s", r.reader, reader, r.writer, writer)
		return
	}
	switch reader.kind {
	case avroFixed:
		if reader.size != writer.size {
			r.fault("FIXED_SIZE_MISMATCH", path, "%s has %d bytes in the %s schema and %d in the %s", reader, reader.size, r.reader, writer.size, r.writer)
		}
	case avroEnum:
		if reader.hasDefault {
			return
		}
		for _, s := range writer.symbols {
			if !slices.Contains(reader.symbols, s) {
				r.fault("MISSING_ENUM_SYMBOLS", path, "%s has no symbol %q in the %s schema, and no default", reader, s, r.reader)
			}
		}
	case avroRecord:
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
func writtenField(f avroField, writer *avroSchema) (avroField, bool) {
	for _, name := range append([]string{f.name}, f.aliases...) {
		if i := slices.IndexFunc(writer.fields, func(w avroField) bool { return w.name == name }); i >= 0 {
			return writer.fields[i], true
		}
	}
	return avroField{}, false
}

// promotes reports whether what was written as the one type can be read as the
// other.
func promotes(written, read avroKind) bool {
	switch written {
	case avroInt:
		return read == avroLong || read == avroFloat || read == avroDouble
	case avroLong:
		return read == avroFloat || read == avroDouble
	case avroFloat:
		return read == avroDouble
	case avroString:
		return read == avroBytes
	case avroBytes:
		return read == avroString
	}
	return false
}

func unqualified(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }
