package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"trunkline/app"
	"trunkline/codecs"
	"trunkline/embedded"
	"trunkline/event"
	"trunkline/integration/harness"
	"trunkline/state"
	"trunkline/stream"
	"trunkline/topology"
)

// I3, I5, I7, I8: interactions that their log is silent about end, each at the
// moment at which its retention was over and once, while instances are killed and
// come and go; what is told later begins anew. The ledger balances, and a replay by
// others says the same.
//
// Seen failing with expiries that have the time of their tick, with a store that
// finds no timers after recovery, and with tombstones left out.
func TestSilentInteractionsExpire(t *testing.T) {
	const retention = 2 * time.Second
	d := harness.StartDeployment(t)
	c := d.Config
	c.InteractionRetention = retention
	if err := app.WriteConfig(d.File, c); err != nil {
		t.Fatal(err)
	}
	edge := d.Run("edge", app.RoleIngest)
	workers := []*harness.Instance{d.Run("p1", app.RoleProcess), d.Run("p2", app.RoleProcess)}
	for part := range 4 {
		sent := simulate(t, edge, embedded.SimulatorConfig{Seed: int64(10 * part), Events: 250, Rate: 250, Entities: 40})
		pause(t, 300*time.Millisecond)
		switch part {
		case 0, 2:
			workers[part/2].Kill()
			workers[part/2].LoseDisk() // its timers come back from the changelog
			sent()
			pause(t, retention)
			workers[part/2].Start()
		case 1:
			workers = append(workers, d.Run("p3", app.RoleProcess))
			sent()
		default:
			sent()
		}
		pause(t, retention+500*time.Millisecond)
	}
	harness.Drained(t, c)
	heard := hearings(t, c)
	untilNoneIsIdle(t, c, heard)
	balance(t, c)
	if r := ledgerOf(t, c); r.Caused < 30 {
		t.Errorf("%d interactions expired: little was tested", r.Caused)
	}
	expiredRightly(t, c, heard)
	live := outputsOf(t, c)

	for _, w := range workers {
		w.Stop()
		w.LoseDisk()
	}
	emptyBehindRaw(t, c)
	workers[0].Start()
	harness.Drained(t, c)
	untilNoneIsIdle(t, c, heard)
	balance(t, c)
	if diff := cmp.Diff(live, outputsOf(t, c)); diff != "" {
		t.Errorf("one instance (-live +replayed):\n%.4000s", diff)
	}
}

// hearing is what the raw log says of when an entity was heard of. A record that
// normalise keeps to itself says nothing.
type hearing struct {
	at    map[string][]int64 // append times by entity key
	endMs map[string]int64   // the last append time by raw topic/partition
	log   map[string]string  // raw topic/partition by entity key
}

func hearings(t *testing.T, c app.Config) hearing {
	t.Helper()
	h := hearing{at: map[string][]int64{}, endMs: map[string]int64{}, log: map[string]string{}}
	kept := map[string]bool{}
	topics := []string{string(topology.FatesTopic), string(topology.DeadLettersTopic)}
	err := stream.Read(t.Context(), stream.Config{Brokers: c.Kafka.Brokers}, stream.Range{Topics: topics}, func(r stream.Record) error {
		at, _ := event.PositionOf(r.Headers)
		fate, err := codecs.DecodeFate(r.Value)
		kept[at.String()] = err != nil || fate.Kind != event.FateUnchanged
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rawRecords(t, c) {
		key, ms := event.PartitionKey(string(r.Key)), r.Time.UnixMilli()
		at := event.Position{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}.String()
		log := at[:strings.LastIndexByte(at, '/')]
		if !kept[at] {
			h.at[key] = append(h.at[key], ms)
		}
		h.endMs[log] = max(h.endMs[log], ms)
		h.log[key] = log
	}
	return h
}

// untilNoneIsIdle waits until no interaction lives whose log, with the mark that
// ends it, is silent about it for longer than the retention.
func untilNoneIsIdle(t *testing.T, c app.Config, h hearing) {
	t.Helper()
	mark := max(c.Reorder.ConfigHold, c.Reorder.InteractionHold).Milliseconds()
	harness.Until(t, "what is idle has expired", func() bool {
		idle := map[string]bool{}
		err := stream.Read(t.Context(), stream.Config{Brokers: c.Kafka.Brokers}, stream.Range{Topics: []string{string(topology.EntityTable)}}, func(r stream.Record) error {
			delete(idle, string(r.Key))
			if r.Value == nil {
				return nil
			}
			key, err := event.ParseKey(string(r.Key))
			if err != nil || !key.Interaction() {
				return err
			}
			row, err := state.DecodeEntity(r.Value)
			at := h.at[string(r.Key)]
			if row.Live && len(at) > 0 && h.endMs[h.log[string(r.Key)]]+mark-at[len(at)-1] > c.InteractionRetention.Milliseconds() {
				idle[string(r.Key)] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return len(idle) == 0
	})
}

// expiredRightly demands that each expiry stands one retention behind a raw record
// of its entity that no other followed meanwhile.
func expiredRightly(t *testing.T, c app.Config, h hearing) {
	t.Helper()
	retention := c.InteractionRetention.Milliseconds()
	err := stream.Read(t.Context(), stream.Config{Brokers: c.Kafka.Brokers}, stream.Range{Topics: topology.ChangeTopics()}, func(r stream.Record) error {
		if r.Headers[event.HeaderCause] == nil || r.Value == nil {
			return nil
		}
		change, err := codecs.DecodeChange(codecs.FormatAvro, r.Key, r.Value)
		if err != nil {
			return err
		}
		before, within := false, false
		for _, ms := range h.at[change.Key.String()] {
			before = before || ms == change.TsMs-retention
			within = within || ms > change.TsMs-retention && ms <= change.TsMs
		}
		if change.Op != event.Delete || !before || within {
			t.Errorf("%s expired at %d by a %s; it was heard of at %v", change.Key, change.TsMs, change.Op, h.at[change.Key.String()])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
