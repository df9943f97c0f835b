package keys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"trunkline/ingest/outbound"
)

// Bounds of one fetch.
const (
	fetchTimeout = 10 * time.Second
	maxJWKS      = 1 << 20 // bytes
)

// CheckURL returns what is wrong with the URL of a key set. Only https is
// allowed, for who can change the answer can sign deliveries; plain http only
// on this machine itself, for tests and development.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "":
		return errors.New("is no URL: want https://host/path")
	case u.User != nil:
		return errors.New("has a user or password in it: leave them out")
	case u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())):
		return errors.New("must start with https:// (http:// is for this machine itself)")
	}
	return nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// newClient returns a client of [outbound] that fetches over t, if it is not nil:
// no answer chooses where keys come from.
func newClient(t http.RoundTripper) *http.Client {
	c := outbound.NewClient()
	if t != nil {
		c.Transport = t
	}
	return c
}

// published is the answer of a key URL.
type published struct {
	unchanged        bool // since the ETag that was sent
	current, revoked []Key
	etag             string
	fresh            time.Duration // 0: it does not say
}

// fetch asks the URL for its keys. Errors do not quote the URL, whose query may
// be a secret, nor the answer (I10).
func fetch(ctx context.Context, c *http.Client, from, etag string) (published, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return published{}, errors.New("fetch keys: the URL is malformed")
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	if etag != "" {
		r.Header.Set("If-None-Match", etag)
	}
	resp, err := c.Do(r)
	if err != nil {
		return published{}, fmt.Errorf("fetch keys: %w", outbound.WithoutURL(err))
	}
	defer resp.Body.Close()

	p := published{etag: resp.Header.Get("ETag"), fresh: freshFor(resp.Header)}
	switch {
	case resp.StatusCode == http.StatusNotModified && etag != "":
		p.unchanged, p.etag = true, etag
		return p, nil
	case resp.StatusCode != http.StatusOK:
		return published{}, fmt.Errorf("fetch keys: status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxJWKS+1))
	switch {
	case err != nil:
		return published{}, fmt.Errorf("fetch keys: read the answer: %w", err)
	case len(body) > maxJWKS:
		return published{}, fmt.Errorf("fetch keys: the answer is larger than %d bytes", maxJWKS)
	}
	if p.current, p.revoked, err = parseJWKS(body); err != nil {
		return published{}, fmt.Errorf("fetch keys: read the answer: %w", err)
	}
	return p, nil
}

// freshFor reads how long an answer may be kept: the max-age of Cache-Control, no
// time at all if it may not be stored, 0 if it does not say.
func freshFor(h http.Header) time.Duration {
	var fresh time.Duration
	for part := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(part)), "=")
		switch name {
		case "no-store", "no-cache":
			return minFresh
		case "max-age":
			if n, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 32); err == nil && n >= 0 {
				fresh = max(minFresh, time.Duration(n)*time.Second)
			}
		}
	}
	return fresh
}
