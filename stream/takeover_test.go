package stream

import (
	"slices"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A machine is lost within its transaction, its offsets already part of it. Who
// takes its partitions over ends that transaction before it asks for offsets,
// though it was not there when the lost one was: the offsets tell the name.
//
// Seen failing with the offsets committed without the instance's name, and with
// Plan assigning only.
func TestTransactionOfLostInstanceEndsBeforeItsPartitionsAreTaken(t *testing.T) {
	b := startBroker(t)
	cfg := config(t, b.Addr(), "p1")
	createCounterTopics(t, cfg)
	in := newInput(t, cfg)
	killer := newKiller(b, cfg.Instance)
	child := startChild(t, cfg)
	killer.arm(killPoint{on: kmsg.TxnOffsetCommit, nth: 2}, child.Process.Pid) // the first commit told its name
	stop := in.feed(t)
	_ = child.Wait()
	stop()
	killer.disarm()

	var mu sync.Mutex
	var order []kmsg.Key
	for _, key := range []kmsg.Key{kmsg.InitProducerID, kmsg.OffsetFetch} {
		observe(b, key, func(req kmsg.Request) {
			fetch, ok := req.(*kmsg.OffsetFetchRequest)
			if ok && fetch.RequireStable || ofCounter(req, cfg.Instance) {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, key)
			}
		})
	}
	second := start(t, config(t, b.Addr(), "p2"), options(countGraph()))
	in.counted(t)
	second.stop(t)
	mu.Lock()
	defer mu.Unlock()
	if len(order) < 2 || order[0] != kmsg.InitProducerID || !slices.Contains(order, kmsg.OffsetFetch) {
		t.Errorf("requests came as %v, want InitProducerID of %s before any OffsetFetch", order, cfg.Instance)
	}
	in.verify(t, cfg)
}
