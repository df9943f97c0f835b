package stream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trunkline/embedded"
)

// childEnv makes the test binary a process that counts until it is killed; its
// value is broker, instance and data dir.
const childEnv = "TRUNKLINE_STREAM_CHILD"

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		if err := countUntilKilled(strings.Split(spec, "\n")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func countUntilKilled(spec []string) error {
	cfg := Config{Brokers: spec[:1], Instance: spec[1], DataDir: spec[2], SessionTimeout: 2 * time.Second}
	p, err := NewProcessor(cfg, options(countGraph()))
	if err != nil {
		return err
	}
	return p.Run(context.Background())
}

// startChild starts a process that counts.
func startChild(t *testing.T, cfg Config) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self)
	child.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{cfg.Brokers[0], cfg.Instance, cfg.DataDir}, "\n"))
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() })
	return child
}

// killPoint is a moment of the protocol as the broker sees it.
type killPoint struct {
	name string
	on   kmsg.Key
	nth  int32 // request of that kind in the process' life
	// drop kills before the broker acts on the request; otherwise the process is
	// stopped where it waits for the answer, the broker acts, and then it dies.
	drop     bool
	loseDisk bool
}

// I2, I8: a process that is killed at any point of the protocol loses and doubles
// nothing, and its table on disk heals to what the changelog tells.
//
// Seen failing with the store in WriteThrough (trap 2: EndTxn of a later kill is
// enough), with the offsets left out of the transaction, and with the changelog
// offset not written by Commit.
func TestKilledProcessLosesAndDoublesNothing(t *testing.T) {
	points := []killPoint{
		{name: "joining", on: kmsg.JoinGroup, nth: 1, drop: true},
		{name: "assigned", on: kmsg.SyncGroup, nth: 1},
		{name: "initialising its transactional id", on: kmsg.InitProducerID, nth: 1},
		{name: "first transaction begun", on: kmsg.AddPartitionsToTxn, nth: 1},
		{name: "records sent", on: kmsg.Produce, nth: 4},
		{name: "offsets added", on: kmsg.TxnOffsetCommit, nth: 2},
		{name: "before the commit", on: kmsg.EndTxn, nth: 2, drop: true},
		{name: "between commit and local flush", on: kmsg.EndTxn, nth: 2},
		{name: "first commit, disk lost", on: kmsg.EndTxn, nth: 1, loseDisk: true},
		{name: "after the flush", on: kmsg.AddPartitionsToTxn, nth: 4, drop: true},
		{name: "between commit and local flush again", on: kmsg.EndTxn, nth: 3},
	}
	b := startBroker(t)
	cfg := config(t, b.Addr(), "p1")
	createCounterTopics(t, cfg)
	in := newInput(t, cfg)
	killer := newKiller(b, cfg.Instance)
	for _, point := range points {
		began := time.Now()
		child := startChild(t, cfg)
		killer.arm(point, child.Process.Pid)
		stop := in.feed(t)
		err := child.Wait()
		stop()
		killer.disarm()
		t.Log(point.name, time.Since(began))
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("%s: the child ended with %v, want a kill", point.name, err)
		}
		if point.loseDisk {
			if err := os.RemoveAll(filepath.Join(cfg.DataDir, "tables")); err != nil {
				t.Fatal(err)
			}
		}
	}
	p := start(t, cfg, options(countGraph()))
	in.counted(t)
	p.stop(t)
	in.verify(t, cfg)
	if diff := cmp.Diff(fold(t, cfg), localRows(t, cfg)); diff != "" {
		t.Errorf("rows on disk (-changelog +disk):\n%s", diff)
	}
}

// killer kills a process from the broker's side.
type killer struct {
	armed atomic.Pointer[target]
}

type target struct {
	killPoint
	pid  int
	seen atomic.Int32
}

func newKiller(b *embedded.Broker, instance string) *killer {
	k := &killer{}
	for _, key := range []kmsg.Key{kmsg.JoinGroup, kmsg.SyncGroup, kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.Produce, kmsg.TxnOffsetCommit, kmsg.EndTxn} {
		b.Cluster().ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
			at := k.armed.Load()
			if at == nil || at.on != key || !ofCounter(req, instance) || at.seen.Add(1) != at.nth {
				return nil, nil, false
			}
			if at.drop {
				_ = syscall.Kill(at.pid, syscall.SIGKILL)
				b.Cluster().KeepControl()
				return nil, errors.New("the client was killed"), true
			}
			freeze(at.pid)
			go func() { // once this request is through, the broker answers a next one
				b.Cluster().PartitionInfo(inputTopic, 0)
				_ = syscall.Kill(at.pid, syscall.SIGKILL)
			}()
			return nil, nil, false
		})
	}
	return k
}

func (k *killer) arm(p killPoint, pid int) { k.armed.Store(&target{killPoint: p, pid: pid}) }
func (k *killer) disarm()                  { k.armed.Store(nil) }

// freeze stops a process and returns when none of its threads runs any more.
func freeze(pid int) {
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	for {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		stopped := true
		for _, task := range tasks {
			stat, err := os.ReadFile(task)
			if err == nil && !strings.Contains(string(stat), ") T ") {
				stopped = false
			}
		}
		if stopped {
			return
		}
	}
}
