package cxone

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/event"
)

var update = flag.Bool("update", false, "write testdata/events.golden")

// record is the raw record that an edge makes of body, or a poller with the list
// it is of.
func record(body, hint string) *event.Raw {
	raw := &event.Raw{
		Vendor: Vendor, Tenant: "acme", Transport: event.Push,
		IngestID: "01934f5e-0000-7000-8000-000000000000/0", ReceivedMs: 1795400000000,
		TopicHint: hint, Body: []byte(body),
	}
	raw.Format = Detect(raw.Body, hint)
	return raw
}

// TestSamples maps every sample payload; testdata/events.golden says to what.
func TestSamples(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	var got strings.Builder
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		raw := record(string(body), "")
		fmt.Fprintf(&got, "== %s %s\n%s\n", filepath.Base(file), raw.Format, describe(Map(raw)))
		for _, raw := range polled(body) {
			fmt.Fprintf(&got, "== %s of %s %s\n%s\n", filepath.Base(file), raw.TopicHint, raw.Format, describe(Map(raw)))
		}
	}
	const golden = "testdata/events.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// polled are the raw records that a poller makes of a page.
func polled(body []byte) []*event.Raw {
	var page struct {
		Agents            []json.RawMessage
		CompletedContacts []json.RawMessage
	}
	_ = json.Unmarshal(body, &page) // what is no page has none
	var raws []*event.Raw
	for list, records := range map[string][]json.RawMessage{"agents": page.Agents, "contacts/completed": page.CompletedContacts} {
		for _, r := range records {
			raws = append(raws, record(string(r), list))
		}
	}
	return raws
}

func describe(e event.Event, err error) string {
	if err != nil {
		return fmt.Sprintf("%T %v\n", err, err)
	}
	image := "full"
	if e.Partial {
		image = "partial"
	}
	md, _ := json.Marshal(e.Metadata)
	return fmt.Sprintf("id %s\nkey %s\n%q %s at %d by %s, version %+v\n%s %s\nmetadata %s\n",
		e.ID, e.Key, e.Op, e.Type, e.TsMs, e.TsSource, e.Version, image, e.Image, md)
}
