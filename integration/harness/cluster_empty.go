package harness

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Empty takes every transaction, group and topic from the cluster, also those of
// processes that were killed. Nobody may use it meanwhile.
func (c *Cluster) Empty(t testing.TB) {
	t.Helper()
	var fault error
	Until(t, "the cluster is empty", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		empty, err := c.empty(ctx)
		if fault = err; fault != nil {
			t.Logf("empty the cluster: %v", fault)
		}
		return empty && err == nil
	})
}

// empty says whether there was nothing left to take.
func (c *Cluster) empty(ctx context.Context) (bool, error) {
	admin := kadm.NewClient(c.client)
	open, err := c.abortTransactions(ctx, admin)
	if err != nil {
		return false, err
	}
	groups, err := c.removeGroups(ctx, admin)
	if err != nil {
		return false, err
	}
	topics, err := c.removeTopics(ctx, admin)
	return open+groups+topics == 0, err
}

// abortTransactions fences the producers of open transactions, which would hold
// up the next reader until they time out.
func (c *Cluster) abortTransactions(ctx context.Context, admin *kadm.Client) (found int, err error) {
	open, err := admin.ListTransactions(ctx, nil, []string{"Ongoing", "PrepareCommit", "PrepareAbort"})
	if err != nil {
		return 0, err
	}
	for id, at := range open {
		if at.State != "Ongoing" {
			continue // it ends by itself
		}
		request := kmsg.NewPtrInitProducerIDRequest()
		request.TransactionalID, request.TransactionTimeoutMillis = &id, int32(time.Minute.Milliseconds())
		answer, err := request.RequestWith(ctx, c.client)
		if err != nil {
			return 0, err
		}
		if err := kerr.ErrorForCode(answer.ErrorCode); err != nil && !errors.Is(err, kerr.ConcurrentTransactions) {
			return 0, err
		}
	}
	return len(open), nil
}

// removeGroups evicts members that were killed, which would stay for their
// session time-out, static ones too.
func (c *Cluster) removeGroups(ctx context.Context, admin *kadm.Client) (found int, err error) {
	groups, err := admin.DescribeGroups(ctx)
	if err != nil {
		return 0, err
	}
	for _, group := range groups {
		request := kmsg.NewPtrLeaveGroupRequest()
		request.Group = group.Group
		for _, m := range group.Members {
			member := kmsg.NewLeaveGroupRequestMember()
			member.MemberID, member.InstanceID = m.MemberID, m.InstanceID
			request.Members = append(request.Members, member)
		}
		if len(request.Members) > 0 {
			if _, err := request.RequestWith(ctx, c.client); err != nil {
				return 0, err
			}
		}
	}
	removed, err := admin.DeleteGroups(ctx, groups.Names()...)
	if err != nil {
		return 0, err
	}
	for _, group := range removed {
		// One that is not empty yet is found again.
		if group.Err != nil && !errors.Is(group.Err, kerr.NonEmptyGroup) && !errors.Is(group.Err, kerr.GroupIDNotFound) {
			return 0, group.Err
		}
	}
	return len(groups), nil
}

// removeTopics asks every broker: one that is behind would tell the next test of
// topics that are gone.
func (c *Cluster) removeTopics(ctx context.Context, admin *kadm.Client) (found int, err error) {
	names := map[string]bool{}
	for _, b := range c.brokers {
		answer, err := c.client.Broker(b.id).Request(ctx, metadataRequest(nil))
		if err != nil {
			return 0, err
		}
		metadata, ok := answer.(*kmsg.MetadataResponse)
		if !ok {
			return 0, errors.New("the answer is no metadata")
		}
		for _, topic := range metadata.Topics {
			if topic.Topic != nil && !topic.IsInternal {
				names[*topic.Topic] = true
			}
		}
	}
	if len(names) == 0 {
		return 0, nil
	}
	removed, err := admin.DeleteTopics(ctx, slices.Collect(maps.Keys(names))...)
	if err != nil {
		return 0, err
	}
	for _, topic := range removed {
		if topic.Err != nil && !errors.Is(topic.Err, kerr.UnknownTopicOrPartition) {
			return 0, topic.Err
		}
	}
	return len(names), nil
}
