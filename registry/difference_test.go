package registry_test

import (
	"fmt"
	"testing"

	"trunkline/registry"
)

// Seen failing with lists compared as a whole, and with what only one side has left
// out.
func TestDifferences(t *testing.T) {
	const field = `{"name":"a","type":["null","int"]}`
	record := func(fields string) string { return `{"type":"record","name":"R","fields":[` + fields + `]}` }
	for _, tt := range []struct{ name, newest, ours, want string }{
		{"the same, reformatted", `{ "name":"R", "fields":[` + field + `], "type":"record" }`, record(field), `[]`},
		{"large numbers", `{"size":9007199254740993}`, `{"size":9007199254740992}`, `[/size 9007199254740993 9007199254740992]`},
		{"promoted", record(field), record(field + `,{"name":"b","type":"int"}`), `[/fields/b  {"name":"b","type":"int"}]`},
		{"dropped", record(field + `,{"name":"b","type":"int"}`), record(field), `[/fields/b {"name":"b","type":"int"} ]`},
		{"type", record(field), record(`{"name":"a","type":["int","null"]}`), `[/fields/a/type ["null","int"] ["int","null"]]`},
		{"attribute", record(field), record(`{"name":"a","type":["null","int"],"default":null}`), `[/fields/a/default  null]`},
		{"whole", `"string"`, record(field), `[ "string" ` + `{"fields":[{"name":"a","type":["null","int"]}],"name":"R","type":"record"}]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := registry.Standing{State: registry.Changed, Newest: tt.newest, Text: tt.ours}.Differences()
			if err != nil {
				t.Fatal(err)
			}
			lines := []string{}
			for _, d := range got {
				lines = append(lines, fmt.Sprintf("%s %s %s", d.Path, d.Registry, d.Ours))
			}
			if fmt.Sprint(lines) != tt.want {
				t.Errorf("got %s, want %s", lines, tt.want)
			}
		})
	}
}
