package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"trunkline/app"
	"trunkline/integration/harness"
	"trunkline/stream"
	"trunkline/topology"
)

// A tenant's topics are made with the retention of its class and follow it; what
// drifted is shown and mended, by --execute only. A retention that is longer than
// wanted is lowered on demand, partitions never change.
//
// Seen failing with apply that needs no --execute, with --lower always on, and with
// drifts for the operator that end with 0.
func TestTopicsCommands(t *testing.T) {
	const days3, days7 = "259200000", "604800000"
	d := harness.StartDeployment(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(d.Config.Kafka.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	retention := func(topic string) string {
		t.Helper()
		configs, err := admin.DescribeTopicConfigs(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range configs[0].Configs {
			if c.Key == "retention.ms" {
				return *c.Value
			}
		}
		return ""
	}
	topics := func(code int, args ...string) string {
		t.Helper()
		return trunkline(t, code, append(append([]string{"topics"}, args...), "--config", d.File)...)
	}
	drifts := func(code int) (lines []string) {
		t.Helper()
		var report struct{ Drifts []stream.Drift }
		if err := json.Unmarshal([]byte(topics(code, "diff", "--json")), &report); err != nil {
			t.Fatal(err)
		}
		for _, d := range report.Drifts {
			lines = append(lines, fmt.Sprintf("%s %s: %s, want %s: %s", d.Topic, d.Setting, d.Have, d.Want, d.Mend))
		}
		return lines
	}
	tenant := func(class topology.Class) {
		t.Helper()
		configureFile(t, d, withTenant(d.Config, app.Tenant{
			ID: "vip", Class: class, Vendors: map[string]app.Credentials{topology.Genesys: {Tokens: []string{"vip-token"}}},
		}))
	}
	vip, acme, raw := topology.CanonicalTopic(topology.Genesys, "vip"), topology.CanonicalTopic(topology.Genesys, app.DevTenant), string(topology.RawTopic(topology.CXone))

	wantIn(t, topics(0, "diff"), "all topics are as the configuration says")
	wantIn(t, topics(0, "apply", "--execute"), "there is nothing to do")
	if got := retention(acme); got != days3 {
		t.Errorf("a standard tenant's topic keeps %s ms, want %s", got, days3)
	}

	tenant(topology.HighValue)
	missing := []string{vip + " topic: missing, want there: create"}
	if got := drifts(1); !slices.Equal(got, missing) {
		t.Errorf("a new tenant: got drifts %q, want %q", got, missing)
	}
	wantIn(t, topics(0, "apply"), "would create topic "+vip, "nothing was changed")
	if got := drifts(1); !slices.Equal(got, missing) {
		t.Errorf("after a dry run: got drifts %q, want %q", got, missing)
	}
	wantIn(t, topics(0, "apply", "--execute"), "create topic "+vip)
	if got := retention(vip); got != days7 {
		t.Errorf("a high-value tenant's topic keeps %s ms, want %s", got, days7)
	}
	drifts(0)

	tenant(topology.Standard)
	longer := []string{vip + " retention.ms: " + days7 + ", want " + days3 + ": lower"}
	for range 2 {
		if got := drifts(1); !slices.Equal(got, longer) {
			t.Errorf("a lower class: got drifts %q, want %q", got, longer)
		}
		topics(0, "apply", "--execute")
	}
	wantIn(t, topics(0, "apply", "--lower"), "would set retention.ms of topic "+vip+" from "+days7+" to "+days3)
	topics(0, "apply", "--lower", "--execute")
	if got := retention(vip); got != days3 {
		t.Errorf("after --lower the topic keeps %s ms, want %s", got, days3)
	}

	tenant(topology.HighValue) // set-up refuses what loses records early, apply mends it
	configure(t, admin, raw, map[string]string{"message.timestamp.type": "CreateTime"})
	wantIn(t, refused(t, d.File, "--role", string(app.RoleIngest)), "topic "+vip, "topic "+raw)
	wantIn(t, topics(0, "apply", "--execute"),
		"set retention.ms of topic "+vip+" from "+days3+" to "+days7, "set message.timestamp.type of topic "+raw+" from CreateTime to LogAppendTime")
	drifts(0)
	d.Run("edge", app.RoleIngest)

	if _, err := admin.DeleteTopics(t.Context(), vip); err != nil {
		t.Fatal(err)
	}
	harness.Until(t, "the topic is gone", func() bool {
		found, err := admin.ListTopics(t.Context(), vip)
		return err == nil && !found.Has(vip)
	})
	if _, err := admin.CreateTopic(t.Context(), 3, d.Config.Kafka.Replication, nil, vip); err != nil {
		t.Fatal(err)
	}
	wantIn(t, topics(1, "apply", "--execute"), "set message.timestamp.type of topic "+vip, vip+": partitions is 3, want 4 (never changed by Trunkline)", "--alter --topic "+vip+" --partitions 4")
	if got, want := drifts(1), []string{vip + " partitions: 3, want 4: operator"}; !slices.Equal(got, want) {
		t.Errorf("another partition count: got drifts %q, want %q", got, want)
	}

	topics(2, "apply", "everything")
	trunkline(t, 2, "topics", "diff", "--config", "/nonexistent.yaml")
}
