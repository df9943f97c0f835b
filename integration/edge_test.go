package integration

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"trunkline/app"
	"trunkline/event"
	"trunkline/integration/harness"
)

var (
	edgeKills = flag.Int("edge-kills", 20, "how often the edge is killed")
	kafkaAway = flag.Duration("kafka-away", 20*time.Second, "how long Kafka is away")
)

// I1, I8: the edge is killed while 2,000 deliveries a second arrive. Every one that
// was answered 200 is in the raw log, each sender's in their order.
//
// Seen failing with the answer given before the spool's write, and with the spool
// emptied at start.
func TestKilledEdgeLosesNoAcceptedDelivery(t *testing.T) {
	d := harness.StartDeployment(t)
	edge := d.Run("edge", app.RoleIngest)
	l := startLoad(t, edge.Addrs["edge"], 16, 2000)
	for kill := range *edgeKills {
		pause(t, time.Duration(300+100*(kill%5))*time.Millisecond)
		edge.Kill()
		edge.Start()
		l.edge.Store(edge.Addrs["edge"])
		edge.UntilReady()
	}
	accepted := l.stop()
	checkRaw(t, d.Config, edge, accepted)
	t.Logf("%d kills, answers %v", *edgeKills, l.answers())
}

// I1, I8: while Kafka is away the edge answers 200 until its spool is full and 503
// from then on; all that it accepted is drained in the tenant's order when Kafka is
// back, and it accepts again.
//
// Seen failing with ack: kafka, and with neither cap nor fill of the spool asked.
func TestEdgeOutlivesKafka(t *testing.T) {
	const kept = 2 << 20 // bytes that the spool holds
	d := harness.StartDeployment(t)
	c := d.Config
	c.Edge.Spool.MaxBytes = kept
	if err := app.WriteConfig(d.File, c); err != nil {
		t.Fatal(err)
	}
	edge := d.Run("edge", app.RoleIngest)
	// The cap is reached when Kafka was away for half the time.
	const recordBytes = 300 // of a delivery in the spool, about
	l := startLoad(t, edge.Addrs["edge"], 8, kept/recordBytes/(*kafkaAway/2).Seconds())
	pause(t, time.Second)
	signalBrokers(d, syscall.SIGSTOP)
	began := time.Now()
	for l.refused.Load() == 0 && time.Since(began) < *kafkaAway {
		pause(t, 10*time.Millisecond)
	}
	full := time.Since(began)
	if fill := fillOf(t, edge); l.refused.Load() == 0 || fill < 0.99 {
		t.Errorf("after %s without Kafka the spool is full to %v and %d deliveries are refused; want 503 once it is full, and not before", full, fill, l.refused.Load())
	}
	if status, _ := harness.Fetch(t, edge.Addrs["edge"]+"/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("an edge whose spool is full says %d to /readyz", status)
	}
	pause(t, *kafkaAway-time.Since(began))
	signalBrokers(d, syscall.SIGCONT)
	back := time.Now()
	harness.Until(t, "the edge is ready again", func() bool {
		status, _ := harness.Fetch(t, edge.Addrs["edge"]+"/readyz")
		return status == http.StatusOK
	})
	before := l.accepted.Load()
	harness.Until(t, "the edge accepts again", func() bool { return l.accepted.Load() > before+100 })
	accepted := l.stop()
	checkRaw(t, d.Config, edge, accepted)
	for status, n := range l.answers() {
		if status != http.StatusOK && status != http.StatusServiceUnavailable {
			t.Errorf("%d deliveries are answered %d", n, status)
		}
	}
	t.Logf("full after %s, ready %s after Kafka was back, answers %v", full.Round(time.Second), time.Since(back).Round(time.Second), l.answers())
}

// I1, I8: an edge that starts while Kafka is away takes deliveries, is killed and
// starts again, and drains in order what both lives accepted once Kafka is there.
//
// Seen failing with set-up before the edge.
func TestEdgeStartsWithoutKafka(t *testing.T) {
	d := harness.StartDeployment(t)
	signalBrokers(d, syscall.SIGSTOP)
	edge := d.Run("edge", app.RoleIngest)
	l := startLoad(t, edge.Addrs["edge"], 4, 200)
	for accepted := range 2 {
		harness.Until(t, "the edge accepts", func() bool { return l.accepted.Load() > int64(200*(accepted+1)) })
		edge.Kill()
		edge.Start()
		l.edge.Store(edge.Addrs["edge"])
		edge.UntilReady()
	}
	signalBrokers(d, syscall.SIGCONT)
	before := l.accepted.Load()
	harness.Until(t, "the edge accepts while it drains", func() bool { return l.accepted.Load() > before+100 })
	accepted := l.stop()
	checkRaw(t, d.Config, edge, accepted)
	if n := l.answers()[http.StatusServiceUnavailable]; n > 0 {
		t.Errorf("%d deliveries are answered 503 although the spool had room", n)
	}
}

