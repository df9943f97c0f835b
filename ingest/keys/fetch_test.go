package keys

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestCheckURL(t *testing.T) {
	for raw, ok := range map[string]bool{
		"https://keys.example/jwks":      true,
		"https://keys.example:8443/a?b":  true,
		"http://127.0.0.1:8080/jwks":     true,
		"http://[::1]/jwks":              true,
		"http://localhost/jwks":          true,
		"http://keys.example/jwks":       false,
		"http://127.0.0.1.example/jwks":  false,
		"http://localhost.example/":      false,
		"http://10.0.0.1/jwks":           false,
		"https://u:p@keys.example/jwks":  false,
		"file:///etc/passwd":             false,
		"https://":                       false,
		"keys.example/jwks":              false,
		"":                               false,
		"https://keys.example/\x00":      false,
		"gopher://127.0.0.1/":            false,
		"https:keys.example":             false,
		"HTTPS://keys.example/jwks":      true,
		"http://127.0.0.1@evil.example/": false,
	} {
		if err := CheckURL(raw); (err == nil) != ok {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func TestFetch(t *testing.T) {
	good := string(sample(t, "I12.json"))
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(good))
	}))
	defer elsewhere.Close()
	tests := []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request)
		etag   string // sent
		fault  string // part of the error; empty: none
		want   published
	}{
		{name: "good", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"1"`)
			w.Header().Set("Cache-Control", "public, max-age=3600")
			_, _ = w.Write([]byte(good))
		}, want: published{etag: `"1"`, fresh: time.Hour}},
		{name: "unchanged", etag: `"1"`, answer: func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-None-Match") == `"1"` {
				w.WriteHeader(http.StatusNotModified)
			}
		}, want: published{etag: `"1"`, unchanged: true}},
		{name: "unchanged since nothing", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotModified)
		}, fault: "status 304"},
		{name: "redirect within the host", answer: func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/jwks" {
				http.Redirect(w, r, "/other", http.StatusFound)
				return
			}
			_, _ = w.Write([]byte(good))
		}},
		{name: "redirect to another host", answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		}, fault: "to another host"},
		{name: "redirects without end", answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/jwks", http.StatusFound)
		}, fault: "more than 10 redirects"},
		{name: "as large as allowed", answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(good + strings.Repeat(" ", maxJWKS-len(good))))
		}},
		{name: "too large", answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(good + strings.Repeat(" ", maxJWKS-len(good)+1)))
		}, fault: "larger than 1048576 bytes"},
		{name: "cut short", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2000")
			_, _ = w.Write([]byte(good))
		}, fault: "unexpected EOF"},
		{name: "no answer", answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault: "EOF"},
		{name: "fault", answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, fault: "status 502"},
		{name: "login page", answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, fault: "no JWK Set"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(tt.answer))
			defer server.Close()
			p, err := fetch(t.Context(), newClient(nil), server.URL+"/jwks?token=s3cr3t", tt.etag)
			if tt.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fault) || strings.Contains(err.Error(), "s3cr3t") {
					t.Errorf("got error %v, want one with %q and no URL", err, tt.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.etag != tt.want.etag || p.fresh != tt.want.fresh || p.unchanged != tt.want.unchanged {
				t.Errorf("got %+v, want %+v", p, tt.want)
			}
			if !p.unchanged && len(p.current) != 1 {
				t.Errorf("got keys %v", p.current)
			}
		})
	}
}

func TestFreshFor(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": 0, "public": 0, "max-age=7200": 2 * time.Hour, "Max-Age=\"7200\", public": 2 * time.Hour,
		"max-age=1": minFresh, "max-age=0": minFresh, "no-store": minFresh, "no-cache, max-age=7200": minFresh,
		"max-age=x": 0, "max-age=-1": 0, "max-age=99999999999": 0,
	} {
		if got := freshFor(http.Header{"Cache-Control": {header}}); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}
