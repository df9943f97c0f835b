// Package ingest holds the edges: they authenticate what a vendor sends, split
// it into events, find each event's key, make it durable in the raw log, and
// only then answer (I1). What a vendor streams instead, they append together with
// the position reached (I2).
package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"trunkline/topology"
	"trunkline/vendors"
)

// Options are what an [Edge] needs. Zero values of the optional ones stand for
// the default named beside them.
type Options struct {
	Log     RawLog                    // Kafka; required
	Spool   Spool                     // required for tenants whose deliveries go over it
	Tenants []Tenant                  // whose deliveries are accepted
	Mappers map[string]vendors.Mapper // by vendor; one for each vendor of a tenant

	// DefaultTenants are, by vendor, whose a delivery is taken for that names no
	// tenant in its path and does not verify. It is kept in quarantine at most.
	// Default: it is refused.
	DefaultTenants map[string]string
	// KeyTransport fetches published keys. Default: that of [keys.Options].
	KeyTransport http.RoundTripper
	// KeysChanged is told when a tenant's keys have a new one: deliveries in
	// quarantine may verify with it. Default: nobody is.
	KeysChanged func(vendor, tenant string)
	// KeysFetched is told of every fetch of a tenant's keys. Default: nobody is.
	KeysFetched func(vendor, tenant string, err error)
	// ReplayWindow is how far a signed timestamp may lie from the arrival, either
	// way. Default: 5 min.
	ReplayWindow time.Duration

	// Quarantine keeps deliveries that may verify later. Default: none, they are
	// refused.
	Quarantine Quarantine
	// DeferFor is how long such a delivery may wait, and by how much its
	// timestamp may lie outside the replay window. Twice that must not be longer
	// than the dedup window. Default: 24 h.
	DeferFor time.Duration
	// DeferredPerHour and DeferredBytesPerHour bound what each tenant at each
	// vendor adds to the quarantine. Default: 1000 deliveries, 64 MiB.
	DeferredPerHour      int
	DeferredBytesPerHour int

	// TenantReady reports whether the topics of a tenant stand. Until then its
	// deliveries are answered 503. Default: they stand.
	TenantReady func(vendor, tenant string) bool
	// Ready returns the reasons why the process cannot serve, none when it can.
	// Default: none.
	Ready func(ctx context.Context) []string

	// Budget is the time from the arrival of a whole request to its answer.
	// Default: 800 ms, for some senders give up after one second.
	Budget time.Duration
	// MaxPending is the number of appends under way at once; beyond it
	// deliveries are answered 503. Default: 1024.
	MaxPending int
	// MaxBody is the size in bytes of a body as sent, and of one event. Default:
	// 1 MiB.
	MaxBody int
	// MaxUnpacked is the size in bytes of a gzip body unpacked. Default: 8 MiB.
	MaxUnpacked int
	// MaxEvents is the number of events in one array. Default: 10,000.
	MaxEvents int

	Now    func() time.Time // default: time.Now
	NewID  func() string    // ids of requests; default: UUIDv7
	Random func(n int) int  // from 0 to n-1, spreads retries; default: rand.IntN
	Logger *slog.Logger     // default: none

	// Answered is told of every answer and Durable of every accepted delivery,
	// with the time from its arrival to its acknowledgement, for metrics. Vendor
	// and tenant are empty where the path names none that we know. Default: nobody
	// is.
	Answered func(vendor, tenant string, o Outcome)
	Durable  func(vendor string, events int, took time.Duration)
}

func (o Options) withDefaults() Options {
	if o.KeysChanged == nil {
		o.KeysChanged = func(string, string) {}
	}
	if o.KeysFetched == nil {
		o.KeysFetched = func(string, string, error) {}
	}
	o.ReplayWindow = cmp.Or(o.ReplayWindow, 5*time.Minute)
	o.DeferFor = cmp.Or(o.DeferFor, 24*time.Hour)
	o.DeferredPerHour = cmp.Or(o.DeferredPerHour, 1000)
	o.DeferredBytesPerHour = cmp.Or(o.DeferredBytesPerHour, 64<<20)
	if o.TenantReady == nil {
		o.TenantReady = func(string, string) bool { return true }
	}
	if o.Ready == nil {
		o.Ready = func(context.Context) []string { return nil }
	}
	o.Budget = cmp.Or(o.Budget, 800*time.Millisecond)
	o.MaxPending = cmp.Or(o.MaxPending, 1024)
	o.MaxBody = cmp.Or(o.MaxBody, topology.MaxBodyBytes)
	o.MaxUnpacked = cmp.Or(o.MaxUnpacked, 8<<20)
	o.MaxEvents = cmp.Or(o.MaxEvents, 10_000)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NewID == nil {
		o.NewID = NewID
	}
	if o.Random == nil {
		o.Random = rand.IntN
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Answered == nil {
		o.Answered = func(string, string, Outcome) {}
	}
	if o.Durable == nil {
		o.Durable = func(string, int, time.Duration) {}
	}
	return o
}

// Edge receives the deliveries of vendors over HTTP.
type Edge struct {
	o        Options
	senders  map[tenancy]*sender
	byVendor map[string][]*sender
	appender *appender
}

// NewEdge checks the options and returns an edge. Its error joins all faults.
func NewEdge(o Options) (*Edge, error) {
	o = o.withDefaults()
	all, err := senders(o)
	if o.Log == nil {
		err = errors.Join(err, errors.New("raw log: is missing"))
	}
	for name, n := range map[string]int64{
		"budget": int64(o.Budget), "max pending": int64(o.MaxPending), "max body": int64(o.MaxBody),
		"max unpacked": int64(o.MaxUnpacked), "max events": int64(o.MaxEvents),
		"replay window": int64(o.ReplayWindow), "defer for": int64(o.DeferFor),
		"deferred per hour": int64(o.DeferredPerHour), "deferred bytes per hour": int64(o.DeferredBytesPerHour),
	} {
		if n < 0 {
			err = errors.Join(err, fmt.Errorf("%s: is %d, want more than 0", name, n))
		}
	}
	byVendor := map[string][]*sender{}
	for who, s := range all {
		byVendor[who.vendor] = append(byVendor[who.vendor], s)
	}
	for vendor := range byVendor {
		m := o.Mappers[vendor]
		if m.Detect == nil || m.Key == nil || !slices.Contains(topology.Vendors, vendor) {
			err = errors.Join(err, fmt.Errorf("vendor %q: is unknown or has no mapper", vendor))
		}
	}
	for vendor, tenant := range o.DefaultTenants {
		if all[tenancy{vendor, tenant}] == nil {
			err = errors.Join(err, fmt.Errorf("default tenant %q: is not configured for %s", tenant, vendor))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("configure edge: %w", err)
	}
	return &Edge{
		o: o, senders: all, byVendor: byVendor,
		appender: &appender{logger: o.Logger, slots: make(chan struct{}, o.MaxPending)},
	}, nil
}

// Ready returns the reasons why the edge cannot serve, none when it can. The first
// fetch of the keys is waited for, whatever comes of it: until they are there, what
// does not verify is answered 503.
func (e *Edge) Ready(ctx context.Context) []string {
	reasons := e.o.Ready(ctx)
	for _, s := range e.keySets() {
		if !s.Tried() {
			reasons = append(reasons, fmt.Sprintf("keys of %s for tenant %s are being fetched", s.vendor, s.tenant))
		}
	}
	return reasons
}

// Wait returns when every append has returned, also of deliveries that were
// answered 503 meanwhile. Call it after the HTTP server has shut down.
func (e *Edge) Wait() { e.appender.running.Wait() }
