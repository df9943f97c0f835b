package embedded

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// listed is a record of a list, and when it was updated.
type listed struct {
	tsMs int64
	body []byte
}

// list answers what of a list was updated since a time, in order of the updates,
// by skip and top; 204 when nothing was. What a list holds follows from the log.
func (c *Cloud) list(name string, of func([]entry) []listed) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		since := time.Unix(0, 0)
		if text := r.URL.Query().Get("updatedSince"); text != "" {
			var err error
			if since, err = time.Parse(time.RFC3339, text); err != nil {
				w.Header().Set("icStatusDescription", "updatedSince: want a time, ISO 8601")
				w.WriteHeader(http.StatusBadRequest)
				return
			}
		}
		polled := time.Now()
		records := of(c.log.all(func(e entry) bool {
			return e.raw == nil && (e.kind == DeliveryEvent || e.kind == DeliveryLate)
		}))
		records = slices.DeleteFunc(records, func(l listed) bool { return l.tsMs < since.UnixMilli() })
		if len(records) == 0 {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		slices.SortStableFunc(records, func(a, b listed) int { return int(a.tsMs - b.tsMs) })
		skip, top := skipAndTop(r)
		from := min(skip, len(records))
		to := min(from+top, len(records))
		page := []rawJSON{}
		for _, l := range records[from:to] {
			page = append(page, l.body)
		}
		links := map[string]string{}
		if to < len(records) {
			next := *r.URL
			query := next.Query()
			query.Set("skip", strconv.Itoa(to))
			next.RawQuery = query.Encode()
			links["next"] = "http://" + r.Host + next.RequestURI()
		}
		answerJSON(w, http.StatusOK, map[string]any{
			"businessUnitId": 4593, "lastPollTime": isoMillis(polled.UnixMilli()), "totalRecords": len(records), "_links": links, name: page,
		})
	}
}

// skipAndTop are the place and the size of a page.
func skipAndTop(r *http.Request) (skip, top int) {
	skip, _ = strconv.Atoi(r.URL.Query().Get("skip"))
	top, err := strconv.Atoi(r.URL.Query().Get("top"))
	if err != nil || top < 1 || top > 10_000 {
		top = 1000
	}
	return max(0, skip), top
}

// newest keeps, of each record that is updated by entries, the newest version.
func newest(es []entry, id func(message) string, write func(message) []byte) (all []listed) {
	last := map[string]message{}
	var order []string
	for _, e := range es {
		key := id(e.message)
		m, seen := last[key]
		if key == "" || seen && m.tsMs > e.tsMs {
			continue
		}
		if !seen {
			order = append(order, key)
		}
		last[key] = e.message
	}
	for _, key := range order {
		all = append(all, listed{last[key].tsMs, write(last[key])})
	}
	return all
}

// skillOf is the skill by which the calls of a subject are routed.
func skillOf(m message) int { return 9001 + m.subject.n%len(departments) }

// assigned reports whether m tells what the agent of its calls does: each subject
// has one of its own.
func assigned(m message) bool { return m.action == "AGENT_ASSIGNED" || m.action == "CALL_ENDED" }

func agentsOf(es []entry) []listed {
	return newest(es, func(m message) string {
		if m.action != "AGENT_ASSIGNED" {
			return ""
		}
		return m.subject.peer
	}, func(m message) []byte {
		return fmt.Appendf(nil, `{"agentId":%s,"userName":"agent.%d@example.com","firstName":"Agent","lastName":"%[2]d","emailAddress":"agent.%[2]d@example.com","isActive":true,"teamId":71,"teamName":%s,"profileId":12,"lastUpdated":"%s","timeZone":"(GMT-05:00) Eastern","inactiveDate":null}`,
			m.subject.peer, m.subject.n, quote(m.text), isoMillis(m.tsMs))
	})
}

func skillsOf(es []entry) []listed {
	return newest(es, func(m message) string {
		if m.action != "QUEUE_ENTERED" || m.subject.revision > len(callSteps) { // told by first calls alone
			return ""
		}
		return strconv.Itoa(skillOf(m))
	}, func(m message) []byte {
		return fmt.Appendf(nil, `{"skillId":%d,"skillName":%s,"mediaTypeId":4,"mediaTypeName":"Call","isActive":true,"campaignId":3,"lastUpdated":"%s"}`,
			skillOf(m), quote(m.text), isoMillis(m.tsMs))
	})
}

func statesOf(es []entry) []listed {
	return newest(es, func(m message) string {
		if !assigned(m) {
			return ""
		}
		return m.subject.peer
	}, func(m message) []byte {
		state := map[bool]string{true: "InboundContact", false: "Available"}[m.action == "AGENT_ASSIGNED"]
		return fmt.Appendf(nil, `{"agentId":%s,"agentStateId":%d,"agentStateName":"%s","startDate":"%s","teamId":71,"skillId":%d,"isActive":true}`,
			m.subject.peer, len(state), state, isoMillis(m.tsMs), skillOf(m))
	})
}

func membersOf(es []entry) []listed {
	return newest(es, func(m message) string {
		if m.action != "AGENT_ASSIGNED" || m.subject.revision > len(callSteps) {
			return ""
		}
		return m.subject.peer
	}, func(m message) []byte {
		return fmt.Appendf(nil, `{"agentId":%s,"skillId":%d,"isActive":true,"agentProficiencyValue":3,"lastUpdated":"%s"}`,
			m.subject.peer, skillOf(m), isoMillis(m.tsMs))
	})
}

func completedOf(es []entry) []listed {
	return newest(es, func(m message) string {
		if m.action != "CALL_ENDED" {
			return ""
		}
		return m.subject.key.ID
	}, func(m message) []byte {
		return fmt.Appendf(nil, `{"contactId":%s,"masterContactId":%[1]s,"contactStart":"%s","lastUpdateTime":"%s","agentId":%s,"skillId":%d,"skillName":%s,"teamId":71,"campaignId":3,"mediaTypeId":4,"mediaTypeName":"Call","isOutbound":false,"abandoned":false,"fromAddr":"1317555%04d","toAddr":"8005550199","inQueueSeconds":%d,"agentSeconds":%d,"ACWSeconds":30}`,
			m.subject.key.ID, isoMillis(m.tsMs-300_000), isoMillis(m.tsMs), m.subject.peer, skillOf(m), quote(m.text), m.subject.n, m.subject.n%60, 300+m.subject.n)
	})
}
