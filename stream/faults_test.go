package stream

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// wanted are a log and a table, as a deployment on three brokers wants them.
func wanted() []TopicSpec {
	settings := func(more map[string]string) map[string]string {
		maps.Copy(more, map[string]string{
			"message.timestamp.type": "LogAppendTime", "min.insync.replicas": "2",
			"unclean.leader.election.enable": "false", "max.message.bytes": "8388608",
		})
		return more
	}
	return []TopicSpec{
		{Name: "entity-table", Partitions: 2, Replication: 3, Layout: 7, Config: settings(map[string]string{"cleanup.policy": "compact,delete"})},
		{Name: "events", Partitions: 2, Replication: 3, Config: settings(map[string]string{"cleanup.policy": "delete", "retention.ms": "604800000", "retention.bytes": "-1"})},
	}
}

// standing is a cluster as wanted.
func standing() clusterState {
	c := clusterState{bootstrap: "k1:9092,k2:9092", topics: map[string]topicState{}}
	for id := range int32(3) {
		b := brokerState{id: id, addr: "k:909" + string('0'+id), apis: map[int16]int16{}}
		for _, api := range apis {
			b.apis[api.key] = api.version
		}
		c.brokers = append(c.brokers, b)
	}
	for _, spec := range append(wanted(), internals(wanted())...) {
		topic := topicState{config: maps.Clone(spec.Config), replicas: map[int32][]int32{0: {0, 1, 2}, 1: {1, 2, 0}}}
		if spec.Layout != 0 {
			topic.layouts = []byte{spec.Layout}
		}
		c.topics[spec.Name] = topic
	}
	return c
}

const configs = "kafka-configs.sh --bootstrap-server k1:9092,k2:9092 --alter --entity-type topics --entity-name "

