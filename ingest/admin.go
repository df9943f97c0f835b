package ingest

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"

	"trunkline/ingest/keys"
	"trunkline/ingest/redacted"
)

// keySet is one set of keys of the edge.
type keySet struct {
	vendor, tenant string
	use            string // signature or bearer
	*keys.Set
}

// keySets lists the sets of all senders by tenant.
func (e *Edge) keySets() []keySet {
	var all []keySet
	for who, s := range e.senders {
		for use, set := range map[string]*keys.Set{"signature": s.keys, "bearer": s.issuerKeys} {
			if set != nil {
				all = append(all, keySet{who.vendor, who.tenant, use, set})
			}
		}
	}
	slices.SortFunc(all, func(a, b keySet) int {
		return cmp.Or(strings.Compare(a.tenant, b.tenant), strings.Compare(a.vendor, b.vendor), -strings.Compare(a.use, b.use))
	})
	return all
}

// FetchKeys fetches the published keys of every tenant and keeps them fresh,
// until ctx ends.
func (e *Edge) FetchKeys(ctx context.Context) {
	var running sync.WaitGroup
	for _, set := range e.keySets() {
		running.Go(func() { set.Run(ctx) })
	}
	running.Wait()
}

// keyInfo is a key as the admin API tells of it.
type keyInfo struct {
	Tenant string `json:"tenant"`
	Vendor string `json:"vendor"`
	Use    string `json:"use"`
	keys.Info
}

// refreshInfo is the fetch of one set.
type refreshInfo struct {
	Tenant string `json:"tenant"`
	Vendor string `json:"vendor"`
	Use    string `json:"use"`
	Error  string `json:"error,omitempty"`
}

// AdminHandler returns the routes of operators, meant for a listener of their
// own, for who knows the token; an empty one opens nothing:
//
//	GET  /admin/keys          the keys of all tenants, without their secrets
//	POST /admin/keys/refresh  fetches the published ones now; 503 if one cannot be
//
// Refreshing needs a running [Edge.FetchKeys].
func (e *Edge) AdminHandler(token redacted.Text) http.Handler {
	want := hashToken(string(token))
	mux := http.NewServeMux()
	route := func(pattern string, h http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			b := bearerOf(r.Header)
			if subtle.ConstantTimeCompare(b.hash[:], want[:]) != 1 {
				w.Header().Set("WWW-Authenticate", "Bearer")
				writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "the admin token is missing or wrong"})
				return
			}
			h(w, r)
		})
	}
	route("GET /admin/keys", func(w http.ResponseWriter, _ *http.Request) {
		all := []keyInfo{}
		for _, set := range e.keySets() {
			for _, i := range set.List() {
				all = append(all, keyInfo{set.tenant, set.vendor, set.use, i})
			}
		}
		writeJSON(w, http.StatusOK, map[string]any{"keys": all})
	})
	route("POST /admin/keys/refresh", func(w http.ResponseWriter, r *http.Request) {
		results, status := e.refreshKeys(r.Context()), http.StatusOK
		if slices.ContainsFunc(results, func(i refreshInfo) bool { return i.Error != "" }) {
			status = http.StatusServiceUnavailable
		}
		writeJSON(w, status, map[string]any{"refreshed": results})
	})
	return mux
}

// refreshKeys fetches the keys of all sets at once.
func (e *Edge) refreshKeys(ctx context.Context) []refreshInfo {
	sets := e.keySets()
	results := make([]refreshInfo, len(sets))
	var fetching sync.WaitGroup
	for i, set := range sets {
		results[i] = refreshInfo{Tenant: set.tenant, Vendor: set.vendor, Use: set.use}
		fetching.Go(func() {
			if err := set.Refresh(ctx); err != nil {
				results[i].Error = err.Error()
			}
		})
	}
	fetching.Wait()
	return results
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The client may be gone: there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(body)
}
