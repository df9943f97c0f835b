package keys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Bounds of one fetch.
const (
	fetchTimeout = 10 * time.Second
	maxJWKS      = 1 << 20 // bytes
	maxRedirects = 3
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

// NewTransport returns a transport that reaches no link-local address and no
// metadata service of a cloud, whatever a name resolves to.
func NewTransport() http.RoundTripper {
	dialer := &net.Dialer{Timeout: fetchTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		return checkAddress(address)
	}}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: fetchTimeout, IdleConnTimeout: time.Minute,
	}
}

// metadataIPv6 is where AWS answers for the machine's own credentials.
var metadataIPv6 = netip.MustParseAddr("fd00:ec2::254")

func checkAddress(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if ip := at.Addr().Unmap().WithZone(""); ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || ip == metadataIPv6 {
		return fmt.Errorf("address %s is link-local or a metadata service", ip)
	}
	return nil
}

// newClient follows redirects within a host only: no answer chooses where keys
// come from.
func newClient(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: t,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if first := via[0].URL; r.URL.Host != first.Host || r.URL.Scheme != first.Scheme {
				return errors.New("redirect to another host")
			}
			if len(via) > maxRedirects {
				return errors.New("too many redirects")
			}
			return nil
		},
	}
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
	var with *url.Error
	if errors.As(err, &with) {
		err = with.Err
	}
	if err != nil {
		return published{}, fmt.Errorf("fetch keys: %w", err)
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
