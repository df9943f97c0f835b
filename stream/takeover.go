package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// takeover assigns partitions as its inner strategy does, and first ends what
// members left open that are gone: the open transaction of a lost machine would
// hide the offsets of its partitions, and hold back all readers of committed
// records, until the broker's own time-out (10 to 20 s).
//
// Who is gone is told by the offsets: each is committed with the name of its
// instance. So a leader knows it that was not there before.
type takeover struct {
	sarama.BalanceStrategy
	e        *engine
	previous map[string]bool // who was there in the last plan of this leader
}

// fenceTimeout bounds how long a group waits for its leader. What is not fenced by
// then costs time, nothing else.
const fenceTimeout = 5 * time.Second

// Plan is called in the leader, while the others wait for their assignment.
func (t *takeover) Plan(members map[string]sarama.ConsumerGroupMemberMetadata, topics map[string][]int32) (sarama.BalanceStrategyPlan, error) {
	present := map[string]bool{}
	for _, m := range members {
		present[string(m.UserData)] = true
	}
	ctx, cancel := context.WithTimeout(t.e.ctx, fenceTimeout)
	defer cancel()
	former := maps.Clone(t.previous)
	t.previous = present
	fenced := make(chan error, 1)
	go func() { fenced <- t.fenceAbsent(ctx, former, present, topics) }() // a dead broker holds requests for longer
	var err error
	select {
	case err = <-fenced:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		t.e.cfg.Logger.Warn("lost members are not fenced, the brokers will do it", "group", string(t.e.graph.Group()), "error", err)
	}
	return t.BalanceStrategy.Plan(members, topics)
}

// fenceAbsent fences the former members and last owners that are not present.
func (t *takeover) fenceAbsent(ctx context.Context, former, present map[string]bool, topics map[string][]int32) error {
	owners, err := t.lastOwners(topics)
	var fences sync.WaitGroup
	absent := map[string]bool{}
	for _, name := range slices.Concat(owners, slices.Collect(maps.Keys(former))) {
		if name != "" && !present[name] {
			absent[name] = true
		}
	}
	errs := make(chan error, len(absent))
	for name := range absent {
		fences.Go(func() { errs <- t.e.fence(ctx, name) })
	}
	fences.Wait()
	close(errs)
	for fenceErr := range errs {
		err = errors.Join(err, fenceErr)
	}
	return err
}

// lastOwners are the instances whose transactions committed the offsets of the
// partitions last. Those that a transaction is about to replace do not matter, so
// it is no request for stable ones.
func (t *takeover) lastOwners(topics map[string][]int32) ([]string, error) {
	coordinator, err := t.e.client.Coordinator(string(t.e.graph.Group()))
	if err != nil {
		return nil, fmt.Errorf("find the group's coordinator: %w", err)
	}
	res, err := coordinator.FetchOffset(sarama.NewOffsetFetchRequest(t.e.client.Config().Version, string(t.e.graph.Group()), topics))
	if err == nil && res.Err != sarama.ErrNoError {
		err = res.Err
	}
	if err != nil {
		return nil, fmt.Errorf("fetch the last owners of the partitions: %w", err)
	}
	var owners []string
	for _, partitions := range res.Blocks {
		for _, block := range partitions {
			owners = append(owners, block.Metadata)
		}
	}
	return owners, nil
}

// fence takes the transactional id of an instance: what that has open is aborted,
// and what it still sends is refused. One that is alive after all begins anew.
func (e *engine) fence(ctx context.Context, instance string) error {
	id := transactionalID(e.graph, instance)
	for tries := 0; ; tries++ {
		res, err := e.initProducerID(id)
		switch {
		case err == nil && res.Err == sarama.ErrNoError:
			e.cfg.Logger.Info("fenced an instance that is gone", "group", string(e.graph.Group()), "instance", instance)
			return nil
		case err == nil:
			err = res.Err // at first that the abort is under way
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("fence instance %s: %w", instance, err)
		case <-time.After(backoff(tries, 0)):
		}
	}
}

func (e *engine) initProducerID(id string) (*sarama.InitProducerIDResponse, error) {
	coordinator, err := e.client.TransactionCoordinator(id)
	if err != nil {
		return nil, err
	}
	res, err := coordinator.InitProducerID(&sarama.InitProducerIDRequest{
		Version: 3, TransactionalID: &id, TransactionTimeout: transactionTimeout, ProducerID: -1, ProducerEpoch: -1,
	})
	if err != nil || errors.Is(res.Err, sarama.ErrNotCoordinatorForConsumer) || errors.Is(res.Err, sarama.ErrConsumerCoordinatorNotAvailable) {
		_ = e.client.RefreshTransactionCoordinator(id) // the next try asks anew
	}
	return res, err
}
