package spool

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	cuts  = flag.Int("cuts", 1000, "power cuts")
	flips = flag.Int("flips", 10_000, "bit flips")
)

// sink is where a spool drains to.
type sink struct {
	mu      sync.Mutex
	entries map[string][]string // by queue
	lost    uint64
	refuse  func(queue string) error
}

func (s *sink) drain(ctx context.Context, queue string, entries [][]byte) error {
	if s.refuse != nil {
		if err := s.refuse(queue); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries == nil {
		s.entries = map[string][]string{}
	}
	for _, e := range entries {
		s.entries[queue] = append(s.entries[queue], string(e))
	}
	return ctx.Err()
}

func (s *sink) options(fs FileSystem) Options {
	return Options{
		Dir: "spool", FS: fs, Queues: []string{"acme", "globex"}, Drain: s.drain,
		SegmentBytes: 4 << 10, BatchBytes: 2 << 10,
		Lost: func(_ string, n uint64) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.lost += n
		},
	}
}

// drainAll opens the spool on a disk and drains what is in it.
func (s *sink) drainAll(t *testing.T, fs FileSystem) {
	t.Helper()
	sp, err := Open(s.options(fs))
	if err != nil {
		t.Fatalf("open the spool again: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	sp.Run(ended, time.Minute)
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPowerCutsLoseNothingAccepted (I1): senders append from several goroutines, the
// power is cut at any operation of the disk, and the spool is opened again, several
// times over. What was accepted is drained, in each sender's order; nothing else is
// but what was sent.
//
// Seen failing: without the sync of a write, of the folder, or of the position before
// a segment is removed; with entries answered before the write, or passed before they
// are handed out; with segments that do not tell their order.
func TestPowerCutsLoseNothingAccepted(t *testing.T) {
	for seed := range uint64(*cuts) {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { t.Parallel(); cutPower(t, seed) }) {
			break
		}
	}
}

func cutPower(t *testing.T, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	disk := newMemory(seed)
	var out sink
	out.refuse = func(string) error { return disk.powered() }
	sent, accepted := map[string]bool{}, map[string][]string{}
	var mu sync.Mutex
	for life := range 3 {
		disk.budget = rng.IntN(300)
		sp, err := Open(out.options(disk))
		if err == nil {
			ctx, cancel := context.WithCancel(t.Context())
			var senders, drains sync.WaitGroup
			drains.Go(func() { sp.Run(ctx, 0) })
			for sender := range 6 {
				queue := sp.o.Queues[sender%2]
				senders.Go(func() {
					for i := 0; ; i++ {
						size := (i*7919 + sender) % 1500
						e := fmt.Sprintf("%d/%d/%d %s", sender, life, i, strings.Repeat("x", size))
						mu.Lock()
						sent[e] = true
						mu.Unlock()
						if sp.Append(queue, []byte(e)) != nil {
							return
						}
						mu.Lock()
						who := fmt.Sprintf("%s %d/%d", queue, sender, life)
						accepted[who] = append(accepted[who], e)
						mu.Unlock()
					}
				})
			}
			senders.Wait()
			cancel()
			drains.Wait()
		}
		disk = disk.cut()
	}
	disk.budget = -1
	out.drainAll(t, disk)
	for queue, entries := range out.entries {
		for _, e := range entries {
			if !sent[e] {
				t.Fatalf("queue %s drained what was never sent: %.40q", queue, e)
			}
		}
	}
	for who, entries := range accepted {
		queue, _, _ := strings.Cut(who, " ")
		last := -1
		for _, e := range entries {
			at := slices.Index(out.entries[queue], e)
			if at < 0 {
				t.Fatalf("accepted and never drained: %.40q", e)
			}
			if at < last {
				t.Fatalf("drained before what was accepted earlier: %.40q", e)
			}
			last = at
		}
	}
	if out.lost > 0 {
		t.Errorf("%d entries told lost", out.lost)
	}
}

// filled returns a disk with a spool of n entries that no one drained, and them.
func filled(t *testing.T, n int) (*memory, []string) {
	t.Helper()
	disk := newMemory(7)
	var out sink
	o := out.options(disk)
	o.Queues = []string{"acme"}
	sp, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	var entries []string
	for i := range n {
		e := fmt.Sprintf("entry %d %s", i, strings.Repeat("y", i*37%300))
		if err := sp.Append("acme", []byte(e)); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	return disk, entries
}

// checkDamaged drains a damaged disk: what comes out is what went in, in order, and
// all that is missing is told.
func checkDamaged(t *testing.T, disk *memory, entries []string, what string) {
	t.Helper()
	var out sink
	out.drainAll(t, disk)
	got, next := out.entries["acme"], 0
	for _, e := range got {
		at := slices.Index(entries[next:], e)
		if at < 0 {
			t.Fatalf("%s: drained what was never sent there: %.40q", what, e)
		}
		next += at + 1
	}
	if missing := uint64(len(entries) - len(got)); missing != out.lost {
		t.Fatalf("%s: %d entries are missing and %d are told lost", what, missing, out.lost)
	}
}

// TestEveryTruncationIsTold cuts the last file at every byte.
//
// Seen failing: without the written number in the position.
func TestEveryTruncationIsTold(t *testing.T) {
	disk, entries := filled(t, 40)
	size := len(lastSegment(disk).now)
	for n := range size {
		c := disk.clone()
		f := lastSegment(c)
		f.now = f.now[:n]
		checkDamaged(t, c, entries, fmt.Sprintf("cut at %d of %d", n, size))
	}
}

// TestEveryBitFlipIsTold flips one bit of any file of a spool.
//
// Seen failing: without a look at the checksum.
func TestEveryBitFlipIsTold(t *testing.T) {
	disk, entries := filled(t, 60)
	rng := rand.New(rand.NewPCG(3, 3))
	var names []string
	for name, f := range disk.names {
		if len(f.now) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for i := range *flips {
		c := disk.clone()
		name := names[rng.IntN(len(names))]
		f := c.names[name]
		bit := rng.IntN(8 * len(f.now))
		f.now[bit/8] ^= 1 << (bit % 8)
		checkDamaged(t, c, entries, fmt.Sprintf("flip %d: bit %d of %s", i, bit, name))
	}
}

func lastSegment(m *memory) *memoryFile {
	var last string
	for name := range m.names {
		if strings.HasSuffix(name, segmentSuffix) && name > last {
			last = name
		}
	}
	return m.names[last]
}

// TestDiskThatIsFull refuses until there is room, and loses nothing meanwhile.
//
// Seen failing: without the truncation after a failed write.
func TestDiskThatIsFull(t *testing.T) {
	disk := newMemory(1)
	var out sink
	sp, err := Open(out.options(disk))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 300 {
		disk.full = i%10 > 4
		e := fmt.Sprintf("entry %d %s", i, strings.Repeat("z", i))
		switch err := sp.Append("acme", []byte(e)); {
		case disk.full && !errors.Is(err, errNoSpace):
			t.Fatalf("append to a full disk: %v", err)
		case !disk.full && err != nil:
			t.Fatalf("append when there is room again: %v", err)
		case err == nil:
			want = append(want, e)
		}
	}
	disk.full = false
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	out.drainAll(t, disk)
	if got := out.entries["acme"]; !slices.Equal(got, want) || out.lost > 0 {
		t.Errorf("drained %d entries, lost %d; want the %d accepted ones in order", len(got), out.lost, len(want))
	}
	for name := range disk.names {
		if strings.HasSuffix(name, damagedSuffix) {
			t.Errorf("%s is left behind", name)
		}
	}
}

// TestDiskThatFailsToSync takes nothing more, though the next sync would succeed: it
// says nothing of what the failed one left out.
//
// Seen failing: with the failure forgotten.
func TestDiskThatFailsToSync(t *testing.T) {
	disk := newMemory(1)
	var out sink
	sp, err := Open(out.options(disk))
	if err != nil {
		t.Fatal(err)
	}
	if err := sp.Append("acme", []byte("safe")); err != nil {
		t.Fatal(err)
	}
	disk.broken = errors.New("input/output error")
	if err := sp.Append("acme", []byte("unsafe")); !errors.Is(err, disk.broken) {
		t.Errorf("append: %v, want the disk's error", err)
	}
	disk.broken = nil
	if err := sp.Append("acme", []byte("after")); err == nil {
		t.Error("append after a failed sync succeeds")
	}
	if got := sp.Fill("acme"); got != 1 {
		t.Errorf("fill is %v, want 1", got)
	}
	if err := sp.Append("globex", []byte("other queue")); err != nil {
		t.Error(err)
	}
	out.drainAll(t, disk.cut())
	if !slices.Contains(out.entries["acme"], "safe") {
		t.Error("what was accepted before is not drained")
	}
}

// TestTornPositionLeavesTheOneBefore: the drain goes on from there.
//
// Seen failing: with one slot.
func TestTornPositionLeavesTheOneBefore(t *testing.T) {
	disk := newMemory(1)
	p, _, err := openPositions(disk, "q")
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(5) {
		if err := p.write(position{drained: n, written: n + 1}); err != nil {
			t.Fatal(err)
		}
	}
	disk.names["q/"+positionName].now[p.turns%2*slotDistance+7]++
	if _, got, err := openPositions(disk, "q"); err != nil || got != (position{3, 4}) {
		t.Errorf("position is %v, %v; want {3 4}", got, err)
	}
}

// TestOneSyncForAllWhoWait: the entries that come while one is synced share the
// next sync.
//
// Seen failing: with a batch for each entry.
func TestOneSyncForAllWhoWait(t *testing.T) {
	disk := newMemory(1)
	var out sink
	o := out.options(disk)
	syncs, release := 0, make(chan struct{})
	o.Synced = func(time.Duration) { // called by who writes, before the batch is answered
		syncs++
		<-release
	}
	sp, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	var senders sync.WaitGroup
	send := func() {
		senders.Go(func() {
			if err := sp.Append("acme", []byte("entry")); err != nil {
				t.Error(err)
			}
		})
	}
	q := sp.queues["acme"]
	waiting := func(n int64) func() bool {
		return func() bool {
			q.mu.Lock()
			defer q.mu.Unlock()
			return q.gathered == n*int64(len("entry"))
		}
	}
	send()
	until(t, waiting(1))
	for range 99 {
		send()
	}
	until(t, waiting(100))
	close(release)
	senders.Wait()
	if syncs != 2 {
		t.Errorf("%d syncs for 1 + 99 entries, want 2", syncs)
	}
}

func until(t *testing.T, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); {
		if time.Now().After(end) {
			t.Fatal("timed out")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestSlowDisk refuses what would wait for it in memory without bound.
//
// Seen failing: without the bound, and with what was refused counted as waiting.
func TestSlowDisk(t *testing.T) {
	var out sink
	o := out.options(newMemory(1))
	o.MaxWaiting = 10_000
	release := make(chan struct{})
	o.Synced = func(time.Duration) { <-release }
	sp, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	entry := []byte(strings.Repeat("x", 1000))
	var waiting, refused atomic.Int64
	var senders sync.WaitGroup
	for i := range 50 {
		senders.Go(func() {
			waiting.Add(1)
			if err := sp.Append(o.Queues[i%2], entry); err != nil {
				if !errors.Is(err, ErrSlow) {
					t.Error(err)
				}
				refused.Add(1)
			}
			waiting.Add(-1)
		})
	}
	until(t, func() bool { return refused.Load() == 40 && waiting.Load() == 10 })
	close(release)
	senders.Wait()
	if err := sp.Append("acme", entry); err != nil {
		t.Errorf("append when the disk is back: %v", err)
	}
}

// TestFullQueue refuses by bytes and by age, takes entries again once it is drained,
// and leaves other queues alone.
//
// Seen failing: without either limit, with one count of bytes for all queues, with
// the bytes of drained entries counted.
func TestFullQueue(t *testing.T) {
	var out sink
	now := time.Unix(1_800_000_000, 0)
	o := out.options(newMemory(1))
	o.MaxBytes, o.MaxAge = 10_000, time.Hour
	o.Now = func() time.Time { return now }
	sp, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	entry := []byte(strings.Repeat("x", 1000))
	fill := func() (n int) {
		for n < 20 && sp.Append("acme", entry) == nil {
			n++
		}
		return n
	}
	for round := range 3 {
		n := fill()
		if err := sp.Append("acme", entry); !errors.Is(err, ErrFull) {
			t.Fatalf("round %d: append to a full queue: %v", round, err)
		}
		if used := sp.Fill("acme"); n < 8 || n > 10 || used < 0.8 {
			t.Errorf("round %d: took %d entries of 1,000 bytes, fill %v; want all that 10,000 bytes hold", round, n, used)
		}
		if err := sp.Append("globex", entry); err != nil || sp.Fill("globex") > 0.5 {
			t.Errorf("round %d: another queue: %v, fill %v", round, err, sp.Fill("globex"))
		}
		sp.Run(ended, time.Minute)
		if used := sp.Fill("acme"); used != 0 {
			t.Errorf("round %d: fill is %v after the drain", round, used)
		}
	}
	for range 2 {
		if err := sp.Append("acme", entry); err != nil {
			t.Fatal(err)
		}
		now = now.Add(59 * time.Minute)
	}
	if err := sp.Append("acme", entry); !errors.Is(err, ErrFull) || sp.Fill("acme") != 1 {
		t.Errorf("append to a queue whose oldest entry is too old: %v, fill %v", err, sp.Fill("acme"))
	}
	sp.Run(ended, time.Minute)
	if err := sp.Append("acme", entry); err != nil {
		t.Errorf("append after the drain: %v", err)
	}
}

// TestQueueThatDoesNotDrainHoldsUpNoOther: the drains share the calls fairly.
//
// Seen failing: with a call kept between two tries.
func TestQueueThatDoesNotDrainHoldsUpNoOther(t *testing.T) {
	var out sink
	refused := make(chan struct{}, 1000)
	out.refuse = func(queue string) error {
		if queue == "acme" {
			refused <- struct{}{}
			return errors.New("no such topic")
		}
		return nil
	}
	o := out.options(newMemory(1))
	o.Drains = 1
	sp, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { sp.Run(ctx, 0) })
	for _, queue := range o.Queues {
		for i := range 50 {
			if err := sp.Append(queue, fmt.Appendf(nil, "entry %d", i)); err != nil {
				t.Fatal(err)
			}
		}
		if queue == "acme" {
			<-refused
		}
	}
	until(t, func() bool { return sp.Stats()["globex"].Entries == 0 })
	cancel()
	running.Wait()
	if left := sp.Stats()["acme"].Entries; left != 50 {
		t.Errorf("%d entries of the queue that does not drain are left, want 50", left)
	}
}
