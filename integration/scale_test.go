package integration

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"trunkline/app"
	"trunkline/embedded"
	"trunkline/integration/harness"
	"trunkline/topology"
)

// I2, I3, traps 13 and 20: a deployment grows from one instance to three, each is
// restarted, and it shrinks to one again, all under load. Nothing is lost or
// doubled, and the restarts move no partition.
//
// Seen failing with restarts that leave.
func TestScalingLosesAndDoublesNothing(t *testing.T) {
	d := harness.StartDeployment(t)
	edge := d.Run("edge", app.RoleIngest)
	client, err := kgo.NewClient(kgo.SeedBrokers(d.Config.Kafka.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	groups := []string{string(topology.NormaliseGroup), string(topology.EntityGroup)}
	owners := func() map[string]map[string][]int32 { return ownersOf(t, kadm.NewClient(client), groups) }
	settled := func(instances int) {
		t.Helper()
		harness.Until(t, "the partitions are shared by all instances", func() bool {
			at := owners()
			return !slices.ContainsFunc(groups, func(g string) bool { return len(at[g]) != instances })
		})
	}

	stays := d.Run("p1", app.RoleProcess)
	sent := simulate(t, edge, embedded.SimulatorConfig{Events: 4000, Rate: 150})
	leaves := []*harness.Instance{d.Run("p2", app.RoleProcess, "--leave"), d.Run("p3", app.RoleProcess, "--leave")}
	settled(3)
	pause(t, time.Second)

	before := owners()
	for range 2 {
		if code := stays.Stop(); code != 0 {
			t.Errorf("the restarted instance ended with exit code %d", code)
		}
		stays.Start()
		stays.UntilReady()
		pause(t, time.Second)
	}
	if diff := cmp.Diff(before, owners()); diff != "" {
		t.Errorf("the restarts moved partitions (-before +after):\n%s", diff)
	}
	for i, p := range leaves {
		if code := p.Stop(); code != 0 {
			t.Errorf("the leaving instance ended with exit code %d:\n%s", code, p.Stderr())
		}
		settled(len(leaves) - i)
	}
	sent()
	harness.Drained(t, d.Config)
	balance(t, d.Config)
}

// ownersOf says per group and instance which partitions it has. A group that is
// not stable has none.
func ownersOf(t *testing.T, admin *kadm.Client, groups []string) map[string]map[string][]int32 {
	t.Helper()
	described, err := admin.DescribeGroups(t.Context(), groups...)
	if err != nil {
		t.Fatal(err)
	}
	owners := map[string]map[string][]int32{}
	for name, group := range described {
		owners[name] = map[string][]int32{}
		for _, member := range group.Members {
			assigned, ok := member.Assigned.AsConsumer()
			if !ok || group.State != "Stable" || member.InstanceID == nil {
				continue
			}
			all := map[int32]bool{}
			for _, topic := range assigned.Topics {
				for _, p := range topic.Partitions {
					all[p] = true
				}
			}
			owners[name][*member.InstanceID] = slices.Sorted(maps.Keys(all))
		}
	}
	return owners
}
