package stream

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"trunkline/topology"
)

// A finder sees at each offset what a reader sees there: neither markers nor what
// was aborted, nor what is before the start of the log or after its end.
//
// Seen failing with aborted batches not skipped, and with the first record of the
// batch returned.
func TestFinderSeesWhatReadersSee(t *testing.T) {
	b := startBroker(t)
	cfg := config(t, b.Addr(), "p1")
	createTopics(t, cfg, inputTopic)
	record := func(text string) Outgoing {
		return Outgoing{Topic: inputTopic, Key: "k", Value: []byte(text), Headers: nil}
	}
	batches, err := NewBatches(cfg, "test", topology.Partition)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := batches.Append(t.Context(), []Outgoing{record(fmt.Sprint(i, " a")), {Topic: inputTopic, Key: "k"}, record(fmt.Sprint(i, " b"))}); err != nil {
			t.Fatal(err)
		}
		if err := batches.producer.begin(); err != nil {
			t.Fatal(err)
		}
		aborted := record("aborted")
		batches.producer.send(aborted.message(topology.Partition("k", partitions)))
		if err := batches.producer.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := batches.Close(); err != nil {
			t.Fatal(err)
		}
		if err := batches.open(); err != nil {
			t.Fatal(err)
		}
	}
	if err := batches.Close(); err != nil {
		t.Fatal(err)
	}
	partition := topology.Partition("k", partitions)
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	// Retention takes the first record.
	var cut kadm.Offsets
	cut.AddOffset(inputTopic, partition, 1, -1)
	if _, err := kadm.NewClient(client).DeleteRecords(t.Context(), cut); err != nil {
		t.Fatal(err)
	}

	want := map[int64]Record{}
	last := int64(0)
	for _, r := range readAll(t, cfg, inputTopic) {
		want[r.Offset], last = r, max(last, r.Offset)
	}
	if len(want) != 8 {
		t.Fatalf("a reader sees %d records, want 8", len(want))
	}
	f, err := NewFinder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it only reads
	for offset := range last + 10 {
		r, ok, err := f.At(inputTopic, partition, offset)
		if err != nil {
			t.Fatal(err)
		}
		wanted, there := want[offset]
		if ok != there {
			t.Errorf("offset %d: found %t, want %t", offset, ok, there)
		}
		if diff := cmp.Diff(wanted, r); diff != "" {
			t.Errorf("offset %d (-want +got):\n%s", offset, diff)
		}
	}
}
