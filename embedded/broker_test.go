package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trunkline/topology"
)

func startTestBroker(t *testing.T, dataDir string) *Broker {
	t.Helper()
	b, err := StartBroker(BrokerConfig{Addr: "127.0.0.1:0", DataDir: dataDir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// testContext ends before the test's own time is up, so that a hanging broker
// fails with the place where it hangs.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func newClient(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addr)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.CloseAllowingRebalance)
	return cl
}

func createTopics(t *testing.T, addr string, partitions int32, topics ...string) {
	t.Helper()
	cl := newClient(t, addr)
	defer cl.Close()
	_, err := kadm.NewClient(cl).CreateTopics(testContext(t), partitions, 1, nil, topics...)
	if err != nil {
		t.Fatal(err)
	}
}

// transactional returns a producer whose transaction is not begun.
func transactional(t *testing.T, addr, id string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	return newClient(t, addr, append([]kgo.Opt{
		kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
	}, opts...)...)
}

func produce(t *testing.T, cl *kgo.Client, topic string, partition int32, values ...string) {
	t.Helper()
	for _, v := range values {
		r := &kgo.Record{Topic: topic, Partition: partition, Value: []byte(v)}
		if err := cl.ProduceSync(testContext(t), r).FirstErr(); err != nil {
			t.Fatalf("produce %q: %v", v, err)
		}
	}
}

func begin(t *testing.T, cl *kgo.Client) {
	t.Helper()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
}

func end(t *testing.T, cl *kgo.Client, how kgo.TransactionEndTry) {
	t.Helper()
	if err := cl.EndTransaction(testContext(t), how); err != nil {
		t.Fatal(err)
	}
}

// committed returns the values that a read_committed reader sees of a topic, by
// partition and offset.
func committed(t *testing.T, addr, topic string) []string {
	t.Helper()
	var values []string
	for _, r := range records(t, addr, topic) {
		values = append(values, string(r.Value))
	}
	return values
}

func records(t *testing.T, addr, topic string) []*kgo.Record {
	t.Helper()
	ctx := testContext(t)
	cl := newClient(t, addr, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(50*time.Millisecond), kgo.KeepControlRecords())
	defer cl.CloseAllowingRebalance() // at once: it takes a second when the broker is gone
	ends, err := kadm.NewClient(cl).ListCommittedOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	left := make(map[int32]int64)
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	var rs []*kgo.Record
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("read %s: %v; left %v", topic, err, left)
		}
		if errs := fetches.Errors(); len(errs) > 0 {
			t.Fatalf("read %s: %v", topic, errs)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				rs = append(rs, r)
			}
		})
	}
	slices.SortStableFunc(rs, func(a, b *kgo.Record) int { return int(a.Partition - b.Partition) })
	return rs
}

func TestBrokerPortInUse(t *testing.T) {
	b := startTestBroker(t, "")
	dir := t.TempDir()
	_, err := StartBroker(BrokerConfig{Addr: b.Addr(), DataDir: dir})
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v, want address in use", err)
	}
	if opErr := new(net.OpError); !errors.As(err, &opErr) {
		t.Errorf("got %T, want a net.OpError inside", err)
	}
	if files, _ := os.ReadDir(dir); len(files) > 0 {
		t.Errorf("got %d files in the data dir, want it untouched", len(files))
	}
}

// The port is free again when a start fails for another reason.
func TestBrokerStartFails(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/meta.json", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := StartBroker(BrokerConfig{Addr: addr, DataDir: dir}); err == nil {
		t.Fatal("got a broker, want an error on a broken data dir")
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("port is still in use: %v", err)
	}
	ln.Close()
}

func TestBrokerMakesNoTopics(t *testing.T) {
	b := startTestBroker(t, "")
	cl := newClient(t, b.Addr(), kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(0))
	err := cl.ProduceSync(testContext(t), &kgo.Record{Topic: "unknown"}).FirstErr()
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("got %v, want UNKNOWN_TOPIC_OR_PARTITION", err)
	}
}

