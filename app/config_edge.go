package app

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"trunkline/ingest"
	"trunkline/ingest/redacted"
	"trunkline/topology"
)

// Edge is how deliveries are judged that the edge receives.
type Edge struct {
	// PublicURL is where vendors find the edges; its path, if it has one, stands
	// before those of the edge.
	PublicURL string `yaml:"public_url,omitempty"`
	// ReplayWindow is how far a signed timestamp may lie from the arrival.
	ReplayWindow time.Duration `yaml:"replay_window"`
	// DefaultTenants are, by vendor, whose a delivery is taken for that names no
	// tenant and does not verify, until it does.
	DefaultTenants map[string]string `yaml:"default_tenants,omitempty"`
	Quarantine     Quarantine        `yaml:"quarantine"`
	Spool          Spool             `yaml:"spool"`
	// AdminToken opens the admin API; empty: it is closed.
	AdminToken string `yaml:"admin_token,omitempty"`
}

// Quarantine bounds what waits to be verified.
type Quarantine struct {
	Keep time.Duration `yaml:"keep"`
	// DeliveriesPerHour and BytesPerHour are those of each tenant at each vendor.
	DeliveriesPerHour int `yaml:"deliveries_per_hour"`
	BytesPerHour      int `yaml:"bytes_per_hour"`
}

// Spool bounds what of a tenant waits on an edge's disk for Kafka.
type Spool struct {
	MaxBytes int64         `yaml:"max_bytes"`
	MaxAge   time.Duration `yaml:"max_age"` // of the oldest delivery
}

// Rate bounds what is accepted of a tenant. Zero: there is no bound.
type Rate struct {
	DeliveriesPerSecond float64 `yaml:"deliveries_per_second"`
	Burst               int     `yaml:"burst"`
}

func (e Edge) withDefaults(dedupWindow time.Duration) Edge {
	e.ReplayWindow = cmp.Or(e.ReplayWindow, 5*time.Minute)
	e.Quarantine.Keep = cmp.Or(e.Quarantine.Keep, min(24*time.Hour, dedupWindow/2))
	e.Quarantine.DeliveriesPerHour = cmp.Or(e.Quarantine.DeliveriesPerHour, 1000)
	e.Quarantine.BytesPerHour = cmp.Or(e.Quarantine.BytesPerHour, 64<<20)
	e.Spool.MaxBytes = cmp.Or(e.Spool.MaxBytes, 1<<30)
	e.Spool.MaxAge = cmp.Or(e.Spool.MaxAge, 24*time.Hour)
	return e
}

// checkEdge finds what is wrong with how deliveries are judged.
func (c Config) checkEdge(wrong func(field, format string, args ...any)) {
	e := c.Edge
	checkPublic("edge.public_url", e.PublicURL, wrong)
	if e.ReplayWindow < 0 {
		wrong("edge.replay_window", "%s is negative", e.ReplayWindow)
	}
	if e.Quarantine.Keep < 0 || 2*e.Quarantine.Keep > c.DedupWindow {
		wrong("edge.quarantine.keep", "%s is not between 0 and half of dedup_window %s; what is replayed later would not be known as a duplicate",
			e.Quarantine.Keep, c.DedupWindow)
	}
	if e.Quarantine.DeliveriesPerHour < 0 {
		wrong("edge.quarantine.deliveries_per_hour", "%d is negative; use strict: true to defer nothing", e.Quarantine.DeliveriesPerHour)
	}
	if e.Quarantine.BytesPerHour < 0 {
		wrong("edge.quarantine.bytes_per_hour", "%d is negative; use strict: true to defer nothing", e.Quarantine.BytesPerHour)
	}
	if least := int64(topology.MaxBodyBytes); e.Spool.MaxBytes < 2*least {
		wrong("edge.spool.max_bytes", "%d holds no two deliveries; give it %d at least", e.Spool.MaxBytes, 2*least)
	}
	if e.Spool.MaxAge < 0 {
		wrong("edge.spool.max_age", "%s is negative", e.Spool.MaxAge)
	}
	for vendor, tenant := range e.DefaultTenants {
		if !slices.Contains(topology.Vendors, vendor) {
			wrong("edge.default_tenants", "%q is unknown; use %v", vendor, topology.Vendors)
		} else if !c.Layout().Serves(vendor, tenant) {
			wrong("edge.default_tenants."+vendor, "%q is no tenant with this vendor; name one of tenants", tenant)
		}
	}
}

func (r Rate) check(field string, wrong func(field, format string, args ...any)) {
	if r.DeliveriesPerSecond < 0 || r.Burst < 0 || (r.DeliveriesPerSecond > 0) != (r.Burst > 0) {
		wrong(field, "%v a second and %d at once is no bound; give both more than 0, or leave rate out", r.DeliveriesPerSecond, r.Burst)
	}
}

// edge is the tenant as the edge sees it.
func (t Tenant) edge() ingest.Tenant {
	it := ingest.Tenant{
		ID: t.ID, Vendors: t.vendorNames(), VendorIDs: t.VendorIDs, Auth: ingest.Auth{},
		Ack: t.Ack, Rate: ingest.Rate{PerSecond: t.Rate.DeliveriesPerSecond, Burst: t.Rate.Burst},
	}
	for v, c := range t.Vendors {
		creds := ingest.Credentials{
			KeysURL: c.KeysURL, Require: c.Require, Strict: c.Strict,
			Signing: ingest.Signing{Scheme: c.Scheme, Header: c.SignatureHeader, TimestampHeader: c.TimestampHeader},
		}
		if c.JWT != nil {
			creds.JWT = &ingest.JWT{Issuer: c.JWT.Issuer, Audience: c.JWT.Audience, KeysURL: c.JWT.KeysURL}
		}
		for _, token := range c.Tokens {
			creds.Tokens = append(creds.Tokens, redacted.Text(token))
		}
		for i, s := range c.SigningSecrets {
			creds.Keys = append(creds.Keys, ingest.SigningKey{ID: fmt.Sprintf("%s-%d", t.ID, i+1), Secret: redacted.Text(s)})
		}
		it.Auth[v] = creds
	}
	return it
}
