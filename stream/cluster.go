package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// clusterState is what stands in Kafka of what a deployment needs. [clusterState.faults]
// compares it with what is wanted.
type clusterState struct {
	bootstrap string // host:port,… as the configuration names it
	brokers   []brokerState
	topics    map[string]topicState // those that exist, by name

	// transactionReplicas is transaction.state.log.replication.factor where it
	// keeps transactions from having a coordinator; 0 when they have one.
	transactionReplicas int
}

// brokerState is a broker that is up.
type brokerState struct {
	id   int32
	addr string
	apis map[int16]int16 // the newest version of each API, by the API's key
}

// topicState is a topic that exists.
type topicState struct {
	replicas map[int32][]int32 // broker ids, by partition
	config   map[string]string // as it takes effect; a setting that the brokers do not know is absent
	records  bool              // whether it holds any; asked only where the partitions are wrong
	layouts  []byte            // of a table's rows, as far as they differ; see TopicSpec.Layout
}

// clusterExam reads a [clusterState].
type clusterExam struct {
	cfg    Config
	client sarama.Client
	admin  sarama.ClusterAdmin
	specs  []TopicSpec
}

// newExam connects to the cluster; closing the admin ends the connection.
func newExam(cfg Config, specs []TopicSpec) (*clusterExam, error) {
	cfg = cfg.withDefaults()
	client, err := sarama.NewClient(cfg.Brokers, cfg.client(setUpClient))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", strings.Join(cfg.Brokers, ","), err)
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to %s: %w", strings.Join(cfg.Brokers, ","), err), client.Close())
	}
	return &clusterExam{cfg: cfg, client: client, admin: admin, specs: specs}, nil
}

// examine describes the cluster as far as the specs and the protocol need it.
// What passes by itself, such as a coordinator that is just moving, is waited
// for; what could not be read is an error and may be tried again.
func (x *clusterExam) examine(ctx context.Context) (clusterState, error) {
	c := clusterState{bootstrap: strings.Join(x.cfg.Brokers, ",")}
	var err error
	if c.brokers, err = x.brokers(); err != nil {
		return c, err
	}
	if !slices.ContainsFunc(c.brokers, func(b brokerState) bool { return len(b.lacks()) > 0 }) {
		if c.transactionReplicas, err = x.coordinators(ctx, len(c.brokers)); err != nil {
			return c, err
		}
	}
	if c.topics, err = x.topics(); err != nil {
		return c, err
	}
	for _, spec := range x.specs {
		topic, ok := c.topics[spec.Name]
		if !ok {
			continue
		}
		if len(topic.replicas) != int(spec.Partitions) {
			topic.records, err = x.holdsRecords(spec.Name, topic)
		} else if spec.Layout != 0 {
			topic.layouts, err = x.layouts(ctx, spec.Name, topic)
		}
		if err != nil {
			return c, fmt.Errorf("examine topic %s: %w", spec.Name, err)
		}
		c.topics[spec.Name] = topic
	}
	return c, nil
}

// brokers asks every broker that is up for its APIs. sarama itself speaks an
// older version where a broker lacks the newer, and a transaction without group
// metadata is not fenced (I2).
func (x *clusterExam) brokers() ([]brokerState, error) {
	var brokers []brokerState
	for _, b := range x.client.Brokers() {
		_ = b.Open(x.client.Config()) // it may be open; the answer tells
		answer, err := b.ApiVersions(&sarama.ApiVersionsRequest{})
		if err != nil {
			continue // it is down: the cluster lives without it
		}
		apis := map[int16]int16{}
		for _, k := range answer.ApiKeys {
			apis[k.ApiKey] = k.MaxVersion
		}
		brokers = append(brokers, brokerState{id: b.ID(), addr: b.Addr(), apis: apis})
	}
	if len(brokers) == 0 {
		return nil, errors.New("ask the brokers for their APIs: none answers")
	}
	slices.SortFunc(brokers, func(a, b brokerState) int { return int(a.id - b.id) })
	return brokers, nil
}

// errNoCoordinator is a state that brokers leave by themselves, or with the next
// broker that comes back.
var errNoCoordinator = errors.New("transactions have no coordinator: a partition of __transaction_state has no leader; start again when all brokers are up")

