package embedded

import (
	"net/http"
	"slices"
	"strconv"
)

// routeGenesys serves what Genesys Cloud serves: the login host, push
// subscriptions of the guide, stream and pages, audits, notifications, and the
// lists of resources.
func (c *Cloud) routeGenesys() {
	for pattern, serve := range map[string]http.HandlerFunc{
		"GET /stream": c.stream,
		"GET /events": c.events,

		"GET /api/v2/eventstreams/subscriptions":         c.listSubscriptions,
		"POST /api/v2/eventstreams/subscriptions":        c.subscribeByCall,
		"GET /api/v2/eventstreams/subscriptions/{id}":    c.subscriptionByID,
		"PUT /api/v2/eventstreams/subscriptions/{id}":    c.subscribeByCall,
		"DELETE /api/v2/eventstreams/subscriptions/{id}": c.unsubscribe,

		"POST /api/v2/audits/query/realtime":               c.auditsRealtime,
		"GET /api/v2/audits/query/realtime/servicemapping": c.auditServices,
		"POST /api/v2/audits/query":                        c.askAudits,
		"GET /api/v2/audits/query/servicemapping":          c.auditServices,
		"GET /api/v2/audits/query/{id}":                    c.auditState,
		"GET /api/v2/audits/query/{id}/results":            c.auditResults,

		"GET /api/v2/notifications/availabletopics":              c.availableTopics,
		"POST /api/v2/notifications/channels":                    c.openChannel,
		"GET /api/v2/notifications/channels":                     c.listChannels,
		"HEAD /api/v2/notifications/channels/{id}":               c.onChannel(func(*channel, http.ResponseWriter, *http.Request) {}),
		"GET /api/v2/notifications/channels/{id}/subscriptions":  c.onChannel((*channel).list),
		"POST /api/v2/notifications/channels/{id}/subscriptions": c.onChannel((*channel).subscribe),
		"PUT /api/v2/notifications/channels/{id}/subscriptions":  c.onChannel((*channel).subscribe),
		"DELETE /api/v2/notifications/channels/{id}/subscriptions": c.onChannel(func(ch *channel, w http.ResponseWriter, _ *http.Request) {
			ch.replace(nil)
			w.WriteHeader(http.StatusNoContent)
		}),

		"GET /api/v2/users":          c.resources("user"),
		"GET /api/v2/routing/queues": c.resources("queue"),
		"GET /api/v2/flows":          c.resources("flow"),
	} {
		c.mux.HandleFunc(pattern, c.authorised(serve))
	}
	c.mux.HandleFunc("POST /oauth/token", c.login)
	c.mux.HandleFunc("GET /channels/{id}", c.listen) // the URI is the secret
}

// login is the grant of client credentials.
func (c *Cloud) login(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	switch {
	case id != c.cfg.ClientID || secret != c.cfg.ClientSecret:
		answerJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
	case r.PostFormValue("grant_type") != "client_credentials":
		answerJSON(w, http.StatusBadRequest, map[string]string{"error": "unsupported_grant_type"})
	default:
		access, _ := c.tokens.give()
		answerJSON(w, http.StatusOK, map[string]any{"access_token": access, "token_type": "bearer", "expires_in": int(c.cfg.TokenLife.Seconds())})
	}
}

// pushFilter is one of those of a push subscription.
type pushFilter struct {
	ResourceType string `json:"resourceType"`
	EventType    string `json:"eventType"`
}

// subscribeByCall registers a push subscription, or replaces one. It is for the
// guide's push events that one of its filters names.
func (c *Cloud) subscribeByCall(w http.ResponseWriter, r *http.Request) {
	var spec map[string]any
	if !readJSON(w, r, &spec) {
		return
	}
	var filters []pushFilter
	list, _ := spec["filters"].([]any)
	for _, f := range list {
		fields, _ := f.(map[string]any)
		resource, _ := fields["resourceType"].(string)
		kind, _ := fields["eventType"].(string)
		filters = append(filters, pushFilter{resource, kind})
	}
	s := &subscription{id: r.PathValue("id"), spec: spec, wants: func(m message) bool {
		return m.shape == seedPush && slices.Contains(filters, pushFilter{m.subject.key.Type, m.action})
	}}
	s.URL, _ = spec["callbackUrl"].(string)
	s.name, _ = spec["name"].(string)
	if s.URL == "" || len(filters) == 0 || s.id != "" && c.named(r) == nil {
		answerJSON(w, http.StatusBadRequest, map[string]string{"code": "bad.request", "message": "callbackUrl and filters are required, and the id of what is there"})
		return
	}
	// What a delivery carries is agreed upon in the vendor's console.
	s.Token = c.cfg.PushToken
	c.register(s)
	answerJSON(w, map[string]int{http.MethodPost: http.StatusCreated, http.MethodPut: http.StatusOK}[r.Method], spec)
}