// Each case spoils a good cluster. Seen failing with every branch of faults.go
// that a case names taken out in turn.
func TestFaults(t *testing.T) {
	set := func(topic, name, value string) func(*clusterState) {
		return func(c *clusterState) { c.topics[topic].config[name] = value }
	}
	change := func(name string, f func(*topicState)) func(*clusterState) {
		return func(c *clusterState) {
			topic := c.topics[name]
			f(&topic)
			c.topics[name] = topic
		}
	}
	partitions := func(n int32, records bool) func(*topicState) {
		return func(topic *topicState) {
			topic.replicas, topic.records = map[int32][]int32{}, records
			for p := range n {
				topic.replicas[p] = []int32{0, 1, 2}
			}
		}
	}
	replicas := func(at ...[]int32) func(*topicState) {
		return func(topic *topicState) {
			for p, ids := range at {
				topic.replicas[int32(p)] = ids
			}
		}
	}
	topicFault := func(name, wrong string, mend ...string) []Fault {
		return []Fault{{Where: "topic " + name, Wrong: []string{wrong}, Mend: mend}}
	}
	tests := []struct {
		name  string
		spoil []func(*clusterState)
		want  []Fault
	}{
		{"as wanted", nil, nil},
		{"safer than wanted", []func(*clusterState){
			set("events", "retention.ms", "-1"), set("events", "min.insync.replicas", "3"),
			set("events", "max.message.bytes", "9000000"), set("entity-table", "cleanup.policy", "delete, compact"),
		}, nil},
		{"nothing made yet", []func(*clusterState){func(c *clusterState) { c.topics = nil }}, nil},
		{"a broker is down", []func(*clusterState){func(c *clusterState) { c.brokers = c.brokers[1:] }}, nil},
		{"a setting that the brokers do not know", []func(*clusterState){
			func(c *clusterState) { delete(c.topics["events"].config, "unclean.leader.election.enable") },
		}, nil},

		{
			"no transactions",
			[]func(*clusterState){func(c *clusterState) {
				for key := range c.brokers[1].apis {
					if key >= 22 {
						delete(c.brokers[1].apis, key)
					}
				}
			}},
			[]Fault{{
				Where: "broker 1 at k:9091",
				Wrong: []string{
					"has no InitProducerId, want version 4 (transactions, KIP-98 and KIP-588)",
					"has no AddPartitionsToTxn, want version 0 (transactions, KIP-98)",
					"has no AddOffsetsToTxn, want version 0 (transactions, KIP-98)",
					"has no EndTxn, want version 0 (transactions, KIP-98)",
					"has no TxnOffsetCommit, want version 3 (fencing by group generation, KIP-447)",
				},
				Mend: []string{"run Kafka 2.8 or later on every broker"},
			}},
		},
		{
			"transactions without group metadata",
			[]func(*clusterState){func(c *clusterState) { c.brokers[0].apis[28] = 2 }},
			[]Fault{{
				Where: "broker 0 at k:9090",
				Wrong: []string{"has TxnOffsetCommit up to version 2, want 3 (fencing by group generation, KIP-447)"},
				Mend:  []string{"run Kafka 2.8 or later on every broker"},
			}},
		},
		{
			"too few brokers for the outcomes of transactions",
			[]func(*clusterState){func(c *clusterState) { c.brokers, c.transactionReplicas = c.brokers[:2], 3 }},
			topicFault("__transaction_state",
				"cannot be created, so there are no transactions: transaction.state.log.replication.factor is 3, 2 brokers are up",
				"start 1 more broker",
				"# or, where losing a broker may lose data, in server.properties of every broker, and restart it:",
				"transaction.state.log.replication.factor=2",
				"transaction.state.log.min.isr=1"),
		},
		{
			"too few brokers for the topics",
			[]func(*clusterState){func(c *clusterState) { c.brokers, c.topics = c.brokers[:1], nil }},
			[]Fault{{
				Where: "topics entity-table, events",
				Wrong: []string{"cannot be created: want 3 replicas, 1 broker is up"},
				Mend: []string{
					"start 2 more brokers",
					"# or, where losing a broker may lose data, in the configuration: kafka: {replication: 1, min_isr: 1}",
				},
			}},
		},
		{
			"too few replicas",
			[]func(*clusterState){change("events", replicas([]int32{0}, []int32{2, 1}))},
			topicFault("events", "1 replica, want 3",
				`kafka-reassign-partitions.sh --bootstrap-server k1:9092,k2:9092 --execute --reassignment-json-file <(echo '{"version":1,"partitions":[`+
					`{"topic":"events","partition":0,"replicas":[0,1,2]},{"topic":"events","partition":1,"replicas":[2,1,0]}]}')`),
		},
		{
			"too few replicas and brokers",
			[]func(*clusterState){change("events", replicas([]int32{0}, []int32{0})), func(c *clusterState) { c.brokers = c.brokers[:1] }},
			topicFault("events", "1 replica, want 3", "start 2 more brokers, then start Trunkline again for the command that follows"),
		},
		{
			"too few replicas of the offsets",
			[]func(*clusterState){change("__consumer_offsets", replicas([]int32{1, 0}, []int32{1, 2}))},
			topicFault("__consumer_offsets", "2 replicas, want 3",
				`kafka-reassign-partitions.sh --bootstrap-server k1:9092,k2:9092 --execute --reassignment-json-file <(echo '{"version":1,"partitions":[`+
					`{"topic":"__consumer_offsets","partition":0,"replicas":[1,0,2]},{"topic":"__consumer_offsets","partition":1,"replicas":[1,2,0]}]}')`),
		},
		{
			"one replica may acknowledge",
			[]func(*clusterState){set("__transaction_state", "min.insync.replicas", "1")},
			topicFault("__transaction_state", "min.insync.replicas is 1, want at least 2", configs+"__transaction_state --add-config 'min.insync.replicas=2'"),
		},
		{
			"more than all replicas must acknowledge",
			[]func(*clusterState){set("events", "min.insync.replicas", "4")},
			topicFault("events", "min.insync.replicas is 4 with 3 replicas, so that no write succeeds; want 2", configs+"events --add-config 'min.insync.replicas=2'"),
		},
		{
			"all settings of one topic",
			[]func(*clusterState){
				set("entity-table", "cleanup.policy", "delete"), set("entity-table", "message.timestamp.type", "CreateTime"),
				set("entity-table", "max.message.bytes", "1048588"), set("entity-table", "unclean.leader.election.enable", "true"),
			},
			[]Fault{{
				Where: "topic entity-table",
				Wrong: []string{
					"cleanup.policy is delete, want compact,delete",
					"max.message.bytes is 1048588, want at least 8388608",
					"message.timestamp.type is CreateTime, want LogAppendTime",
					"unclean.leader.election.enable is true, want false",
				},
				Mend: []string{configs + "entity-table --add-config 'cleanup.policy=[compact,delete],max.message.bytes=8388608," +
					"message.timestamp.type=LogAppendTime,unclean.leader.election.enable=false'"},
			}},
		},
		{
			"forgets too soon",
			[]func(*clusterState){set("events", "retention.ms", "3600000")},
			topicFault("events", "retention.ms is 3600000, want at least 604800000", configs+"events --add-config 'retention.ms=604800000'"),
		},
		{
			"forgets by size",
			[]func(*clusterState){set("events", "retention.bytes", "1073741824")},
			topicFault("events", "retention.bytes is 1073741824, want -1", configs+"events --add-config 'retention.bytes=-1'"),
		},
		{
			"another partition count in all topics",
			[]func(*clusterState){change("events", partitions(6, true)), change("entity-table", partitions(6, false))},
			[]Fault{{
				Where: "topics entity-table, events",
				Wrong: []string{"6 partitions, want 2 as the configuration says"},
				Mend:  []string{"# all of them agree; in the configuration: partitions: 6"},
			}},
		},
		{
			"another partition count in one, with records",
			[]func(*clusterState){change("events", partitions(1, true))},
			topicFault("events", "1 partition, want 2 as the configuration says",
				"# events holds records, whose partitions would change: configure its present count, or give up what it holds; set-up creates it anew",
				"kafka-topics.sh --bootstrap-server k1:9092,k2:9092 --delete --topic events"),
		},
		{
			"too few partitions, empty",
			[]func(*clusterState){change("events", partitions(1, false))},
			topicFault("events", "1 partition, want 2 as the configuration says",
				"kafka-topics.sh --bootstrap-server k1:9092,k2:9092 --alter --topic events --partitions 2"),
		},
		{
			"two wrong counts",
			[]func(*clusterState){change("events", partitions(3, false)), change("entity-table", partitions(1, false))},
			[]Fault{
				{
					Where: "topic entity-table", Wrong: []string{"1 partition, want 2 as the configuration says"},
					Mend: []string{"kafka-topics.sh --bootstrap-server k1:9092,k2:9092 --alter --topic entity-table --partitions 2"},
				},
				{
					Where: "topic events", Wrong: []string{"3 partitions, want 2 as the configuration says"},
					Mend: []string{
						"# events is empty; set-up creates it anew",
						"kafka-topics.sh --bootstrap-server k1:9092,k2:9092 --delete --topic events",
					},
				},
			},
		},
		{
			"a table of an older layout",
			[]func(*clusterState){change("entity-table", func(topic *topicState) { topic.layouts = []byte{6, 7} })},
			topicFault("entity-table", "its rows have layout 6, want 7",
				"run the older Trunkline that wrote them",
				"# or, with every process stopped, build the table anew: readers get the kept input's results a second time",
				"kafka-topics.sh --bootstrap-server k1:9092,k2:9092 --delete --topic entity-table",
				"kafka-consumer-groups.sh --bootstrap-server k1:9092,k2:9092 --group entity --reset-offsets --to-earliest --all-topics --execute"),
		},
		{
			"a table of a newer layout",
			[]func(*clusterState){change("entity-table", func(topic *topicState) { topic.layouts = []byte{8} })},
			topicFault("entity-table", "its rows have layout 8, want 7", "run the newer Trunkline that wrote them"),
		},
		{
			"all at once",
			[]func(*clusterState){set("events", "cleanup.policy", "compact"), set("entity-table", "message.timestamp.type", "CreateTime")},
			append(
				topicFault("entity-table", "message.timestamp.type is CreateTime, want LogAppendTime", configs+"entity-table --add-config 'message.timestamp.type=LogAppendTime'"),
				topicFault("events", "cleanup.policy is compact, want delete", configs+"events --add-config 'cleanup.policy=delete'")...),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := standing()
			for _, spoil := range tt.spoil {
				spoil(&c)
			}
			if diff := cmp.Diff(tt.want, c.faults(wanted())); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClusterErrorSaysAll(t *testing.T) {
	got := (&ClusterError{Bootstrap: "k:9092", Faults: []Fault{
		{Where: "topic a", Wrong: []string{"x is 1, want 2", "y is 3, want 4"}, Mend: []string{"do this"}},
		{Where: "topic b", Wrong: []string{"z is 5, want 6"}, Mend: []string{"# with care:", "do that"}},
	}}).Error()
	want := `the cluster at k:9092 is not as exactly-once needs it; nothing was processed

topic a:
  x is 1, want 2
  y is 3, want 4
  mend it:
    do this

topic b:
  z is 5, want 6
  mend it:
    # with care:
    do that`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
}
