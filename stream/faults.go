package stream

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Fault is what is wrong at one place of a cluster.
type Fault struct {
	Where string   // "topic events", "broker 1 at host:port"
	Wrong []string // each says what is and what is wanted
	Mend  []string // commands of Kafka's own tools, a remark before one that costs something
}

// ClusterError lists everything that keeps a cluster from carrying exactly-once.
// Nothing was created, read or written.
type ClusterError struct {
	Bootstrap string
	Faults    []Fault
}

func (e *ClusterError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the cluster at %s is not as exactly-once needs it; nothing was processed", e.Bootstrap)
	for _, f := range e.Faults {
		fmt.Fprintf(&b, "\n\n%s:", f.Where)
		for _, wrong := range f.Wrong {
			fmt.Fprintf(&b, "\n  %s", wrong)
		}
		b.WriteString("\n  mend it:")
		for _, mend := range f.Mend {
			fmt.Fprintf(&b, "\n    %s", mend)
		}
	}
	return b.String()
}

// The topics that brokers keep for themselves. Input offsets and the outcome of
// transactions stand there, so they must be as safe as the records.
const (
	offsetsTopic     = "__consumer_offsets"
	transactionTopic = "__transaction_state"
)

const (
	cleanupPolicy   = "cleanup.policy"
	minISR          = "min.insync.replicas"
	uncleanElection = "unclean.leader.election.enable"
)

// internals are the brokers' own topics, as safe as the safest of the specs.
func internals(specs []TopicSpec) []TopicSpec {
	var replication int16
	var inSync int64
	for _, spec := range specs {
		replication = max(replication, spec.Replication)
		n, _ := number(spec.Config[minISR])
		inSync = max(inSync, n)
	}
	config := map[string]string{minISR: strconv.FormatInt(inSync, 10), uncleanElection: "false"}
	return []TopicSpec{
		{Name: offsetsTopic, Replication: replication, Config: config},
		{Name: transactionTopic, Replication: replication, Config: config},
	}
}

// faults compares the cluster with the topics that are wanted and with what the
// protocol needs. A topic that is missing is no fault: set-up creates it.
func (c clusterState) faults(specs []TopicSpec) []Fault {
	var faults []Fault
	for _, b := range c.brokers {
		if lacks := b.lacks(); len(lacks) > 0 {
			faults = append(faults, Fault{
				Where: fmt.Sprintf("broker %d at %s", b.id, b.addr), Wrong: lacks,
				Mend: []string{"run Kafka 2.8 or later on every broker"},
			})
		}
	}
	faults = append(faults, c.sizeFaults(specs)...)
	faults = append(faults, c.partitionFaults(specs)...)
	for _, spec := range slices.Concat(specs, internals(specs)) {
		if topic, ok := c.topics[spec.Name]; ok {
			if f := c.topicFault(spec, topic); len(f.Wrong) > 0 {
				faults = append(faults, f)
			}
		}
	}
	return faults
}

// apis are those of which the protocol needs more than every broker has.
var apis = []struct {
	key, version int16
	name, use    string
}{
	{3, 10, "Metadata", "ids of topics, KIP-516"},
	{9, 7, "OffsetFetch", "offsets of decided transactions only, KIP-447"},
	{11, 5, "JoinGroup", "static members, KIP-345"},
	{22, 4, "InitProducerId", "transactions, KIP-98 and KIP-588"},
	{24, 0, "AddPartitionsToTxn", "transactions, KIP-98"},
	{25, 0, "AddOffsetsToTxn", "transactions, KIP-98"},
	{26, 0, "EndTxn", "transactions, KIP-98"},
	{28, 3, "TxnOffsetCommit", "fencing by group generation, KIP-447"},
}

// lacks says which APIs of the protocol the broker has not, or not new enough.
func (b brokerState) lacks() []string {
	var lacks []string
	for _, api := range apis {
		newest, ok := b.apis[api.key]
		switch {
		case !ok:
			lacks = append(lacks, fmt.Sprintf("has no %s, want version %d (%s)", api.name, api.version, api.use))
		case newest < api.version:
			lacks = append(lacks, fmt.Sprintf("has %s up to version %d, want %d (%s)", api.name, newest, api.version, api.use))
		}
	}
	return lacks
}

