// Package chaos proves that nothing is lost and nothing doubled: it sends seeded
// traffic through the edge of a deployment of real processes, lets instances,
// disks, links and brokers fail on a seeded schedule, reads back everything the
// deployment wrote, and compares it with what was promised.
package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"trunkline/app"
	"trunkline/event"
	"trunkline/integration/harness"
	"trunkline/ledger"
	"trunkline/topology"
)

const (
	instances  = 3
	partitions = 4               // of the deployment that `trunkline dev` sets up
	warmUp     = 3 * time.Second // of traffic before the first fault
)

// Config configures a run. Equal seeds give equal events and equal faults; when
// they meet depends on the machine.
type Config struct {
	Seed   int64         `json:"seed"`
	Events int           `json:"events"` // deliveries, duplicates among them
	Length time.Duration `json:"length"` // of the traffic at least; 0 is the shortest in which the faults have room
	Faults Faults        `json:"faults"`
}

// Report is what a run found.
type Report struct {
	Config     Config                   `json:"config"`
	Go         string                   `json:"go"`
	Brokers    string                   `json:"brokers"`
	Seconds    float64                  `json:"seconds"`  // from the first delivery to the last fate
	HealMs     int64                    `json:"heal_ms"`  // from the last delivery to the last fate
	HTTP       HTTPOutcomes             `json:"http"`     // requests
	Accepted   int                      `json:"accepted"` // deliveries
	RawRecords int                      `json:"raw_records"`
	Fates      map[event.FateKind]int64 `json:"fates"`
	Injected   map[Kind]int             `json:"injected"`
	Findings   Findings                 `json:"findings"`
	Waits      Waits                    `json:"waits"`
	StallsOf   map[Kind]Percentiles     `json:"stalls_of"`
	Stalls     []Stall                  `json:"stalls"`
}

// OK reports whether nothing was found.
func (r *Report) OK() bool {
	return !slices.ContainsFunc(slices.Collect(maps.Values(r.Findings.all())), func(f *Finding) bool { return f.Count > 0 })
}

// run is a deployment under fire.
type run struct {
	t         testing.TB
	cluster   *harness.Cluster // nil on the embedded broker
	client    *kgo.Client
	edge      *instance
	processes []*instance
	view      *instance
	edgeURL   atomic.Pointer[string]
	ended     chan error // what the traffic ended with
}

// instance is a process with its name.
type instance struct {
	*harness.Instance
	name string
}

// Run does one run. What it finds is in the report; the test fails only when
// the run itself cannot go on.
func Run(t testing.TB, c Config) Report {
	t.Helper()
	faults, length, err := schedule(c.Seed, c.Faults, harness.Real(), c.Length)
	if err != nil {
		t.Fatal(err)
	}
	d := harness.StartDeployment(t)
	r := &run{t: t, cluster: d.Cluster, ended: make(chan error, 1)}
	brokers := d.Config.Kafka.Brokers
	if r.cluster != nil {
		brokers = r.cluster.DirectAddrs() // the readers only watch
	}
	if r.client, err = kgo.NewClient(kgo.SeedBrokers(brokers...)); err != nil {
		t.Fatal(err)
	}
	defer r.client.Close()
	start := func(name string, role app.Role) *instance { return &instance{d.Run(name, role), name} }
	r.edge, r.view = start("edge", app.RoleIngest), start("view", app.RoleView)
	for i := range instances {
		r.processes = append(r.processes, start(fmt.Sprintf("p%d", i+1), app.RoleProcess))
	}
	r.setEdge(r.edge)

	during := newHistory()
	reading, stop := context.WithCancel(t.Context())
	defer stop()
	read := make(chan error, 1)
	go func() { read <- during.follow(reading, brokers) }()

	traffic := newTraffic(c.Seed, c.Events, float64(c.Events)/length.Seconds(), func() string { return *r.edgeURL.Load() })
	began := time.Now()
	go func() { r.ended <- traffic.run(t.Context()) }()
	injected := r.inject(faults, began)
	if err := <-r.ended; err != nil {
		t.Fatal(err)
	}
	sent := time.Now()
	r.heal()
	harness.Until(t, "every raw record has its fate", func() bool { return during.settled(len(traffic.accepted)) })
	healed := time.Now()

	report := Report{
		Config: c, Go: runtime.Version(), Brokers: "embedded", Seconds: healed.Sub(began).Seconds(), HealMs: healed.Sub(sent).Milliseconds(),
		HTTP: traffic.outcomes, Accepted: len(traffic.accepted), Injected: map[Kind]int{}, Fates: map[event.FateKind]int64{},
	}
	if r.cluster != nil {
		report.Brokers = fmt.Sprintf("%d × Apache Kafka %s", r.cluster.Size(), harness.KafkaVersion)
	}
	after := newHistory()
	if err := after.readAll(t.Context(), brokers); err != nil {
		t.Fatal(err)
	}
	harness.Until(t, "the reader during the run is at the end", func() bool { return during.records() >= after.records() })
	stop()
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	report.RawRecords = len(after.raws)
	for _, fates := range after.outcomes {
		for _, o := range fates {
			report.Fates[o.kind]++
		}
	}
	for _, f := range injected {
		report.Injected[f.kind]++
	}
	report.Findings = check(traffic, after)
	compareReaders(&report.Findings, during, after)
	r.compareRows(&report, traffic, after)
	r.compareLedger(&report, d.File)
	report.Waits = waits(after)
	report.Stalls = stalls(after, injected, began)
	report.StallsOf = percentiles(report.Stalls)
	return report
}

