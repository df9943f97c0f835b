package chaos

import (
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"trunkline/integration/harness"
)

var (
	seed    = flag.Int64("seed", 0, "seed of traffic and faults; 0 takes one from the clock")
	events  = flag.Int("events", 4000, "deliveries")
	kill    = flag.Int("kills", 6, "instances killed")
	pause   = flag.Int("pauses", 0, "instances paused longer than the session time-out")
	disks   = flag.Int("disks", 1, "instances that lose their disk")
	brokers = flag.Int("brokers", 0, "brokers killed or paused; real brokers only")
	cut     = flag.Int("cuts", 0, "brokers out of reach or slow; real brokers only")
	late    = flag.Int("late", 0, "commits that arrive after their resend; real brokers only")
	minutes = flag.Float64("minutes", 0, "length of the traffic; 0 is the shortest that leaves the faults room")
	results = flag.String("results", "", "file for the report as JSON")
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// I1 to I5, I8: whatever fails, nothing is lost and nothing doubled.
//
// That its checker sees each kind of defect shows TestCheckerFindsDefects.
func TestFaultsLoseAndDoubleNothing(t *testing.T) {
	c := Config{
		Seed: *seed, Events: *events, Length: time.Duration(*minutes * float64(time.Minute)),
		Faults: Faults{Kills: *kill, Pauses: *pause, LostDisks: *disks, Brokers: *brokers, Cuts: *cut, LateCommits: *late},
	}
	if c.Seed == 0 {
		c.Seed = time.Now().UnixNano() % 1e6
	}
	t.Logf("seed %d: make chaos SEED=%d sends the same events and faults", c.Seed, c.Seed)
	report := Run(t, c)
	if err := report.WriteText(t.Output()); err != nil {
		t.Error(err)
	}
	if *results != "" {
		b, err := json.MarshalIndent(report, "", " ")
		if err == nil {
			err = os.WriteFile(*results, append(b, '\n'), 0o644)
		}
		if err != nil {
			t.Error(err)
		}
	}
	if !report.OK() {
		t.Errorf("seed %d: the deployment broke its promise", c.Seed)
	}
	if report.RawRecords < c.Events || report.Fates["change"] == 0 {
		t.Errorf("got %d raw records and %d changes of %d deliveries: nothing was tested", report.RawRecords, report.Fates["change"], c.Events)
	}
}

// A seed gives the same faults again, and another one others.
func TestSeedDecidesSchedule(t *testing.T) {
	f := Faults{Kills: 20, Pauses: 5, LostDisks: 4, Brokers: 6, Cuts: 3, LateCommits: 3}
	one, length, err := schedule(7, f, true, 0)
	if err != nil {
		t.Fatal(err)
	}
	again, _, _ := schedule(7, f, true, 0)
	other, _, _ := schedule(8, f, true, 0)
	if d := cmp.Diff(one, again, cmp.AllowUnexported(fault{})); d != "" {
		t.Errorf("one seed, two schedules:\n%s", d)
	}
	if cmp.Equal(one, other, cmp.AllowUnexported(fault{})) {
		t.Error("two seeds, one schedule")
	}
	if len(one) != 41 {
		t.Errorf("got %d faults, want 41", len(one))
	}
	for i := 1; i < len(one); i++ {
		if gap := one[i].at - one[i-1].at; gap < kinds[one[i-1].kind].gap {
			t.Errorf("%s is followed after %s, want at least %s", one[i-1].kind, gap, kinds[one[i-1].kind].gap)
		}
	}
	if _, _, err := schedule(7, f, true, length/2); err == nil {
		t.Error("half of the time is enough")
	}
	if _, _, err := schedule(7, f, false, 0); err == nil {
		t.Error("the embedded broker takes faults of real ones")
	}
}

// One seed gives the same events; the clock gives their times.
func TestSeedDecidesEvents(t *testing.T) {
	ids := func(seed int64) (ids []string) {
		at := time.UnixMilli(1_800_000_000_000)
		g := newGenerator(seed, func() time.Time { return at })
		for range 2000 {
			at = at.Add(2 * time.Millisecond)
			ids = append(ids, string(g.next().body))
		}
		return ids
	}
	if d := cmp.Diff(ids(3), ids(3)); d != "" {
		t.Errorf("one seed, two sequences:\n%s", d)
	}
	if cmp.Equal(ids(3), ids(4)) {
		t.Error("two seeds, one sequence")
	}
}
