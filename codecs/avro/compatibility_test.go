package avro

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// canonicalEvent is the schema of guide 2.
var canonicalEvent = func() string {
	text, err := os.ReadFile("../schemas/canonical.avsc")
	if err != nil {
		panic(err)
	}
	return string(text)
}()

// promotedEvent is canonicalEvent with a field that drift promoted.
var promotedEvent = strings.Replace(canonicalEvent, `{"name": "metadata"`,
	`{"name": "queue", "type": ["null", "string"], "default": null}, {"name": "metadata"`, 1)

func recordOf(fields string) string { return `{"type":"record","name":"R","fields":[` + fields + `]}` }

func TestCompatibility(t *testing.T) {
	const (
		neither = iota
		forward // the old one reads what the new one writes
		backward
		full
	)
	enum := func(symbols, more string) string {
		return fmt.Sprintf(`{"type":"enum","name":"E","symbols":[%s]%s}`, symbols, more)
	}
	for _, tt := range []struct {
		name     string
		old, new string
		want     int
		says     string // in the message of what fails
	}{
		{"the same", canonicalEvent, canonicalEvent, full, ""},
		{"canonical event, optional field added", canonicalEvent, promotedEvent, full, ""},
		{"canonical event, optional field removed", promotedEvent, canonicalEvent, full, ""},
		{"canonical event, required field removed", canonicalEvent, strings.Replace(canonicalEvent, `{"name": "vendor", "type": "string"},`, "", 1), backward, `READER_FIELD_MISSING_DEFAULT_VALUE at /vendor: field "vendor" has no default value in the old schema`},
		{"canonical event, required field added", canonicalEvent, strings.Replace(canonicalEvent, `"fields": [`, `"fields": [{"name": "n", "type": "int"},`, 1), forward, `field "n" has no default value in the new schema`},
		{"canonical event, time as text", canonicalEvent, strings.Replace(canonicalEvent, `"long"`, `"string"`, 1), neither, "TYPE_MISMATCH at /timestamp"},
		{"canonical event, map of longs", canonicalEvent, strings.Replace(canonicalEvent, `"values": "string"`, `"values": "long"`, 1), neither, "TYPE_MISMATCH at /payload/values"},
		{"field order, doc and properties", recordOf(`{"name":"a","type":"int"},{"name":"b","type":"int"}`), `{"type":"record","name":"R","doc":"d","connect.name":"x","fields":[{"name":"b","type":{"type":"int","logicalType":"date"}},{"name":"a","type":"int"}]}`, full, ""},

		{"int to long", `"int"`, `"long"`, backward, "TYPE_MISMATCH"},
		{"int to double", `"int"`, `"double"`, backward, ""},
		{"long to float", `"long"`, `"float"`, backward, ""},
		{"float to double", `"float"`, `"double"`, backward, ""},
		{"double to float", `"double"`, `"float"`, forward, ""},
		{"float to long", `"float"`, `"long"`, forward, ""},
		{"string to bytes", `"string"`, `"bytes"`, full, ""},
		{"int to string", `"int"`, `"string"`, neither, ""},
		{"null to int", `"null"`, `"int"`, neither, ""},
		{"boolean to int", `"boolean"`, `"int"`, neither, ""},

		{"union from type", `"string"`, `["null","string"]`, backward, "TYPE_MISMATCH at /0"},
		{"union grows", `["null","string"]`, `["null","string","long"]`, backward, "MISSING_UNION_BRANCH at /2"},
		{"union in another order", `["null","string"]`, `["string","null"]`, full, ""},
		{"union promotes a branch", `["null","int"]`, `["null","long"]`, backward, "MISSING_UNION_BRANCH at /1"},
		{"empty union reads nothing", `["null"]`, `[]`, forward, "MISSING_UNION_BRANCH"},
		{"union of one and its type", `["string"]`, `"string"`, full, ""},

		{"array items", `{"type":"array","items":"int"}`, `{"type":"array","items":"long"}`, backward, "/items"},
		{"array to map", `{"type":"array","items":"int"}`, `{"type":"map","values":"int"}`, neither, ""},
		{"nested record", recordOf(`{"name":"n","type":{"type":"record","name":"N","fields":[{"name":"x","type":"int"}]}}`), recordOf(`{"name":"n","type":{"type":"record","name":"N","fields":[{"name":"x","type":"int"},{"name":"y","type":"int"}]}}`), forward, "/n/y"},
		{"record in an array in a union", `["null",{"type":"array","items":{"type":"record","name":"N","fields":[]}}]`, `["null",{"type":"array","items":{"type":"record","name":"N","fields":[{"name":"y","type":"int"}]}}]`, forward, "MISSING_UNION_BRANCH at /1"},

		{"enum grows", enum(`"A"`, ""), enum(`"A","B"`, ""), backward, `no symbol "B" in the old schema`},
		{"enum grows, with defaults", enum(`"A"`, `,"default":"A"`), enum(`"A","B"`, `,"default":"A"`), full, ""},
		{"enum shrinks, new one with default", enum(`"A","B"`, ""), enum(`"A"`, `,"default":"A"`), full, ""},
		{"fixed size", `{"type":"fixed","name":"F","size":4}`, `{"type":"fixed","name":"F","size":5}`, neither, "FIXED_SIZE_MISMATCH"},
		{"fixed to bytes", `{"type":"fixed","name":"F","size":4}`, `"bytes"`, neither, ""},

		{"record renamed", `{"type":"record","name":"A","fields":[]}`, `{"type":"record","name":"B","fields":[]}`, neither, "NAME_MISMATCH"},
		{"record renamed with alias", `{"type":"record","name":"x.A","fields":[]}`, `{"type":"record","name":"x.B","aliases":["A"],"fields":[]}`, backward, "NAME_MISMATCH"},
		{"record in another namespace", `{"type":"record","name":"x.A","fields":[]}`, `{"type":"record","name":"y.A","fields":[]}`, full, ""},
		{"field renamed with alias", recordOf(`{"name":"a","type":"int"}`), recordOf(`{"name":"b","aliases":["a"],"type":"int"}`), backward, `field "a" has no default`},
		{"field renamed with alias and default", recordOf(`{"name":"a","type":"int","default":0}`), recordOf(`{"name":"b","aliases":["a"],"type":"int"}`), full, ""},

		{"recursion", recordOf(`{"name":"next","type":["null","R"]},{"name":"v","type":"int"}`), recordOf(`{"name":"next","type":["null","R"]},{"name":"v","type":"long"}`), backward, "/v"},
		{"recursion, the same", recordOf(`{"name":"next","type":["null","R"]}`), recordOf(`{"name":"next","type":["null","R"],"default":null}`), full, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			older, newer := mustParse(t, tt.old), mustParse(t, tt.new)
			canBackward, canForward := Backward.Check(newer, older), Forward.Check(newer, older)
			got := neither
			if len(canForward) == 0 {
				got |= forward
			}
			if len(canBackward) == 0 {
				got |= backward
			}
			faults := Full.Check(newer, older)
			if got != tt.want {
				t.Errorf("got %b, want %b (bits: backward, forward): %q", got, tt.want, faults)
			}
			if (len(faults) == 0) != (tt.want == full) {
				t.Errorf("FULL: got %q", faults)
			}
			if !strings.Contains(fmt.Sprint(faults), tt.says) {
				t.Errorf("got %q, want a message with %q", faults, tt.says)
			}
			if faults := None.Check(newer, older); len(faults) > 0 {
				t.Errorf("NONE: got %q", faults)
			}
			// What is backward one way is forward the other.
			if back := Forward.Check(older, newer); (len(back) == 0) != (len(canBackward) == 0) {
				t.Errorf("got forward %q for the pair turned round, want as backward %q", back, canBackward)
			}
		})
	}
}

