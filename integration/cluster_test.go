package integration

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"trunkline/app"
	"trunkline/integration/harness"
	"trunkline/topology"
)

// I2: a cluster that cannot carry exactly-once is refused before anything is
// read: exit code 3, and every fault with the command that mends it. Once the
// commands were typed, the same process works.
//
// Seen failing with stages that start before the set-up's verdict, with a set-up
// that ends at its first fault, and with row layouts that set-up does not know.
func TestBadClusterIsRefused(t *testing.T) {
	d := harness.StartDeployment(t)
	edge := d.Run("edge", app.RoleIngest)
	post(t, edge.Addrs["edge"], `{"id":"bad-1","resourceType":"user","eventType":"created","resourceId":"u-1","data":{"id":"u-1"}}`)
	edge.Stop()
	client, err := kgo.NewClient(kgo.SeedBrokers(d.Config.Kafka.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)

	spoilt := map[string]map[string]string{
		string(topology.EntityTable):                {"cleanup.policy": "delete"},
		string(topology.FatesTopic):                 {"max.message.bytes": "1000000", "message.timestamp.type": "CreateTime"},
		string(topology.RawTopic(topology.Genesys)): {"retention.ms": "60000"},
		string(topology.SeenTable):                  {"cleanup.policy": "compact"},
	}
	var faults []string
	for topic, settings := range spoilt {
		for name, value := range settings {
			configure(t, admin, topic, map[string]string{name: value})
			faults = append(faults, name+" is "+value+", want ")
		}
	}
	start := func(args ...string) string {
		t.Helper()
		said := refused(t, d.File, args...)
		for _, want := range faults {
			if !strings.Contains(said, want) {
				t.Errorf("%v: got\n%s\nwant %q in it", args, said, want)
			}
		}
		return said
	}
	commands := regexp.MustCompile(`(?m)^ *(kafka-configs\.sh .*)$`)
	said := start("--role", string(app.RoleProcess))
	for _, role := range []app.Role{app.RoleIngest, app.RoleView, app.RoleAll} {
		start("--role", string(role))
	}
	if got, want := len(commands.FindAllString(said, -1)), len(spoilt); got != want {
		t.Errorf("got %d commands, want %d, one a topic:\n%s", got, want, said)
	}
	untouched(t, admin, d.Config)

	for _, command := range commands.FindAllStringSubmatch(said, -1) {
		mend(t, d, admin, command[1])
	}
	worker := d.Run("p1", app.RoleProcess)
	harness.Drained(t, d.Config)
	worker.Stop()

	// Rows that this program cannot read.
	row := &kgo.Record{Topic: string(topology.EntityTable), Key: []byte("genesys/acme/user/of-old"), Value: []byte{99}}
	if err := client.ProduceSync(t.Context(), row).FirstErr(); err != nil {
		t.Fatal(err)
	}
	faults = []string{"its rows have layout 99, want "}
	start("--role", string(app.RoleProcess))
}

// refused starts a process that must end by itself with exit code 3, and returns
// what it said.
func refused(t *testing.T, file string, args ...string) string {
	t.Helper()
	p := harness.Start(t, slices.Concat([]string{"run", "--config", file, "--instance", "p1", "--data-dir", t.TempDir()}, harness.FreePorts, args)...)
	if got := p.Wait(); got != 3 {
		t.Errorf("%v: exit code %d, want 3", args, got)
	}
	return p.Stderr()
}

// configure changes settings of a topic.
func configure(t *testing.T, admin *kadm.Client, topic string, settings map[string]string) {
	t.Helper()
	var alter []kadm.AlterConfig
	for name, value := range settings {
		alter = append(alter, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	answers, err := admin.AlterTopicConfigs(t.Context(), alter, topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range answers {
		if answer.Err != nil {
			t.Fatalf("configure %s with %v: %v", topic, settings, answer.Err)
		}
	}
}

// untouched demands that nothing was read or written but by the edge.
func untouched(t *testing.T, admin *kadm.Client, c app.Config) {
	t.Helper()
	groups, err := admin.ListGroups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range groups.Groups() {
		if group == string(topology.NormaliseGroup) || group == string(topology.EntityGroup) {
			t.Errorf("group %s was at work", group)
		}
	}
	ends, err := admin.ListEndOffsets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	raw := string(topology.RawTopic(topology.Genesys))
	for _, topic := range c.Layout().Topics() {
		var records int64
		for _, end := range ends[topic.Name] {
			records += end.Offset
		}
		if (topic.Name == raw) != (records > 0) {
			t.Errorf("topic %s ends at %d", topic.Name, records)
		}
	}
}

// mend does what a printed command says: on real brokers by Kafka's own tool.
func mend(t *testing.T, d *harness.Deployment, admin *kadm.Client, command string) {
	t.Helper()
	bootstrap := strings.Join(d.Config.Kafka.Brokers, ",")
	if d.Cluster != nil {
		d.Cluster.Shell(t, command)
		return
	}
	form := regexp.MustCompile(`^kafka-configs\.sh --bootstrap-server ` + regexp.QuoteMeta(bootstrap) +
		` --alter --entity-type topics --entity-name (\S+) --add-config '(.*)'$`)
	parts := form.FindStringSubmatch(command)
	if parts == nil {
		t.Fatalf("got command %q, want kafka-configs.sh with %s", command, bootstrap)
	}
	settings := map[string]string{}
	for _, setting := range regexp.MustCompile(`([^=,]+)=(\[[^\]]*\]|[^,]*)`).FindAllStringSubmatch(parts[2], -1) {
		settings[setting[1]] = strings.Trim(setting[2], "[]")
	}
	configure(t, admin, parts[1], settings)
}

// Brokers without the transactions of the protocol are told apart from brokers
// that do not answer; both are the environment's fault. `dev` on a cluster of
// others refuses alike. Seen failing with the exit code of any other error.
func TestBrokersWithoutTransactionsAreRefused(t *testing.T) {
	if harness.Real() {
		t.Skip("the real brokers are new: make test")
	}
	old, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.MaxVersions(kversion.V2_4_0()))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	broker := old.ListenAddrs()[0]
	file := filepath.Join(t.TempDir(), "trunkline.yaml")
	if err := app.WriteConfig(file, app.DevConfig([]string{broker}, "http://127.0.0.1:1", 1)); err != nil {
		t.Fatal(err)
	}
	dev := harness.Start(t, slices.Concat([]string{
		"dev", "--simulate=false", "--data-dir", t.TempDir(), "--kafka", broker, "--registry", "http://127.0.0.1:1",
	}, harness.FreePorts)...)
	if got := dev.Wait(); got != 3 {
		t.Errorf("dev: exit code %d, want 3", got)
	}
	for command, said := range map[string]string{"run": refused(t, file), "dev": dev.Stderr()} {
		for _, want := range []string{fmt.Sprintf("at %s:", broker), "TxnOffsetCommit up to version 2, want 3", "run Kafka 2.8 or later"} {
			if !strings.Contains(said, want) {
				t.Errorf("%s: got\n%s\nwant %q in it", command, said, want)
			}
		}
	}
}
