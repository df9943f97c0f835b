package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/IBM/sarama"
)

// Drift is one thing in which a topic is not as its spec says.
type Drift struct {
	Topic   string  `json:"topic"`
	Setting string  `json:"setting"` // topic, partitions, replicas, or a setting of Kafka's
	Have    string  `json:"have"`
	Want    string  `json:"want"`
	Mend    Mending `json:"mend"`
	// Commands of Kafka's own tools, a remark before one that costs something: what
	// the operator may do.
	Commands []string `json:"commands,omitempty"`
}

// Mending is what it takes to end a drift.
type Mending string

// The kinds of mending.
const (
	MendCreate   Mending = "create"   // the topic is missing
	MendSet      Mending = "set"      // a setting is wrong, or less safe than wanted
	MendLower    Mending = "lower"    // a setting that is safer than wanted: records may go, or be refused
	MendOperator Mending = "operator" // moves or loses records: it is never done by Trunkline
)

// The drifts that are no setting of Kafka's.
const (
	driftTopic      = "topic"
	driftPartitions = "partitions"
	driftReplicas   = "replicas"
)

// Drifts compares the topics of a cluster with the specs, in the order of the specs.
// Unlike [CreateTopics] it tells what is safer than wanted, too.
func Drifts(ctx context.Context, cfg Config, specs []TopicSpec) ([]Drift, error) {
	x, err := newExam(cfg, specs)
	if err != nil {
		return nil, err
	}
	defer x.admin.Close() //nolint:errcheck // nothing was written
	cluster, err := x.examine(ctx)
	if err != nil {
		return nil, fmt.Errorf("examine the cluster at %s: %w", cluster.bootstrap, err)
	}
	var drifts []Drift
	for _, spec := range specs {
		drifts = append(drifts, cluster.drifts(spec)...)
	}
	return drifts, nil
}

func (c clusterState) drifts(spec TopicSpec) []Drift {
	topic, ok := c.topics[spec.Name]
	if !ok {
		return []Drift{{Topic: spec.Name, Setting: driftTopic, Have: "missing", Want: "there", Mend: MendCreate}}
	}
	var drifts []Drift
	if have, want := len(topic.replicas), int(spec.Partitions); have != want {
		drifts = append(drifts, Drift{
			Topic: spec.Name, Setting: driftPartitions, Have: strconv.Itoa(have), Want: strconv.Itoa(want),
			Mend: MendOperator, Commands: c.repartition(spec.Name, have, want),
		})
	}
	replicas := topic.replication()
	if want := int(spec.Replication); replicas != want {
		d := Drift{
			Topic: spec.Name, Setting: driftReplicas, Have: strconv.Itoa(replicas), Want: strconv.Itoa(want), Mend: MendOperator,
			Commands: []string{"# more replicas than wanted only take space"},
		}
		if replicas < want {
			d.Commands = c.reassign(spec, topic)
		}
		drifts = append(drifts, d)
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Config)) {
		have, known := topic.config[name]
		want := spec.Config[name]
		if !known || have == want || name == cleanupPolicy && slices.Equal(elements(have), elements(want)) {
			continue
		}
		d := Drift{Topic: spec.Name, Setting: name, Have: have, Want: want, Mend: MendSet}
		if fits, _ := compare(name, have, want); fits && !(name == minISR && blocks(have, replicas)) {
			d.Mend = MendLower
		}
		drifts = append(drifts, d)
	}
	return drifts
}

// blocks reports whether acks=all is never given: more replicas must be in sync
// than there are.
func blocks(inSync string, replicas int) bool {
	n, ok := number(inSync)
	return ok && n > int64(replicas)
}

// Mend creates the topics and sets the settings of drifts; what only the operator
// may mend is an error, and nothing is done. The specs are those of [Drifts].
func Mend(ctx context.Context, cfg Config, specs []TopicSpec, drifts []Drift) error {
	settings := map[string]map[string]sarama.IncrementalAlterConfigsEntry{}
	var missing []TopicSpec
	for _, d := range drifts {
		i := slices.IndexFunc(specs, func(s TopicSpec) bool { return s.Name == d.Topic })
		switch {
		case i < 0:
			return fmt.Errorf("mend topic %s: it is not among those that are wanted", d.Topic)
		case d.Mend == MendOperator:
			return fmt.Errorf("mend %s of topic %s: only the operator may; %s", d.Setting, d.Topic, strings.Join(d.Commands, "; "))
		case d.Mend == MendCreate:
			missing = append(missing, specs[i])
		default:
			if settings[d.Topic] == nil {
				settings[d.Topic] = map[string]sarama.IncrementalAlterConfigsEntry{}
			}
			settings[d.Topic][d.Setting] = sarama.IncrementalAlterConfigsEntry{
				Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &d.Want,
			}
		}
	}
	x, err := newExam(cfg, specs)
	if err != nil {
		return err
	}
	defer x.admin.Close() //nolint:errcheck // nothing was left half done
	var errs []error
	for _, spec := range missing {
		errs = append(errs, createTopic(x.admin, spec))
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, err)...)
		}
		if err := x.admin.IncrementalAlterConfig(sarama.TopicResource, name, settings[name], false); err != nil {
			errs = append(errs, fmt.Errorf("configure topic %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
