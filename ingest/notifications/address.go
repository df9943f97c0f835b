package notifications

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"trunkline/ingest/outbound"
)

// checkAddress refuses a socket that is not the vendor's: the address comes from
// an answer, not from the configuration. It must be of the domain that the API's
// host is of, api.mypurecloud.de and streaming.mypurecloud.de; where that is no
// name of this kind, of the same host. The errors do not repeat the address, by
// which a channel can be read (I10).
func checkAddress(api *url.URL, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("%w: the address of the channel is no URL", outbound.ErrRefused)
	}
	var no error
	switch {
	case u.Scheme != "wss" && (u.Scheme != "ws" || api.Scheme != "http"):
		no = errors.New("is not wss")
	case u.User != nil:
		no = errors.New("holds a user")
	case u.Port() != api.Port() || !sameDomain(strings.ToLower(api.Hostname()), strings.ToLower(u.Hostname())):
		no = fmt.Errorf("is not of the domain of %s", api.Host)
	}
	if no != nil {
		return fmt.Errorf("%w: the address of the channel %w", outbound.ErrRefused, no)
	}
	return nil
}

func sameDomain(api, host string) bool {
	if host == api {
		return true
	}
	if _, err := netip.ParseAddr(api); err == nil {
		return false
	}
	domain := api
	if parent, ok := strings.CutPrefix(api, "api."); ok && strings.Contains(parent, ".") {
		domain = parent
	}
	return strings.Contains(domain, ".") && strings.HasSuffix(host, "."+domain)
}
