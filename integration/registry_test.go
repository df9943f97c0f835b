package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"

	"trunkline/app"
	"trunkline/codecs"
	"trunkline/integration/harness"
	"trunkline/stream"
	"trunkline/topology"
)

// I2, I3: a registry that is away keeps edges from nothing, and stages from nothing
// that was ever registered: not while they run, not when they are killed and start
// again. What it alone knows is waited for, at the first start and for a new tenant,
// and nothing is lost meanwhile; every record has the registry's id.
//
// Seen failing with schemas registered before a role is played, and with ids that
// are not kept.
func TestRegistryIsAway(t *testing.T) {
	d := harness.StartDeployment(t)
	c := d.Config
	r := standIn(t, c.Registry.URL)
	c.Registry.URL = r.URL
	configureFile(t, d, c)
	sent := 0
	send := func(edge *harness.Instance, tenant app.Tenant) {
		t.Helper()
		for range 5 {
			sent++
			postAs(t, edge, tenant, fmt.Sprintf(`{"id":"away-%d","resourceType":"user","eventType":"updated","resourceId":"u-%d","data":{"id":"u-%d","n":%d}}`, sent, sent%3, sent%3, sent))
		}
	}
	waits := func(i *harness.Instance, subject string) {
		t.Helper()
		harness.Until(t, "the stages wait for "+subject, func() bool {
			status, reason := harness.Fetch(t, i.Addrs["metrics"]+"/readyz")
			return status == http.StatusServiceUnavailable && strings.Contains(reason, "wait for the registry") && strings.Contains(reason, subject)
		})
	}

	r.away.Store(true)
	edge := d.Run("edge", app.RoleIngest)
	send(edge, c.Tenants[0])
	worker := d.Launch("p1", app.RoleProcess)
	waits(worker, "ccaaus.events.cxone.acme-value")
	r.away.Store(false)
	worker.UntilReady()
	harness.Drained(t, c, edge.Addrs["metrics"])

	r.away.Store(true)
	send(edge, c.Tenants[0])
	harness.Drained(t, c, edge.Addrs["metrics"])
	worker.Kill()
	send(edge, c.Tenants[0])
	worker.Start()
	worker.UntilReady()
	harness.Drained(t, c, edge.Addrs["metrics"])

	c = withTenant(c, app.Tenant{ID: "new", Vendors: map[string]app.Credentials{topology.Genesys: {Tokens: []string{"new-token"}}}})
	configureFile(t, d, c)
	for _, i := range []*harness.Instance{edge, worker} {
		i.Kill()
		i.Start()
	}
	edge.UntilReady()
	send(edge, c.Tenants[1])
	waits(worker, "ccaaus.events.genesys.new-value")
	r.away.Store(false)
	worker.UntilReady()
	send(edge, c.Tenants[1])
	harness.Drained(t, c, edge.Addrs["metrics"])

	report, err := app.Verify(t.Context(), c, app.VerifyOptions{Rows: true})
	if err != nil || !report.OK || report.RawRecords != int64(sent) || report.Fates["change"] != int64(sent) {
		t.Errorf("got %+v, %v, want %d changes", report, err, sent)
	}
	checkIDs(t, c)
}

// checkIDs demands of every Avro record that its id is the one under which the
// registry knows our text in the record's subject.
func checkIDs(t *testing.T, c app.Config) {
	t.Helper()
	client := plainClient(t, c)
	schemas, err := app.WrittenSchemas(c, "")
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]int{}
	for _, s := range schemas {
		known, err := client.LookupSchema(t.Context(), s.Subject, sr.Schema{Schema: s.Text})
		if err != nil {
			t.Fatalf("%s: %v", s.Subject, err)
		}
		ids[s.Subject] = known.ID
	}
	topics := append(topology.ChangeTopics(), string(topology.LateEventsTopic))
	for _, tenant := range c.Tenants {
		for vendor := range tenant.Vendors {
			topics = append(topics, topology.CanonicalTopic(vendor, tenant.ID))
		}
	}
	records := 0
	err = stream.Read(t.Context(), stream.Config{Brokers: c.Kafka.Brokers}, stream.Range{Topics: topics}, func(r stream.Record) error {
		records++
		for suffix, b := range map[string][]byte{"-key": r.Key, "-value": r.Value} {
			want, avro := ids[r.Topic+suffix]
			if !avro || b == nil {
				continue
			}
			if got, _, err := codecs.Unframe(b); err != nil || got != want {
				t.Errorf("%s[%d]@%d: id %d, %v of the %s, want %d", r.Topic, r.Partition, r.Offset, got, err, suffix[1:], want)
			}
		}
		return nil
	})
	if err != nil || records == 0 {
		t.Errorf("read %d records, %v", records, err)
	}
}

// awayRegistry stands in for a registry, and can be away as a whole or in part.
type awayRegistry struct {
	*httptest.Server
	away   atomic.Bool
	broken atomic.Pointer[string] // a path to which nothing is written
}

func standIn(t *testing.T, registry string) *awayRegistry {
	t.Helper()
	u, err := url.Parse(registry)
	if err != nil {
		t.Fatal(err)
	}
	r, next := new(awayRegistry), httputil.NewSingleHostReverseProxy(u)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		path := r.broken.Load()
		if r.away.Load() || path != nil && request.Method == http.MethodPost && request.URL.Path == *path {
			panic(http.ErrAbortHandler) // the connection breaks
		}
		next.ServeHTTP(w, request)
	}))
	t.Cleanup(r.Close)
	return r
}

func plainClient(t *testing.T, c app.Config) *sr.Client {
	t.Helper()
	client, err := sr.NewClient(sr.URLs(c.Registry.URL))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// configureFile has instances that start from now on run with c.
func configureFile(t *testing.T, d *harness.Deployment, c app.Config) {
	t.Helper()
	if err := app.WriteConfig(d.File, c); err != nil {
		t.Fatal(err)
	}
}

// withTenant is c with one more tenant.
func withTenant(c app.Config, t app.Tenant) app.Config {
	c.Tenants = append(c.Tenants[:len(c.Tenants):len(c.Tenants)], t)
	return c
}

// postAs delivers a body of Genesys, which must be accepted.
func postAs(t *testing.T, edge *harness.Instance, tenant app.Tenant, body string) {
	t.Helper()
	status, answer := harness.Post(t, edge.Addrs["edge"]+"/v1/ingest/genesys/"+tenant.ID+"/events",
		"Bearer "+tenant.Vendors[topology.Genesys].Tokens[0], "application/json", []byte(body))
	if status != http.StatusOK || !strings.Contains(answer, `"accepted"`) {
		t.Fatalf("got %d %s, want it accepted", status, answer)
	}
}