// coordinators waits until groups and transactions have one: the question makes
// a fresh cluster create its internal topics. It returns the replication factor
// that transactions cannot have with so few brokers, 0 when all is well.
func (x *clusterExam) coordinators(ctx context.Context, brokers int) (int, error) {
	limit := time.NewTimer(x.cfg.RecoveryTimeout)
	defer limit.Stop()
	for {
		if x.coordinated(sarama.CoordinatorGroup) && x.coordinated(sarama.CoordinatorTransaction) {
			return 0, nil
		}
		if n, err := x.transactionReplicas(); err == nil && n > brokers {
			return n, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-limit.C:
			return 0, errNoCoordinator
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (x *clusterExam) coordinated(kind sarama.CoordinatorType) bool {
	broker := x.client.LeastLoadedBroker()
	if broker == nil {
		return false
	}
	answer, err := broker.FindCoordinator(&sarama.FindCoordinatorRequest{
		Version: 1, CoordinatorKey: setUpClient, CoordinatorType: kind,
	})
	return err == nil && answer.Err == sarama.ErrNoError
}

// transactionReplicas is transaction.state.log.replication.factor while the topic
// that it is for does not exist, and 0 afterwards.
func (x *clusterExam) transactionReplicas() (int, error) {
	found, err := x.metadata([]string{transactionTopic})
	if err != nil || len(found) > 0 {
		return 0, err
	}
	const factor = "transaction.state.log.replication.factor"
	broker := x.client.LeastLoadedBroker()
	if broker == nil {
		return 0, sarama.ErrOutOfBrokers
	}
	configs, err := x.configs([]*sarama.ConfigResource{
		{Type: sarama.BrokerResource, Name: fmt.Sprint(broker.ID()), ConfigNames: []string{factor}},
	})
	if err != nil {
		return 0, err
	}
	n, _ := number(configs[fmt.Sprint(broker.ID())][factor])
	return int(n), nil
}

// topics describes those of the wanted topics, and of the brokers' own, that
// exist.
func (x *clusterExam) topics() (map[string]topicState, error) {
	var names []string
	settings := map[string]bool{minISR: true}
	for _, spec := range slices.Concat(x.specs, internals(x.specs)) {
		names = append(names, spec.Name)
		for name := range spec.Config {
			settings[name] = true
		}
	}
	found, err := x.metadata(names)
	if err != nil {
		return nil, err
	}
	var resources []*sarama.ConfigResource
	for name := range found {
		resources = append(resources, &sarama.ConfigResource{
			Type: sarama.TopicResource, Name: name, ConfigNames: slices.Sorted(maps.Keys(settings)),
		})
	}
	configs, err := x.configs(resources)
	if err != nil {
		return nil, err
	}
	topics := map[string]topicState{}
	for name, config := range configs {
		topic := topicState{replicas: map[int32][]int32{}, config: config}
		for _, p := range found[name].Partitions {
			topic.replicas[p.ID] = p.Replicas
		}
		topics[name] = topic
	}
	return topics, nil
}

// metadata returns those of the topics that exist.
func (x *clusterExam) metadata(names []string) (map[string]*sarama.TopicMetadata, error) {
	answers, err := x.admin.DescribeTopics(names)
	if err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	found := map[string]*sarama.TopicMetadata{}
	for _, topic := range answers {
		switch topic.Err {
		case sarama.ErrNoError:
			found[topic.Name] = topic
		case sarama.ErrUnknownTopicOrPartition:
		default:
			return nil, fmt.Errorf("describe topic %s: %w", topic.Name, topic.Err)
		}
	}
	return found, nil
}

// configs returns the settings of the resources by their names. A topic that the
// asked broker has not heard of yet is left out: another process is creating it.
func (x *clusterExam) configs(resources []*sarama.ConfigResource) (map[string]map[string]string, error) {
	answers, err := x.admin.DescribeConfigs(resources, sarama.DescribeConfigsOptions{})
	if err != nil {
		return nil, fmt.Errorf("describe configurations: %w", err)
	}
	configs := map[string]map[string]string{}
	for _, answer := range answers {
		switch answer.ErrorCode {
		case sarama.ErrNoError:
		case sarama.ErrUnknownTopicOrPartition:
			continue
		default:
			return nil, fmt.Errorf("describe the configuration of %s: %w", answer.Name, answer.ErrorCode)
		}
		config := map[string]string{}
		for _, entry := range answer.Configs {
			config[entry.Name] = entry.Value
		}
		configs[answer.Name] = config
	}
	return configs, nil
}

// holdsRecords may take markers of transactions for records.
func (x *clusterExam) holdsRecords(name string, topic topicState) (bool, error) {
	for partition := range topic.replicas {
		oldest, newest, err := x.span(name, partition)
		if err != nil || oldest < newest {
			return err == nil, err
		}
	}
	return false, nil
}

func (x *clusterExam) span(topic string, partition int32) (oldest, newest int64, err error) {
	if oldest, err = x.client.GetOffset(topic, partition, sarama.OffsetOldest); err != nil {
		return 0, 0, fmt.Errorf("read the log start of partition %d: %w", partition, err)
	}
	if newest, err = x.client.GetOffset(topic, partition, sarama.OffsetNewest); err != nil {
		return 0, 0, fmt.Errorf("read the high water mark of partition %d: %w", partition, err)
	}
	return oldest, newest, nil
}

// layouts reads the first row of every partition. It stands for the others: no
// process starts on a table whose first row has another layout than its own.
func (x *clusterExam) layouts(ctx context.Context, name string, topic topicState) ([]byte, error) {
	var layouts []byte
	for partition := range topic.replicas {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		layout, err := x.firstLayout(name, partition)
		if err != nil {
			return nil, err
		}
		if layout != 0 && !slices.Contains(layouts, layout) {
			layouts = append(layouts, layout)
		}
	}
	slices.Sort(layouts)
	return layouts, nil
}

// firstLayout returns the first byte of the first committed row of a table's
// partition, 0 when there is no row.
func (x *clusterExam) firstLayout(topic string, partition int32) (byte, error) {
	at, newest, err := x.span(topic, partition)
	if err != nil {
		return 0, err
	}
	aborted := abortTracker{}
	for at < newest {
		block, err := fetch(x.client, topic, partition, at, 2*MaxMessageBytes)
		if err != nil {
			return 0, err
		}
		aborted.add(block.AbortedTransactions)
		progress := at
		for _, set := range block.RecordsSet {
			batch := set.RecordBatch
			if batch == nil || batch.PartialTrailingRecord {
				continue
			}
			progress = max(progress, batch.FirstOffset+int64(batch.LastOffsetDelta)+1)
			if !aborted.visible(batch) {
				continue
			}
			for _, record := range batch.Records {
				if len(record.Value) > 0 {
					return record.Value[0], nil
				}
			}
		}
		if progress == at {
			return 0, nil // the rest is undecided: nothing older stands before it
		}
		at = progress
	}
	return 0, nil
}