func (c *Cloud) listSubscriptions(w http.ResponseWriter, r *http.Request) {
	specs := []any{}
	for _, s := range c.registered() {
		specs = append(specs, s.spec)
	}
	answerPage(w, r, specs)
}

func (c *Cloud) subscriptionByID(w http.ResponseWriter, r *http.Request) {
	if s := c.named(r); s != nil {
		answerJSON(w, http.StatusOK, s.spec)
	} else {
		notFound(w)
	}
}

func (c *Cloud) unsubscribe(w http.ResponseWriter, r *http.Request) {
	if c.unregister(r.PathValue("id")) {
		w.WriteHeader(http.StatusNoContent)
	} else {
		notFound(w)
	}
}

func notFound(w http.ResponseWriter) {
	answerJSON(w, http.StatusNotFound, map[string]string{"code": "not.found", "message": "The requested resource was not found."})
}

// resources lists the resources of a type that are there now.
func (c *Cloud) resources(kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var ids []string // in order of creation
		last := map[string]message{}
		for _, e := range c.log.all(func(e entry) bool { return isChange(e.message) && e.subject.key.Type == kind }) {
			id := e.subject.key.ID
			if m, seen := last[id]; !seen {
				ids = append(ids, id)
			} else if m.tsMs > e.tsMs {
				continue
			}
			last[id] = e.message
		}
		all := []any{}
		for _, id := range ids {
			if m := last[id]; m.kind != DeliveryDelete {
				all = append(all, rawJSON(genesysTraffic{}.resource(m)))
			}
		}
		answerPage(w, r, all)
	}
}

// answerPage writes the page of all that the query asks for.
func answerPage(w http.ResponseWriter, r *http.Request, all []any) {
	number, size := 1, 25
	for name, field := range map[string]*int{"pageNumber": &number, "pageSize": &size} {
		if n, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil && n > 0 {
			*field = n
		}
	}
	answerJSON(w, http.StatusOK, pageOf(all, number, size))
}

// pageOf is a page as Genesys answers it; pages are numbered from 1.
func pageOf(all []any, number, size int) map[string]any {
	from := min((number-1)*size, len(all))
	return map[string]any{
		"entities": all[from:min(from+size, len(all))], "pageSize": size, "pageNumber": number,
		"total": len(all), "pageCount": (len(all) + size - 1) / size,
	}
}

// rawJSON is JSON that is there already.
type rawJSON []byte

// MarshalJSON implements [json.Marshaler].
func (j rawJSON) MarshalJSON() ([]byte, error) { return j, nil }

// isChange reports whether m tells, for the first time, that a configuration
// resource changed.
func isChange(m message) bool {
	switch m.kind {
	case DeliveryEvent, DeliveryDelete, DeliveryLate:
		_, configured := auditedTypes[m.subject.key.Type]
		return configured
	}
	return false
}

// auditedTypes are, by resource type, what audits call it and its service.
var auditedTypes = map[string]struct{ entity, service string }{
	"user": {"User", "Directory"}, "queue": {"Queue", "Routing"}, "flow": {"Flow", "Architect"},
}

// audited is the action of a change as an audit names it.
func audited(m message) string {
	switch m.action {
	case "created":
		return "Create"
	case "updated":
		return "Update"
	case "published":
		return "Publish"
	case "deleted":
		return "Delete"
	}
	return m.action // that of an audit
}

// asAudit is the audit of a change. It is the same event, of the same id, as what
// was pushed of it.
func asAudit(m message) message {
	m.action = audited(m)
	return m
}
