package view

import (
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"

	"trunkline/event"
)

// route is one line of the API. What it declares is enforced before it serves,
// so a new route cannot forget it.
type route struct {
	pattern string // {name} stands for one segment, decoded and of any bytes
	open    bool   // readable without a token
	reads   *table // must be ready, and its watermark goes with the answer
	serve   http.HandlerFunc
}

// routeTable lists all routes; the first that matches serves.
func (a *API) routeTable() []route {
	return []route{
		{pattern: "/healthz", open: true, serve: a.health},
		{pattern: "/readyz", open: true, serve: a.readiness},
		{pattern: "/openapi.json", open: true, serve: a.document},
		{pattern: "/v1/tables", serve: a.listTables},
		{pattern: "/v1/{vendor}/{tenant}/resources/{type}/{id}", reads: a.entities,
			serve: func(w http.ResponseWriter, r *http.Request) { a.resource(w, r, r.PathValue("type")) }},
		{pattern: "/v1/{vendor}/{tenant}/interactions/{id}", reads: a.entities,
			serve: func(w http.ResponseWriter, r *http.Request) { a.resource(w, r, event.TypeConversation) }},
	}
}

// serve finds the route of a request and enforces what it declares. The order
// matters: a foreign tenant is refused after everything that an absent resource
// of one's own passes too, so the two answers are the same.
func (a *API) serve(w http.ResponseWriter, r *http.Request) {
	defer a.recovered(w)
	rt := a.find(r)
	switch {
	case rt == nil:
		notFound(w)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "method_not_allowed", "this API only reads: use GET or HEAD")
		return
	}
	var reader grant
	if !rt.open {
		var ok bool
		if reader, ok = a.access.admit(r); !ok {
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, http.StatusUnauthorized, "unauthorized", "send a valid token as Authorization: Bearer")
			return
		}
	}
	if rt.reads != nil {
		if rt.reads.ready() != nil && r.URL.Query().Get("stale") != "ok" {
			unavailable(w, "catching_up", "the table is catching up: retry, or accept old rows with ?stale=ok")
			return
		}
		w.Header().Set(headerWatermark, rfc3339(rt.reads.watermark.Ms()))
	}
	if strings.Contains(rt.pattern, "{tenant}") && !reader.allows(r.PathValue("tenant")) { // I9
		notFound(w)
		return
	}
	rt.serve(w, r)
}

// find returns the route of a request and sets its path values, nil when there
// is none. [http.ServeMux] is not used because it redirects what looks unclean,
// and ids such as `.`, `..` or none at all are no less ids.
func (a *API) find(r *http.Request) *route {
	segments := strings.Split(r.URL.EscapedPath(), "/")
	for i, s := range segments {
		decoded, err := url.PathUnescape(s)
		if err != nil {
			return nil
		}
		segments[i] = decoded
	}
	for i := range a.routes {
		if names := strings.Split(a.routes[i].pattern, "/"); matches(names, segments) {
			for j, name := range names {
				if isVariable(name) {
					r.SetPathValue(name[1:len(name)-1], segments[j])
				}
			}
			return &a.routes[i]
		}
	}
	return nil
}

func matches(pattern, segments []string) bool {
	if len(pattern) != len(segments) {
		return false
	}
	for i, p := range pattern {
		if p != segments[i] && !isVariable(p) {
			return false
		}
	}
	return true
}

func isVariable(segment string) bool { return strings.HasPrefix(segment, "{") }

// recovered turns a panic into an answer. Its value may hold what was being read
// and is not logged (I10).
func (a *API) recovered(w http.ResponseWriter) {
	if p := recover(); p != nil {
		a.logger.Error("view API panicked", "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
		unavailable(w, "unavailable", "the answer could not be made: retry")
	}
}
