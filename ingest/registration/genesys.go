package registration

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Subscription is a push subscription of Genesys.
type Subscription struct {
	Name        string
	CallbackURL string
	Filters     []Filter
}

// Filter is one kind of events that is delivered.
type Filter struct {
	ResourceType string `json:"resourceType" yaml:"resource_type"`
	EventType    string `json:"eventType" yaml:"event_type"`
	Condition    string `json:"condition" yaml:"condition,omitempty"`
}

// DefaultFilters are the changes of users, queues and flows. The guide's own list
// lacks the deletes that it tells how to handle.
func DefaultFilters() []Filter {
	var all []Filter
	for _, resource := range []string{"user", "queue", "flow"} {
		for _, event := range []string{"created", "updated", "deleted"} {
			all = append(all, Filter{ResourceType: resource, EventType: event})
		}
	}
	return append(all, Filter{ResourceType: "flow", EventType: "published"})
}

// anyCondition is that of a filter that names none.
const anyCondition = "any"

// Check implements [Wanted]. A subscription to all events of the organisation is
// refused: heartbeats and system events would drown the changes.
func (s Subscription) Check(wrong func(field, format string, args ...any)) {
	if len(s.Filters) == 0 {
		wrong("filters", "is empty, which would subscribe to every event of the organisation; name a resource_type and an event_type, or leave filters out for users, queues and flows")
	}
	seen := map[Filter]bool{}
	for i, f := range s.filters() {
		name := fmt.Sprintf("filters[%d]", i)
		if wildcard(f.ResourceType) {
			wrong(name+".resource_type", "%q would subscribe to every resource of the organisation; name one, as user", f.ResourceType)
		}
		if wildcard(f.EventType) {
			wrong(name+".event_type", "%q would subscribe to every event of the resource; name one, as updated", f.EventType)
		}
		if seen[f] {
			wrong(name, "stands there twice; leave one out")
		}
		seen[f] = true
	}
}

// wildcard tells whether s stands for everything.
func wildcard(s string) bool {
	s = strings.TrimSpace(s)
	return s == "" || strings.Contains(s, "*") || strings.EqualFold(s, "any") || strings.EqualFold(s, "all")
}

func (s Subscription) filters() []Filter {
	all := make([]Filter, len(s.Filters))
	for i, f := range s.Filters {
		if all[i] = f; f.Condition == "" {
			all[i].Condition = anyCondition
		}
	}
	return all
}

// genesysBody is a subscription on the wire.
type genesysBody struct {
	ID          string   `json:"id,omitempty"`
	Name        string   `json:"name"`
	Type        string   `json:"type"`
	CallbackURL string   `json:"callbackUrl"`
	Filters     []Filter `json:"filters"`
	Format      string   `json:"format"`
}

func (s Subscription) wire() genesysBody {
	return genesysBody{Name: s.Name, Type: "PUSH", CallbackURL: s.CallbackURL, Filters: s.filters(), Format: "JSON"}
}

func (s Subscription) body() ([]byte, error) { return json.Marshal(s.wire()) }

func (s Subscription) record() record { return s.wire().record() }

func (b genesysBody) record() record {
	r := record{id: b.ID, name: b.Name, url: b.CallbackURL, fields: []field{
		{"name", b.Name, quoted}, {"type", b.Type, quoted}, {"callbackUrl", b.CallbackURL, withoutQuery},
	}}
	for _, f := range b.Filters {
		r.fields = append(r.fields, field{"filters", fmt.Sprintf("%s %s, condition %s", quoted(f.ResourceType), quoted(f.EventType), quoted(f.Condition)), plain})
	}
	r.fields = append(r.fields, field{"format", b.Format, quoted})
	return r
}

// genesysPageSize is the largest that lists of Genesys have in common.
const genesysPageSize = 100

func (Subscription) at() vendorAPI {
	query := func(page int) string { return fmt.Sprintf("?pageSize=%d&pageNumber=%d", genesysPageSize, page) }
	return vendorAPI{
		path: "/api/v2/eventstreams/subscriptions", query: query(1),
		reads: "eventstreams:read", writes: "eventstreams:write",
		// As all lists of the vendor's API.
		page: func(text []byte, _ string) (page, error) {
			var list struct {
				Entities   []json.RawMessage `json:"entities"`
				PageNumber int               `json:"pageNumber"`
				PageCount  int               `json:"pageCount"`
			}
			if err := json.Unmarshal(text, &list); err != nil {
				return page{}, errNoList
			}
			p := page{records: records[genesysBody](list.Entities)}
			if list.PageNumber < list.PageCount {
				p.next = query(list.PageNumber + 1)
			}
			return p, nil
		},
	}
}
