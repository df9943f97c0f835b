package chaos

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"trunkline/topology"
)

// Stall is how long the longest wait of a raw record lasted that one fault
// caused, from its append to its fate.
type Stall struct {
	Fault Kind    `json:"fault"`
	At    float64 `json:"at_s"`      // since the start of the traffic
	Mine  int64   `json:"victim_ms"` // in partitions of the victim
	Other int64   `json:"others_ms"` // in the others; -1 when there are none
}

// injected is a fault that was done.
type injected struct {
	kind   Kind
	began  time.Time
	victim map[int32]bool // partitions; nil when the fault has no single victim
}

// owned asks the brokers which partitions the named instance has in either
// group. Both groups have the partitions of the raw topics.
func owned(ctx context.Context, client *kgo.Client, instance string) (map[int32]bool, error) {
	groups, err := kadm.NewClient(client).DescribeGroups(ctx, string(topology.NormaliseGroup), string(topology.EntityGroup))
	if err != nil {
		return nil, fmt.Errorf("ask for the members of the groups: %w", err)
	}
	partitions := map[int32]bool{}
	for _, g := range groups {
		for _, m := range g.Members {
			if m.InstanceID == nil || *m.InstanceID != instance {
				continue
			}
			if a, ok := m.Assigned.AsConsumer(); ok {
				for _, topic := range a.Topics {
					for _, p := range topic.Partitions {
						partitions[p] = true
					}
				}
			}
		}
	}
	return partitions, nil
}

// underWay is how long a raw record may be on its way, mostly in a reorder buffer,
// when a fault meets it.
const underWay = 2 * time.Second

// stalls finds for each fault the longest wait among the raw records that were
// appended between it and the next one, or were under way at that moment.
func stalls(h *history, faults []injected, began time.Time) []Stall {
	var all []Stall
	for i, fault := range faults {
		from, to := fault.began.Add(-underWay).UnixMilli(), int64(1)<<62
		if i+1 < len(faults) {
			to = faults[i+1].began.Add(-underWay).UnixMilli()
		}
		s := Stall{Fault: fault.kind, At: fault.began.Sub(began).Seconds(), Other: -1}
		for at, raw := range h.raws {
			if raw.appendMs < from || raw.appendMs >= to {
				continue
			}
			for _, o := range h.outcomes[at] {
				wait := &s.Mine
				if fault.victim != nil && !fault.victim[at.partition] {
					wait = &s.Other
				}
				*wait = max(*wait, o.appendMs-raw.appendMs)
			}
		}
		all = append(all, s)
	}
	return all
}

// Waits are how long raw records waited for their fate, over a whole run: mostly
// the reorder hold.
type Waits struct {
	P50 int64 `json:"p50_ms"`
	P99 int64 `json:"p99_ms"`
	Max int64 `json:"max_ms"`
}

func waits(h *history) Waits {
	var all []int64
	for at, raw := range h.raws {
		for _, o := range h.outcomes[at] {
			all = append(all, o.appendMs-raw.appendMs)
		}
	}
	return Waits{P50: quantile(all, 0.5), P99: quantile(all, 0.99), Max: quantile(all, 1)}
}

// Percentiles are of the stalls of one kind of fault, in ms.
type Percentiles struct {
	Count     int   `json:"count"`
	VictimP50 int64 `json:"victim_p50_ms"`
	VictimP99 int64 `json:"victim_p99_ms"`
	OthersP50 int64 `json:"others_p50_ms"`
	OthersP99 int64 `json:"others_p99_ms"`
}

func percentiles(all []Stall) map[Kind]Percentiles {
	mine, others := map[Kind][]int64{}, map[Kind][]int64{}
	for _, s := range all {
		mine[s.Fault] = append(mine[s.Fault], s.Mine)
		if s.Other >= 0 {
			others[s.Fault] = append(others[s.Fault], s.Other)
		}
	}
	result := map[Kind]Percentiles{}
	for kind, waits := range mine {
		result[kind] = Percentiles{
			Count: len(waits), VictimP50: quantile(waits, 0.5), VictimP99: quantile(waits, 0.99),
			OthersP50: quantile(others[kind], 0.5), OthersP99: quantile(others[kind], 0.99),
		}
	}
	return result
}

// quantile is the smallest value that q of all do not exceed; -1 of none.
func quantile(values []int64, q float64) int64 {
	if len(values) == 0 {
		return -1
	}
	values = slices.Sorted(slices.Values(values))
	return values[min(len(values)-1, int(q*float64(len(values))))]
}
