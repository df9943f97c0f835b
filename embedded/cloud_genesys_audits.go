package embedded

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// auditQuery is what a call asks the audits for.
type auditQuery struct {
	Interval    string        `json:"interval"` // ISO 8601, from/to
	ServiceName string        `json:"serviceName"`
	Filters     []auditFilter `json:"filters"`
	PageNumber  int           `json:"pageNumber"`
	PageSize    int           `json:"pageSize"`

	from, to time.Time
	asked    int // how often its state was asked for
}

type auditFilter struct {
	Property string `json:"property"`
	Value    string `json:"value"`
}

// readAuditQuery reads a query, or answers what is wrong with it.
func readAuditQuery(w http.ResponseWriter, r *http.Request) (q auditQuery, ok bool) {
	if !readJSON(w, r, &q) {
		return q, false
	}
	from, to, _ := strings.Cut(q.Interval, "/")
	var err, err2 error
	q.from, err = time.Parse(time.RFC3339, from)
	q.to, err2 = time.Parse(time.RFC3339, to)
	if err != nil || err2 != nil || !q.from.Before(q.to) {
		answerJSON(w, http.StatusBadRequest, map[string]string{"code": "bad.request", "message": "interval: want two ISO-8601 times, from/to"})
		return q, false
	}
	return q, true
}

// auditsOf are the audits that q asks for, in order of their dates. Every change of
// a resource is audited, whatever else told of it, under the same id.
func (c *Cloud) auditsOf(q auditQuery) []any {
	changes := c.log.all(func(e entry) bool {
		at, of := time.UnixMilli(e.tsMs), auditedTypes[e.subject.key.Type]
		if !isChange(e.message) || at.Before(q.from) || !at.Before(q.to) || q.ServiceName != "" && q.ServiceName != of.service {
			return false
		}
		for _, f := range q.Filters {
			values := map[string]string{"EntityType": of.entity, "EntityId": e.subject.key.ID, "Action": audited(e.message), "UserId": e.subject.peer}
			if values[f.Property] != f.Value {
				return false
			}
		}
		return true
	})
	slices.SortStableFunc(changes, func(a, b entry) int { return int(a.tsMs - b.tsMs) })
	all := []any{}
	for _, e := range changes {
		all = append(all, rawJSON(queriedAudit(e.message)))
	}
	return all
}

// queriedAudit is an audit as the query tells it, under other names than the topic.
func queriedAudit(m message) []byte {
	m = asAudit(m)
	service, entity, changed := auditOf(m)
	return fmt.Appendf(nil, `{"id":"%s","userHomeOrgId":"%s","user":{"id":"%s","selfUri":"/api/v2/users/%[3]s"},"client":{"id":""},"remoteIp":["203.0.113.7"],"serviceName":"%s","level":"USER","eventDate":"%s","action":"%s","entity":{"id":%s,"name":"%s %d"},"entityType":"%[8]s","status":"SUCCESS","application":"","initiatingAction":{},"transactionInitiator":false,"propertyChanges":%[10]s,"context":{},"entityChanges":[]}`,
		m.id, genesysOrganization, m.subject.peer, service, isoMillis(m.tsMs), m.action, quote(m.subject.key.ID), entity, m.subject.n, changed)
}

func (c *Cloud) auditsRealtime(w http.ResponseWriter, r *http.Request) {
	q, ok := readAuditQuery(w, r)
	if !ok {
		return
	}
	q.PageNumber = cmp.Or(q.PageNumber, 1)
	q.PageSize = cmp.Or(q.PageSize, 25)
	answerJSON(w, http.StatusOK, pageOf(c.auditsOf(q), q.PageNumber, q.PageSize))
}

// askAudits begins a query whose results are fetched later.
func (c *Cloud) askAudits(w http.ResponseWriter, r *http.Request) {
	q, ok := readAuditQuery(w, r)
	if !ok {
		return
	}
	c.mu.Lock()
	id := uuid.NewSHA1(uuid.Nil, fmt.Appendf(nil, "%d/audits/%d", c.cfg.Seed, len(c.audits))).String()
	c.audits[id] = &q
	c.mu.Unlock()
	answerJSON(w, http.StatusAccepted, map[string]any{"id": id, "state": "Queued", "interval": q.Interval, "serviceName": q.ServiceName})
}

// auditState answers that a query runs, the first time, and then that it is done.
func (c *Cloud) auditState(w http.ResponseWriter, r *http.Request) {
	q, known := c.auditQuery(r)
	if !known {
		notFound(w)
		return
	}
	state := "Running"
	if q.asked > 1 {
		state = "Succeeded"
	}
	answerJSON(w, http.StatusOK, map[string]any{"id": r.PathValue("id"), "state": state, "interval": q.Interval, "serviceName": q.ServiceName})
}

func (c *Cloud) auditQuery(r *http.Request) (q auditQuery, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.audits[r.PathValue("id")]
	if kept == nil {
		return q, false
	}
	kept.asked++
	return *kept, true
}

// auditResults answers a page, whose cursor is where the next one begins.
func (c *Cloud) auditResults(w http.ResponseWriter, r *http.Request) {
	q, known := c.auditQuery(r)
	if !known {
		notFound(w)
		return
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	size, _ := strconv.Atoi(r.URL.Query().Get("pageSize"))
	size = cmp.Or(size, 25)
	all := c.auditsOf(q)
	from = max(0, min(from, len(all)))
	to := min(from+size, len(all))
	answer := map[string]any{"id": r.PathValue("id"), "pageSize": size, "entities": all[from:to]}
	if to < len(all) {
		answer["cursor"] = strconv.Itoa(to)
	}
	answerJSON(w, http.StatusOK, answer)
}

// auditServices answers which services audit what.
func (c *Cloud) auditServices(w http.ResponseWriter, _ *http.Request) {
	services := []any{}
	for _, kind := range []string{"user", "queue", "flow"} {
		actions := []string{"Create", "Update", "Delete"}
		if kind == "flow" {
			actions = append(actions, "Publish")
		}
		of := auditedTypes[kind]
		services = append(services, map[string]any{
			"name": of.service, "entities": []any{map[string]any{"name": of.entity, "actions": actions}},
		})
	}
	answerJSON(w, http.StatusOK, map[string]any{"services": services})
}
