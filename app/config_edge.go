package app

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"time"

	"trunkline/ingest"
	"trunkline/ingest/keys"
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

// Credentials are what a vendor's deliveries carry; the first of a list is the
// current one, the others are on their way out.
type Credentials struct {
	Tokens         []string `yaml:"tokens,omitempty"`
	JWT            *JWT     `yaml:"jwt,omitempty"`
	SigningSecrets []string `yaml:"signing_secrets,omitempty"`
	// KeysURL is where the vendor publishes its keys.
	KeysURL string `yaml:"keys_url,omitempty"`
	// Scheme holds deliveries to one scheme of signing, SignatureHeader and
	// TimestampHeader to headers of another name.
	Scheme          ingest.Scheme `yaml:"scheme,omitempty"`
	SignatureHeader string        `yaml:"signature_header,omitempty"`
	TimestampHeader string        `yaml:"timestamp_header,omitempty"`
	Require         ingest.Policy `yaml:"require,omitempty"`
	// Strict refuses what does not verify; else it may wait in quarantine.
	Strict bool `yaml:"strict,omitempty"`
	// API is how we call the vendor, for what follows.
	API API `yaml:"api,omitempty"`
	// Stream is the vendor's event stream, which is read besides.
	Stream *Stream `yaml:"stream,omitempty"`
	// Registration is what is ordered of the vendor.
	Registration Registration `yaml:"registration,omitempty"`
	// Reconcile asks the vendor for what deliveries missed.
	Reconcile *Reconcile `yaml:"reconcile,omitempty"`
	// Notifications are topics of Genesys' Notifications API, which are read besides.
	Notifications *Notifications `yaml:"notifications,omitempty"`
}

// JWT is an issuer of bearer tokens.
type JWT struct {
	Issuer   string `yaml:"issuer"`
	Audience string `yaml:"audience"`
	KeysURL  string `yaml:"keys_url"`
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

// headerName is the name of a header as RFC 9110 allows it.
var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]*$")

// check finds what is wrong with the credentials of field.
func (c Credentials) check(field string, wrong func(field, format string, args ...any)) {
	if slices.Contains(c.Tokens, "") {
		wrong(field+".tokens", "one is empty; leave it out")
	}
	for i, s := range c.SigningSecrets {
		if _, err := keys.Static("", s); err != nil {
			wrong(fmt.Sprintf("%s.signing_secrets[%d]", field, i), "%v", err)
		}
	}
	if c.KeysURL != "" {
		if err := keys.CheckURL(c.KeysURL); err != nil {
			wrong(field+".keys_url", "%v", err)
		}
	}
	if c.JWT != nil {
		for name, value := range map[string]string{"issuer": c.JWT.Issuer, "audience": c.JWT.Audience} {
			if value == "" {
				wrong(field+".jwt."+name, "is empty; write it as it stands in the tokens")
			}
		}
		if err := keys.CheckURL(c.JWT.KeysURL); err != nil {
			wrong(field+".jwt.keys_url", "%v", err)
		}
	}
	c.API.check(field+".api", wrong)
	if c.Stream != nil {
		c.Stream.check(field+".stream", wrong)
	}
	if c.Notifications != nil {
		c.Notifications.check(field+".notifications", wrong)
		if c.API.URL == "" {
			wrong(field+".api.url", "is missing, and notifications need it; give it that of the organisation's region, as https://api.mypurecloud.de")
		}
	}
	if c.Scheme != "" && !slices.Contains(ingest.Schemes, c.Scheme) {
		wrong(field+".scheme", "%q is unknown; use one of %q, or leave it out to take any", c.Scheme, ingest.Schemes)
	}
	if c.Scheme != "" && c.SignatureHeader != "" {
		wrong(field+".signature_header", "stands beside scheme, which names the header; leave one of them out")
	}
	if c.TimestampHeader != "" && c.SignatureHeader == "" {
		wrong(field+".timestamp_header", "stands without signature_header; add it")
	}
	for name, value := range map[string]string{"signature_header": c.SignatureHeader, "timestamp_header": c.TimestampHeader} {
		if !headerName.MatchString(value) {
			wrong(field+"."+name, "%q is no name of a header", value)
		}
	}
	bearer, signature := len(c.Tokens) > 0 || c.JWT != nil, len(c.SigningSecrets) > 0 || c.KeysURL != ""
	switch c.Require {
	case "", ingest.RequireEither:
		if !bearer && !signature {
			wrong(field, "has no credentials; give it tokens, jwt, signing_secrets or keys_url")
		}
	case ingest.RequireSignature, ingest.RequireBearer, ingest.RequireBoth:
		if !bearer && c.Require != ingest.RequireSignature {
			wrong(field+".require", "%s needs tokens or jwt", c.Require)
		}
		if !signature && c.Require != ingest.RequireBearer {
			wrong(field+".require", "%s needs signing_secrets or keys_url", c.Require)
		}
	default:
		wrong(field+".require", "%q is unknown; use signature, bearer, both or either", c.Require)
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