// sizeFaults finds what needs more brokers than there are.
func (c clusterState) sizeFaults(specs []TopicSpec) []Fault {
	var faults []Fault
	have := len(c.brokers)
	if c.transactionReplicas > have {
		faults = append(faults, Fault{
			Where: "topic " + transactionTopic,
			Wrong: []string{fmt.Sprintf("cannot be created, so there are no transactions: transaction.state.log.replication.factor is %d, %s",
				c.transactionReplicas, counted(have, "broker is up", "brokers are up"))},
			Mend: []string{
				fmt.Sprintf("start %s", counted(c.transactionReplicas-have, "more broker", "more brokers")),
				"# or, where losing a broker may lose data, in server.properties of every broker, and restart it:",
				fmt.Sprintf("transaction.state.log.replication.factor=%d", have),
				fmt.Sprintf("transaction.state.log.min.isr=%d", max(1, have-1)),
			},
		})
	}
	var missing []string
	var want int16
	for _, spec := range specs {
		if _, ok := c.topics[spec.Name]; !ok && int(spec.Replication) > have {
			missing = append(missing, spec.Name)
			want = max(want, spec.Replication)
		}
	}
	if len(missing) > 0 {
		faults = append(faults, Fault{
			Where: topics(missing),
			Wrong: []string{fmt.Sprintf("cannot be created: want %d replicas, %s", want, counted(have, "broker is up", "brokers are up"))},
			Mend: []string{
				fmt.Sprintf("start %s", counted(int(want)-have, "more broker", "more brokers")),
				fmt.Sprintf("# or, where losing a broker may lose data, in the configuration: kafka: {replication: %d, min_isr: %d}", have, max(1, have-1)),
			},
		})
	}
	return faults
}

// partitionFaults groups the topics whose partition count is not the wanted one.
// The partition rule needs the same count of all topics that share a key.
func (c clusterState) partitionFaults(specs []TopicSpec) []Fault {
	type counts struct{ want, have int }
	wrong := map[counts][]string{}
	right := map[int]bool{} // wanted counts that some topic has
	for _, spec := range specs {
		topic, ok := c.topics[spec.Name]
		if !ok {
			continue
		}
		if n := (counts{int(spec.Partitions), len(topic.replicas)}); n.want == n.have {
			right[n.want] = true
		} else {
			wrong[n] = append(wrong[n], spec.Name)
		}
	}
	groups := slices.SortedFunc(maps.Keys(wrong), func(a, b counts) int { return strings.Compare(wrong[a][0], wrong[b][0]) })
	agreed := map[int]int{} // how many different counts stand where one is wanted
	for _, n := range groups {
		agreed[n.want]++
	}
	var faults []Fault
	for _, n := range groups {
		f := Fault{
			Where: topics(wrong[n]),
			Wrong: []string{fmt.Sprintf("%s, want %d as the configuration says", counted(n.have, "partition", "partitions"), n.want)},
		}
		if agreed[n.want] == 1 && !right[n.want] {
			f.Mend = []string{fmt.Sprintf("# all of them agree; in the configuration: partitions: %d", n.have)}
		} else {
			for _, name := range wrong[n] {
				f.Mend = append(f.Mend, c.repartition(name, n.have, n.want)...)
			}
		}
		faults = append(faults, f)
	}
	return faults
}

func (c clusterState) repartition(name string, have, want int) []string {
	remove := c.tool("topics", "--delete --topic "+name)
	switch {
	case c.topics[name].records:
		return []string{
			"# " + name + " holds records, whose partitions would change: configure its present count, or give up what it holds; set-up creates it anew",
			remove,
		}
	case have < want:
		return []string{c.tool("topics", fmt.Sprintf("--alter --topic %s --partitions %d", name, want))}
	default:
		return []string{"# " + name + " is empty; set-up creates it anew", remove}
	}
}

// topicFault compares replicas, settings and rows of a topic.
func (c clusterState) topicFault(spec TopicSpec, topic topicState) Fault {
	f := Fault{Where: "topic " + spec.Name}
	replicas := topic.replication()
	if replicas < int(spec.Replication) {
		f.Wrong = append(f.Wrong, fmt.Sprintf("%s, want %d", counted(replicas, "replica", "replicas"), spec.Replication))
		f.Mend = append(f.Mend, c.reassign(spec, topic)...)
	}
	var set []string
	for _, name := range slices.Sorted(maps.Keys(spec.Config)) {
		want := spec.Config[name]
		have, known := topic.config[name]
		if !known {
			continue
		}
		if fits, least := compare(name, have, want); !fits {
			f.Wrong = append(f.Wrong, fmt.Sprintf("%s is %s, want %s%s", name, have, least, want))
			set = append(set, name+"="+list(want))
		}
	}
	// More than the topic has replicas: no acks=all is ever given.
	if n, ok := number(topic.config[minISR]); ok && n > int64(max(replicas, int(spec.Replication))) {
		want := spec.Config[minISR]
		if want == "" {
			want = strconv.Itoa(replicas)
		}
		f.Wrong = append(f.Wrong, fmt.Sprintf("%s is %d with %s, so that no write succeeds; want %s", minISR, n, counted(replicas, "replica", "replicas"), want))
		set = append(set, minISR+"="+want)
	}
	if len(set) > 0 {
		f.Mend = append(f.Mend, c.tool("configs", fmt.Sprintf("--alter --entity-type topics --entity-name %s --add-config '%s'", spec.Name, strings.Join(set, ","))))
	}
	if wrong, mend := c.layoutFault(spec, topic); wrong != "" {
		f.Wrong, f.Mend = append(f.Wrong, wrong), append(f.Mend, mend...)
	}
	return f
}

