package embedded

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"trunkline/event"
	"trunkline/topology"
)

func generate(t *testing.T, cfg GeneratorConfig) []Delivery {
	t.Helper()
	g, err := NewGenerator(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var ds []Delivery
	for d, ok := g.Next(); ok; d, ok = g.Next() {
		ds = append(ds, d)
	}
	return ds
}

// TestGeneratorIsDeterministic proves that a seed is a sequence.
func TestGeneratorIsDeterministic(t *testing.T) {
	for _, vendor := range topology.Vendors {
		cfg := GeneratorConfig{Vendor: vendor, Tenant: "acme", Seed: 7, Events: 3000}
		first := generate(t, cfg)
		if !reflect.DeepEqual(first, generate(t, cfg)) {
			t.Errorf("%s: two runs differ", vendor)
		}
		cfg.Seed = 8
		if reflect.DeepEqual(first, generate(t, cfg)) {
			t.Errorf("%s: another seed gives the same traffic", vendor)
		}
	}
}

func TestGeneratorCounts(t *testing.T) {
	for _, vendor := range topology.Vendors {
		for _, n := range []int{1, 2, 17, 500, 20_000} {
			if got := len(generate(t, GeneratorConfig{Vendor: vendor, Tenant: "acme", Seed: int64(n), Events: n})); got != n {
				t.Errorf("%s: got %d deliveries, want %d", vendor, got, n)
			}
		}
	}
	if _, err := NewGenerator(GeneratorConfig{Vendor: "avaya"}); err == nil {
		t.Error("unknown vendor: got no error")
	}
}

// TestGeneratorMix proves the shares of document 6.2, each within a fifth.
func TestGeneratorMix(t *testing.T) {
	const n = 20_000
	shares := map[DeliveryKind]float64{
		DeliveryDuplicate: 0.05, DeliveryConflict: 0.01, DeliveryLate: 0.02, DeliveryDelete: 0.03,
		DeliveryPoison: 0.005, DeliveryHeartbeat: 0.01, DeliveryUnknown: 0.01,
	}
	for _, vendor := range topology.Vendors {
		counts := map[DeliveryKind]int{}
		for _, d := range generate(t, GeneratorConfig{Vendor: vendor, Tenant: "acme", Seed: 1, Events: n}) {
			counts[d.Kind]++
		}
		for kind, share := range shares {
			if vendor == topology.CXone && kind == DeliveryDelete {
				share = 0 // its webhooks know none
			}
			want := share * n
			if got := float64(counts[kind]); got < 0.8*want || got > 1.2*want {
				t.Errorf("%s: %s: got %.0f of %d, want about %.0f", vendor, kind, got, n, want)
			}
		}
	}
}

// TestGeneratorDeliveries proves what each kind promises.
func TestGeneratorDeliveries(t *testing.T) {
	for _, vendor := range topology.Vendors {
		var (
			bodies   = map[string]bool{}     // delivered, of kinds that come again
			ids      = map[string][]byte{}   // first body of an event id
			newest   = map[event.Key]int64{} // event time delivered last
			swapped  int
			overdue  int
			late     int
			lastTsMs int64
		)
		for i, d := range generate(t, GeneratorConfig{Vendor: vendor, Tenant: "acme", Seed: 3, Events: 20_000}) {
			if d.Vendor != vendor {
				t.Fatalf("delivery %d: got vendor %q, want %q", i, d.Vendor, vendor)
			}
			if d.Splits != json.Valid(d.Body) && !(d.Kind == DeliveryPoison && !d.Splits) {
				t.Errorf("delivery %d (%s): splits %t of %q", i, d.Kind, d.Splits, d.Body)
			}
			switch d.Kind {
			case DeliveryDuplicate:
				if !bodies[string(d.Body)] {
					t.Errorf("delivery %d: a duplicate of nothing: %s", i, d.Body)
				}
			case DeliveryConflict:
				if first, ok := ids[d.EventID]; !ok || bytes.Equal(first, d.Body) {
					t.Errorf("delivery %d: no conflict with an event before: %s", i, d.Body)
				}
			case DeliveryPoison, DeliveryHeartbeat:
			case DeliveryLate:
				late++
				if d.TsMs < newest[d.Key] {
					overdue++
				}
				fallthrough
			default:
				if bodies[string(d.Body)] || d.EventID != "" && ids[d.EventID] != nil {
					t.Errorf("delivery %d (%s): delivered before: %s", i, d.Kind, d.Body)
				}
				if d.EventID != "" && !bytes.Contains(d.Body, []byte(d.EventID)) {
					t.Errorf("delivery %d: event id %s is not in %s", i, d.EventID, d.Body)
				}
				if d.Key.Vendor != "" && d.Key.Tenant != "acme" {
					t.Errorf("delivery %d: got key %v", i, d.Key)
				}
				if d.Kind == DeliveryEvent && d.TsMs < newest[d.Key] {
					swapped++
				}
				if d.Kind != DeliveryUnknown {
					bodies[string(d.Body)] = true
				}
				newest[d.Key] = max(newest[d.Key], d.TsMs)
				lastTsMs = max(lastTsMs, d.TsMs)
			}
			if d.EventID != "" && ids[d.EventID] == nil {
				ids[d.EventID] = d.Body
			}
		}
		if swapped < 1000 {
			t.Errorf("%s: %d events overtaken inside their entity, want at least 1000", vendor, swapped)
		}
		if 10*overdue < 7*late {
			t.Errorf("%s: %d of %d late events come after a newer one, want 70 %%", vendor, overdue, late)
		}
		end := time.Date(2026, time.November, 22, 1, 50, 0, 0, time.UTC).Add(20_000 * 5 * time.Millisecond).UnixMilli()
		if lastTsMs >= end || lastTsMs < end-1000 {
			t.Errorf("%s: last event time is %d ms before the end of the range, want less than 1000 and none beyond", vendor, end-lastTsMs)
		}
	}
}

// TestGenesysShapes proves that all shapes are there, and that the pushed
// resources have a size that means something.
func TestGenesysShapes(t *testing.T) {
	seen := map[string]int{}
	for _, d := range generate(t, GeneratorConfig{Vendor: topology.Genesys, Tenant: "acme", Seed: 1, Events: 20_000}) {
		if d.Kind != DeliveryEvent && d.Kind != DeliveryDelete {
			continue
		}
		var m struct {
			ResourceType, EventType, TopicName string
			Data                               json.RawMessage
			DetailType                         string `json:"detail-type"`
		}
		if err := json.Unmarshal(d.Body, &m); err != nil {
			t.Fatalf("%v: %s", err, d.Body)
		}
		shape := m.DetailType
		switch {
		case m.ResourceType != "":
			shape = "push " + m.ResourceType + " " + m.EventType
			if n := len(m.Data); n != 0 && (n < 300 || n > 700) || (n == 0) != (m.EventType == "deleted") {
				t.Errorf("%s: %d bytes of data: %s", shape, n, d.Body)
			}
		case m.TopicName != "" && d.Key.Type == event.TypeConversation:
			shape = "notification of a conversation"
		case m.TopicName != "":
			shape = "notification of an audit"
		}
		seen[shape]++
	}
	want := []string{
		"notification of a conversation", "notification of an audit", "v2.audits.entitytype.{id}.entityid.{id}",
		"push user created", "push user updated", "push user deleted",
		"push queue created", "push queue updated", "push queue deleted",
		"push flow created", "push flow published", "push flow deleted",
	}
	for _, step := range conversationSteps {
		want = append(want, "v2.detail.events.conversation.{id}."+step)
	}
	for _, shape := range want {
		if seen[shape] == 0 {
			t.Errorf("no %s", shape)
		}
		delete(seen, shape)
	}
	if len(seen) > 0 {
		t.Errorf("unexpected shapes: %v", seen)
	}
}

// TestCXoneCalls proves that each call goes through its four steps.
func TestCXoneCalls(t *testing.T) {
	calls := map[event.Key]map[string]int64{}
	for _, d := range generate(t, GeneratorConfig{Vendor: topology.CXone, Tenant: "acme", Seed: 1, Events: 5000}) {
		if d.Kind != DeliveryEvent && d.Kind != DeliveryLate {
			continue
		}
		var m struct{ EventType string }
		if err := json.Unmarshal(d.Body, &m); err != nil {
			t.Fatal(err)
		}
		if calls[d.Key] == nil {
			calls[d.Key] = map[string]int64{}
		}
		calls[d.Key][m.EventType] = d.TsMs
	}
	ended := 0
	for key, steps := range calls {
		if _, ok := steps["CALL_ENDED"]; !ok {
			continue
		}
		ended++
		for i, step := range callSteps {
			if steps[step] == 0 || i > 0 && steps[step] <= steps[callSteps[i-1]] {
				t.Errorf("%s: steps %v, want %v in time", key, steps, callSteps)
			}
		}
	}
	if ended < 500 {
		t.Errorf("got %d ended calls of %d, want 500", ended, len(calls))
	}
}
