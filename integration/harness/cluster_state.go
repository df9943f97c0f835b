package harness

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// UntilHealthy waits until every broker serves and sees all of them, and every
// partition has its leader and all its replicas in sync.
func (c *Cluster) UntilHealthy(t testing.TB) {
	t.Helper()
	Until(t, "the cluster is healthy", func() bool {
		for _, b := range c.brokers {
			if err := b.fault(); err != nil {
				t.Fatal(err)
			}
		}
		for _, b := range c.brokers {
			if !c.healthySeenFrom(t.Context(), b.id) {
				return false
			}
		}
		return true
	})
}

// healthySeenFrom asks one broker, which may know less than the others. Only
// brokers that are not fenced are in its answer.
func (c *Cluster) healthySeenFrom(ctx context.Context, id int) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	answer, err := c.client.Broker(id).Request(ctx, metadataRequest(nil))
	if err != nil {
		return false
	}
	metadata, ok := answer.(*kmsg.MetadataResponse)
	if !ok || len(metadata.Brokers) != c.Size() {
		return false
	}
	for _, topic := range metadata.Topics {
		for _, p := range topic.Partitions {
			if topic.ErrorCode != 0 || p.ErrorCode != 0 || p.Leader < 0 || len(p.ISR) != len(p.Replicas) {
				return false
			}
		}
	}
	return true
}

// Leader is the broker that leads a partition, -1 when there is none.
func (c *Cluster) Leader(topic string, partition int32) int {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	metadata, err := metadataRequest([]string{topic}).RequestWith(ctx, c.client)
	if err != nil {
		return -1
	}
	for _, at := range metadata.Topics {
		for _, p := range at.Partitions {
			if p.Partition == partition {
				return int(p.Leader)
			}
		}
	}
	return -1
}

func metadataRequest(topics []string) *kmsg.MetadataRequest {
	request := kmsg.NewPtrMetadataRequest() // no topics are all
	for _, name := range topics {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		request.Topics = append(request.Topics, topic)
	}
	return request
}

// The kinds of coordinators in the protocol.
const (
	groupCoordinator       = 0
	transactionCoordinator = 1
)

// GroupCoordinator is the broker that coordinates a consumer group, -1 when
// there is none.
func (c *Cluster) GroupCoordinator(group string) int {
	return c.coordinator(groupCoordinator, group)
}

// TransactionCoordinator is the broker that coordinates a transactional id, -1
// when there is none.
func (c *Cluster) TransactionCoordinator(id string) int {
	return c.coordinator(transactionCoordinator, id)
}

func (c *Cluster) coordinator(kind int8, name string) int {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	request := kmsg.NewPtrFindCoordinatorRequest()
	request.CoordinatorType, request.CoordinatorKey, request.CoordinatorKeys = kind, name, []string{name}
	answer, err := request.RequestWith(ctx, c.client)
	if err != nil || len(answer.Coordinators) != 1 || kerr.ErrorForCode(answer.Coordinators[0].ErrorCode) != nil {
		return -1
	}
	return int(answer.Coordinators[0].NodeID)
}