// layoutFault tells a table of an older layout from one of a newer.
func (c clusterState) layoutFault(spec TopicSpec, topic topicState) (wrong string, mend []string) {
	for _, have := range topic.layouts {
		if have == spec.Layout {
			continue
		}
		wrong = fmt.Sprintf("its rows have layout %d, want %d", have, spec.Layout)
		if have > spec.Layout {
			return wrong, []string{"run the newer Trunkline that wrote them"}
		}
		group := strings.TrimSuffix(spec.Name, tableSuffix)
		return wrong, []string{
			"run the older Trunkline that wrote them",
			"# or, with every process stopped, build the table anew: readers get the kept input's results a second time",
			c.tool("topics", "--delete --topic "+spec.Name),
			c.tool("consumer-groups", "--group "+group+" --reset-offsets --to-earliest --all-topics --execute"),
		}
	}
	return "", nil
}

// tableSuffix is how goka names the topic of a group's table.
const tableSuffix = "-table"

// replication is that of the partition with the fewest replicas.
func (t topicState) replication() int {
	least := -1
	for _, replicas := range t.replicas {
		if least < 0 || len(replicas) < least {
			least = len(replicas)
		}
	}
	return max(least, 0)
}

// reassign adds the missing replicas on the brokers that have none yet.
func (c clusterState) reassign(spec TopicSpec, topic topicState) []string {
	if len(c.brokers) < int(spec.Replication) {
		return []string{fmt.Sprintf("start %s, then start Trunkline again for the command that follows",
			counted(int(spec.Replication)-len(c.brokers), "more broker", "more brokers"))}
	}
	var moves []string
	for _, partition := range slices.Sorted(maps.Keys(topic.replicas)) {
		replicas := slices.Clone(topic.replicas[partition])
		for i := range c.brokers {
			id := c.brokers[(int(partition)+i)%len(c.brokers)].id
			if len(replicas) < int(spec.Replication) && !slices.Contains(replicas, id) {
				replicas = append(replicas, id)
			}
		}
		ids := strings.ReplaceAll(strings.Trim(fmt.Sprint(replicas), "[]"), " ", ",")
		moves = append(moves, fmt.Sprintf(`{"topic":%q,"partition":%d,"replicas":[%s]}`, spec.Name, partition, ids))
	}
	return []string{c.tool("reassign-partitions", fmt.Sprintf(`--execute --reassignment-json-file <(echo '{"version":1,"partitions":[%s]}')`, strings.Join(moves, ",")))}
}

func (c clusterState) tool(name, args string) string {
	return "kafka-" + name + ".sh --bootstrap-server " + c.bootstrap + " " + args
}

// compare reports whether a setting is as wanted or safer. What may be more than
// wanted says so in least.
func compare(name, have, want string) (fits bool, least string) {
	switch name {
	case cleanupPolicy:
		return slices.Equal(elements(have), elements(want)), ""
	case "retention.ms", "retention.bytes": // -1 is without limit
		h, ok := number(have)
		w, _ := number(want)
		if w < 0 {
			return ok && h < 0, ""
		}
		return ok && (h < 0 || h >= w), "at least "
	case "max.message.bytes", "min.compaction.lag.ms", minISR:
		h, ok := number(have)
		w, _ := number(want)
		return ok && h >= w, "at least "
	default:
		return have == want, ""
	}
}

func elements(list string) []string {
	e := strings.Split(strings.ReplaceAll(list, " ", ""), ",")
	slices.Sort(e)
	return e
}

// list is a value as kafka-configs.sh takes it.
func list(value string) string {
	if strings.Contains(value, ",") {
		return "[" + value + "]"
	}
	return value
}

func number(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

func counted(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", more)
}

func topics(names []string) string {
	if len(names) == 1 {
		return "topic " + names[0]
	}
	return "topics " + strings.Join(names, ", ")
}
