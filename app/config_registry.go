package app

import (
	"net/url"
	"strings"

	"trunkline/ingest/redacted"
	"trunkline/registry"
)

// Registry is the schema registry: any with the API of Confluent's. Of user and
// token one is given, or neither.
type Registry struct {
	// URL may hold several addresses of one registry, separated by commas.
	URL      string `yaml:"url"`
	User     string `yaml:"user,omitempty"`
	Password string `yaml:"password,omitempty"`
	Token    string `yaml:"token,omitempty"` // a bearer token

	// Files in PEM: the authorities to trust instead of the system's, and what proves
	// this client.
	CA   string `yaml:"ca,omitempty"`
	Cert string `yaml:"cert,omitempty"`
	Key  string `yaml:"key,omitempty"`
}

func (r Registry) urls() []string {
	urls := strings.Split(r.URL, ",")
	for i := range urls {
		urls[i] = strings.TrimSpace(urls[i])
	}
	return urls
}

// check never shows what is wrong with an address: it may hold a password (I10).
func (r Registry) check(wrong func(field, format string, args ...any)) {
	encrypted := true
	for _, text := range r.urls() {
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
			wrong("registry.url", "is no http(s) URL; several are separated by commas")
		case u.User != nil:
			wrong("registry.url", "holds credentials; write them as registry.user and registry.password")
		default:
			encrypted = encrypted && u.Scheme == "https"
		}
	}
	switch {
	case (r.User == "") != (r.Password == ""):
		wrong("registry.user", "stands without its password, or the other way round; give both")
	case r.User != "" && r.Token != "":
		wrong("registry.token", "stands beside registry.user; leave one of them out")
	}
	if r.CA+r.Cert+r.Key == "" {
		return
	}
	if !encrypted {
		wrong("registry.ca, registry.cert, registry.key", "mean nothing to an http URL; use https")
	}
	if _, err := registry.TLS(r.CA, r.Cert, r.Key); err != nil {
		wrong("registry", "%v", err)
	}
}

// client returns a client of the registry.
func (r Registry) client() (*registry.Client, error) {
	tls, err := registry.TLS(r.CA, r.Cert, r.Key)
	if err != nil {
		return nil, err
	}
	return registry.New(registry.Options{
		URLs: r.urls(), User: r.User, Password: redacted.Text(r.Password), Token: redacted.Text(r.Token), TLS: tls,
	})
}
