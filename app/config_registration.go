package app

import (
	"cmp"
	"net/url"

	"trunkline/ingest/keys"
	"trunkline/ingest/redacted"
	"trunkline/ingest/registration"
	"trunkline/topology"
)

// Registration is what `trunkline register` orders of a vendor. The zero value of
// a field means its default.
type Registration struct {
	Name string `yaml:"name,omitempty"`
	// CallbackURL is where deliveries go, if not to the tenant's path below
	// edge.public_url.
	CallbackURL string `yaml:"callback_url,omitempty"`
	// APIURL stands before the path of the vendor's API, if that is not on the host
	// of api.url.
	APIURL  string                `yaml:"api_url,omitempty"`
	Filters []registration.Filter `yaml:"filters,omitempty"` // of Genesys
	Events  []string              `yaml:"events,omitempty"`  // of CXone
}

// registrationNames are those of the guides.
var registrationNames = map[string]string{
	topology.Genesys: "genesys-config-cdc-subscription", topology.CXone: "Kafka Event Bus Ingestion",
}

func (r Registration) name(vendor string) string { return cmp.Or(r.Name, registrationNames[vendor]) }

// check finds what is wrong with the registration of field at a vendor.
func (r Registration) check(field, vendor string, wrong func(field, format string, args ...any)) {
	checkPublic(field+".callback_url", r.CallbackURL, wrong)
	if r.APIURL != "" && !isURL(r.APIURL) {
		wrong(field+".api_url", "is no http(s) URL; copy it from the vendor's documentation")
	}
	if vendor != topology.Genesys && r.Filters != nil {
		wrong(field+".filters", "is for %s; leave it out", topology.Genesys)
	}
	if vendor != topology.CXone && r.Events != nil {
		wrong(field+".events", "is for %s; leave it out", topology.CXone)
	}
	if w := r.wanted(vendor, "", ""); w != nil {
		w.Check(func(name, format string, args ...any) { wrong(field+"."+name, format, args...) })
	}
}

// checkPublic finds what is wrong with a URL that vendors are given, if there is
// one: deliveries carry a token to it.
func checkPublic(field, raw string, wrong func(field, format string, args ...any)) {
	if raw == "" {
		return
	}
	if err := keys.CheckURL(raw); err != nil {
		wrong(field, "%v", err)
	} else if u, err := url.Parse(raw); err != nil || u.RawQuery != "" || u.Fragment != "" {
		wrong(field, "has a query or a fragment: leave it out")
	}
}

// wanted is the registration as the vendor should hold it, nil where there is
// none for the vendor.
func (r Registration) wanted(vendor, callback string, token redacted.Text) registration.Wanted {
	switch vendor {
	case topology.Genesys:
		s := registration.Subscription{Name: r.name(vendor), CallbackURL: callback, Filters: r.Filters}
		if r.Filters == nil { // but an empty list is a mistake
			s.Filters = registration.DefaultFilters()
		}
		return s
	case topology.CXone:
		w := registration.Webhook{Name: r.name(vendor), URL: callback, Events: r.Events, Token: token}
		if r.Events == nil {
			w.Events = registration.DefaultEvents()
		}
		return w
	}
	return nil
}
