package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/linkedin/goavro/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"trunkline/app"
	"trunkline/integration/harness"
	"trunkline/topology"
)

// foreignReader reads a topic to its end as any other client would: its own
// Kafka library, read_committed, schemas fetched by the id in the record.
type foreignReader struct {
	t        *testing.T
	config   app.Config
	registry string
	schemas  map[uint32]*goavro.Codec
}

func (r *foreignReader) read(topic string) []*kgo.Record {
	r.t.Helper()
	var want int
	err := app.Tail(r.t.Context(), r.config, app.TailOptions{What: topic}, func(app.TailLine) error { want++; return nil })
	if err != nil {
		r.t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(r.config.Kafka.Brokers...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		r.t.Fatal(err)
	}
	defer client.Close()
	var records []*kgo.Record
	harness.Until(r.t, "the topic is read", func() bool {
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
		defer cancel()
		if len(records) < want {
			records = append(records, client.PollFetches(ctx).Records()...)
		}
		return len(records) >= want
	})
	if len(records) != want {
		r.t.Errorf("%s: %d records, tail shows %d", topic, len(records), want)
	}
	return records
}

// avro decodes a framed value with the schema that the registry gives for its id.
func (r *foreignReader) avro(b []byte) map[string]any {
	r.t.Helper()
	if len(b) < 5 || b[0] != 0 {
		r.t.Fatalf("%q is not framed", b)
	}
	id := binary.BigEndian.Uint32(b[1:])
	codec := r.schemas[id]
	if codec == nil {
		_, body := harness.Fetch(r.t, fmt.Sprintf("%s/schemas/ids/%d", r.registry, id))
		var answer struct{ Schema string }
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			r.t.Fatalf("schema %d: %s: %v", id, body, err)
		}
		var err error
		if codec, err = goavro.NewCodec(answer.Schema); err != nil {
			r.t.Fatal(err)
		}
		r.schemas[id] = codec
	}
	native, rest, err := codec.NativeFromBinary(b[5:])
	record, ok := native.(map[string]any)
	if err != nil || !ok || len(rest) > 0 {
		r.t.Fatalf("decode a record of schema %d: %v, %d bytes left", id, err, len(rest))
	}
	return record
}

// Records are what the registry says they are, for clients that know nothing of
// us: changes in Avro, bus events keyed by event id with one entity in one
// partition, FULL compatibility on every subject. The rows of the view API are
// the fold of the changes.
func TestForeignClientReadsEverything(t *testing.T) {
	d := harness.StartDev(t, t.TempDir())
	send(t, d.Addrs.Edge, 7, 600)
	harness.Drained(t, d.Config, d.Addrs.Metrics)
	r := &foreignReader{t: t, config: d.Config, registry: d.Addrs.Registry, schemas: map[uint32]*goavro.Codec{}}

	rows := 0
	for _, topic := range topology.ChangeTopics() {
		fold := map[string]string{}
		for _, record := range r.read(topic) {
			if record.Value == nil {
				delete(fold, string(record.Key))
				continue
			}
			change := r.avro(record.Value)
			after, ok := change["after"].(map[string]any)
			if !ok { // a delete; its tombstone follows
				continue
			}
			value, _ := after[topic+".Value"].(map[string]any)
			data, _ := value["data"].(map[string]any)
			fold[string(record.Key)], _ = data["string"].(string)
		}
		for key, image := range fold {
			k := r.avro([]byte(key))
			vendor, _, _ := strings.Cut(topic, ".")
			path := fmt.Sprintf("/v1/%s/%s/resources/%s/%s", vendor, k["tenantId"], k["resourceType"], url.PathEscape(fmt.Sprint(k["resourceId"])))
			if strings.Contains(path, "%EF%BF%BD") {
				continue // sanitised: the change names it, the vendor's id is another
			}
			status, body := harness.Fetch(t, d.Addrs.View+path)
			var answer struct{ Resource json.RawMessage }
			if err := json.Unmarshal([]byte(body), &answer); status != 200 || err != nil || string(answer.Resource) != image {
				t.Errorf("%s: got %d %s, want the last after %s", path, status, body, image)
			}
			rows++
		}
	}
	if rows == 0 {
		t.Error("no row was compared")
	}

	for _, vendor := range topology.Vendors {
		topic := topology.CanonicalTopic(vendor, app.DevTenant)
		at := map[string]int32{}
		for _, record := range r.read(topic) {
			e := r.avro(record.Value)
			if e["event_id"] != string(record.Key) {
				t.Errorf("%s: key %q of event %v", topic, record.Key, e["event_id"])
			}
			payload, _ := e["payload"].(map[string]any)
			entity := fmt.Sprint(payload["resourceType"], "/", payload["resourceId"])
			if p, known := at[entity]; known && p != record.Partition {
				t.Errorf("%s: %s is in partitions %d and %d", topic, entity, p, record.Partition)
			}
			at[entity] = record.Partition
		}
		if len(at) == 0 {
			t.Errorf("%s is empty", topic)
		}
		_, body := harness.Fetch(t, d.Addrs.Registry+"/config/"+topic+"-value")
		if !strings.Contains(body, `"FULL"`) {
			t.Errorf("compatibility of %s: %s, want FULL", topic, body)
		}
	}
}

// A topic whose format is json carries Connect's schema and payload.
func TestChangesAsConnectJSON(t *testing.T) {
	d := harness.StartDeployment(t)
	file, err := os.ReadFile(d.File)
	if err != nil {
		t.Fatal(err)
	}
	file = bytes.Replace(file, []byte("format: avro"), []byte("format: json"), 1)
	if err := os.WriteFile(d.File, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if d.Config, err = app.LoadConfig(d.File); err != nil {
		t.Fatal(err)
	}
	all := d.Run("all", app.RoleAll)
	send(t, all.Addrs["edge"], 3, 200)
	harness.Drained(t, d.Config, all.Addrs["metrics"])
	r := &foreignReader{t: t, config: d.Config}
	n := 0
	for _, topic := range topology.ChangeTopics() {
		for _, record := range r.read(topic) {
			if record.Value == nil {
				continue
			}
			var v struct {
				Schema  struct{ Name string }
				Payload struct{ Op string }
			}
			if err := json.Unmarshal(record.Value, &v); err != nil || v.Schema.Name != topic+".Envelope" || v.Payload.Op == "" {
				t.Fatalf("%s: %v in %s", topic, err, record.Value)
			}
			n++
		}
	}
	if n == 0 {
		t.Error("no change was read")
	}
	balance(t, d.Config)
}
