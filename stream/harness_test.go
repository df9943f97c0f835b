package stream

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trunkline/embedded"
	"trunkline/state"
	"trunkline/topology"
)

// The tests run a counting stage: it keeps per key how many records it saw, and
// emits that number beside the record's own number within its key. A loss, a
// double or a change of order makes the two differ.
const (
	inputTopic  = "in"
	outputTopic = "out"
	counter     = goka.Group("counter")
	tableTopic  = "counter-table"
	partitions  = 4
	keys        = 11
)

func countGraph() *goka.GroupGraph { return countGraphWith(count) }

func countGraphWith(callback goka.ProcessCallback, edges ...goka.Edge) *goka.GroupGraph {
	return goka.DefineGroup(counter, append(edges,
		goka.Input(inputTopic, new(codec.String), callback),
		goka.Output(outputTopic, new(codec.String)),
		goka.Persist(new(codec.Int64)),
	)...)
}

func count(ctx goka.Context, msg any) {
	n, _ := ctx.Value().(int64)
	n++
	ctx.SetValue(n)
	ctx.Emit(outputTopic, ctx.Key(), fmt.Sprint(n, " ", msg))
}

func startBroker(t *testing.T) *embedded.Broker {
	t.Helper()
	b, err := embedded.StartBroker(embedded.BrokerConfig{Addr: "127.0.0.1:0"})
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

func createTopics(t *testing.T, cfg Config, names ...string) {
	t.Helper()
	var specs []TopicSpec
	for _, name := range names {
		specs = append(specs, TopicSpec{Name: name, Partitions: partitions, Replication: 1})
	}
	if err := CreateTopics(t.Context(), cfg, specs); err != nil {
		t.Fatal(err)
	}
}

func createCounterTopics(t *testing.T, cfg Config) {
	t.Helper()
	createTopics(t, cfg, inputTopic, outputTopic, tableTopic)
}

func config(t *testing.T, broker, instance string) Config {
	t.Helper()
	cfg := Config{Brokers: []string{broker}, Instance: instance, DataDir: t.TempDir(), SessionTimeout: 2 * time.Second}
	if os.Getenv("TRUNKLINE_TEST_LOG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("instance", instance)
	}
	return cfg
}

func options(graph *goka.GroupGraph) Options {
	return Options{Graph: graph, Hasher: topology.Hasher, Partition: topology.Partition}
}

// running is a processor under test.
type running struct {
	*Processor
	cancel context.CancelFunc
	done   chan struct{}
	err    error // of Run, once done is closed
}

// start runs a processor until the test ends or stop is called.
func start(t *testing.T, cfg Config, opts Options) *running {
	t.Helper()
	p, err := NewProcessor(cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Processor: p, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = p.Run(ctx)
	}()
	t.Cleanup(func() { r.cancel(); <-r.done })
	return r
}

// stop ends Run and reports what it returned.
func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	select {
	case <-r.done:
		if r.err != nil {
			t.Errorf("run: %v", r.err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the processor did not stop")
	}
}

func (r *running) ready() bool { return r.Ready() == nil }

// input numbers the records of each key and appends them. It is what the stage
// must have counted in the end.
type input struct {
	appender *Appender
	outputs  *atomic.Int64 // how many there are
	mu       sync.Mutex
	sent     map[string]int
	next     int
}

func newInput(t *testing.T, cfg Config) *input {
	t.Helper()
	cfg.Instance = "input"
	a := NewAppender(cfg, topology.Partition)
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return &input{appender: a, outputs: tally(t, cfg, outputTopic), sent: map[string]int{}}
}

// tally counts the records of a topic until the test ends.
func tally(t *testing.T, cfg Config, topic string) *atomic.Int64 {
	t.Helper()
	n := new(atomic.Int64)
	ctx, cancel := context.WithCancel(context.Background())
	var reading sync.WaitGroup
	reading.Go(func() {
		err := Read(ctx, cfg, Range{Topics: []string{topic}, Follow: true}, func(Record) error { n.Add(1); return nil })
		if err != nil {
			t.Errorf("follow %s: %v", topic, err)
		}
	})
	t.Cleanup(func() { cancel(); reading.Wait() })
	return n
}

func (in *input) append(t *testing.T, n int) {
	t.Helper()
	in.mu.Lock()
	defer in.mu.Unlock()
	var records []Outgoing
	for range n {
		key := "key-" + strconv.Itoa(in.next%keys)
		in.next++
		in.sent[key]++
		records = append(records, Outgoing{Topic: inputTopic, Key: key, Value: []byte(strconv.Itoa(in.sent[key]))})
	}
	if err := in.appender.Append(t.Context(), records); err != nil {
		t.Fatal(err)
	}
}

// feedLead is how far feed may run ahead of the stage. Under the race detector a
// batch costs sarama's lz4 milliseconds, a heartbeat waits on the connection until
// a fetch is decoded, and a backlog without end would cost the member its session.
const feedLead = 1000

// feed appends until the returned function is called.
func (in *input) feed(t *testing.T) (stop func()) {
	var ended atomic.Bool
	var feeding sync.WaitGroup
	feeding.Go(func() {
		for !ended.Load() {
			if in.lead() < feedLead {
				in.append(t, 20)
			}
			time.Sleep(2 * time.Millisecond) // load, not a wait
		}
	})
	return func() { ended.Store(true); feeding.Wait() }
}

// lead is how many records the stage has not counted yet.
func (in *input) lead() int64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return int64(in.next) - in.outputs.Load()
}

// counted waits until the stage has counted as many records as were appended.
func (in *input) counted(t *testing.T) {
	t.Helper()
	until(t, "all records are counted", func() bool { return in.lead() <= 0 })
}

// verify checks that each record was counted once and in order, in the output
// and in the table.
func (in *input) verify(t *testing.T, cfg Config) {
	t.Helper()
	got := map[string]int{}
	wrong := 0
	for _, r := range readAll(t, cfg, outputTopic) {
		got[string(r.Key)]++
		n := got[string(r.Key)]
		if want := fmt.Sprint(n, " ", n); string(r.Value) != want && wrong < 5 {
			wrong++
			t.Errorf("%s/%d@%d: key %s counted %q, want %q", r.Topic, r.Partition, r.Offset, r.Key, r.Value, want)
		}
	}
	if diff := cmp.Diff(in.sent, got); diff != "" {
		t.Errorf("outputs per key (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(in.sent, fold(t, cfg)); diff != "" {
		t.Errorf("table topic (-want +got):\n%s", diff)
	}
}

// fold is the table as its changelog tells it.
func fold(t *testing.T, cfg Config) map[string]int {
	t.Helper()
	rows := map[string]int{}
	for _, r := range readAll(t, cfg, tableTopic) {
		n, err := strconv.Atoi(string(r.Value))
		if err != nil {
			t.Fatal(err)
		}
		rows[string(r.Key)] = n
	}
	return rows
}

// localRows is the table as it stands on disk; nothing may have it open.
func localRows(t *testing.T, cfg Config) map[string]int {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(cfg.DataDir, "tables", tableTopic+"@*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]int{}
	for _, dir := range dirs {
		maps.Copy(rows, storedRows(t, dir))
	}
	return rows
}

func storedRows(t *testing.T, dir string) map[string]int {
	t.Helper()
	s, err := state.OpenStore(dir, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // it was only read
	it, err := s.Iterator()
	if err != nil {
		t.Fatal(err)
	}
	defer it.Release()
	rows := map[string]int{}
	for it.Next() {
		v, err := it.Value()
		if err != nil {
			t.Fatal(err)
		}
		if rows[string(it.Key())], err = strconv.Atoi(string(v)); err != nil {
			t.Fatal(err)
		}
	}
	return rows
}

// until waits for cond, the only waiting loop of the tests.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("timed out waiting until %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func readAll(t *testing.T, cfg Config, topic string) []Record {
	t.Helper()
	var records []Record
	err := Read(t.Context(), cfg, Range{Topics: []string{topic}}, func(r Record) error {
		records = append(records, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// observe calls f for every request of a kind that the broker gets; the broker
// answers it as ever.
func observe(b *embedded.Broker, key kmsg.Key, f func(kmsg.Request)) {
	b.Cluster().ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f(req)
		return nil, nil, false
	})
}

// ofCounter reports whether a request belongs to the transactions of instance.
func ofCounter(req kmsg.Request, instance string) bool {
	id := string(counter) + "-" + instance
	switch r := req.(type) {
	case *kmsg.EndTxnRequest:
		return r.TransactionalID == id && r.Commit
	case *kmsg.AddPartitionsToTxnRequest:
		return r.TransactionalID == id
	case *kmsg.AddOffsetsToTxnRequest:
		return r.TransactionalID == id
	case *kmsg.TxnOffsetCommitRequest:
		return r.TransactionalID == id
	case *kmsg.InitProducerIDRequest:
		return r.TransactionalID != nil && *r.TransactionalID == id
	case *kmsg.ProduceRequest:
		return r.TransactionID != nil && *r.TransactionID == id
	case *kmsg.JoinGroupRequest:
		return r.InstanceID != nil && *r.InstanceID == instance && r.Group == string(counter)
	case *kmsg.SyncGroupRequest:
		return r.InstanceID != nil && *r.InstanceID == instance && r.Group == string(counter)
	}
	return false
}
