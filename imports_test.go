package trunkline_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// libraries are kept where they are understood. Tests may use them anywhere.
var libraries = map[string][]string{
	"github.com/IBM/sarama":              {"stream", "app"},
	"github.com/lovoo/goka":              {"stream", "processors", "topology", "view", "state"},
	"github.com/go-jose/go-jose/v4":      {"ingest/keys"},
	"github.com/linkedin/goavro/v2":      {"codecs"},
	"github.com/syndtr/goleveldb":        {"state"},
	"github.com/twmb/franz-go/pkg/kfake": {"embedded"},
	"github.com/spf13/cobra":             {"cmd/trunkline"},
}

// testsMayImport is what tests of every package may import besides: what real
// events look like and where they go.
var testsMayImport = []string{"embedded", "integration", "topology", "vendors", "vendors/cxone", "vendors/genesys"}

// TestImports executes the import table of ARCHITECTURE.md.
func TestImports(t *testing.T) {
	table := readImportTable(t)
	for _, p := range listPackages(t) {
		name := ours(p.ImportPath)
		if name == "" {
			continue // the root, where only this test lives
		}
		for _, fault := range table.check(p) {
			t.Errorf("%s %s", name, fault)
		}
	}
}

// TestImportTable shows that the check sees what it is there for.
func TestImportTable(t *testing.T) {
	table := readImportTable(t)
	tests := []struct {
		pkg  goPackage
		want []string
	}{
		{goPackage{ImportPath: "trunkline/event", Imports: []string{"time"}}, nil},
		{goPackage{ImportPath: "trunkline/vendors/cxone", Imports: []string{"trunkline/vendors"}}, nil},
		{goPackage{ImportPath: "trunkline/ingest/genesys", Imports: []string{"trunkline/ingest", "trunkline/stream"}}, nil},
		{goPackage{ImportPath: "trunkline/integration", Imports: []string{"trunkline/cmd/trunkline"}}, nil},
		{goPackage{ImportPath: "trunkline/codecs", XTestImports: []string{"trunkline/integration/harness"}}, nil},
		{
			goPackage{ImportPath: "trunkline/event", Imports: []string{"trunkline/codecs"}},
			[]string{"imports codecs"},
		},
		{
			goPackage{ImportPath: "trunkline/vendors/cxone", Imports: []string{"trunkline/vendors/genesys"}},
			[]string{"imports vendors/genesys"},
		},
		{
			goPackage{ImportPath: "trunkline/state", Imports: []string{"trunkline/embedded"}},
			[]string{"imports embedded"},
		},
		{
			goPackage{ImportPath: "trunkline/codecs", TestImports: []string{"trunkline/app"}},
			[]string{"imports app (test)"},
		},
		{
			goPackage{ImportPath: "trunkline/view", Imports: []string{"github.com/IBM/sarama", "github.com/lovoo/goka"}},
			[]string{"imports github.com/IBM/sarama"},
		},
		{
			goPackage{ImportPath: "trunkline/helpers"},
			[]string{"is no package of the table in ARCHITECTURE.md"},
		},
		{
			goPackage{ImportPath: "trunkline/app", Imports: []string{"trunkline/event", "trunkline/helpers"}},
			[]string{"imports helpers"},
		},
	}
	for _, tt := range tests {
		if got := table.check(tt.pkg); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: got faults %q, want %q", tt.pkg, got, tt.want)
		}
	}
}

// goPackage is what `go list -json` says of a package.
type goPackage struct {
	ImportPath   string
	Dir          string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// listPackages lists the packages of this module.
func listPackages(t *testing.T) []goPackage {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Dir,Imports,TestImports,XTestImports", "./...")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	var packages []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("decode go list: %v", err)
		}
		// The test cache sees what this process reads, not what go list reads.
		if _, err := os.ReadDir(p.Dir); err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// importTable is what each package may import of ours. A folder below a package
// follows its row unless it has its own.
type importTable map[string][]string

var (
	tableRow = regexp.MustCompile("(?m)^\\| (`[^|]+) \\|[^|]*\\| ([^|]+) \\|$")
	tableKey = regexp.MustCompile("`([^`]+)`")
)

func readImportTable(t *testing.T) importTable {
	t.Helper()
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := bytes.Cut(text, []byte("| may import of ours |\n"))
	if !found {
		t.Fatal("ARCHITECTURE.md has no import table")
	}
	text, _, _ = bytes.Cut(text, []byte("\n\n"))
	table := importTable{}
	for _, row := range tableRow.FindAllSubmatch(append(text, '\n'), -1) {
		above := slices.Sorted(maps.Keys(table))
		may := strings.Fields(string(row[2]))
		switch string(row[2]) {
		case "–":
			may = nil
		case "all above", "everything":
			may = above
		}
		for _, name := range may {
			if !slices.Contains(above, name) {
				t.Errorf("ARCHITECTURE.md: %s may import %s, which does not stand above it", row[1], name)
			}
		}
		for _, key := range tableKey.FindAllSubmatch(row[1], -1) {
			table[string(key[1])] = may
		}
	}
	if len(table) == 0 {
		t.Fatal("the import table of ARCHITECTURE.md is empty")
	}
	return table
}

// check returns what the package imports against the table.
func (table importTable) check(p goPackage) []string {
	name := ours(p.ImportPath)
	row := table.row(name)
	if row == "" {
		return []string{"is no package of the table in ARCHITECTURE.md"}
	}
	var faults []string
	for _, imported := range p.Imports {
		if !table.allows(row, imported, nil) || !libraryAllowed(row, imported) {
			faults = append(faults, "imports "+short(imported))
		}
	}
	for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
		if !table.allows(row, imported, testsMayImport) {
			faults = append(faults, "imports "+short(imported)+" (test)")
		}
	}
	return faults
}

// row returns the nearest package at or above name that has a row.
func (table importTable) row(name string) string {
	for ; name != "."; name = path.Dir(name) {
		if _, ok := table[name]; ok {
			return name
		}
	}
	return ""
}

func (table importTable) allows(row, importPath string, besides []string) bool {
	name := ours(importPath)
	if name == "" {
		return true
	}
	target := table.row(name)
	return target != "" && (target == row || slices.Contains(table[row], target) || slices.Contains(besides, target))
}

func libraryAllowed(row, importPath string) bool {
	for library, users := range libraries {
		if importPath == library || strings.HasPrefix(importPath, library+"/") {
			return slices.Contains(users, row) || row == "integration"
		}
	}
	return true
}

// ours returns the folder of a package of this module, "" for the root and for
// packages of others.
func ours(importPath string) string {
	name, _ := strings.CutPrefix(importPath, "trunkline/")
	if name == importPath {
		return ""
	}
	return name
}

func short(importPath string) string {
	if name := ours(importPath); name != "" {
		return name
	}
	return importPath
}