// inject does the faults in their turn.
func (r *run) inject(faults []fault, began time.Time) []injected {
	r.t.Helper()
	var done []injected
	for _, f := range faults {
		r.sleep(time.Until(began.Add(f.at)))
		now := injected{kind: f.kind, began: time.Now()}
		if !kinds[f.kind].real && f.kind != KillEdge {
			var err error
			if now.victim, err = owned(r.t.Context(), r.client, r.victim(f).name); err != nil {
				r.t.Logf("%s at %s: %v", f.kind, f.at, err)
			}
			now.began = time.Now()
		}
		r.t.Logf("%7.1f s: %s, instance %s, partition %d", now.began.Sub(began).Seconds(), f.kind, r.victim(f).name, f.part)
		kinds[f.kind].do(r, f)
		done = append(done, now)
	}
	return done
}

func (r *run) victim(f fault) *instance { return r.processes[f.victim] }

// leader is the broker that leads a partition of the entity table's changelog.
func (r *run) leader(f fault) int {
	broker := -1
	harness.Until(r.t, "the changelog has a leader", func() bool {
		broker = r.cluster.Leader(string(topology.EntityTable), f.part)
		return broker >= 0
	})
	return broker
}

func (r *run) sleep(d time.Duration) {
	select {
	case <-r.t.Context().Done():
	case <-time.After(d):
	}
}

// restart kills an instance and starts it again at once.
func (r *run) restart(i *instance) {
	r.t.Helper()
	i.Kill()
	r.start(i)
}

// restartEmpty is a machine whose disk is gone.
func (r *run) restartEmpty(i *instance) {
	r.t.Helper()
	i.Kill()
	i.LoseDisk()
	r.start(i)
}

// setEdge tells the traffic where the edge listens.
func (r *run) setEdge(edge *instance) {
	url := edge.Addrs["edge"]
	r.edgeURL.Store(&url)
}

func (r *run) start(i *instance) {
	r.t.Helper()
	i.Start()
	if i == r.edge {
		r.setEdge(i)
	}
}

func (r *run) killBroker(broker int) {
	r.t.Helper()
	if broker < 0 {
		r.t.Fatal("nobody coordinates: the cluster was not well before the fault")
	}
	r.cluster.Kill(broker)
	r.sleep(brokerAway)
	r.cluster.Restart(broker)
}

// atCommit returns once the watcher has met a commit of the instance, or when
// none came for a while: an instance that owns nothing commits nothing.
func (r *run) atCommit(victim *instance, watcher func(hit func()) harness.Watcher) {
	met := make(chan struct{}, 1)
	remove := r.cluster.Proxies().Watch(watcher(func() {
		select {
		case met <- struct{}{}:
		default:
		}
	}))
	defer remove()
	select {
	case <-met:
	case <-time.After(5 * time.Second):
		r.t.Logf("%s committed nothing for five seconds", victim.name)
	}
}

// heal waits until everything runs again.
func (r *run) heal() {
	r.t.Helper()
	if r.cluster != nil {
		r.cluster.UntilHealthy(r.t)
	}
	for _, i := range append(slices.Clone(r.processes), r.edge, r.view) {
		i.UntilReady()
	}
}

// compareRows asks the view API once it has caught up.
func (r *run) compareRows(report *Report, t *traffic, h *history) {
	r.t.Helper()
	get := func(path string) (int, string) { return harness.Fetch(r.t, r.view.Addrs["view"]+path) }
	var found Findings
	// A view follows the table: what it has not read yet is no finding.
	for range 50 {
		found = Findings{}
		if checkRows(&found, t, h, get); found.WrongRow.Count == 0 {
			break
		}
		r.sleep(200 * time.Millisecond)
	}
	report.Findings.WrongRow.Count += found.WrongRow.Count
	report.Findings.WrongRow.Examples = append(report.Findings.WrongRow.Examples, found.WrongRow.Examples...)
}

// compareLedger demands that `trunkline verify` finds nothing and counts what
// the checker counts.
func (r *run) compareLedger(report *Report, config string) {
	r.t.Helper()
	out, err := exec.CommandContext(r.t.Context(), harness.Binary(r.t), "verify", "--config", config, "--json").Output() //nolint:gosec // our own binary
	f := &report.Findings.LedgerDiffers
	if err != nil {
		f.note("trunkline verify: %v", err)
	}
	var told ledger.Report
	if err := json.Unmarshal(out, &told); err != nil {
		f.note("trunkline verify: %v", err)
		return
	}
	if told.RawRecords != int64(report.RawRecords) {
		f.note("it counts %d raw records, the checker %d", told.RawRecords, report.RawRecords)
	}
	for kind, n := range told.Fates {
		if n != report.Fates[kind] {
			f.note("it counts %d × %s, the checker %d", n, kind, report.Fates[kind])
		}
	}
}
