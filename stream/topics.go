package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// TopicSpec is a topic as it must stand in Kafka. What is safer than Config says
// (more replicas in sync, longer retention) is as good.
type TopicSpec struct {
	Name        string
	Partitions  int32
	Replication int16
	Config      map[string]string
	// Layout is the first byte of every row of a table, by which a process knows
	// rows that it cannot read; 0 is not looked at.
	Layout byte
}

// setUpClient is what set-up calls itself.
const setUpClient = "trunkline-setup"

// CreateTopics examines the cluster and creates the topics that are missing. A
// cluster that cannot carry exactly-once, or whose topics are not as the specs
// want them, is a [ClusterError] with all that is wrong, and is left as it was.
// Two instances may create at once.
func CreateTopics(ctx context.Context, cfg Config, specs []TopicSpec) error {
	x, err := newExam(cfg, specs)
	if err != nil {
		return err
	}
	defer x.admin.Close() //nolint:errcheck // nothing was left half done
	cluster, err := x.examine(ctx)
	if err != nil {
		return fmt.Errorf("examine the cluster at %s: %w", cluster.bootstrap, err)
	}
	if faults := cluster.faults(specs); len(faults) > 0 {
		return &ClusterError{Bootstrap: cluster.bootstrap, Faults: faults}
	}
	var errs []error
	for _, spec := range specs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, ok := cluster.topics[spec.Name]; !ok {
			errs = append(errs, createTopic(x.admin, spec))
		}
	}
	return errors.Join(errs...)
}

func createTopic(admin sarama.ClusterAdmin, spec TopicSpec) error {
	entries := map[string]*string{}
	for k, v := range spec.Config {
		entries[k] = &v
	}
	err := admin.CreateTopic(spec.Name, &sarama.TopicDetail{
		NumPartitions: spec.Partitions, ReplicationFactor: spec.Replication, ConfigEntries: entries,
	}, false)
	if err != nil && !errors.Is(err, sarama.ErrTopicAlreadyExists) {
		return fmt.Errorf("create topic %s: %w", spec.Name, err)
	}
	return nil
}

// topicManager is goka's view of the cluster: it talks to any broker, never
// creates a topic, hides the virtual tick topic's absence from the brokers, and
// answers "newest" with the recovery bound.
type topicManager struct {
	client  sarama.Client
	ctx     context.Context //nolint:containedctx // goka's interface has none; it ends with the processor
	timeout time.Duration
	tick    string // the virtual topic
	like    string // the input whose partitions it has
}

// EnsureTableExists reports a missing table.
func (m *topicManager) EnsureTableExists(topic string, npar int) error { return m.ensure(topic, npar) }

// EnsureStreamExists reports a missing stream.
func (m *topicManager) EnsureStreamExists(topic string, npar int) error { return m.ensure(topic, npar) }

// EnsureTopicExists reports a missing topic.
func (m *topicManager) EnsureTopicExists(topic string, npar, _ int, _ map[string]string) error {
	return m.ensure(topic, npar)
}

func (m *topicManager) ensure(topic string, npar int) error {
	partitions, err := m.Partitions(topic)
	if err != nil {
		return err
	}
	if len(partitions) != npar {
		return fmt.Errorf("topic %s has %d partitions, want %d as its group's inputs have", topic, len(partitions), npar)
	}
	return nil
}

// Partitions lists the partitions of a topic.
func (m *topicManager) Partitions(topic string) ([]int32, error) {
	if topic == m.tick {
		topic = m.like
	}
	partitions, err := m.client.Partitions(topic)
	if err != nil {
		return nil, fmt.Errorf("read the partitions of %s: %w", topic, err)
	}
	slices.Sort(partitions)
	return partitions, nil
}

// GetOffset answers the log start for sarama.OffsetOldest and the recovery bound
// for sarama.OffsetNewest.
func (m *topicManager) GetOffset(topic string, partition int32, at int64) (int64, error) {
	if at != sarama.OffsetNewest {
		return m.client.GetOffset(topic, partition, at)
	}
	ctx, cancel := context.WithTimeout(m.ctx, m.timeout)
	defer cancel()
	e, err := settledEnd(ctx, m.client, topic, partition)
	return e.next, err
}

// Close leaves the shared client open.
func (m *topicManager) Close() error { return nil }

// topicID returns the brokers' id of a topic. A topic that was deleted and made
// again has another. Whichever broker answers first will do (trap 10).
func topicID(client sarama.Client, topic string) (string, error) {
	var errs []error
	for _, broker := range client.Brokers() {
		_ = broker.Open(client.Config()) // or it is open
		response, err := broker.GetMetadata(&sarama.MetadataRequest{Version: 10, Topics: []string{topic}})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, t := range response.Topics {
			if t.Name == topic && t.Err == sarama.ErrNoError {
				return t.Uuid.String(), nil
			}
		}
		errs = append(errs, sarama.ErrUnknownTopicOrPartition)
	}
	return "", fmt.Errorf("read the id of %s: %w", topic, errors.Join(errs...))
}
