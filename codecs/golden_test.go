package codecs_test

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/codecs"
	"trunkline/event"
)

// update rewrites the golden files that are ours. Those in testdata/golden were
// made with Debezium's own code and are never rewritten.
var update = flag.Bool("update", false, "rewrite our golden files")

func TestChangesEqualDebeziums(t *testing.T) {
	topic, ids, changes := goldenInputs(t)
	for _, format := range []codecs.Format{codecs.FormatAvro, codecs.FormatJSON} {
		encoder := newEncoder(t, codecs.ChangeOptions{Topic: topic, Vendor: "genesys", Format: format, IDs: ids})
		for name, c := range changes {
			t.Run(string(format)+"/"+name, func(t *testing.T) {
				wantKey, wantValue := goldenRecord(t, format, name)
				key, err := encoder.Key(c.Key)
				if err != nil {
					t.Fatal(err)
				}
				value, sanitised, err := encoder.Value(&c)
				if err != nil {
					t.Fatal(err)
				}
				if sanitised {
					t.Error("sanitised a clean change")
				}
				if diff := cmp.Diff(string(wantKey), string(key)); diff != "" {
					t.Errorf("key (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(string(wantValue), string(value)); diff != "" {
					t.Errorf("value (-want +got):\n%s", diff)
				}
				got, err := codecs.DecodeChange(format, wantKey, wantValue)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c, got); diff != "" {
					t.Errorf("decoded (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestChangeSchemasEqualDebeziums(t *testing.T) {
	key, value := codecs.ChangeSchemas("genesys.config.changes", "genesyscloud")
	if diff := cmp.Diff(string(readFile(t, "golden/key.avsc")), key); diff != "" {
		t.Errorf("key (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(string(readFile(t, "golden/value.avsc")), value); diff != "" {
		t.Errorf("value (-want +got):\n%s", diff)
	}
}

// goldenInputs reads the logical inputs of Debezium's golden records.
func goldenInputs(t *testing.T) (topic string, ids codecs.SchemaIDs, changes map[string]event.Change) {
	t.Helper()
	type image struct {
		Name    *string
		Version *int64
		Data    *string
	}
	var inputs struct {
		Topic    string
		SchemaID int
		Records  map[string]struct {
			TenantID, ResourceType, ResourceID, Op, Snapshot string
			Before, After                                    *image
			EventTimeNs, ProcessedTimeNs                     int64
			Sequence                                         [2]string
			EventID, EventType, RawTopic                     string
			RawPartition                                     int32
			RawOffset                                        int64
		}
	}
	if err := json.Unmarshal(readFile(t, "golden/inputs.json"), &inputs); err != nil {
		t.Fatal(err)
	}
	imageOf := func(i *image) *event.Image {
		if i == nil {
			return nil
		}
		out := &event.Image{Name: i.Name, Version: i.Version}
		if i.Data != nil {
			out.Data = []byte(*i.Data)
		}
		return out
	}
	changes = map[string]event.Change{}
	for name, r := range inputs.Records {
		us, err1 := strconv.ParseInt(r.Sequence[0], 10, 64)
		n, err2 := strconv.ParseInt(r.Sequence[1], 10, 64)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		changes[name] = event.Change{
			Key:    event.Key{Vendor: "genesys", Tenant: r.TenantID, Type: r.ResourceType, ID: r.ResourceID},
			Op:     event.Op(r.Op),
			Before: imageOf(r.Before), After: imageOf(r.After),
			TsMs: r.EventTimeNs / 1e6, Processed: r.ProcessedTimeNs,
			Snapshot: r.Snapshot, SequenceUs: us, SequenceN: n,
			EventID: r.EventID, EventType: r.EventType,
			Raw: event.Position{Topic: r.RawTopic, Partition: r.RawPartition, Offset: r.RawOffset},
		}
	}
	if len(changes) != 5 {
		t.Fatalf("got %d golden inputs, want 5", len(changes))
	}
	return inputs.Topic, codecs.SchemaIDs{Key: inputs.SchemaID, Value: inputs.SchemaID}, changes
}

func goldenRecord(t *testing.T, format codecs.Format, name string) (key, value []byte) {
	t.Helper()
	if format == codecs.FormatJSON {
		return readFile(t, "golden/key.json"), readFile(t, "golden/value."+name+".json")
	}
	return readHex(t, "golden/key.avro.hex"), readHex(t, "golden/value."+name+".avro.hex")
}

func newEncoder(t testing.TB, o codecs.ChangeOptions) *codecs.ChangeEncoder {
	t.Helper()
	e, err := codecs.NewChangeEncoder(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readHex(t testing.TB, name string) []byte {
	t.Helper()
	b, err := hex.DecodeString(string(readFile(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkGolden compares got with a golden file of ours, or writes it.
func checkGolden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", name), []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(readFile(t, name)), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}
