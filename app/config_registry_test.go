package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each fault of the registry's section names its field and the cure, and shows no
// secret (I10). Seen failing with the URL in its fault.
func TestRegistryConfig(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "garbage.pem")
	if err := os.WriteFile(garbage, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, registry string
		want           []string // parts of the error; none: no error
	}{
		{name: "least", registry: "url: 'http://r:8081'"},
		{name: "several", registry: "url: 'https://r1:8081, https://r2:8081', user: ann, password: s3cret"},
		{name: "token", registry: "url: 'https://r', token: s3cret"},

		{name: "nothing", registry: "", want: []string{"registry.url: is no http(s) URL"}},
		{name: "one of them", registry: "url: 'http://r,r2:8081'", want: []string{"registry.url: is no http(s) URL; several are separated by commas"}},
		{name: "credentials in the URL", registry: "url: 'https://ann:s3cret@r'", want: []string{"registry.url: holds credentials; write them as registry.user"}},
		{name: "credentials in a bad URL", registry: "url: 'https://ann:s3cret@r:x'", want: []string{"registry.url: is no http(s) URL"}},
		{name: "user alone", registry: "url: 'https://r', user: ann", want: []string{"registry.user: stands without its password"}},
		{name: "password alone", registry: "url: 'https://r', password: s3cret", want: []string{"registry.user: stands without its password"}},
		{name: "two ways in", registry: "url: 'https://r', user: ann, password: s3cret, token: s3cret", want: []string{"registry.token: stands beside registry.user"}},
		{name: "plain http", registry: "url: 'http://r', ca: " + garbage, want: []string{"registry.ca, registry.cert, registry.key: mean nothing to an http URL; use https", "holds no certificate in PEM"}},
		{name: "half a pair", registry: "url: 'https://r', cert: x.pem", want: []string{"registry: cert, key: one is missing"}},
		{name: "no file", registry: "url: 'https://r', ca: /nowhere.pem", want: []string{"registry: ca: open /nowhere.pem"}},
		{name: "misspelt", registry: "urls: 'https://r'", want: []string{"urls"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseConfig([]byte("kafka: {brokers: ['localhost:9092']}\nregistry: {" + tt.registry + "}\n"))
			if (err == nil) != (len(tt.want) == 0) {
				t.Fatalf("got error %v, want %q", err, tt.want)
			}
			if err == nil {
				return
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v\nwant %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}
