package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"trunkline/app"
	"trunkline/codecs"
	"trunkline/event"
	"trunkline/integration/harness"
	"trunkline/stream"
	"trunkline/topology"
)

// row is what a reader holds of an entity. Data is comparable: see [canonical].
type row struct {
	Name    *string
	Version *int64
	Data    string
}

type rows map[event.Key]row

// fold is what the change topics come to.
type fold struct {
	rows
	gone  map[event.Key]bool         // deleted in the end
	ops   map[event.Op]int           // changes
	nulls int                        // tombstones
	ends  map[string]map[int32]int64 // offset after the last record that a sink does something for
}

// foldChanges reads the change topics to their present ends.
func foldChanges(ctx context.Context, c app.Config) (fold, error) {
	f := fold{rows: rows{}, gone: map[event.Key]bool{}, ops: map[event.Op]int{}, ends: map[string]map[int32]int64{}}
	err := stream.Read(ctx, stream.Config{Brokers: c.Kafka.Brokers}, stream.Range{Topics: topology.ChangeTopics()}, func(r stream.Record) error {
		return f.add(c.Changes.Format, r)
	})
	return f, err
}

func (f *fold) add(format codecs.Format, r stream.Record) error {
	if r.Value == nil {
		f.nulls++
		return nil
	}
	if f.ends[r.Topic] == nil {
		f.ends[r.Topic] = map[int32]int64{}
	}
	f.ends[r.Topic][r.Partition] = r.Offset + 1
	c, err := codecs.DecodeChange(format, r.Key, r.Value)
	if err != nil {
		return err
	}
	f.ops[c.Op]++
	if f.gone[c.Key] = c.After == nil; c.After == nil {
		delete(f.rows, c.Key)
		return nil
	}
	data, err := canonical(c.After.Data)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Key, err)
	}
	f.rows[c.Key] = row{c.After.Name, c.After.Version, data}
	return nil
}

// sunk waits until the sink has done all that was asked of it. Its offsets stop
// before tombstones, which it drops.
func (d *deployment) sunk(f fold) {
	d.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(d.Cluster.DirectAddrs()...))
	if err != nil {
		d.t.Fatal(err)
	}
	defer client.Close()
	left := func() (n int64) {
		if !d.sinking() {
			_, status := harness.Fetch(d.t, d.worker+"/connectors/trunkline-jdbc/status")
			d.t.Fatalf("the sink gave up: %s", status)
		}
		offsets, err := kadm.NewClient(client).FetchOffsets(d.t.Context(), "connect-trunkline-jdbc")
		if err != nil {
			d.t.Fatal(err)
		}
		for topic, partitions := range f.ends {
			for p, end := range partitions {
				o, _ := offsets.Lookup(topic, p)
				n += max(0, end-o.At)
			}
		}
		return n
	}
	for n := left(); n > 0; {
		before := n
		d.sink.Until("the sink gets on", func() bool { n = left(); return n < before })
	}
}

// sunkRows are the tables that the sink made of the topics.
func (d *deployment) sunkRows(f fold) (rows, error) {
	found := rows{}
	for topic := range f.ends {
		vendor, _, _ := strings.Cut(topic, ".")
		table := strings.ReplaceAll(topic, ".", "_")
		lines, err := d.database.query(`select row_to_json(t) from (select "tenantId", "resourceType", "resourceId", name, version, data from "` + table + `") t`)
		if err != nil {
			return nil, err
		}
		for _, line := range lines {
			var r struct {
				TenantID, ResourceType, ResourceID string
				Name                               *string
				Version                            *int64
				Data                               json.RawMessage
			}
			if err := json.Unmarshal(line, &r); err != nil {
				return nil, fmt.Errorf("read a row of %s: %w", table, err)
			}
			k := event.Key{Vendor: vendor, Tenant: r.TenantID, Type: r.ResourceType, ID: r.ResourceID}
			data, err := canonical(r.Data)
			if err != nil {
				return nil, fmt.Errorf("read row %s: %w", k, err)
			}
			found[k] = row{r.Name, r.Version, data}
		}
	}
	return found, nil
}

// viewRows asks the view API for every entity that ever had a change. ids are the
// vendors' own of those that a change cannot carry. The API tells no names.
func (d *deployment) viewRows(f fold, ids map[event.Key]string) (rows, error) {
	found := rows{}
	for k := range f.gone {
		id, replaced := ids[k]
		if !replaced {
			id = k.ID
		}
		path := fmt.Sprintf("/v1/%s/%s/resources/%s/%s", k.Vendor, k.Tenant, url.PathEscape(k.Type), url.PathEscape(id))
		status, body := harness.Fetch(d.t, d.all.Addrs["view"]+path)
		switch status {
		case 404:
			continue
		case 200:
		default:
			return nil, fmt.Errorf("%s: got %d %s", path, status, body)
		}
		var answer struct {
			Version  *int64
			Resource json.RawMessage
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		resource, _ := codecs.SanitiseJSON(answer.Resource)
		data, err := canonical(resource)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		found[k] = row{Version: answer.Version, Data: data}
	}
	return found, nil
}

// withoutNames are the rows as the view API can tell them.
func (r rows) withoutNames() rows {
	bare := rows{}
	for k, one := range r {
		bare[k] = row{Version: one.Version, Data: one.Data}
	}
	return bare
}

// unlike lists the entities of which two readers hold different rows.
func unlike(got, want rows) []string {
	var faults []string
	for k, w := range want {
		g, there := got[k]
		switch {
		case !there:
			faults = append(faults, fmt.Sprintf("%s is not there", k))
		case !same(g.Name, w.Name):
			faults = append(faults, fmt.Sprintf("%s: another name", k))
		case !same(g.Version, w.Version):
			faults = append(faults, fmt.Sprintf("%s: another version", k))
		case g.Data != w.Data:
			faults = append(faults, fmt.Sprintf("%s: got %.500s, want %.500s", k, g.Data, w.Data))
		}
	}
	for k := range got {
		if _, there := want[k]; !there {
			faults = append(faults, fmt.Sprintf("%s is there, want none", k))
		}
	}
	slices.Sort(faults)
	return faults
}

func same[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// canonical writes JSON so that equal values are equal text: jsonb orders members
// by its own rule and writes numbers in another way.
func canonical(b []byte) (string, error) {
	if b == nil {
		return "", nil
	}
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return "", err
	}
	out, err := json.Marshal(exact(v))
	return string(out), err
}

// exact writes numbers as fractions.
func exact(v any) any {
	switch v := v.(type) {
	case json.Number:
		r, ok := new(big.Rat).SetString(v.String())
		if !ok {
			return v
		}
		return map[string]any{"number": r.RatString()}
	case []any:
		for i := range v {
			v[i] = exact(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = exact(v[name])
		}
	}
	return v
}
