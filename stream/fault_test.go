package stream

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trunkline/embedded"
)

const counterTxn = string(counter) + "-p1"

// I2, I8: whatever a broker answers to a step of the protocol, each record is
// counted once afterwards.
//
// Seen failing with tables.Rollback taken out of abort, and with a failed
// producer kept in use.
func TestAnsweredErrorsLoseAndDoubleNothing(t *testing.T) {
	fail := func(key kmsg.Key, err *kerr.Error) kfake.Fault {
		f := kfake.Fault{Keys: []kmsg.Key{key}, Err: err}
		switch key {
		case kmsg.Heartbeat, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.OffsetFetch:
			f.Group = string(counter)
		case kmsg.Produce: // carries no id to select by, and the input is produced, too
			f.Topic = outputTopic
		case kmsg.Fetch:
			f.Topic = inputTopic
		default:
			f.TxnID = counterTxn
		}
		return f
	}
	faults := []kfake.Fault{
		fail(kmsg.TxnOffsetCommit, kerr.UnknownMemberID),
		fail(kmsg.TxnOffsetCommit, kerr.IllegalGeneration),
		fail(kmsg.TxnOffsetCommit, kerr.InvalidProducerEpoch),
		fail(kmsg.TxnOffsetCommit, kerr.ProducerFenced),
		fail(kmsg.TxnOffsetCommit, kerr.InvalidTxnState),
		fail(kmsg.TxnOffsetCommit, kerr.CoordinatorNotAvailable),
		fail(kmsg.TxnOffsetCommit, kerr.RequestTimedOut), // and done
		fail(kmsg.AddOffsetsToTxn, kerr.InvalidTxnState),
		fail(kmsg.AddOffsetsToTxn, kerr.ConcurrentTransactions),
		fail(kmsg.EndTxn, kerr.InvalidProducerEpoch),
		fail(kmsg.EndTxn, kerr.ProducerFenced),
		fail(kmsg.EndTxn, kerr.InvalidTxnState),
		fail(kmsg.EndTxn, kerr.InvalidProducerIDMapping),
		fail(kmsg.EndTxn, kerr.CoordinatorNotAvailable),
		fail(kmsg.EndTxn, kerr.NotCoordinator),
		fail(kmsg.AddPartitionsToTxn, kerr.InvalidProducerIDMapping),
		fail(kmsg.AddPartitionsToTxn, kerr.ConcurrentTransactions),
		fail(kmsg.AddPartitionsToTxn, kerr.ProducerFenced),
		fail(kmsg.Produce, kerr.NotLeaderForPartition),
		fail(kmsg.Produce, kerr.MessageTooLarge), // not retried: a hole in the transaction
		fail(kmsg.Produce, kerr.InvalidProducerEpoch),
		fail(kmsg.Produce, kerr.OutOfOrderSequenceNumber),
		fail(kmsg.Produce, kerr.NotEnoughReplicasAfterAppend), // and done
		fail(kmsg.Heartbeat, kerr.UnknownMemberID),
		fail(kmsg.Heartbeat, kerr.NotCoordinator),
	}
	b := startBroker(t)
	cfg := config(t, b.Addr(), "p1")
	createCounterTopics(t, cfg)
	in := newInput(t, cfg)
	p := start(t, cfg, options(countGraph()))
	for _, f := range faults {
		f.Count = 1
		h := b.Cluster().Fault(f)
		in.append(t, 50)
		until(t, f.Keys[0].Name()+" is answered with "+f.Err.Message, func() bool { return h.Hits() > 0 })
		in.counted(t)
	}
	p.stop(t)
	in.verify(t, cfg)
	if diff := cmp.Diff(fold(t, cfg), localRows(t, cfg)); diff != "" {
		t.Errorf("rows on disk (-changelog +disk):\n%s", diff)
	}
}

// I2, I8: the connection breaks at any step; what was asked happened or not.
func TestBrokenConnectionsLoseAndDoubleNothing(t *testing.T) {
	b := startBroker(t)
	cfg := config(t, b.Addr(), "p1")
	createCounterTopics(t, cfg)
	in := newInput(t, cfg)
	p := start(t, cfg, options(countGraph()))
	in.append(t, 50)
	in.counted(t)
	for _, key := range []kmsg.Key{kmsg.AddPartitionsToTxn, kmsg.Produce, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn} {
		for _, done := range []bool{false, true} {
			broken := breakConnection(t, b, key, done)
			in.append(t, 50)
			until(t, "the connection breaks at "+key.Name(), broken.Load)
			in.counted(t)
		}
	}
	p.stop(t)
	in.verify(t, cfg)
}

// breakConnection closes the connection of p1's next request of a kind; if done,
// the broker has acted on it.
func breakConnection(t *testing.T, b *embedded.Broker, key kmsg.Key, done bool) *atomic.Bool {
	t.Helper()
	client := rawClient(t, b)
	var seen, broken atomic.Bool
	b.Cluster().ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if !ofCounter(req, "p1") || seen.Swap(true) {
			return nil, nil, false // nobody's, or our own copy
		}
		if done {
			b.Cluster().SleepControl(func() {
				if _, err := client.Request(context.Background(), req); err != nil {
					t.Errorf("copy %s: %v", key.Name(), err)
				}
			})
		}
		broken.Store(true)
		return nil, errors.New("broken by the test"), true
	})
	return &broken
}

func rawClient(t *testing.T, b *embedded.Broker) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// KIP-890: a commit was sent again, and the first copy arrives in the middle of
// the next transaction. It must not end it (I2): the next transaction has
// another epoch.
//
// Seen failing with renewProducer taken out of commit.
func TestLateCopyOfCommitDoesNotEndNextTransaction(t *testing.T) {
	b := startBroker(t)
	cfg := config(t, b.Addr(), "p1")
	createCounterTopics(t, cfg)
	in := newInput(t, cfg)
	client := rawClient(t, b)

	var lost atomic.Pointer[kmsg.EndTxnRequest]
	b.Cluster().ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if !ofCounter(req, "p1") || lost.Load() != nil {
			return nil, nil, false
		}
		r := *req.(*kmsg.EndTxnRequest)
		lost.Store(&r)
		return nil, errors.New("lost on the way"), true
	})
	var late atomic.Pointer[kerr.Error]
	var ends atomic.Int32
	observe(b, kmsg.EndTxn, func(req kmsg.Request) {
		if ofCounter(req, "p1") {
			ends.Add(1)
		}
	})
	b.Cluster().ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if !ofCounter(req, "p1") || ends.Load() != 1 || late.Load() != nil {
			return nil, nil, false
		}
		late.Store(&kerr.Error{})
		b.Cluster().SleepControl(func() {
			response, err := client.Request(context.Background(), lost.Load())
			if err != nil {
				t.Error(err)
				return
			}
			if code := response.(*kmsg.EndTxnResponse).ErrorCode; code != 0 {
				late.Store(kerr.TypedErrorForCode(code))
			}
		})
		return nil, nil, false
	})

	p := start(t, cfg, options(countGraph()))
	in.append(t, 50)
	in.counted(t)
	in.append(t, 50)
	in.counted(t)
	until(t, "the late copy is answered", func() bool { return late.Load() != nil && late.Load().Code != 0 })
	p.stop(t)
	in.verify(t, cfg)
}
