package app

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"trunkline/ingest/oauth"
	"trunkline/ingest/redacted"
	"trunkline/ingest/registration"
	"trunkline/topology"
)

// Registrar keeps the registration of a tenant at a vendor.
type Registrar struct {
	Vendor, Tenant string

	client *registration.Client
	wanted registration.Wanted
}

// RegisterOptions say which registrations are meant.
type RegisterOptions struct {
	Vendor string
	Tenant string // empty: all with this vendor
	// SendToken sends CXone the present token also where it does not show which
	// one it has.
	SendToken bool
}

// Registrars returns who registers, and calls no vendor. Its error joins what the
// configuration lacks, by field.
func Registrars(c Config, o RegisterOptions) ([]Registrar, error) {
	c = c.withDefaults()
	var all []Registrar
	errs := []error{sharedNames(c, o.Vendor)}
	for i, t := range c.Tenants {
		credentials, ok := t.Vendors[o.Vendor]
		if !ok || o.Tenant != "" && t.ID != o.Tenant {
			continue
		}
		r, err := credentials.registrar(fmt.Sprintf("tenants[%d].vendors.%s", i, o.Vendor), t.ID, c.Edge.PublicURL, o)
		errs = append(errs, err)
		all = append(all, r)
	}
	if len(all) == 0 && o.Tenant != "" {
		errs = append(errs, fmt.Errorf("tenants: none is %q and has the vendor %s", o.Tenant, o.Vendor))
	} else if len(all) == 0 {
		errs = append(errs, fmt.Errorf("tenants: none has the vendor %s", o.Vendor))
	}
	return all, errors.Join(errs...)
}

// sharedNames finds tenants with one name at one account: they would take the
// registration from each other for ever.
func sharedNames(c Config, vendor string) error {
	type account struct {
		grant oauth.Grant
		name  string
	}
	var errs []error
	taken := map[account]string{}
	for i, t := range c.Tenants {
		at := account{t.Vendors[vendor].API.grant(), t.Vendors[vendor].Registration.name(vendor)}
		if at.grant == nil {
			continue
		}
		if other, ok := taken[at]; ok {
			errs = append(errs, fmt.Errorf("tenants[%d].vendors.%s.registration.name: %q is also that of tenant %s, which has the same credential; give one of them another",
				i, vendor, at.name, other))
		}
		taken[at] = t.ID
	}
	return errors.Join(errs...)
}

// callbackPaths end the path at which the edge takes a vendor's deliveries.
var callbackPaths = map[string]string{topology.Genesys: "events", topology.CXone: "webhook"}

// registrar is who registers with the credentials of field.
func (c Credentials) registrar(field, tenant, public string, o RegisterOptions) (Registrar, error) {
	var errs []error
	wrong := func(name, what string) { errs = append(errs, errors.New(name+": "+what)) }
	callback := c.Registration.CallbackURL
	if callback == "" && public == "" {
		wrong("edge.public_url", "is missing; give the https URL at which vendors find the edge")
	} else if callback == "" {
		u, err := url.Parse(public)
		if err != nil {
			return Registrar{}, fmt.Errorf("edge.public_url: %w", err)
		}
		callback = u.JoinPath("v1/ingest", o.Vendor, tenant, callbackPaths[o.Vendor]).String()
	}
	base := c.Registration.APIURL
	if base == "" && c.API.URL == "" {
		wrong(field+".api.url", "is missing; copy it from the vendor's documentation")
	} else if base == "" {
		base = origin(c.API.URL)
	}
	if c.API.grant() == nil {
		wrong(field+".api", "has no credential; give it oauth (Genesys) or access_key (CXone)")
	}
	var token redacted.Text
	if o.Vendor == topology.CXone {
		if len(c.Tokens) == 0 {
			wrong(field+".tokens", "is empty; the vendor sends the first of them with every delivery: make one up and put it here")
		} else {
			token = redacted.Text(c.Tokens[0])
		}
	}
	if len(errs) > 0 {
		return Registrar{}, errors.Join(errs...)
	}
	by, err := c.API.caller(func(error, time.Duration) {}) // who asks is told
	if err != nil {
		return Registrar{}, fmt.Errorf("%s.api: %w", field, err)
	}
	wanted := c.Registration.wanted(o.Vendor, callback, token)
	if hook, ok := wanted.(registration.Webhook); ok {
		hook.SendToken = o.SendToken
		wanted = hook
	}
	return Registrar{Vendor: o.Vendor, Tenant: tenant, client: registration.NewClient(by.client, base), wanted: wanted}, nil
}

// Plan tells what Execute would do; it changes nothing at the vendor.
func (r Registrar) Plan(ctx context.Context) (registration.Plan, error) {
	p, err := r.client.Plan(ctx, r.wanted)
	return p, r.named(err)
}

// Execute creates or updates the registration, unless it is as it should be.
func (r Registrar) Execute(ctx context.Context) (registration.Plan, error) {
	p, err := r.client.Execute(ctx, r.wanted)
	return p, r.named(err)
}

func (r Registrar) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s, tenant %s: %w", r.Vendor, r.Tenant, err)
}

// origin is a URL without path and query.
func origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	return u.Scheme + "://" + u.Host
}
