// Package outbound is how the vendors are called: where a call may go, how often
// calls are made, and how long to stay away when a vendor asks for it.
package outbound

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ErrRefused is wrapped by the error of a call that would leave for where no
// vendor is: another host than the configured one, or an address of the
// platform. Trying again does not help; the configuration or the vendor's answer
// must change.
var ErrRefused = errors.New("outgoing call refused")

// NewClient returns a client for the URLs of the configuration. It follows
// redirects only within the scheme and host of the URL, and connects to no
// link-local and no metadata address, whatever a name resolves to. Where the
// environment names a proxy, it is the proxy's address that is checked. The
// client has no timeout: what a call may take is its context's to say.
func NewClient() *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second, Control: refuseAddress}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         dialer.DialContext,
			TLSHandshakeTimeout: 10 * time.Second,
			IdleConnTimeout:     90 * time.Second,
			MaxIdleConnsPerHost: 16,
			ReadBufferSize:      64 << 10, // a stream that fell behind is read in few steps
			ForceAttemptHTTP2:   true,
			// A connection that died unheard would be given every next stream.
			HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
		},
		CheckRedirect: sameHost,
	}
}

// ParseURL reads the URL of an interface. Its error names the field url, and quotes
// nothing that cannot be read: it may hold a secret.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("url: cannot be read")
	case u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("url: is %q, want http or https and a host", u.Redacted())
	}
	return u, nil
}

// JSON makes a call that carries JSON, or nothing, and wants JSON back. The caller
// closes the answer's body, and bounds the call by ctx. Errors name no URL, see
// [WithoutURL].
func JSON(ctx context.Context, c *http.Client, method, at string, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, at, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the URL is malformed")
	}
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.Do(r)
	if err != nil {
		return nil, WithoutURL(err)
	}
	return resp, nil
}

// WithoutURL is an error of [http.Client] without the URL, which may hold a secret
// or what a vendor wrote (I10).
func WithoutURL(err error) error {
	if of, ok := errors.AsType[*url.Error](err); ok {
		return of.Err
	}
	return err
}

func sameHost(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	if r.URL.Scheme != first.Scheme || !strings.EqualFold(r.URL.Host, first.Host) {
		return fmt.Errorf("%w: redirect from %s to another host", ErrRefused, first.Host)
	}
	if len(via) >= 10 {
		return fmt.Errorf("%w: more than 10 redirects", ErrRefused)
	}
	return nil
}

// metadata are the addresses outside the link-local ranges at which clouds serve
// credentials of the machine.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),   // AWS
	netip.MustParseAddr("fd20:ce::254"),    // Google
	netip.MustParseAddr("100.100.100.200"), // Alibaba
	netip.MustParseAddr("168.63.129.16"),   // Azure
	netip.MustParseAddr("192.0.0.192"),     // Oracle
}

// refuseAddress sees the resolved address of every connection before it is made.
func refuseAddress(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: no address: %w", ErrRefused, err)
	}
	addr := to.Addr().Unmap().WithZone("")
	if addr.IsLinkLocalUnicast() || addr.IsMulticast() || addr.IsUnspecified() || slices.Contains(metadata, addr) {
		return fmt.Errorf("%w: %s is link-local, multicast, no or a metadata address", ErrRefused, addr)
	}
	return nil
}