// signalBrokers sends a signal to every broker of a deployment.
func signalBrokers(d *harness.Deployment, s syscall.Signal) {
	if d.Cluster == nil {
		d.Signal(s)
		return
	}
	for i := range d.Cluster.Size() {
		if s == syscall.SIGSTOP {
			d.Cluster.Pause(i)
		} else {
			d.Cluster.Resume(i)
		}
	}
}

// fillOf reads the fill of the built-in tenant's spool.
func fillOf(t *testing.T, edge *harness.Instance) float64 {
	t.Helper()
	_, metrics := harness.Fetch(t, edge.Addrs["metrics"]+"/metrics")
	_, rest, _ := strings.Cut(metrics, `trunkline_spool_fill_ratio{tenant="`+app.DevTenant+`"} `)
	value, _, _ := strings.Cut(rest, "\n")
	fill, err := strconv.ParseFloat(value, 64)
	if err != nil {
		t.Fatalf("no fill of the spool among the metrics: %v", err)
	}
	return fill
}

// load is a steady stream of deliveries from several senders, each of which changes
// one entity and waits for its answers.
type load struct {
	edge     atomic.Value // URL
	accepted atomic.Int64
	refused  atomic.Int64
	stop     func() [][]string // ends it; returns the ingest ids of what was accepted, by sender

	mu       sync.Mutex
	statuses map[int]int
}

func startLoad(t *testing.T, edge string, senders int, perSecond float64) *load {
	t.Helper()
	l := &load{statuses: map[int]int{}}
	l.edge.Store(edge)
	ended := make(chan struct{})
	accepted := make([][]string, senders)
	var running sync.WaitGroup
	for sender := range senders {
		running.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}
			defer client.CloseIdleConnections()
			tick := time.NewTicker(time.Duration(float64(senders) / perSecond * float64(time.Second)))
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-ended:
					return
				case <-tick.C:
				}
				if id := l.deliver(t, client, sender, n); id != "" {
					accepted[sender] = append(accepted[sender], id)
				}
			}
		})
	}
	l.stop = sync.OnceValue(func() [][]string {
		close(ended)
		running.Wait()
		return accepted
	})
	t.Cleanup(func() { l.stop() })
	return l
}

// deliver posts the n-th event of a sender and returns its ingest id if it was
// accepted.
func (l *load) deliver(t *testing.T, client *http.Client, sender, n int) string {
	t.Helper()
	body := fmt.Sprintf(`{"id":"%d-%d","resourceType":"user","eventType":"updated","resourceId":"sender-%d","ts_ms":%d,"data":{"id":"sender-%d","n":%d}}`,
		sender, n, sender, 1795312200000+n, sender, n)
	url := l.edge.Load().(string) + "/v1/ingest/genesys/" + app.DevTenant + "/events" //nolint:forcetypeassert // we stored it
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return ""
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+app.DevToken)
	var answer struct {
		IngestID string `json:"ingest_id"`
	}
	status := 0 // there was no answer
	response, err := client.Do(request)
	if err == nil {
		defer response.Body.Close()
		status = response.StatusCode
		text, _ := io.ReadAll(response.Body)
		if status == http.StatusOK && json.Unmarshal(text, &answer) != nil {
			status = 0 // it broke off
		}
	}
	l.mu.Lock()
	l.statuses[status]++
	l.mu.Unlock()
	switch {
	case answer.IngestID != "":
		l.accepted.Add(1)
		return answer.IngestID + "/0"
	case status != 0:
		l.refused.Add(1)
	}
	return ""
}

// answers counts the answers by status; 0 is none.
func (l *load) answers() map[int]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.statuses
}

// checkRaw demands that every accepted delivery is in the raw log, those of one
// sender in their order.
func checkRaw(t *testing.T, c app.Config, edge *harness.Instance, accepted [][]string) {
	t.Helper()
	harness.SpoolDrained(t, edge.Addrs["metrics"])
	at := map[string]int{} // of its first record
	for i, r := range rawRecords(t, c) {
		if id := string(r.Headers[event.HeaderIngestID]); at[id] == 0 {
			at[id] = i + 1
		}
	}
	lost, total := 0, 0
	for sender, ids := range accepted {
		last := 0
		for _, id := range ids {
			total++
			switch {
			case at[id] == 0:
				lost++
			case at[id] < last:
				t.Fatalf("sender %d: delivery %s is before one that was accepted earlier", sender, id)
			}
			last = max(last, at[id])
		}
	}
	if lost > 0 || total == 0 {
		t.Errorf("%d of %d accepted deliveries are not in the raw log", lost, total)
	}
}
