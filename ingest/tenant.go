package ingest

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/time/rate"

	"trunkline/ingest/keys"
	"trunkline/ingest/redacted"
	"trunkline/topology"
)

// Policy says which credentials a delivery must carry.
type Policy string

// The policies. The zero Policy is the vendor's default: Genesys is content with
// any credential that is configured, CXone demands every one of them.
const (
	RequireSignature Policy = "signature"
	RequireBearer    Policy = "bearer"
	RequireBoth      Policy = "both"
	RequireEither    Policy = "either"
)

// met reports whether the policy is satisfied by what was verified.
func (p Policy) met(bearer, signature bool) bool {
	switch p {
	case RequireSignature:
		return signature
	case RequireBearer:
		return bearer
	case RequireEither:
		return bearer || signature
	default:
		return bearer && signature
	}
}

// SigningKey is one secret of a vendor, as [keys.Static] reads it, and the name
// under which logs and the header sig_kid tell of it.
type SigningKey struct {
	ID     string
	Secret redacted.Text
}

// JWT says which JWTs are accepted as a bearer token.
type JWT struct {
	Issuer   string
	Audience string
	KeysURL  string // of the issuer's JWK Set
}

// Credentials are what one vendor's deliveries for one tenant are verified with.
// Several tokens and keys are valid at once, so that they can be rotated.
type Credentials struct {
	Tokens  []redacted.Text // current first
	JWT     *JWT
	Keys    []SigningKey
	KeysURL string // of the JWK Set with the vendor's keys
	Signing Signing
	Require Policy
	// Strict refuses every delivery that does not verify; none is deferred.
	Strict bool
}

func (c Credentials) hasBearer() bool    { return len(c.Tokens) > 0 || c.JWT != nil }
func (c Credentials) hasSignature() bool { return len(c.Keys) > 0 || c.KeysURL != "" }

// Auth holds the credentials by vendor.
type Auth map[string]Credentials

// Rate bounds the deliveries that are accepted of a tenant.
type Rate struct {
	PerSecond float64 // 0: there is no bound
	Burst     int     // at once
}

// Tenant is a customer whose deliveries the edge accepts.
type Tenant struct {
	ID        string
	Vendors   []string
	VendorIDs []string // what the vendors call it; checked where the path names no tenant
	Auth      Auth
	Rate      Rate
	Ack       Ack
}

// sender is one tenant at one vendor.
type sender struct {
	vendor, tenant string
	vendorIDs      []string

	tokens      []tokenHash
	token       keys.Issued
	issuerKeys  *keys.Set // nil: JWTs are not accepted
	keys        *keys.Set // nil: signatures are not accepted
	conventions []convention
	require     Policy
	strict      bool

	rate  *rate.Limiter // of the tenant at all vendors
	quota quota

	log  RawLog         // where its events become durable
	fill func() float64 // of its spool, from 0 to 1
}

// tenancy identifies a sender.
type tenancy struct{ vendor, tenant string }

// senders checks the tenants and returns them by vendor and tenant. The error
// joins all faults.
func senders(o Options) (map[tenancy]*sender, error) {
	all := map[tenancy]*sender{}
	owners := map[credential]owner{}
	var faults []error
	for _, t := range o.Tenants {
		if t.ID == "" {
			faults = append(faults, errors.New("tenant id: is empty"))
			continue
		}
		for vendor := range t.Auth {
			if !slices.Contains(t.Vendors, vendor) {
				faults = append(faults, fmt.Errorf("tenant %q: credentials for %s, which is not among its vendors", t.ID, vendor))
			}
		}
		if t.Rate.PerSecond < 0 || t.Rate.Burst < 0 || t.Rate.PerSecond > 0 && t.Rate.Burst == 0 {
			faults = append(faults, fmt.Errorf("tenant %q: rate: want a positive rate and burst, or neither", t.ID))
		}
		log, fill, err := t.log(o)
		if err != nil {
			faults = append(faults, fmt.Errorf("tenant %q: %w", t.ID, err))
		}
		limiter := rate.NewLimiter(rate.Inf, 0)
		if t.Rate.PerSecond > 0 {
			limiter = rate.NewLimiter(rate.Limit(t.Rate.PerSecond), t.Rate.Burst)
		}
		for _, vendor := range t.Vendors {
			c := t.Auth[vendor]
			who := tenancy{vendor, t.ID}
			if all[who] != nil {
				faults = append(faults, fmt.Errorf("tenant %q: %s is configured twice", t.ID, vendor))
				continue
			}
			static, wrong := c.static()
			for _, f := range slices.Concat(wrong, c.faults(), shared(owners, vendor, t.ID, c)) {
				faults = append(faults, fmt.Errorf("tenant %q: %s: %w", t.ID, vendor, f))
			}
			s := &sender{
				vendor: vendor, tenant: t.ID, vendorIDs: t.VendorIDs,
				conventions: c.Signing.conventions(), require: c.policy(vendor), strict: c.Strict, rate: limiter,
				log: log, fill: fill,
			}
			for _, token := range c.Tokens {
				s.tokens = append(s.tokens, hashToken(string(token)))
			}
			if c.hasSignature() {
				s.keys = s.newSet(o, static, c.KeysURL)
			}
			if c.JWT != nil {
				s.token = keys.Issued{Issuer: c.JWT.Issuer, Audience: c.JWT.Audience}
				s.issuerKeys = s.newSet(o, nil, c.JWT.KeysURL)
			}
			all[who] = s
		}
	}
	return all, errors.Join(faults...)
}