// Topics made as topology lays them out keep their configuration over a kill.
func TestBrokerKeepsTopics(t *testing.T) {
	dir := t.TempDir()
	b := startTestBroker(t, dir)
	layout := topology.Layout{Partitions: 3, Replication: 1, MinISR: 1, RawRetention: time.Hour, DedupWindow: time.Hour}
	cl := newClient(t, b.Addr())
	for _, want := range layout.Topics() {
		config := make(map[string]*string)
		for k, v := range want.Config {
			config[k] = &v
		}
		if _, err := kadm.NewClient(cl).CreateTopic(testContext(t), want.Partitions, want.Replication, config, want.Name); err != nil {
			t.Fatalf("create %s: %v", want.Name, err)
		}
	}
	b = startTestBroker(t, copyDir(t, dir))
	adm := kadm.NewClient(newClient(t, b.Addr()))
	topics, err := adm.ListTopics(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range layout.Topics() {
		if got := len(topics[want.Name].Partitions); got != int(want.Partitions) {
			t.Errorf("%s: got %d partitions, want %d", want.Name, got, want.Partitions)
		}
		configs, err := adm.DescribeTopicConfigs(testContext(t), want.Name)
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]string)
		for _, c := range configs[0].Configs {
			if _, ok := want.Config[c.Key]; ok {
				got[c.Key] = c.MaybeValue()
			}
		}
		if diff := cmp.Diff(want.Config, got); diff != "" {
			t.Errorf("%s: %s", want.Name, diff)
		}
	}
}

func TestBrokerTakesLargeRecords(t *testing.T) {
	b := startTestBroker(t, "")
	createTopics(t, b.Addr(), 1, "large")
	cl := newClient(t, b.Addr(), kgo.ProducerBatchMaxBytes(8<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
	value := []byte(strings.Repeat("x", 8<<20-200))
	if err := cl.ProduceSync(testContext(t), &kgo.Record{Topic: "large", Value: value}).FirstErr(); err != nil {
		t.Error(err)
	}
}

// I2: read_committed readers see what was committed, in order, and nothing else.
func TestBrokerTransactions(t *testing.T) {
	b := startTestBroker(t, "")
	createTopics(t, b.Addr(), 2, "out")
	p := transactional(t, b.Addr(), "p")
	for i, how := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryAbort, kgo.TryCommit} {
		begin(t, p)
		produce(t, p, "out", 0, fmt.Sprintf("a%d", i))
		produce(t, p, "out", 1, fmt.Sprintf("b%d", i))
		end(t, p, how)
	}
	begin(t, p)
	produce(t, p, "out", 0, "open")
	if diff := cmp.Diff([]string{"a0", "a3", "b0", "b3"}, committed(t, b.Addr(), "out")); diff != "" {
		t.Error(diff)
	}
}

// InitProducerID with the transactional id of a running producer aborts its
// transaction at once and locks it out.
func TestBrokerFencing(t *testing.T) {
	b := startTestBroker(t, "")
	createTopics(t, b.Addr(), 1, "out")
	zombie := transactional(t, b.Addr(), "p", kgo.TransactionTimeout(10*time.Minute))
	begin(t, zombie)
	produce(t, zombie, "out", 0, "zombie")

	owner := transactional(t, b.Addr(), "p")
	begin(t, owner)
	produce(t, owner, "out", 0, "owner")
	end(t, owner, kgo.TryCommit)

	err := zombie.ProduceSync(testContext(t), &kgo.Record{Topic: "out", Value: []byte("late")}).FirstErr()
	if !errors.Is(err, kerr.InvalidProducerEpoch) && !errors.Is(err, kerr.ProducerFenced) {
		t.Errorf("got %v from the old producer, want it fenced", err)
	}
	if diff := cmp.Diff([]string{"owner"}, committed(t, b.Addr(), "out")); diff != "" {
		t.Error(diff)
	}
}

// txnOffsetCommit puts an offset into the open transaction of p with the group
// metadata of KIP-447, and returns the answer.
func txnOffsetCommit(t *testing.T, p *kgo.Client, id, group, member string, generation int32, topic string, offset int64) error {
	t.Helper()
	ctx := testContext(t)
	producerID, epoch, err := p.ProducerID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = id, producerID, epoch, group
	if resp, err := add.RequestWith(ctx, p); err != nil || resp.ErrorCode != 0 {
		t.Fatalf("add offsets: %v, code %d", err, resp.ErrorCode)
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = id, producerID, epoch, group
	req.MemberID, req.Generation = member, generation
	rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	rp.Offset = offset
	req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{rp}}}
	resp, err := req.RequestWith(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

// joinGroup returns a member with an assignment of the topic.
func joinGroup(t *testing.T, addr, group, topic string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	assigned := make(chan struct{}, 16)
	cl := newClient(t, addr, append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(100 * time.Millisecond), kgo.FetchMaxWait(50 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { assigned <- struct{}{} }),
	}, opts...)...)
	select {
	case <-assigned:
	case <-testContext(t).Done():
		t.Fatal("no assignment")
	}
	return cl
}

