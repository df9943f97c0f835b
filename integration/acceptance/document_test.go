package acceptance

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"trunkline/integration/harness"
)

// docs/consumers.md names the files and the versions that these tests run with.
//
// Seen failing with another version of each, and with a file renamed.
func TestDocument(t *testing.T) {
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	text := read("docs/consumers.md")
	converter := regexp.MustCompile(`-converter</artifactId>\s+<version>(.+)</version>`).FindStringSubmatch(read("integration/harness/avro/pom.xml"))
	if converter == nil {
		t.Fatal("avro/pom.xml names no converter")
	}
	wanted := []string{
		"worker (Kafka " + harness.KafkaVersion + ")", "sink (" + strings.TrimPrefix(jdbcSink, "jdbc-sink-") + ")",
		"Apicurio (" + converter[1] + ")", "registry " + strings.TrimPrefix(apicurio, "apicurio-"),
	}
	for _, name := range []string{"worker", "jdbc-sink-json", "jdbc-sink-avro"} {
		wanted = append(wanted, "(connect/"+name+".properties)")
		if _, err := os.Stat(document(t, name+".properties")); err != nil {
			t.Error(err)
		}
	}
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q", want)
		}
	}
}
