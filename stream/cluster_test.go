package stream

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"trunkline/topology"
)

// examined are the topics of the counting stage, with settings.
func examined() []TopicSpec {
	return []TopicSpec{
		{Name: inputTopic, Partitions: partitions, Replication: 1, Config: map[string]string{"cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime"}},
		{Name: outputTopic, Partitions: partitions, Replication: 1, Config: map[string]string{"cleanup.policy": "delete", "max.message.bytes": "8388608"}},
		{Name: tableTopic, Partitions: partitions, Replication: 1, Config: map[string]string{"cleanup.policy": "compact"}, Layout: '2'},
	}
}

// refusal returns the faults by which CreateTopics refuses.
func refusal(t *testing.T, cfg Config, specs []TopicSpec) []string {
	t.Helper()
	err := CreateTopics(t.Context(), cfg, specs)
	var refused *ClusterError
	if err != nil && !errors.As(err, &refused) {
		t.Fatalf("got error %v, want a refusal", err)
	}
	var wrong []string
	if refused != nil {
		for _, f := range refused.Faults {
			for _, w := range f.Wrong {
				wrong = append(wrong, f.Where+": "+w)
			}
		}
	}
	return wrong
}

func adminOf(t *testing.T, addr string) *kadm.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return kadm.NewClient(client)
}

// A cluster that others laid out is read as it is, everything wrong is said at
// once, and nothing is made. Seen failing with the topics created before the
// faults are looked at, and with the first layout read without regard to aborts.
func TestCreateTopicsRefusesWhatOthersLaidOut(t *testing.T) {
	b := startBroker(t)
	cfg := config(t, b.Addr(), "x")
	admin := adminOf(t, b.Addr())
	for name, n := range map[string]int32{inputTopic: 3, tableTopic: partitions} {
		if _, err := admin.CreateTopic(t.Context(), n, 1, map[string]*string{
			"cleanup.policy": new("delete"), "message.timestamp.type": new("CreateTime"),
		}, name); err != nil {
			t.Fatal(err)
		}
	}
	// Of a table's rows the first that a reader sees counts: "1…", not the
	// tombstone, nor what is aborted.
	produceAborted(t, b.Addr(), &kgo.Record{Topic: tableTopic, Key: []byte("k"), Value: []byte("9")})
	a := NewAppender(cfg, topology.Partition)
	defer func() { _ = a.Close() }()
	for _, value := range [][]byte{nil, []byte("17"), []byte("2")} {
		if err := a.Append(t.Context(), []Outgoing{{Topic: tableTopic, Key: "k", Value: value}}); err != nil {
			t.Fatal(err)
		}
	}

	got := refusal(t, cfg, examined())
	want := []string{
		"topic in: 3 partitions, want 4 as the configuration says",
		"topic in: message.timestamp.type is CreateTime, want LogAppendTime",
		"topic counter-table: cleanup.policy is delete, want compact",
		"topic counter-table: its rows have layout 49, want 50",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got faults\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	found, err := admin.ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if found.Has(outputTopic) {
		t.Errorf("topic %s was made on a cluster that was refused", outputTopic)
	}
}

// produceAborted writes a record that no reader ever sees.
func produceAborted(t *testing.T, addr string, r *kgo.Record) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.TransactionalID("aborted"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	r.Partition = topology.Partition(string(r.Key), partitions)
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := client.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
}

// What set-up makes, set-up takes. Seen failing with a setting left out of what
// is created.
func TestCreateTopicsTakesItsOwn(t *testing.T) {
	b := startBroker(t)
	cfg := config(t, b.Addr(), "x")
	for range 2 {
		if wrong := refusal(t, cfg, examined()); len(wrong) > 0 {
			t.Errorf("refused: %q", wrong)
		}
	}
}

// Brokers without the transactions of the protocol are refused: sarama would
// speak an older one, without fencing (I2). Seen failing without brokers' faults.
func TestCreateTopicsRefusesOldBrokers(t *testing.T) {
	tests := []struct {
		version *kversion.Versions
		want    string
	}{
		{kversion.V0_10_2(), "has no InitProducerId"},
		{kversion.V2_4_0(), "has TxnOffsetCommit up to version 2, want 3"},
		{kversion.V2_8_0(), ""},
	}
	for _, tt := range tests {
		t.Run(tt.version.VersionGuess(), func(t *testing.T) {
			c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.MaxVersions(tt.version))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			got := strings.Join(refusal(t, config(t, c.ListenAddrs()[0], "x"), examined()), "\n")
			if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
				t.Errorf("got faults %q, want %q among them", got, tt.want)
			}
		})
	}
}

// A coordinator that is moving is waited for; one that never comes is an error
// that another start may not meet; one that can never come is a fault. Seen
// failing without the wait, and without the look at the replication factor.
func TestCreateTopicsWaitsForCoordinators(t *testing.T) {
	const notAvailable = 15
	tests := []struct {
		name    string
		refused int // answers
		factor  string
		want    string
	}{
		{"moving", 3, "1", ""},
		{"gone", 1 << 30, "1", errNoCoordinator.Error()},
		{"never possible", 1 << 30, "3", "transaction.state.log.replication.factor is 3, 1 broker is up"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := startBroker(t)
			refused := 0
			b.Cluster().ControlKey(int16(kmsg.FindCoordinator), func(req kmsg.Request) (kmsg.Response, error, bool) {
				b.Cluster().KeepControl()
				if refused++; refused > tt.refused {
					return nil, nil, false
				}
				answer := kmsg.NewPtrFindCoordinatorResponse()
				answer.Version, answer.ErrorCode = req.GetVersion(), notAvailable
				return answer, nil, true
			})
			b.Cluster().ControlKey(int16(kmsg.DescribeConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
				b.Cluster().KeepControl()
				asked, ok := req.(*kmsg.DescribeConfigsRequest)
				if !ok || asked.Resources[0].ResourceType != kmsg.ConfigResourceTypeBroker {
					return nil, nil, false
				}
				return brokerSetting(asked, tt.factor), nil, true
			})
			cfg := config(t, b.Addr(), "x")
			cfg.RecoveryTimeout = time.Second
			err := CreateTopics(t.Context(), cfg, examined())
			if (tt.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want %q", err, tt.want)
			}
		})
	}
}

// brokerSetting answers every setting of a broker with one value, as a broker
// that knows it does; the embedded one does not.
func brokerSetting(asked *kmsg.DescribeConfigsRequest, value string) kmsg.Response {
	answer := kmsg.NewPtrDescribeConfigsResponse()
	answer.Version = asked.Version
	for _, r := range asked.Resources {
		resource := kmsg.NewDescribeConfigsResponseResource()
		resource.ResourceType, resource.ResourceName = r.ResourceType, r.ResourceName
		for _, name := range r.ConfigNames {
			config := kmsg.NewDescribeConfigsResponseResourceConfig()
			config.Name, config.Value = name, &value
			resource.Configs = append(resource.Configs, config)
		}
		answer.Resources = append(answer.Resources, resource)
	}
	return answer
}

// A process that is told to end does not wait for the cluster.
// Seen failing with a wait that ignores its context.
func TestCreateTopicsEndsWithItsContext(t *testing.T) {
	b := startBroker(t)
	b.Cluster().ControlKey(int16(kmsg.FindCoordinator), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster().KeepControl()
		return nil, errors.New("closed"), true
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := CreateTopics(ctx, config(t, b.Addr(), "x"), examined())
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want that of the context", err)
	}
}
