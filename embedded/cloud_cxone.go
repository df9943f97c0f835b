package embedded

import (
	"net/http"
	"slices"
)

// routeCXone serves what CXone serves: tokens for access keys, webhooks of the
// guide, and the lists that are polled, below /incontactapi/services/v33.0.
func (c *Cloud) routeCXone() {
	c.mux.HandleFunc("POST /authentication/v1/token/access-key", c.loginByKey)
	c.mux.HandleFunc("POST /public/user/refresh", c.refreshLogin)
	for pattern, serve := range map[string]http.HandlerFunc{
		"GET /ic3api/v2/integrations/webhooks":         c.listWebhooks,
		"POST /ic3api/v2/integrations/webhooks":        c.hook,
		"PUT /ic3api/v2/integrations/webhooks/{id}":    c.hook,
		"DELETE /ic3api/v2/integrations/webhooks/{id}": c.unsubscribe,

		"GET " + CXoneServices + "/agents":             c.list("agents", agentsOf),
		"GET " + CXoneServices + "/skills":             c.list("skills", skillsOf),
		"GET " + CXoneServices + "/agents/states":      c.list("agentStates", statesOf),
		"GET " + CXoneServices + "/agents/skills":      c.list("agentSkillAssignments", membersOf),
		"GET " + CXoneServices + "/contacts/completed": c.list("completedContacts", completedOf),
	} {
		c.mux.HandleFunc(pattern, c.authorised(serve))
	}
}

// CXoneServices stands before the lists that a cloud of CXone is polled for.
const CXoneServices = "/incontactapi/services/v33.0"

// loginByKey gives a token for an access key.
func (c *Cloud) loginByKey(w http.ResponseWriter, r *http.Request) {
	var key struct{ AccessKeyID, AccessKeySecret string }
	if !readJSON(w, r, &key) {
		return
	}
	if key.AccessKeyID != c.cfg.ClientID || key.AccessKeySecret != c.cfg.ClientSecret {
		answerJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_credentials"})
		return
	}
	access, refresh := c.tokens.give()
	answerJSON(w, http.StatusOK, map[string]any{
		"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": int(c.cfg.TokenLife.Seconds()),
	})
}

// refreshLogin gives a token for the refresh token of the last, under other names.
func (c *Cloud) refreshLogin(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Token string }
	if !readJSON(w, r, &asked) {
		return
	}
	if !c.tokens.redeem(asked.Token) {
		answerJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_token"})
		return
	}
	access, refresh := c.tokens.give()
	answerJSON(w, http.StatusOK, map[string]any{
		"token": access, "refreshToken": refresh,
		"tokenExpirationTimeSec": int(c.cfg.TokenLife.Seconds()), "refreshTokenExpirationTimeSec": int(2 * c.cfg.TokenLife.Seconds()),
	})
}

// hook registers a webhook, or replaces one. Its name and URL are its own.
func (c *Cloud) hook(w http.ResponseWriter, r *http.Request) {
	var spec map[string]any
	if !readJSON(w, r, &spec) {
		return
	}
	var events []string
	list, _ := spec["events"].([]any)
	for _, e := range list {
		name, _ := e.(string)
		events = append(events, name)
	}
	s := &subscription{id: r.PathValue("id"), spec: spec, wants: func(m message) bool { return slices.Contains(events, m.action) }}
	s.URL, _ = spec["url"].(string)
	s.name, _ = spec["name"].(string)
	authentication, _ := spec["authentication"].(map[string]any)
	s.Token, _ = authentication["token"].(string)
	status := http.StatusOK
	switch taken := slices.ContainsFunc(c.registered(), func(o *subscription) bool { return o.name == s.name && o.id != s.id }); {
	case s.URL == "" || len(events) == 0:
		status = http.StatusBadRequest
	case s.id != "" && c.named(r) == nil:
		status = http.StatusNotFound
	case taken:
		status = http.StatusConflict
	case s.id == "":
		status = http.StatusCreated
	}
	if status/100 != 2 {
		answerJSON(w, status, map[string]string{"error": "invalid_webhook"})
		return
	}
	spec["id"] = s.id
	c.register(s)
	answerJSON(w, status, spec)
}

func (c *Cloud) listWebhooks(w http.ResponseWriter, r *http.Request) {
	specs := []any{}
	for _, s := range c.registered() {
		specs = append(specs, s.spec)
	}
	skip, top := skipAndTop(r)
	skip = min(skip, len(specs))
	answerJSON(w, http.StatusOK, map[string]any{"webhooks": specs[skip:min(skip+top, len(specs))]})
}
