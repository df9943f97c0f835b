package embedded

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// copyDir copies a broker's data dir as it stands: the copy is what a SIGKILL at
// this moment would leave.
func copyDir(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

const brokerDirVariable = "TRUNKLINE_TEST_BROKER_DIR"

// TestBrokerChild is the process that TestBrokerKilled kills.
func TestBrokerChild(t *testing.T) {
	dir := os.Getenv(brokerDirVariable)
	if dir == "" {
		t.Skip("only runs as a child of TestBrokerKilled")
	}
	b, err := StartBroker(BrokerConfig{Addr: "127.0.0.1:0", DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(os.Stdout, "address", b.Addr())
	select {}
}

// startChild runs a broker in a process of its own and returns its address and
// what kills it.
func startChild(t *testing.T, dir string) (addr string, kill func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBrokerChild$")
	cmd.Env = append(os.Environ(), brokerDirVariable+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(kill)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if a, ok := strings.CutPrefix(lines.Text(), "address "); ok {
			return a, kill
		}
	}
	t.Fatal("the child told no address")
	return "", nil
}

// I2, I8: SIGKILL keeps records, topics with their ids, group offsets and
// committed transactions; what was open is aborted, however often it happens;
// producers of before are locked out.
func TestBrokerKilled(t *testing.T) {
	dir := t.TempDir()
	addr, kill := startChild(t, dir)
	createTopics(t, addr, 1, "log", "in")
	details, err := kadm.NewClient(newClient(t, addr)).ListTopics(testContext(t), "log")
	if err != nil {
		t.Fatal(err)
	}
	topicID := details["log"].ID

	var want []string
	for round := range 3 {
		p := transactional(t, addr, "p")
		done, lost := fmt.Sprintf("committed %d", round), fmt.Sprintf("open %d", round)
		begin(t, p)
		produce(t, p, "log", 0, done)
		if err := txnOffsetCommit(t, p, "p", "g", "", -1, "in", int64(round+1)); err != nil {
			t.Fatal(err)
		}
		end(t, p, kgo.TryCommit)
		want = append(want, done)
		begin(t, p)
		produce(t, p, "log", 0, lost)
		_, epoch, _ := p.ProducerID(testContext(t))
		kill()

		addr, kill = startChild(t, dir)
		if diff := cmp.Diff(want, committed(t, addr, "log")); diff != "" {
			t.Fatalf("round %d: %s", round, diff)
		}
		if got, err := fetchOffset(t, addr, "g", "in", true); got != int64(round+1) || err != nil {
			t.Errorf("round %d: got group offset %d, %v", round, got, err)
		}
		if err := endOld(t, addr, "p", p, epoch); !errors.Is(err, kerr.ProducerFenced) {
			t.Errorf("round %d: got %v for the commit of a producer of before, want PRODUCER_FENCED", round, err)
		}
	}
	details, err = kadm.NewClient(newClient(t, addr)).ListTopics(testContext(t), "log")
	if err != nil {
		t.Fatal(err)
	}
	if got := details["log"].ID; got != topicID {
		t.Errorf("got topic id %s, want %s as before", got, topicID)
	}
}

// endOld commits in the name of a producer of the broker that was killed.
func endOld(t *testing.T, addr, id string, p *kgo.Client, epoch int16) error {
	t.Helper()
	producerID, _, err := p.ProducerID(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = id, producerID, epoch, true
	resp, err := req.RequestWith(testContext(t), newClient(t, addr))
	if err != nil {
		t.Fatal(err)
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// I2: a commit that a kill interrupts is carried out whole by the next start,
// wherever the kill came.
func TestBrokerKilledInCommit(t *testing.T) {
	// The protocol before KIP-890, which sarama speaks, keeps the epoch.
	t.Run("3.8", func(t *testing.T) { testKilledInCommit(t, kversion.V3_8_0()) })
	t.Run("4.0", func(t *testing.T) { testKilledInCommit(t, kversion.V4_0_0()) })
}

func testKilledInCommit(t *testing.T, version *kversion.Versions) {
	t.Helper()
	dir := t.TempDir()
	b := startTestBroker(t, dir)
	createTopics(t, b.Addr(), 1, "one", "two", "in")
	p := transactional(t, b.Addr(), "p", kgo.MaxVersions(version))
	other := transactional(t, b.Addr(), "other")
	begin(t, other)
	produce(t, other, "two", 0, "open")
	begin(t, p)
	produce(t, p, "one", 0, "x")
	produce(t, p, "two", 0, "y")
	if err := txnOffsetCommit(t, p, "p", "g", "", -1, "in", 42); err != nil {
		t.Fatal(err)
	}

	// The state after the intent and before the commit, and the one after it.
	var began string
	b.Cluster().ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster().DropControl()
		began = copyDir(t, dir)
		return nil, nil, false
	})
	uncommitted := copyDir(t, dir)
	end(t, p, kgo.TryCommit)
	ended := copyDir(t, dir)

	partly := func(files ...string) string {
		to := copyDir(t, began)
		for _, f := range files {
			if err := os.RemoveAll(filepath.Join(to, f)); err != nil {
				t.Fatal(err)
			}
			copyPath(t, filepath.Join(ended, f), filepath.Join(to, f))
		}
		return to
	}
	// Other offsets that came after the commit are not set back.
	commitOffset(t, b.Addr(), "g", "in", 50)
	later := copyDir(t, dir)

	for _, tt := range []struct {
		name   string
		dir    string
		one    []string
		two    []string
		offset int64
	}{
		{"before the commit", uncommitted, nil, nil, -1},
		{"before the first marker", began, []string{"x"}, []string{"y"}, 42},
		{"after one marker", partly("partitions/one-0"), []string{"x"}, []string{"y"}, 42},
		{"after the other marker", partly("partitions/two-0"), []string{"x"}, []string{"y"}, 42},
		{"after all markers", partly("partitions"), []string{"x"}, []string{"y"}, 42},
		{"after the offsets", partly("partitions", groupLogFile), []string{"x"}, []string{"y"}, 42},
		{"after the commit", ended, []string{"x"}, []string{"y"}, 42},
		{"after later offsets", later, []string{"x"}, []string{"y"}, 50},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// Killed again and again, it stays so.
			dir := tt.dir
			for range 2 {
				b := startTestBroker(t, dir)
				if diff := cmp.Diff(tt.one, committed(t, b.Addr(), "one")); diff != "" {
					t.Errorf("one: %s", diff)
				}
				if diff := cmp.Diff(tt.two, committed(t, b.Addr(), "two")); diff != "" {
					t.Errorf("two: %s", diff)
				}
				got, err := fetchOffset(t, b.Addr(), "g", "in", true)
				if errors.Is(err, kerr.GroupIDNotFound) {
					got, err = -1, nil
				}
				if got != tt.offset || err != nil {
					t.Errorf("got offset %d, %v, want %d", got, err, tt.offset)
				}
				dir = copyDir(t, dir)
			}
		})
	}
}

// A producer that was fenced may still ask for its commit: a kill at that moment
// does not grant it.
func TestBrokerKilledInCommitOfZombie(t *testing.T) {
	dir := t.TempDir()
	b := startTestBroker(t, dir)
	createTopics(t, b.Addr(), 1, "log", "in")
	zombie := transactional(t, b.Addr(), "p")
	begin(t, zombie)
	produce(t, zombie, "log", 0, "zombie")
	if err := txnOffsetCommit(t, zombie, "p", "g", "", -1, "in", 42); err != nil {
		t.Fatal(err)
	}
	owner := transactional(t, b.Addr(), "p")
	begin(t, owner)
	produce(t, owner, "log", 0, "owner")
	var killed string
	b.Cluster().ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster().DropControl()
		killed = copyDir(t, dir)
		return nil, nil, false
	})
	_, epoch, err := zombie.ProducerID(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := endOld(t, b.Addr(), "p", zombie, epoch); err == nil {
		t.Error("got no error for the commit of the zombie")
	}
	b = startTestBroker(t, killed)
	if got := committed(t, b.Addr(), "log"); len(got) > 0 {
		t.Errorf("got %q, want nothing committed", got)
	}
	if got, err := fetchOffset(t, b.Addr(), "g", "in", true); !errors.Is(err, kerr.GroupIDNotFound) {
		t.Errorf("got offset %d, %v, want none", got, err)
	}
	if intent, ok, err := readIntent(killed); ok || err != nil {
		t.Errorf("got intent %v, %v after the start, want none", intent, err)
	}
}

func commitOffset(t *testing.T, addr, group, topic string, offset int64) {
	t.Helper()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = group
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset = offset
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	resp, err := req.RequestWith(testContext(t), newClient(t, addr))
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func copyPath(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		return
	}
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// What a kill wrote in part is cut off, and what is written behind it is found
// at the next start.
func TestBrokerKilledInWrite(t *testing.T) {
	dir := t.TempDir()
	b := startTestBroker(t, dir)
	createTopics(t, b.Addr(), 1, "log", "in")
	p := transactional(t, b.Addr(), "p")
	begin(t, p)
	produce(t, p, "log", 0, "a")
	end(t, p, kgo.TryCommit)
	begin(t, p)
	if err := txnOffsetCommit(t, p, "p", "g", "", -1, "in", 3); err != nil {
		t.Fatal(err)
	}
	produce(t, p, "log", 0, "b")
	killed := copyDir(t, dir)

	data, index := filepath.Join("partitions", "log-0", "0.dat"), filepath.Join("partitions", "log-0", "0.idx")
	for _, tt := range []struct {
		name string
		file string
		cut  int64 // bytes missing at the end
		add  []byte
	}{
		{name: "batch without index entry", file: index, cut: indexEntry},
		{name: "part of an index entry", file: index, cut: 4},
		{name: "part of a batch", file: data, cut: 3},
		{name: "rubbish behind the batches", file: data, add: []byte("\x00\x01\x02")},
		{name: "part of a producer entry", file: producerLogFile, add: []byte{40, 0, 0, 0, 1}},
		{name: "part of a group entry", file: groupLogFile, add: []byte{40, 0, 0, 0, 1}},
		{name: "part of an intent", file: intentFile, cut: 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := copyDir(t, killed)
			damage(t, filepath.Join(dir, tt.file), tt.cut, tt.add)
			b := startTestBroker(t, dir)
			p := transactional(t, b.Addr(), "p")
			begin(t, p)
			produce(t, p, "log", 0, "c")
			if err := txnOffsetCommit(t, p, "p", "g", "", -1, "in", 4); err != nil {
				t.Fatal(err)
			}
			end(t, p, kgo.TryCommit)

			b = startTestBroker(t, copyDir(t, dir))
			if diff := cmp.Diff([]string{"a", "c"}, committed(t, b.Addr(), "log")); diff != "" {
				t.Error(diff)
			}
			if got, err := fetchOffset(t, b.Addr(), "g", "in", true); got != 4 || err != nil {
				t.Errorf("got offset %d, %v, want 4", got, err)
			}
		})
	}
}

func damage(t *testing.T, path string, cut int64, add []byte) {
	t.Helper()
	size, err := fileSize(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size-cut); err != nil && !(size == 0 && os.IsNotExist(err)) {
		t.Fatal(err)
	}
	if err := appendFile(path, add); err != nil {
		t.Fatal(err)
	}
}

// A transaction that is open when the broker is closed in order goes on after it.
func TestBrokerClosedInTransaction(t *testing.T) {
	dir := t.TempDir()
	b := startTestBroker(t, dir)
	createTopics(t, b.Addr(), 1, "log")
	addr := b.Addr()
	p := transactional(t, addr, "p")
	begin(t, p)
	produce(t, p, "log", 0, "a")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := StartBroker(BrokerConfig{Addr: addr, DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Close() })
	produce(t, p, "log", 0, "b")
	end(t, p, kgo.TryCommit)
	if diff := cmp.Diff([]string{"a", "b"}, committed(t, addr, "log")); diff != "" {
		t.Error(diff)
	}
}

// BenchmarkBrokerStart starts a broker on 100,000 records of 1 kB after a kill.
func BenchmarkBrokerStart(b *testing.B) {
	dir := b.TempDir()
	broker, err := StartBroker(BrokerConfig{Addr: "127.0.0.1:0", DataDir: dir})
	if err != nil {
		b.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr()), kgo.DefaultProduceTopic("log"), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := kadm.NewClient(cl).CreateTopic(b.Context(), 6, 1, nil, "log"); err != nil {
		b.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{})
	for range 100_000 {
		value := make([]byte, 1000)
		_, _ = random.Read(value)
		cl.Produce(b.Context(), &kgo.Record{Value: value}, nil)
	}
	if err := cl.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	cl.Close()
	for b.Loop() {
		b.StopTimer()
		killed := filepath.Join(b.TempDir(), "data")
		if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		again, err := StartBroker(BrokerConfig{Addr: "127.0.0.1:0", DataDir: killed})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := again.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	if err := broker.Close(); err != nil {
		b.Fatal(err)
	}
}
