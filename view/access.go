package view

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// access holds who may read what; empty means that everyone may read everything.
type access []grant

// grant is what one token allows. Tenant and authority come from it, never from
// what is read (I9).
type grant struct {
	sum     [sha256.Size]byte // of the token: equal lengths compare in constant time
	tenants []string
	all     bool
}

func (g grant) allows(tenant string) bool { return g.all || slices.Contains(g.tenants, tenant) }

func newAccess(tokens map[string][]string) access {
	var a access
	for token, tenants := range tokens {
		a = append(a, grant{sum: sha256.Sum256([]byte(token)), tenants: slices.Clone(tenants)})
	}
	return a
}

// validateTokens refuses tokens that no request could carry and grants of
// nothing.
func validateTokens(tokens map[string][]string) []error {
	var errs []error
	for token, tenants := range tokens {
		if token == "" || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
			errs = append(errs, fmt.Errorf("tokens: want printable ASCII without spaces in the token of tenants %q", tenants))
		}
		if len(tenants) == 0 || slices.Contains(tenants, "") {
			errs = append(errs, errors.New("tokens: want at least one tenant for each token, none of them empty"))
		}
	}
	return errs
}

// admit returns what the request's bearer token allows; ok is false when it has
// none or an unknown one. Every token is compared, in constant time.
func (a access) admit(r *http.Request) (g grant, ok bool) {
	if len(a) == 0 {
		return grant{all: true}, true
	}
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 {
		return grant{}, false
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return grant{}, false
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	for _, h := range a {
		if subtle.ConstantTimeCompare(sum[:], h.sum[:]) == 1 {
			g, ok = h, true
		}
	}
	return g, ok
}
