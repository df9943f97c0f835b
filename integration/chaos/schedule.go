package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Faults says how many of each sort a run has.
type Faults struct {
	Kills       int `json:"kills"`        // of instances, at all kinds of moments
	Pauses      int `json:"pauses"`       // of instances, longer than the session time-out
	LostDisks   int `json:"lost_disks"`   // instances that come back with nothing
	Brokers     int `json:"brokers"`      // brokers killed or paused
	Cuts        int `json:"cuts"`         // brokers out of reach, or slow
	LateCommits int `json:"late_commits"` // an EndTxn that arrives after its resend
}

// fault is one entry of a schedule. Everything that chance decides is in it.
type fault struct {
	kind   Kind
	at     time.Duration // since the start of the traffic
	victim int           // which instance
	part   int32         // whose leader or coordinator, where a broker is the victim
	delay  time.Duration // how long until the second kill, or how long it lasts
}

// schedule spreads faults over a run: their order, victims and moments come from
// the seed alone. A fault has at least its kind's gap after it, in which the
// deployment heals. length is how long the run must be at least; the real one is
// shared out evenly.
func schedule(seed int64, f Faults, realBrokers bool, length time.Duration) ([]fault, time.Duration, error) {
	random := rand.New(rand.NewPCG(uint64(seed), 'f')) //nolint:gosec // a test's randomness is seeded
	var faults []fault
	for _, sort := range []struct {
		n     int
		kinds []Kind
	}{
		{f.Kills, kills}, {f.Pauses, []Kind{PauseInstance}}, {f.LostDisks, lostDisks},
		{f.Brokers, brokerFaults}, {f.Cuts, cuts}, {f.LateCommits, []Kind{LateCommit}},
	} {
		usable := slices.DeleteFunc(slices.Clone(sort.kinds), func(k Kind) bool { return kinds[k].real && !realBrokers })
		if len(usable) == 0 && sort.n > 0 {
			return nil, 0, fmt.Errorf("%v need real brokers: set TRUNKLINE_TEST_KAFKA=real", sort.kinds)
		}
		turn := random.IntN(max(1, len(usable)))
		for range sort.n {
			faults = append(faults, fault{kind: usable[turn%len(usable)]})
			turn++
		}
	}
	random.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
	need := warmUp
	for i := range faults {
		f := &faults[i]
		f.at = need
		f.victim, f.part = random.IntN(instances), random.Int32N(partitions)
		f.delay = time.Duration(random.Int64N(int64(time.Second)))
		need += kinds[f.kind].gap
	}
	if length == 0 {
		length = need
	}
	if length < need {
		return nil, 0, fmt.Errorf("%d faults need %s between them, the run lasts %s: fewer faults or more minutes", len(faults), need, length)
	}
	stretch := float64(length) / float64(need)
	for i := range faults {
		faults[i].at = time.Duration(float64(faults[i].at) * stretch)
	}
	return faults, length, nil
}
