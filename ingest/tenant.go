package ingest

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"trunkline/topology"
)

// Secret is a token or a signing secret. It prints as [redacted] with every
// verb, in logs and in JSON (I10).
type Secret string

const redacted = "[redacted]"

// Format implements [fmt.Formatter].
func (Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue implements [slog.LogValuer].
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler].
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

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

// SigningKey is one shared secret of a vendor and the name under which logs and
// the header sig_kid tell of it.
type SigningKey struct {
	ID     string
	Secret Secret
}

// Credentials are what one vendor's deliveries for one tenant are verified with.
// Several tokens and keys are valid at once, so that they can be rotated.
type Credentials struct {
	Tokens  []Secret // current first
	Keys    []SigningKey
	Require Policy
}

// Auth holds the credentials by vendor.
type Auth map[string]Credentials

// Tenant is a customer whose deliveries the edge accepts.
type Tenant struct {
	ID        string
	Vendors   []string
	VendorIDs []string // what the vendors call it; checked where the path names no tenant
	Auth      Auth
}

// sender is one tenant at one vendor.
type sender struct {
	vendor, tenant string
	vendorIDs      []string
	tokens         []tokenHash
	keys           []SigningKey
	require        Policy
}

// tenancy identifies a sender.
type tenancy struct{ vendor, tenant string }

// senders checks the tenants and returns them by vendor and tenant. The error
// joins all faults.
func senders(tenants []Tenant) (map[tenancy]*sender, error) {
	all := map[tenancy]*sender{}
	owners := map[credential]string{}
	var faults []error
	for _, t := range tenants {
		if t.ID == "" {
			faults = append(faults, errors.New("tenant id: is empty"))
			continue
		}
		for vendor := range t.Auth {
			if !slices.Contains(t.Vendors, vendor) {
				faults = append(faults, fmt.Errorf("tenant %q: credentials for %s, which is not among its vendors", t.ID, vendor))
			}
		}
		for _, vendor := range t.Vendors {
			c := t.Auth[vendor]
			who := tenancy{vendor, t.ID}
			if all[who] != nil {
				faults = append(faults, fmt.Errorf("tenant %q: %s is configured twice", t.ID, vendor))
				continue
			}
			for _, f := range append(c.faults(), shared(owners, vendor, t.ID, c)...) {
				faults = append(faults, fmt.Errorf("tenant %q: %s: %w", t.ID, vendor, f))
			}
			s := &sender{
				vendor: vendor, tenant: t.ID, vendorIDs: t.VendorIDs,
				keys: c.Keys, require: c.policy(vendor),
			}
			for _, token := range c.Tokens {
				s.tokens = append(s.tokens, hashToken(string(token)))
			}
			all[who] = s
		}
	}
	return all, errors.Join(faults...)
}

// policy resolves the vendor's default.
func (c Credentials) policy(vendor string) Policy {
	switch {
	case c.Require != "":
		return c.Require
	case len(c.Keys) == 0:
		return RequireBearer
	case len(c.Tokens) == 0:
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
	if slices.ContainsFunc(c.Keys, func(k SigningKey) bool { return k.Secret == "" }) {
		faults = append(faults, errors.New("a signing secret is empty"))
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
	case len(c.Tokens)+len(c.Keys) == 0:
		faults = append(faults, errors.New("no credential: want a token or a signing secret"))
	case needToken && len(c.Tokens) == 0:
		faults = append(faults, fmt.Errorf("require %s without a token", c.Require))
	case needKey && len(c.Keys) == 0:
		faults = append(faults, fmt.Errorf("require %s without a signing secret", c.Require))
	}
	return faults
}

// credential is a token or secret of a vendor's sender.
type credential struct {
	vendor, kind string
	value        Secret
}

// shared finds credentials that another tenant of the vendor has too: they could
// not tell whose delivery it is, and one tenant could speak for the other (I9).
func shared(owners map[credential]string, vendor, tenant string, c Credentials) []error {
	var faults []error
	claim := func(kind string, value Secret) {
		id := credential{vendor, kind, value}
		if owner, taken := owners[id]; taken && owner != tenant {
			faults = append(faults, fmt.Errorf("a %s is also that of tenant %q: each tenant needs its own", kind, owner))
			return
		}
		owners[id] = tenant
	}
	for _, t := range c.Tokens {
		claim("token", t)
	}
	for _, k := range c.Keys {
		claim("signing secret", k.Secret)
	}
	return faults
}
