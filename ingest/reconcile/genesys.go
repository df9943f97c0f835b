package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"trunkline/ingest/outbound"
	"trunkline/vendors"
)

// GenesysServices are queried where the configuration names none: those of users,
// queues and flows.
var GenesysServices = []string{"Directory", "Routing", "Architect"}

const (
	auditOverlap  = 5 * time.Minute
	auditSettles  = 30 * time.Second    // after which an audit can be found
	auditRealtime = 13 * 24 * time.Hour // of the vendor's 14 days, with room for the run
	auditPage     = 100                 // audits, answered at once
	resultPage    = 500                 // audits of an execution, the vendor's most

	executionPoll    = 2 * time.Second  // before the first question for its state, growing by half
	executionPollMax = 30 * time.Second // between two questions
	executionTimeout = 15 * time.Minute

	servicesKept = time.Hour
	audits       = "/api/v2/audits/query"
)

// genesys queries audits.
// https://developer.genesys.cloud/platform/auditing/
type genesys struct {
	caller
	async    bool
	services map[string]serviceMapping // by path, as the vendor told last
}

func (g *genesys) overlap() time.Duration { return auditOverlap }

func (g *genesys) hint(string) string { return "" } // an audit tells what it is

func (g *genesys) changes(ctx context.Context, service string, since time.Time, keep keep) error {
	to := g.now().Add(-auditSettles).Truncate(time.Second)
	q := auditQuery{
		Interval:    since.UTC().Truncate(time.Second).Format(time.RFC3339) + "/" + to.UTC().Format(time.RFC3339),
		ServiceName: service,
	}
	if g.async || g.now().Sub(since) > auditRealtime {
		return g.execute(ctx, q, to, keep)
	}
	return g.realtime(ctx, q, to, keep)
}

// auditQuery is AuditQueryRequest and AuditRealtimeQueryRequest of the vendor's SDK.
type auditQuery struct {
	Interval    string `json:"interval"`
	ServiceName string `json:"serviceName"`
	PageNumber  int    `json:"pageNumber,omitempty"` // realtime
	PageSize    int    `json:"pageSize,omitempty"`   // realtime
}

// auditsPage is a page of either kind of query.
type auditsPage struct {
	Entities  json.RawMessage `json:"entities"`
	PageCount int             `json:"pageCount"` // realtime
	Cursor    string          `json:"cursor"`    // of an execution; absent on its last page
}

// realtime asks page by page.
func (g *genesys) realtime(ctx context.Context, q auditQuery, to time.Time, keep keep) error {
	if err := g.offers(ctx, audits+"/realtime", q.ServiceName); err != nil {
		return err
	}
	for q.PageNumber, q.PageSize = 1, auditPage; q.PageNumber <= maxPages; q.PageNumber++ {
		a, err := g.post(ctx, audits+"/realtime", q)
		if err != nil {
			return err
		}
		page, records, err := readAudits(a)
		if err != nil {
			return err
		}
		// Without a count, an empty page is the last.
		if q.PageNumber >= page.PageCount && (page.PageCount > 0 || len(records) == 0) {
			return keep(records, to)
		}
		if err := keep(records, time.Time{}); err != nil {
			return err
		}
	}
	return errTooManyPages
}

var errTooManyPages = fmt.Errorf("the list has more than %d pages", maxPages)

// execute has the vendor work the query out, and fetches what it found.
func (g *genesys) execute(ctx context.Context, q auditQuery, to time.Time, keep keep) error {
	if err := g.offers(ctx, audits, q.ServiceName); err != nil {
		return err
	}
	a, err := g.post(ctx, audits, q)
	if err != nil {
		return err
	}
	id, err := g.executed(ctx, a)
	if err != nil {
		return err
	}
	query := url.Values{"pageSize": {strconv.Itoa(resultPage)}}
	for range maxPages {
		a, err := g.get(ctx, audits+"/"+id+"/results", query)
		if err != nil {
			return err
		}
		page, records, err := readAudits(a)
		if err != nil {
			return err
		}
		if page.Cursor == "" {
			return keep(records, to)
		}
		if page.Cursor == query.Get("cursor") {
			return errors.New("the vendor answers the same cursor again")
		}
		if err := keep(records, time.Time{}); err != nil {
			return err
		}
		query.Set("cursor", page.Cursor)
	}
	return errTooManyPages
}

// executed waits until the execution that a tells of has succeeded, and returns its id.
func (g *genesys) executed(ctx context.Context, a answer) (id string, err error) {
	began := g.now()
	for pause := executionPoll; ; pause = min(pause*3/2, executionPollMax) {
		var execution struct {
			ID    string `json:"id"`
			State string `json:"state"` // Queued, Running, Succeeded, Failed, Cancelled
		}
		if err := a.decode(&execution); err != nil {
			return "", err
		}
		if id == "" {
			id = url.PathEscape(execution.ID)
		}
		switch {
		case id == "":
			return "", errors.New("the vendor gave the query no id")
		case strings.EqualFold(execution.State, "Succeeded"):
			return id, nil
		case strings.EqualFold(execution.State, "Failed"), strings.EqualFold(execution.State, "Cancelled"):
			return "", errors.New("the vendor failed to execute the query")
		case g.now().Sub(began) > executionTimeout:
			return "", fmt.Errorf("the vendor did not execute the query within %s", executionTimeout)
		}
		if !outbound.Sleep(ctx, pause) {
			return "", ctx.Err()
		}
		if a, err = g.get(ctx, audits+"/"+id, nil); err != nil {
			return "", err
		}
	}
}

func readAudits(a answer) (page auditsPage, records [][]byte, err error) {
	if err := a.decode(&page); err != nil {
		return auditsPage{}, nil, err
	}
	records, isArray, err := vendors.Split(page.Entities)
	if err != nil || !isArray {
		return auditsPage{}, nil, errors.New("the answer has no audits: entities is no array")
	}
	return page, records, nil
}

// serviceMapping is what the vendor can be asked for.
type serviceMapping struct {
	Services []struct {
		Name string `json:"name"`
	} `json:"services"`
	told time.Time
}

// offers returns an error where audits of the service cannot be queried at path.
func (g *genesys) offers(ctx context.Context, path, service string) error {
	m, known := g.services[path]
	if !known || g.now().Sub(m.told) > servicesKept {
		m = serviceMapping{}
		a, err := g.get(ctx, path+"/servicemapping", nil)
		if err != nil {
			return err
		}
		if err := a.decode(&m); err != nil {
			return err
		}
		m.told = g.now()
		g.services[path] = m
	}
	for _, s := range m.Services {
		if s.Name == service {
			return nil
		}
	}
	delete(g.services, path) // it may be there next time
	return fmt.Errorf("reconcile.services: %q is no service whose audits the vendor offers at %s/servicemapping; correct its name, or set mode: async", service, path)
}
