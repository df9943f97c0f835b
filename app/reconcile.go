package app

import (
	"cmp"
	"log/slog"
	"slices"
	"time"

	"trunkline/ingest/reconcile"
	"trunkline/topology"
)

// Reconcile says how a vendor is asked for what deliveries missed.
type Reconcile struct {
	Every time.Duration `yaml:"every,omitempty"`
	// RetryWindow is for how long the vendor tries to deliver an event. The lists are
	// read at once when the edge is back from a longer outage.
	RetryWindow time.Duration `yaml:"retry_window,omitempty"`
	// Services are those of Genesys whose audits are queried, in Mode.
	Services []string `yaml:"services,omitempty"`
	Mode     string   `yaml:"mode,omitempty"` // realtime or async
	// Lists are those of CXone.
	Lists []string `yaml:"lists,omitempty"`
}

// Modes of an audit query.
const (
	modeRealtime = "realtime" // answered at once, of the last 14 days
	modeAsync    = "async"    // executed, then fetched
)

// retryWindows are how long the vendors try to deliver an event.
var retryWindows = map[string]time.Duration{topology.Genesys: 85 * time.Second, topology.CXone: 31 * time.Second}

// check finds what is wrong with the reconciliation of a vendor.
func (r *Reconcile) check(field, vendor string, api API, dedupWindow time.Duration, wrong func(field, format string, args ...any)) {
	if api.URL == "" {
		wrong(field+".api.url", "is empty; reconcile calls the vendor there")
	}
	field += ".reconcile"
	if r.Every < 0 || cmp.Or(r.Every, reconcile.DefaultEvery) > dedupWindow/2 {
		wrong(field+".every", "%s is not between 0 and half of dedup_window %s, behind which nothing is asked for",
			cmp.Or(r.Every, reconcile.DefaultEvery), dedupWindow)
	}
	if r.RetryWindow < 0 {
		wrong(field+".retry_window", "%s is negative", r.RetryWindow)
	}
	if vendor != topology.Genesys && (len(r.Services) > 0 || r.Mode != "") {
		wrong(field, "has services or mode, which are those of %s; name lists", topology.Genesys)
	}
	if r.Mode != "" && r.Mode != modeRealtime && r.Mode != modeAsync {
		wrong(field+".mode", "%q is unknown; use %s or %s", r.Mode, modeRealtime, modeAsync)
	}
	if vendor != topology.CXone && len(r.Lists) > 0 {
		wrong(field+".lists", "are those of %s; name services", topology.CXone)
	}
	for _, list := range r.Lists {
		if vendor == topology.CXone && !slices.Contains(reconcile.CXoneLists, list) {
			wrong(field+".lists", "%q is unknown; use some of %q", list, reconcile.CXoneLists)
		}
	}
	for name, lists := range map[string][]string{"services": r.Services, "lists": r.Lists} {
		if sorted := slices.Sorted(slices.Values(lists)); slices.Contains(lists, "") || len(slices.Compact(sorted)) < len(lists) {
			wrong(field+"."+name, "one is empty or stands twice; leave it out")
		}
	}
}

// reconciler asks a vendor for what deliveries to a tenant missed.
func (a *App) reconciler(vendor, tenant string, c Credentials, by caller, logger *slog.Logger) (*reconcile.Reconciler, error) {
	o := reconcile.Options{
		Vendor: vendor, Tenant: tenant, Mapper: mappers[vendor], URL: c.API.URL, HTTP: by.client, Logger: logger,
		Every: c.Reconcile.Every, Async: c.Reconcile.Mode == modeAsync,
		Window: a.cfg.DedupWindow,
		Wake:   a.outages.watch(vendor, tenant, cmp.Or(c.Reconcile.RetryWindow, retryWindows[vendor])),
		Tell:   func(list string, r reconcile.Result) { a.metrics.sources.read(vendor, tenant, list, r) },
	}
	defaults := map[string][]string{topology.Genesys: reconcile.GenesysServices, topology.CXone: reconcile.CXoneDefaults}
	for _, lists := range [][]string{c.Reconcile.Services, c.Reconcile.Lists, defaults[vendor]} {
		if len(o.Lists) == 0 {
			o.Lists = lists
		}
	}
	return reconcile.New(o)
}
