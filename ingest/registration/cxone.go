package registration

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"trunkline/ingest/redacted"
)

// Webhook is a webhook of CXone.
type Webhook struct {
	Name   string
	URL    string
	Events []string
	Token  redacted.Text // that deliveries carry
	// SendToken sends the token also to a vendor that does not show which one the
	// webhook has.
	SendToken bool
}

// DefaultEvents are those of the guide.
func DefaultEvents() []string {
	return []string{"CALL_STARTED", "CALL_ENDED", "QUEUE_ENTERED", "AGENT_ASSIGNED"}
}

// Check implements [Wanted].
func (w Webhook) Check(wrong func(field, format string, args ...any)) {
	if len(w.Events) == 0 {
		wrong("events", "is empty; name events, or leave it out for those of calls")
	}
	seen := map[string]bool{}
	for i, e := range w.Events {
		if wildcard(e) {
			wrong(fmt.Sprintf("events[%d]", i), "%q would order every event; name one, as CALL_STARTED", e)
		}
		if seen[e] {
			wrong(fmt.Sprintf("events[%d]", i), "stands there twice; leave one out")
		}
		seen[e] = true
	}
}

// cxoneBody is a webhook on the wire.
type cxoneBody struct {
	ID             string              `json:"id,omitempty"`
	Name           string              `json:"name"`
	URL            string              `json:"url"`
	Events         []string            `json:"events"`
	Authentication cxoneAuthentication `json:"authentication"`
	RetryPolicy    cxoneRetryPolicy    `json:"retryPolicy"`
}

type cxoneAuthentication struct {
	Type  string `json:"type"`
	Token string `json:"token"`
}

type cxoneRetryPolicy struct {
	MaxRetries int `json:"maxRetries"`
	BackoffMs  int `json:"backoffMs"`
}

func (w Webhook) wire() cxoneBody {
	return cxoneBody{
		Name: w.Name, URL: w.URL, Events: w.Events,
		Authentication: cxoneAuthentication{Type: "bearer", Token: string(w.Token)},
		RetryPolicy:    cxoneRetryPolicy{MaxRetries: 5, BackoffMs: 1000}, // the guide's
	}
}

func (w Webhook) body() ([]byte, error) { return json.Marshal(w.wire()) }

func (w Webhook) record() record {
	r := w.wire().record()
	r.sendToken = w.SendToken
	return r
}

// tokenField holds a secret, or nothing where the vendor does not show it.
const tokenField = "authentication.token"

func (b cxoneBody) record() record {
	r := record{id: b.ID, name: b.Name, url: b.URL, fields: []field{{"name", b.Name, quoted}, {"url", b.URL, withoutQuery}}}
	for _, e := range b.Events {
		r.fields = append(r.fields, field{"events", e, quoted})
	}
	token := b.Authentication.Token
	if masked(token) {
		token = ""
	}
	r.fields = append(r.fields,
		field{"authentication.type", b.Authentication.Type, quoted},
		field{tokenField, token, func(string) string { return hidden }},
		field{"retryPolicy.maxRetries", strconv.Itoa(b.RetryPolicy.MaxRetries), plain},
		field{"retryPolicy.backoffMs", strconv.Itoa(b.RetryPolicy.BackoffMs), plain},
	)
	return r
}

// masked tells whether a vendor shows something in the place of a token.
func masked(token string) bool {
	return strings.Contains(token, "**") || strings.Contains(token, "••")
}

// cxonePageSize is how many webhooks are asked for at once.
const cxonePageSize = 100

func (Webhook) at() vendorAPI {
	query := func(skip int) string { return fmt.Sprintf("?skip=%d&top=%d", skip, cxonePageSize) }
	return vendorAPI{
		path: "/ic3api/v2/integrations/webhooks", query: query(0),
		reads: "webhook:manage", writes: "webhook:manage",
		// A list, bare or with the link of the next page; without a link, a full
		// page is followed by another.
		page: func(text []byte, asked string) (page, error) {
			var list struct {
				Webhooks []json.RawMessage `json:"webhooks"`
				Links    struct {
					Next string `json:"next"`
				} `json:"_links"`
			}
			if json.Unmarshal(text, &list.Webhooks) != nil && json.Unmarshal(text, &list) != nil {
				return page{}, errNoList
			}
			p := page{records: records[cxoneBody](list.Webhooks), next: list.Links.Next}
			if values, err := url.ParseQuery(asked); p.next == "" && len(p.records) == cxonePageSize && err == nil {
				skip, _ := strconv.Atoi(values.Get("skip")) // 0 where a link had no skip
				p.next = query(skip + cxonePageSize)
			}
			return p, nil
		},
	}
}
