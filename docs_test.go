package trunkline_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const guarantees = "docs/guarantees.md"

// TestGuarantees holds docs/guarantees.md against the code: what it names exists,
// each invariant has its files and tests, and versions are those of the code.
//
// Seen failing with a test renamed, with a file moved, and with another version
// in stream/faults.go.
func TestGuarantees(t *testing.T) {
	for _, fault := range documentFaults(t, read(t, guarantees)) {
		t.Errorf("%s: %s", guarantees, fault)
	}
}

// TestGuaranteesFaults shows that the check sees what it is there for.
func TestGuaranteesFaults(t *testing.T) {
	text := read(t, guarantees)
	tests := []struct{ old, spoilt, want string }{
		{"`stream/gate.go`", "`stream/gates.go`", "there is no file stream/gates.go"},
		{"(../ARCHITECTURE.md)", "(../DESIGN.md)", "there is no file DESIGN.md"},
		{"`integration.TestVerify`", "`integration.TestVerified`", "integration declares no TestVerified"},
		{"`event.TestOrderIsTotal`", "`state.TestOrderIsTotal`", "state declares no TestOrderIsTotal"},
		{"`stream.Example`", "`streams.Example`", "streams declares no Example"},
		{"`make chaos`", "`make havoc`", "there is no make havoc"},
		{"| **I4** |", "| I4 |", "I4 has no row with files and tests"},
		{"| `TxnOffsetCommit` | 3 |", "| `TxnOffsetCommit` | 2 |", "TxnOffsetCommit is not wanted at 3, as in stream/faults.go"},
		{"sarama v1.", "sarama v0.", "sarama has not the version of go.mod"},
		{"tested with Kafka ", "tested with Kafka 1", "Kafka has not the version of the Makefile"},
	}
	for _, tt := range tests {
		spoilt := strings.Replace(text, tt.old, tt.spoilt, 1)
		if spoilt == text {
			t.Errorf("%q does not stand in %s", tt.old, guarantees)
		}
		got := documentFaults(t, spoilt)
		if want := []string{tt.want}; !slices.Equal(got, want) {
			t.Errorf("%q for %q: got faults %q, want %q", tt.spoilt, tt.old, got, want)
		}
	}
}

var (
	code       = regexp.MustCompile("`([^`\n]+)`")
	link       = regexp.MustCompile(`\]\(\.\./([^)#]+)`)
	file       = regexp.MustCompile(`^[\w./-]+\.(go|md)$`)
	identifier = regexp.MustCompile(`^([\w/]+)\.([A-Z]\w*)$`) // package folder and name
	target     = regexp.MustCompile(`^make ([\w-]+)$`)
	request    = regexp.MustCompile(`(?m)^\t\{\d+, (\d+), "(\w+)"`)
)

// documentFaults says what a document names that is not so.
func documentFaults(t *testing.T, text string) []string {
	t.Helper()
	var faults []string
	fault := func(format string, args ...any) {
		if f := fmt.Sprintf(format, args...); !slices.Contains(faults, f) {
			faults = append(faults, f)
		}
	}
	makefile := read(t, "Makefile")
	var names []string
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	for _, m := range code.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	for _, name := range names {
		if file.MatchString(name) {
			if _, err := os.Stat(name); err != nil {
				fault("there is no file %s", name)
			}
		} else if id := identifier.FindStringSubmatch(name); id != nil {
			if !declares(t, id[1], id[2]) {
				fault("%s declares no %s", id[1], id[2])
			}
		} else if m := target.FindStringSubmatch(name); m != nil && !strings.Contains(makefile, "\n"+m[1]+":") {
			fault("there is no make %s", m[1])
		}
	}
	for i := 1; i <= 10; i++ {
		row := regexp.MustCompile(fmt.Sprintf("(?m)^\\| \\*\\*I%d\\*\\* \\|[^|]+\\| `[^|]+\\.go` \\| `[^|]+\\.(Test|Fuzz)[^|]+` \\|$", i))
		if !row.MatchString(text) {
			fault("I%d has no row with files and tests", i)
		}
	}
	requests := request.FindAllStringSubmatch(read(t, "stream/faults.go"), -1)
	if len(requests) == 0 {
		t.Fatal("stream/faults.go has no table of requests")
	}
	for _, r := range requests {
		if !strings.Contains(text, fmt.Sprintf("| `%s` | %s |", r[2], r[1])) {
			fault("%s is not wanted at %s, as in stream/faults.go", r[2], r[1])
		}
	}
	if m := regexp.MustCompile(`sarama (v\S+)`).FindStringSubmatch(read(t, "go.mod")); m == nil || !strings.Contains(text, "sarama "+m[1]+" ") {
		fault("sarama has not the version of go.mod")
	}
	if m := regexp.MustCompile(`kafka-([\d.]+)`).FindStringSubmatch(makefile); m == nil || !strings.Contains(text, "Kafka "+m[1]+" ") {
		fault("Kafka has not the version of the Makefile")
	}
	return faults
}

// declares reports whether a package has a function or type of that name. Tests
// stand in the test files alone.
func declares(t *testing.T, folder, name string) bool {
	t.Helper()
	pattern := "*.go"
	if strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz") || strings.HasPrefix(name, "Example") {
		pattern = "*_test.go"
	}
	files, err := filepath.Glob(filepath.Join(folder, pattern))
	if err != nil {
		t.Fatal(err)
	}
	declaration := regexp.MustCompile(`(?m)^(func|type) ` + name + `\b`)
	return slices.ContainsFunc(files, func(f string) bool { return declaration.MatchString(read(t, f)) })
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
