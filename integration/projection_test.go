package integration

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/linkedin/goavro/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"trunkline/app"
	"trunkline/codecs"
	"trunkline/integration/harness"
	"trunkline/topology"
)

// The projection of guide 1, read by a client that knows nothing of us, is the change
// stream of Genesys' configuration, record by record, with its tombstones; its subjects
// stand under FULL.
//
// Seen failing with a projection without tombstones, and partitioned by its key.
func TestSeedProjection(t *testing.T) {
	d := harness.StartDeployment(t)
	c := d.Config
	c.Projection.Seed = true
	configureFile(t, d, c)
	all := d.Run("all", app.RoleAll)
	send(t, all.Addrs["edge"], 11, 600)
	postAs(t, all, c.Tenants[0], `{"id":"seed-1","resourceType":"user","eventType":"created","resourceId":"seed","data":{"id":"seed","nul":"\u0000","big":9007199254740993.10}}`)
	postAs(t, all, c.Tenants[0], `{"id":"seed-2","resourceType":"queue","eventType":"deleted","resourceId":"never-seen"}`)
	harness.Drained(t, c, all.Addrs["metrics"])

	r := &foreignReader{t: t, config: c, registry: c.Registry.URL, schemas: map[uint32]*goavro.Codec{}}
	ops := map[string]int{}
	var want []string
	for _, record := range inOrder(r.read("genesys.config.changes")) {
		line := map[string]any{"partition": record.Partition, "key": r.avro(record.Key), "value": nil}
		if record.Value != nil {
			change, err := codecs.DecodeChange(codecs.FormatAvro, record.Key, record.Value)
			if err != nil {
				t.Fatal(err)
			}
			image := change.After
			if image == nil {
				image = change.Before
			}
			line["value"] = map[string]any{
				"op": change.Op, "ts_ms": change.TsMs,
				"source":  map[string]any{"version": "1.0.0", "connector": "genesyscloud", "name": "genesys"},
				"payload": map[string]any{"resourceType": change.Key.Type, "resourceId": change.Key.ID, "data": texts(t, image.Data)},
			}
			ops[string(change.Op)]++
		}
		want = append(want, jsonLine(t, line))
	}
	var got []string
	for _, record := range inOrder(r.read("genesys.config.seed")) {
		line := map[string]any{"partition": record.Partition, "key": r.avro(record.Key), "value": nil}
		if record.Value != nil {
			line["value"] = r.avro(record.Value)
		}
		got = append(got, jsonLine(t, line))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the projection (-want +got):\n%s", diff)
	}
	if ops["c"] == 0 || ops["u"] == 0 || ops["d"] == 0 {
		t.Errorf("compared %v, want creates, updates and deletes", ops)
	}

	client := plainClient(t, c)
	for _, subject := range []string{"genesys.config.seed-key", "genesys.config.seed-value"} {
		if level := client.Compatibility(t.Context(), subject)[0]; level.Err != nil || level.Level.String() != "FULL" {
			t.Errorf("compatibility of %s: %v, %v, want FULL", subject, level.Level, level.Err)
		}
	}
	tailed := 0
	err := app.Tail(t.Context(), c, app.TailOptions{What: string(topology.SeedTopic), Key: "seed"}, func(l app.TailLine) error {
		tailed++
		wantIn(t, string(l.Value), `"big":"9007199254740993.10"`, `"nul":"`+"\uFFFD"+`"`)
		return nil
	})
	if err != nil || tailed != 1 {
		t.Errorf("tail shows %d records of the resource, %v, want 1", tailed, err)
	}
	balance(t, c)
}

// inOrder sorts records by partition and offset.
func inOrder(records []*kgo.Record) []*kgo.Record {
	slices.SortFunc(records, func(a, b *kgo.Record) int {
		if a.Partition != b.Partition {
			return int(a.Partition - b.Partition)
		}
		return int(a.Offset - b.Offset)
	})
	return records
}

// texts are the members of a JSON object: strings as they are, the rest as JSON.
func texts(t *testing.T, object []byte) map[string]string {
	t.Helper()
	all := map[string]string{}
	if object == nil {
		return all
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(object, &members); err != nil {
		t.Fatal(err)
	}
	for name, member := range members {
		var text string
		if member[0] != '"' {
			text = string(member)
		} else if err := json.Unmarshal(member, &text); err != nil {
			t.Fatal(err)
		}
		all[name] = text
	}
	return all
}

func jsonLine(t *testing.T, v any) string {
	t.Helper()
	line, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(line)
}
