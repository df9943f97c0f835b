package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"trunkline/app"
	"trunkline/codecs"
	"trunkline/embedded"
	"trunkline/event"
	"trunkline/integration/harness"
	"trunkline/stream"
	"trunkline/topology"
)

// I7: one raw log gives the same changes, late events and dead letters, whatever
// the number of instances and their speed: live, with silences, a kill and a
// rebalance among the events of two vendors, and replayed into empty state.
//
// Seen failing with claim.sendDue on the wall clock, and with silence announced
// before Quiet had passed.
func TestReplayGivesTheSameChanges(t *testing.T) {
	d := harness.StartDeployment(t)
	edge := d.Run("edge", app.RoleIngest)
	workers := []*harness.Instance{d.Run("p1", app.RoleProcess), d.Run("p2", app.RoleProcess), d.Run("p3", app.RoleProcess)}
	for part := range 2 {
		sent := simulate(t, edge, embedded.SimulatorConfig{Seed: int64(10 * part), Events: 1200, Rate: 300, Entities: 60, LateAfter: 600})
		pause(t, time.Second)
		workers[part].Kill()
		pause(t, time.Second)
		workers[part].Start()
		sent()
		pause(t, 3*time.Second) // the logs fall silent: marks take the place of records
	}
	harness.Drained(t, d.Config)
	balance(t, d.Config)
	live := outputsOf(t, d.Config)
	for _, replay := range []struct {
		instances int
		throttled bool
	}{{1, false}, {2, true}, {3, false}, {1, true}} {
		name := fmt.Sprintf("%d instances, throttled %t", replay.instances, replay.throttled)
		for _, w := range workers {
			w.Stop()
			w.LoseDisk()
		}
		emptyBehindRaw(t, d.Config)
		for i, w := range workers[:replay.instances] {
			w.Start()
			if replay.throttled {
				throttle(t, w)
			} else if i > 0 {
				pause(t, 500*time.Millisecond) // the others join while the first is at work
			}
		}
		harness.Drained(t, d.Config)
		balance(t, d.Config)
		if diff := cmp.Diff(live, outputsOf(t, d.Config)); diff != "" {
			t.Errorf("%s (-live +replayed):\n%.4000s", name, diff)
		}
	}
}

// outputsOf reads what a deployment told: the changes of each entity in their
// order, and the fate of each raw record that became none.
func outputsOf(t *testing.T, c app.Config) map[string][]string {
	t.Helper()
	outputs := map[string][]string{}
	err := stream.Read(t.Context(), stream.Config{Brokers: c.Kafka.Brokers}, stream.Range{Topics: app.LedgerTopics()}, func(r stream.Record) error {
		raw, _ := event.PositionOf(r.Headers)
		switch {
		case strings.HasSuffix(r.Topic, ".changes") && r.Value == nil:
			outputs[string(r.Key)] = append(outputs[string(r.Key)], "tombstone of "+raw.String())
		case strings.HasSuffix(r.Topic, ".changes"):
			change, err := codecs.DecodeChange(codecs.FormatAvro, r.Key, r.Value)
			if err != nil {
				return err
			}
			before, after := side(change.Before), side(change.After)
			change.Processed, change.Before, change.After = 0, nil, nil // the first may differ
			outputs[string(r.Key)] = append(outputs[string(r.Key)], fmt.Sprintf("%s %+v %s %s", raw, change, before, after))
		case r.Topic == string(topology.FatesTopic):
			fate, err := codecs.DecodeFate(r.Value)
			if err != nil {
				return err
			}
			outputs[fate.Raw.String()] = append(outputs[fate.Raw.String()], string(fate.Kind)+" "+fate.Reason)
		case r.Topic == string(topology.LateEventsTopic), r.Topic == string(topology.DeadLettersTopic):
			outputs[raw.String()] = append(outputs[raw.String()], r.Topic)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(outputs) == 0 {
		t.Fatal("there are no outputs to compare")
	}
	return outputs
}

func side(i *event.Image) string {
	if i == nil {
		return "null"
	}
	name, version := "-", int64(-1)
	if i.Name != nil {
		name = *i.Name
	}
	if i.Version != nil {
		version = *i.Version
	}
	return fmt.Sprintf("%q %d %s", name, version, i.Data)
}

// emptyBehindRaw takes everything that was made of the raw topics: groups, tables
// and outputs.
func emptyBehindRaw(t *testing.T, c app.Config) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Kafka.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	groups := []string{string(topology.NormaliseGroup), string(topology.EntityGroup)}
	// Static members stay for their session time-out after a stop.
	harness.Until(t, "the groups are gone", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		gone := true
		removed, err := admin.DeleteGroups(ctx, groups...)
		for _, g := range removed {
			gone = gone && (g.Err == nil || errors.Is(g.Err, kerr.GroupIDNotFound))
		}
		return err == nil && gone
	})
	var behind []string
	for _, topic := range c.Layout().Topics() {
		if !strings.HasPrefix(topic.Name, "raw.") {
			behind = append(behind, topic.Name)
		}
	}
	if _, err := admin.DeleteTopics(t.Context(), behind...); err != nil {
		t.Fatal(err)
	}
	harness.Until(t, "the topics are gone", func() bool {
		topics, err := admin.ListTopics(t.Context(), behind...)
		for _, topic := range topics {
			if !errors.Is(topic.Err, kerr.UnknownTopicOrPartition) {
				return false
			}
		}
		return err == nil
	})
	if err := app.SetUp(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// throttle lets an instance run a third of the time, until the test or the process
// ends.
func throttle(t *testing.T, w *harness.Instance) {
	t.Helper()
	ctx := t.Context()
	process := w.Process
	go func() {
		for ctx.Err() == nil && process.Running() {
			process.Signal(syscall.SIGSTOP)
			pause(t, 40*time.Millisecond)
			process.Signal(syscall.SIGCONT)
			pause(t, 20*time.Millisecond)
		}
	}()
}
