package stream

import (
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// I8: instances come and go under load; each record is counted once, in order.
//
// Seen failing with session.Cleanup closing the stores before its last commit
// (trap 17), and with offsets taken as "next" of records that were only sent.
func TestInstancesComeAndGoUnderLoad(t *testing.T) {
	b := startBroker(t)
	cfg := config(t, b.Addr(), "p1")
	cfg.SessionTimeout = time.Second
	createCounterTopics(t, cfg)
	in := newInput(t, cfg)
	first := start(t, cfg, options(countGraph()))
	until(t, "the first instance has all partitions", func() bool { return len(first.Assigned()) == partitions })
	stopFeeding := in.feed(t)

	other := config(t, b.Addr(), "p2")
	other.SessionTimeout = time.Second
	for round := range 4 {
		second := start(t, other, options(countGraph()))
		until(t, "the partitions are shared", func() bool {
			return second.ready() && len(second.Assigned()) > 0 && len(first.Assigned()) > 0 &&
				len(first.Assigned())+len(second.Assigned()) == partitions
		})
		second.stop(t)
		if round%2 == 1 { // otherwise it comes back within its session
			until(t, "the first instance has all partitions again", func() bool { return len(first.Assigned()) == partitions })
		}
	}
	stopFeeding()
	in.counted(t)
	first.stop(t)
	in.verify(t, cfg)
}

// Trap 3, I8: a process is paused for longer than its session and comes back
// with records in its hands, which another instance has counted meanwhile.
//
// Seen failing with an empty member in the group metadata (no generation check).
func TestPausedProcessCannotCommitWhatOthersTookOver(t *testing.T) {
	b := startBroker(t)
	cfg := config(t, b.Addr(), "p1")
	createCounterTopics(t, cfg)
	in := newInput(t, cfg)
	for round := range int32(2) {
		child := startChild(t, cfg)
		var frozen, ends atomic.Int32
		observe(b, kmsg.EndTxn, func(req kmsg.Request) {
			// Its transaction ends while it stands still, so that its next one is
			// begun by a zombie.
			if ofCounter(req, "p1") && ends.Add(1) == round+2 {
				freeze(child.Process.Pid)
				frozen.Store(1)
			}
		})
		stop := in.feed(t)
		until(t, "the child stands still", func() bool { return frozen.Load() == 1 })
		stop()

		other := config(t, b.Addr(), "p2")
		second := start(t, other, options(countGraph()))
		in.counted(t)
		if err := child.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		until(t, "the partitions are shared", func() bool { return len(second.Assigned()) == partitions/2 })
		in.append(t, 100)
		in.counted(t)
		_ = child.Process.Kill()
		second.stop(t)
	}
	third := start(t, cfg, options(countGraph()))
	in.counted(t)
	third.stop(t)
	in.verify(t, cfg)
}

// Trap 4, I2: a transaction that holds nothing but the work of ticks is checked
// against the generation, too: a member that lost its partitions cannot commit it.
//
// Seen failing with offsets returning none when no input moved.
func TestStaleMemberCannotCommitTicksAlone(t *testing.T) {
	b := startBroker(t)
	cfg := config(t, b.Addr(), "p2")
	createCounterTopics(t, cfg)
	in := newInput(t, cfg)
	p := start(t, cfg, options(countGraph())) // the group lives on without the zombie
	in.append(t, 10)
	in.counted(t)

	zombie := config(t, b.Addr(), "p1").withDefaults()
	e, err := newEngine(t.Context(), zombie, options(countGraph()))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.openProducer(); err != nil {
		t.Fatal(err)
	}
	if err := e.producer.begin(); err != nil {
		t.Fatal(err)
	}
	s := newSession(e, nil)
	s.group = &sarama.ConsumerGroupMetadata{GroupID: string(counter), GenerationID: 1, MemberID: "p1-gone", GroupInstanceID: &zombie.Instance}
	at := topicPartition{inputTopic, 0}
	s.claims[at] = newClaim(s, fixedClaim{at}, 3)
	s.committed[at] = 3
	seam{e}.Emit(outputTopic, "key-0", []byte("forged by a zombie"))

	if err := s.commit(t.Context()); err == nil {
		t.Error("a stale member committed")
	}
	e.abort()
	if err := e.close(); err != nil {
		t.Error(err)
	}
	p.stop(t)
	in.verify(t, cfg)
}

// fixedClaim is a claim without records.
type fixedClaim struct{ at topicPartition }

func (c fixedClaim) Topic() string                            { return c.at.topic }
func (c fixedClaim) Partition() int32                         { return c.at.partition }
func (c fixedClaim) InitialOffset() int64                     { return 0 }
func (c fixedClaim) HighWaterMarkOffset() int64               { return 0 }
func (c fixedClaim) Messages() <-chan *sarama.ConsumerMessage { return nil }

// Two processes of one name: the later one goes on, the earlier one ends and says
// which flag to change, or the two would fence each other for ever.
//
// Seen failing with the case of FENCED_INSTANCE_ID taken out of Run.
func TestSecondProcessOfOneInstanceEndsTheFirst(t *testing.T) {
	b := startBroker(t)
	cfg := config(t, b.Addr(), "p1")
	createCounterTopics(t, cfg)
	in := newInput(t, cfg)
	first := start(t, cfg, options(countGraph()))
	in.append(t, 50)
	in.counted(t)

	other := config(t, b.Addr(), "p1")
	second := start(t, other, options(countGraph()))
	in.append(t, 50)
	select {
	case <-first.done:
	case <-time.After(30 * time.Second):
		t.Fatal("the first process goes on")
	}
	if err := first.err; err == nil || !strings.Contains(err.Error(), "--instance") || !strings.Contains(err.Error(), `"p1"`) {
		t.Errorf("the first process ended with %v, want an error that names --instance", err)
	}
	in.append(t, 50)
	in.counted(t)
	until(t, "the second process has all partitions", func() bool { return len(second.Assigned()) == partitions })
	second.stop(t)
	in.verify(t, cfg)
}

// I8: a broker that was away answers what a killed process asked long ago, which
// takes the name from its successor: the living process takes it back.
//
// Seen failing with the first fencing taken for final.
func TestNameTakenForDeadProcessIsTakenBack(t *testing.T) {
	b := startBroker(t)
	cfg := config(t, b.Addr(), "p1")
	createCounterTopics(t, cfg)
	in := newInput(t, cfg)
	var asked atomic.Pointer[kmsg.JoinGroupRequest]
	observe(b, kmsg.JoinGroup, func(req kmsg.Request) {
		if r, ok := req.(*kmsg.JoinGroupRequest); ok && r.MemberID == "" {
			asked.Store(r)
		}
	})
	p := start(t, cfg, options(countGraph()))
	in.append(t, 50)
	in.counted(t)

	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := asked.Load().RequestWith(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	in.append(t, 50)
	in.counted(t)
	p.stop(t)
	in.verify(t, cfg)
}

// A restart under the same name does not wait for the transaction that the former
// life left open: its new epoch ends that one before offsets are asked for.
//
// Seen failing with openProducer called in Setup: 10 s per restart.
func TestTransactionOfFormerLifeEndsBeforeOffsetsAreFetched(t *testing.T) {
	b := startBroker(t)
	cfg := config(t, b.Addr(), "p1")
	createCounterTopics(t, cfg)
	var order []kmsg.Key // written by the broker's one goroutine
	var done atomic.Bool
	for _, key := range []kmsg.Key{kmsg.InitProducerID, kmsg.OffsetFetch} {
		observe(b, key, func(req kmsg.Request) {
			if key == kmsg.OffsetFetch || ofCounter(req, "p1") {
				order = append(order, key)
				done.Store(len(order) > 1)
			}
		})
	}
	p := start(t, cfg, options(countGraph()))
	until(t, "offsets are fetched", done.Load)
	p.stop(t)
	if want := []kmsg.Key{kmsg.InitProducerID, kmsg.OffsetFetch}; !slices.Equal(order[:2], want) {
		t.Errorf("requests came as %v, want %v", order[:2], want)
	}
}
