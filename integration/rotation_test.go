package integration

import (
	"net/http"
	"sync"
	"testing"

	"trunkline/app"
	"trunkline/embedded"
	"trunkline/event"
	"trunkline/ingest"
	"trunkline/integration/harness"
	"trunkline/topology"
)

// I1, I8: the vendor changes its signing key three times in the middle of a burst,
// without a word, while somebody else sends deliveries that it did not sign. None of
// the vendor's is refused: those by a key yet unknown are deferred, and released
// once the operator has the keys fetched. Each is one change in the end, and no
// forgery is any.
//
// Seen failing with strict: true (refused).
func TestKeysRotateInABurst(t *testing.T) {
	const deliveries, rotations = 3000, 3
	cloud, url := startCloud(t, embedded.CloudConfig{
		Vendor: topology.CXone, Tenant: app.DevTenant, Seed: 5, Events: deliveries, Rate: 300,
		Entities: deliveries, Plain: true, // one event of each: what is released later must not be late
	})
	cloud.SetFaults(embedded.Faults{Forge: 0.02})
	d := harness.StartDeployment(t)
	d.Config.Edge.AdminToken = "admin-token"
	d.Config.Edge.Quarantine.DeliveriesPerHour = 2 * deliveries
	d.Config.Tenants[0].Vendors[topology.CXone] = app.Credentials{KeysURL: url + "/.well-known/jwks.json", Require: ingest.RequireSignature}
	if err := app.WriteConfig(d.File, d.Config); err != nil {
		t.Fatal(err)
	}
	edge := d.Run("edge", app.RoleIngest)
	d.Run("p1", app.RoleProcess)
	cloud.Subscribe(embedded.Subscription{URL: edge.Addrs["edge"] + embedded.EdgePath(topology.CXone, app.DevTenant)})
	var burst sync.WaitGroup
	burst.Go(func() {
		if err := cloud.Run(t.Context()); err != nil {
			t.Error(err)
		}
	})
	outcomes := func() embedded.DeliveryOutcomes { return cloud.Report().Deliveries }
	for range rotations {
		before := outcomes()
		harness.Until(t, "deliveries by a known key are accepted", func() bool { return outcomes().Accepted > before.Accepted+100 })
		cloud.RotateKeys()
		harness.Until(t, "deliveries by the new key are deferred", func() bool { return outcomes().Deferred > before.Deferred+10 })
		if status, answer := admin(t, edge, http.MethodPost, "/admin/keys/refresh", "admin-token"); status != http.StatusOK {
			t.Fatalf("refresh of the keys: got %d %s", status, answer)
		}
	}
	burst.Wait()
	got := outcomes()
	if got.Accepted+got.Deferred != deliveries || got.Deferred == 0 || got.Refused+got.Lost+got.Forged > 0 {
		t.Errorf("got %+v of %d deliveries, want each accepted or deferred, and no forgery accepted", got, deliveries)
	}
	want := cloud.Model(false)
	harness.Until(t, "every deferred delivery is released", func() bool { return len(rawRecords(t, d.Config)) >= len(want.Events) })
	harness.Drained(t, d.Config, edge.Addrs["metrics"])
	matches(t, d.Config, want)
	balance(t, d.Config)

	released := 0
	for _, r := range rawRecords(t, d.Config) {
		if string(r.Headers[event.HeaderSigStatus]) == "deferred" {
			released++
		}
	}
	if released < got.Deferred {
		t.Errorf("%d records were released from quarantine, want the %d deferred", released, got.Deferred)
	}
	t.Logf("%+v", got)
}