func mustParse(t *testing.T, text string) *Schema {
	t.Helper()
	s, err := Parse(text)
	if err != nil {
		t.Fatalf("parse %s: %v", text, err)
	}
	return s
}

func TestParse(t *testing.T) {
	field := func(f string) string { return recordOf(f) }
	for _, tt := range []struct {
		text string
		want string // part of the error; empty: valid
	}{
		{`"string"`, ""},
		{`{"type":"string","avro.java.string":"String"}`, ""},
		{`{"type":"record","name":"a.b.R","fields":[{"name":"x","type":{"type":"fixed","name":"F","size":2}},{"name":"y","type":"a.b.F","default":"\u0001\u00ff"},{"name":"z","type":"F"}]}`, ""},
		{`{"type":"record","name":"R","namespace":"n","fields":[{"name":"x","type":{"type":"enum","name":"m.E","symbols":["A"]}},{"name":"y","type":"m.E","default":"A"}]}`, ""},
		{field(`{"name":"x","type":["string","null"],"default":"a"}`), ""},
		{field(`{"name":"x","type":{"type":"array","items":"int"},"default":[]},{"name":"m","type":{"type":"map","values":"int"},"default":{"a":1}}`), ""},
		{field(`{"name":"x","type":{"type":"record","name":"N","fields":[{"name":"a","type":"int","default":1},{"name":"b","type":"double"}]},"default":{"b":1.5}}`), ""},

		{``, "read schema"},
		{`nonsense`, "read schema"},
		{`"string" "string"`, "behind it"},
		{`"text"`, `undefined name "text"`},
		{`5`, "no schema"},
		{`null`, "no schema"},
		{`{}`, "type is missing"},
		{`{"type":"record","fields":[]}`, "invalid name"},
		{`{"type":"record","name":"R"}`, "no fields"},
		{`{"type":"record","name":"a-b","fields":[]}`, "invalid name"},
		{`{"type":"record","name":"int","fields":[]}`, "invalid name"},
		{field(`{"name":"x"}`), "type is missing"},
		{field(`{"name":"1x","type":"int"}`), "invalid name"},
		{field(`{"name":"x","type":"int"},{"name":"x","type":"int"}`), "twice"},
		{field(`{"name":"x","type":"S"}`), "undefined name"},
		{field(`{"name":"x","type":{"type":"record","name":"R","fields":[]}}`), "defined twice"},
		{field(`{"name":"x","type":"int","default":"1"}`), "no default"},
		{field(`{"name":"x","type":"int","default":2147483648}`), "no default"},
		{field(`{"name":"x","type":"int","default":1.5}`), "no default"},
		{field(`{"name":"x","type":["null","string"],"default":"a"}`), "no default"},
		{field(`{"name":"x","type":"bytes","default":"\u0100"}`), "no default"},
		{field(`{"name":"x","type":{"type":"fixed","name":"F","size":2},"default":"abc"}`), "no default"},
		{field(`{"name":"x","type":{"type":"array","items":"int"},"default":["a"]}`), "no default"},
		{field(`{"name":"x","type":{"type":"record","name":"N","fields":[{"name":"a","type":"int"}]},"default":{}}`), "no default"},
		{field(`{"name":"x","type":"int","aliases":"y"}`), "aliases is no list"},
		{`["null","null"]`, "twice in a union"},
		{`["null",["int"]]`, "directly in a union"},
		{`[{"type":"map","values":"int"},{"type":"map","values":"string"}]`, "twice in a union"},
		{`{"type":"enum","name":"E"}`, "no symbols"},
		{`{"type":"enum","name":"E","symbols":["A","A"]}`, "repeated symbol"},
		{`{"type":"enum","name":"E","symbols":["A"],"default":"B"}`, "none of its symbols"},
		{`{"type":"fixed","name":"F"}`, "no size"},
		{`{"type":"fixed","name":"F","size":-1}`, "no size"},
		{`{"type":"array"}`, "without items"},
		{`{"type":"map"}`, "without items"},
	} {
		_, err := Parse(tt.text)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.text, err, tt.want)
		}
	}
}