func fetchOffset(t *testing.T, addr, group, topic string, stable bool) (int64, error) {
	t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: topic, Partitions: []int32{0}}}
	req.Groups = []kmsg.OffsetFetchRequestGroup{g}
	req.RequireStable = stable
	resp, err := req.RequestWith(testContext(t), newClient(t, addr))
	if err != nil {
		t.Fatal(err)
	}
	if err := kerr.ErrorForCode(resp.Groups[0].ErrorCode); err != nil {
		return -1, err
	}
	p := resp.Groups[0].Topics[0].Partitions[0]
	return p.Offset, kerr.ErrorForCode(p.ErrorCode)
}

// KIP-447: offsets of a transaction are checked against the group, readers can
// wait for them, and they move with the commit only.
func TestBrokerTransactionalOffsets(t *testing.T) {
	b := startTestBroker(t, "")
	createTopics(t, b.Addr(), 1, "in")
	member, generation := joinGroup(t, b.Addr(), "g", "in").GroupMetadata()
	p := transactional(t, b.Addr(), "p")

	for _, tt := range []struct {
		name       string
		member     string
		generation int32
		want       error
	}{
		{"the member", member, generation, nil},
		{"an older generation", member, generation - 1, kerr.IllegalGeneration},
		{"an unknown member", "stranger", generation, kerr.UnknownMemberID},
	} {
		begin(t, p)
		if got := txnOffsetCommit(t, p, "p", "g", tt.member, tt.generation, "in", 7); !errors.Is(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
		end(t, p, kgo.TryAbort)
	}

	begin(t, p)
	if err := txnOffsetCommit(t, p, "p", "g", member, generation, "in", 7); err != nil {
		t.Fatal(err)
	}
	if _, err := fetchOffset(t, b.Addr(), "g", "in", true); !errors.Is(err, kerr.UnstableOffsetCommit) {
		t.Errorf("got %v for a stable offset, want UNSTABLE_OFFSET_COMMIT", err)
	}
	if got, err := fetchOffset(t, b.Addr(), "g", "in", false); got != -1 || err != nil {
		t.Errorf("got offset %d, %v before the commit, want -1", got, err)
	}
	endRaw(t, p, "p", true)
	if got, err := fetchOffset(t, b.Addr(), "g", "in", true); got != 7 || err != nil {
		t.Errorf("got offset %d, %v after the commit, want 7", got, err)
	}
}

// endRaw ends a transaction of which the client itself has seen no record.
func endRaw(t *testing.T, p *kgo.Client, id string, commit bool) {
	t.Helper()
	producerID, epoch, err := p.ProducerID(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = id, producerID, epoch, commit
	resp, err := req.RequestWith(testContext(t), p)
	if err != nil || resp.ErrorCode != 0 {
		t.Fatalf("end transaction: %v, %v", err, kerr.ErrorForCode(resp.ErrorCode))
	}
}

// A static member that comes back takes its name over, and the old one is told.
func TestBrokerStaticMembership(t *testing.T) {
	b := startTestBroker(t, "")
	createTopics(t, b.Addr(), 4, "in")
	lost := make(chan error, 16)
	joinGroup(t, b.Addr(), "g", "in", kgo.InstanceID("i1"),
		kgo.HeartbeatInterval(50*time.Millisecond),
		kgo.WithHooks(groupErrors(lost)))
	second := joinGroup(t, b.Addr(), "g", "in", kgo.InstanceID("i1"))
	for {
		select {
		case err := <-lost:
			if errors.Is(err, kerr.FencedInstanceID) {
				if _, generation := second.GroupMetadata(); generation < 1 {
					t.Errorf("got generation %d of the second member", generation)
				}
				return
			}
		case <-testContext(t).Done():
			t.Fatal("the first member was not fenced")
		}
	}
}

type groupErrors chan error

func (h groupErrors) OnGroupManageError(err error) { h <- err }
