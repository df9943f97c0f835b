package app

import (
	"cmp"
	"net/http"
	"time"

	"trunkline/ingest/oauth"
	"trunkline/ingest/outbound"
	"trunkline/ingest/redacted"
)

// API is how a vendor is called: with which credential, and how often. All calls
// for a tenant share its token and its budget.
type API struct {
	// URL stands before the paths of the vendor's documentation, as
	// https://api.mypurecloud.com or
	// https://api-na1.niceincontact.com/incontactapi/services/v33.0.
	URL string `yaml:"url,omitempty"`
	// CallsPerMinute leaves others who use the credential their part of what the
	// vendor allows.
	CallsPerMinute int `yaml:"calls_per_minute,omitempty"`

	// OAuth and AccessKey are credentials; give one.
	OAuth     *OAuth     `yaml:"oauth,omitempty"`
	AccessKey *AccessKey `yaml:"access_key,omitempty"`
}

// OAuth is a client of Genesys with the grant of client credentials.
type OAuth struct {
	URL          string   `yaml:"url"` // of the login host
	ClientID     string   `yaml:"client_id"`
	ClientSecret string   `yaml:"client_secret"`
	Scopes       []string `yaml:"scopes,omitempty"`
}

// AccessKey is a key of CXone.
type AccessKey struct {
	URL    string `yaml:"url"` // of the area's login host
	ID     string `yaml:"id"`
	Secret string `yaml:"secret"`
}

func (a API) check(field string, wrong func(field, format string, args ...any)) {
	if a.URL != "" && !isURL(a.URL) {
		wrong(field+".url", "is no http(s) URL; copy it from the vendor's documentation")
	}
	if a.CallsPerMinute < 0 {
		wrong(field+".calls_per_minute", "%d is negative", a.CallsPerMinute)
	}
	if a.OAuth != nil && a.AccessKey != nil {
		wrong(field, "has oauth and access_key; leave one of them out")
	}
	if grant := a.grant(); grant != nil {
		if _, err := oauth.NewSource(oauth.Options{Grant: grant}); err != nil {
			wrong(field, "%v", err)
		}
	}
}

func isURL(s string) bool {
	_, err := outbound.ParseURL(s)
	return err == nil
}

// grant is how tokens are asked for, nil where calls carry none.
func (a API) grant() oauth.Grant {
	switch {
	case a.OAuth != nil:
		return oauth.Genesys{URL: a.OAuth.URL, ClientID: a.OAuth.ClientID, ClientSecret: redacted.Text(a.OAuth.ClientSecret)}
	case a.AccessKey != nil:
		return oauth.CXone{URL: a.AccessKey.URL, KeyID: a.AccessKey.ID, KeySecret: redacted.Text(a.AccessKey.Secret)}
	}
	return nil
}

// caller calls a vendor for one tenant.
type caller struct {
	client *http.Client  // in budget, with token
	tokens *oauth.Source // nil where calls carry none
}

// caller returns who calls; alarm is that of [oauth.Options].
func (a API) caller(alarm func(err error, left time.Duration)) (caller, error) {
	base := outbound.NewClient()
	base.Transport = outbound.NewBudget(base.Transport, cmp.Or(a.CallsPerMinute, outbound.DefaultPerMinute), time.Now)
	grant := a.grant()
	if grant == nil {
		return caller{client: base}, nil
	}
	o := oauth.Options{Grant: grant, Alarm: alarm}
	if a.OAuth != nil {
		o.Scopes = a.OAuth.Scopes
	}
	tokens, err := oauth.NewSource(o)
	if err != nil {
		return caller{}, err
	}
	return caller{client: tokens.Client(base), tokens: tokens}, nil
}