// log returns where the tenant's events become durable, and how full that is.
func (t Tenant) log(o Options) (RawLog, func() float64, error) {
	switch {
	case t.Ack == AckKafka:
		return o.Log, func() float64 { return 0 }, nil
	case t.Ack != AckSpool && t.Ack != "":
		return nil, nil, fmt.Errorf("ack %q: want %s or %s", string(t.Ack), AckSpool, AckKafka)
	case o.Spool == nil:
		return nil, nil, errors.New("ack spool: there is no spool")
	}
	return spooled{o.Spool, t.ID}, func() float64 { return o.Spool.Fill(t.ID) }, nil
}

func (s *sender) newSet(o Options, static []keys.Key, url string) *keys.Set {
	return keys.NewSet(keys.Options{
		Static: static, URL: url, Transport: o.KeyTransport, Now: o.Now,
		Logger:  o.Logger.With("vendor", s.vendor, "tenant", s.tenant),
		Changed: func() { o.KeysChanged(s.vendor, s.tenant) },
		Fetched: func(err error) { o.KeysFetched(s.vendor, s.tenant, err) },
	})
}

// static returns the keys of the configuration.
func (c Credentials) static() (all []keys.Key, faults []error) {
	for i, k := range c.Keys {
		key, err := keys.Static(k.ID, string(k.Secret))
		if err != nil {
			faults = append(faults, fmt.Errorf("signing secret %d: %w", i+1, err))
		}
		all = append(all, key)
	}
	return all, faults
}

// policy resolves the vendor's default.
func (c Credentials) policy(vendor string) Policy {
	switch {
	case c.Require != "":
		return c.Require
	case !c.hasSignature():
		return RequireBearer
	case !c.hasBearer():
		return RequireSignature
	case vendor == topology.Genesys:
		return RequireEither
	default:
		return RequireBoth
	}
}

func (c Credentials) faults() []error {
	var faults []error
	if slices.Contains(c.Tokens, "") {
		faults = append(faults, errors.New("a token is empty"))
	}
	if len(c.Keys) > maxKeys {
		faults = append(faults, fmt.Errorf("%d signing secrets: at most %d can be tried", len(c.Keys), maxKeys))
	}
	needToken := c.Require == RequireBearer || c.Require == RequireBoth
	needKey := c.Require == RequireSignature || c.Require == RequireBoth
	switch c.Require {
	case "", RequireSignature, RequireBearer, RequireBoth, RequireEither:
	default:
		faults = append(faults, fmt.Errorf("require %q: want signature, bearer, both or either", string(c.Require)))
	}
	switch {
	case !c.hasBearer() && !c.hasSignature():
		faults = append(faults, errors.New("no credential: want a token, a JWT issuer, a signing secret or the URL of keys"))
	case needToken && !c.hasBearer():
		faults = append(faults, fmt.Errorf("require %s without a token or a JWT issuer", c.Require))
	case needKey && !c.hasSignature():
		faults = append(faults, fmt.Errorf("require %s without a signing secret or the URL of keys", c.Require))
	}
	if c.KeysURL != "" {
		if err := keys.CheckURL(c.KeysURL); err != nil {
			faults = append(faults, fmt.Errorf("URL of keys: %w", err))
		}
	}
	if c.JWT != nil {
		if c.JWT.Issuer == "" || c.JWT.Audience == "" {
			faults = append(faults, errors.New("JWT: want an issuer and an audience"))
		}
		if err := keys.CheckURL(c.JWT.KeysURL); err != nil {
			faults = append(faults, fmt.Errorf("JWT: URL of keys: %w", err))
		}
	}
	if s := c.Signing; s.Scheme != "" && !slices.Contains(Schemes, s.Scheme) {
		faults = append(faults, fmt.Errorf("scheme %q: want one of %q", s.Scheme, Schemes))
	} else if s.Header != "" && s.Scheme != "" || s.Header == "" && s.TimestampHeader != "" {
		faults = append(faults, errors.New("signature header: want a scheme, or a header of its own with or without that of a timestamp"))
	}
	return faults
}

// credential is a token, a secret or a URL of keys of a vendor's sender.
type credential struct {
	vendor, kind string
	value        redacted.Text
}

// owner is the tenant that a credential is of, and whether it alone proves the
// tenant.
type owner struct {
	tenant string
	alone  bool
}

// shared finds credentials that another tenant of the vendor has too: they could
// not tell whose delivery it is, and one tenant could speak for the other (I9).
// Only keys at a URL may be those of several tenants, if each proves itself by a
// token besides.
func shared(owners map[credential]owner, vendor, tenant string, c Credentials) []error {
	var faults []error
	claim := func(kind string, value redacted.Text, alone bool) {
		id := credential{vendor, kind, value}
		if o, taken := owners[id]; taken && o.tenant != tenant && (alone || o.alone) {
			faults = append(faults, fmt.Errorf("a %s is also that of tenant %q: each tenant needs its own", kind, o.tenant))
			return
		}
		owners[id] = owner{tenant, alone}
	}
	for _, t := range c.Tokens {
		claim("token", t, true)
	}
	for _, k := range c.Keys {
		claim("signing secret", k.Secret, true)
	}
	if c.KeysURL != "" {
		claim("URL of keys", redacted.Text(c.KeysURL), c.policy(vendor) != RequireBoth)
	}
	if c.JWT != nil {
		claim("JWT issuer and audience", redacted.Text(c.JWT.Issuer+" "+c.JWT.Audience), true)
	}
	return faults
}
