package app

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"trunkline/ingest"
	"trunkline/ingest/keys"
)

// Credentials are what a tenant has agreed with a vendor: what deliveries carry, and
// how the vendor is called. The first of a list is the current one, the others are on
// their way out.
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

// headerName is the name of a header as RFC 9110 allows it.
var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]*$")

// check finds what is wrong with the credentials of field.
func (c Credentials) check(field, vendor string, dedupWindow time.Duration, wrong func(field, format string, args ...any)) {
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
	c.Registration.check(field+".registration", vendor, wrong)
	if c.Stream != nil {
		c.Stream.check(field+".stream", wrong)
	}
	if c.Reconcile != nil {
		c.Reconcile.check(field+".reconcile", vendor, dedupWindow, wrong)
		if c.API.URL == "" {
			wrong(field+".api.url", "is empty; reconcile calls the vendor there")
		}
	}
	if c.Notifications != nil {
		c.Notifications.check(field+".notifications", vendor, wrong)
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
