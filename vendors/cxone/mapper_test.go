package cxone

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/event"
)

func TestMap(t *testing.T) {
	type want struct {
		key, id, op, typ string
		ts               int64
		source           event.TsSource
		image            string
		md               map[string]string
	}
	const head = `"eventId":"e1","tenantId":"11e85da0","timestamp":"2026-11-22T01:50:00.123Z"`
	for _, tt := range []struct {
		name, body, hint string
		want             want // fields left empty are not compared, but for md
		reason           event.Reason
		detail           string // the rejection names it
		filtered         string
	}{
		{name: "transfer keeps the master", body: `{` + head + `,"eventType":"CALL_STARTED","data":{"contactId":"2","masterContactId":"1"}}`,
			want: want{key: "cxone/acme/conversation/1", id: "e1", op: "c", typ: "conversation.started", ts: 1795312200123, source: event.TsEvent,
				image: `{"contactId":"2","masterContactId":"1","startedMs":1795312200123,"status":"started"}`}},
		{name: "contact without master", body: `{` + head + `,"eventType":"CALL_ENDED","data":{"contactId":427000000001,"masterContactId":""}}`,
			want: want{key: "cxone/acme/conversation/427000000001", op: "u", typ: "conversation.ended"}},
		{name: "odd id", body: `{` + head + `,"eventType":"QUEUE_ENTERED","data":{"masterContactId":"a/b#c\u0000é"}}`,
			want: want{key: "cxone/acme/conversation/a%2Fb%23c%00é"}},
		{name: "no id, no time", body: `{"eventType":"QUEUE_ENTERED","data":{"masterContactId":"1"}}`,
			want: want{id: "03dc5e6f-ba4c-51da-9cdf-ac74246a539f", ts: 1795400000000, source: event.TsIngest, image: `{"masterContactId":"1","status":"queued"}`}},
		{name: "time of the contact", body: `{"eventId":"e","eventType":"QUEUE_ENTERED","data":{"masterContactId":"1","lastUpdateTime":"1795312200"}}`,
			want: want{ts: 1795312200000, source: event.TsEvent}},
		{name: "vendor's own status", body: `{` + head + `,"eventType":"AGENT_ASSIGNED","data":{"masterContactId":"1","status":"Active"}}`,
			want: want{image: `{"masterContactId":"1","status":"assigned"}`, md: map[string]string{"x_data.status": `"Active"`}}},
		{name: "unknown field", body: `{` + head + `,"eventType":"AGENT_ASSIGNED","data":{"masterContactId":"1"},"shard":[1, 2]}`,
			want: want{op: "u", md: map[string]string{"x_shard": `[1,2]`}}},
		{name: "unmapped type", body: `{` + head + `,"eventType":"CALL_PARKED","data":{"masterContactId":"1","slot":4}}`,
			want: want{key: "cxone/acme/conversation/1", op: "u", typ: "cxone.call_parked", image: `{"masterContactId":"1","slot":4}`, md: map[string]string{"unmapped_action": "CALL_PARKED"}}},
		{name: "no entity", body: `{` + head + `,"eventType":"SURVEY_SENT","data":{"to":"x"}}`,
			want: want{key: "cxone/acme/-/01934f5e-0000-7000-8000-000000000000%2F0", op: "none", typ: "cxone.survey_sent", image: `{"to":"x"}`}},
		{name: "no entity, no data", body: `{` + head + `,"eventType":"SURVEY_SENT"}`, want: want{op: "none", image: `{}`}},
		{name: "too large to be sent", body: `{` + head + `,"eventType":"EventInS3","data":{"s3Object":{"url":"https://x"},"originEvent":{"eventType":"CaseCreated"}}}`,
			want: want{op: "none", typ: "cxone.eventins3"}},
		{name: "heartbeat", body: `{` + head + `,"eventType":"HEARTBEAT"}`, filtered: "heartbeat"},

		// Digital events.
		{name: "case created", body: `{"eventId":"d1","eventType":"CaseCreated","createdAt":"2026-11-22T01:50:00.123Z","data":{"brand":{"id":1},"case":{"id":7,"status":"new"}}}`,
			want: want{key: "cxone/acme/conversation/7", id: "d1", op: "c", typ: "conversation.started", ts: 1795312200123, source: event.TsEvent,
				image: `{"brand":{"id":1},"caseId":7,"caseStatus":"new","startedMs":1795312200123,"status":"started"}`}},
		{name: "queued by status", body: digital("CaseStatusChanged", `"case":{"id":"7","status":"NEW"}`), want: want{op: "u", typ: "conversation.queued", image: `{"caseId":"7","caseStatus":"NEW","status":"queued"}`}},
		{name: "trashed", body: digital("CaseStatusChanged", `"case":{"id":"7","status":"trashed","statusUpdatedAt":"2026-11-22T01:50:00Z"}`),
			want: want{op: "u", typ: "conversation.ended", ts: 1795312200000, image: `{"caseId":"7","caseStatus":"trashed","endedMs":1795312200000,"status":"ended","statusUpdatedAt":"2026-11-22T01:50:00Z"}`}},
		{name: "open again", body: digital("CaseStatusChanged", `"case":{"id":"7","status":"open"}`), want: want{op: "u", typ: "cxone.casestatuschanged", image: `{"caseId":"7","caseStatus":"open","status":"open"}`}},
		{name: "unknown status", body: digital("CaseStatusChanged", `"case":{"id":"7","status":"Dreaming"}`), want: want{op: "u", typ: "cxone.casestatuschanged", image: `{"caseId":"7","caseStatus":"Dreaming","status":"dreaming"}`}},
		{name: "status is a number", body: digital("CaseStatusChanged", `"case":{"id":"7","status":4}`), want: want{op: "u", typ: "cxone.casestatuschanged", image: `{"caseId":"7","caseStatus":4}`}},
		{name: "assigned", body: digital("CaseInboxAssigneeChanged", `"case":{"id":"7","status":"open","inboxAssignee":12}`), want: want{typ: "conversation.agent_assigned", image: `{"caseId":"7","caseStatus":"open","inboxAssigneeId":12,"status":"assigned"}`}},
		{name: "unassigned", body: digital("CaseInboxAssigneeChanged", `"case":{"id":"7","inboxAssignee":null},"inboxAssignee":null`),
			want: want{op: "u", typ: "conversation.agent_unassigned", image: `{"caseId":"7","inboxAssignee":null,"inboxAssigneeId":null,"status":"unassigned"}`}},
		{name: "unassigned, the case is old", body: digital("CaseInboxAssigneeChanged", `"case":{"id":"7","inboxAssignee":12},"inboxAssignee":null`), want: want{typ: "conversation.agent_unassigned"}},
		{name: "message leaves the status", body: digital("MessageCreated", `"case":{"id":"7","status":"open"},"message":{"id":"m"}`), want: want{op: "u", typ: "conversation.message", image: `{"caseId":"7","caseStatus":"open","message":{"id":"m"}}`}},
		{name: "message seen, times of the case", body: digital("MessageSeenChanged", `"case":{"id":"7","createdAt":1,"statusUpdatedAt":2}`),
			want: want{op: "u", typ: "cxone.messageseenchanged", ts: 1795400000000, source: event.TsIngest}},
		{name: "position", body: digital("SetPositionInQueue", `"consumerContact":{"id":"7"},"positionInQueue":3`), want: want{key: "cxone/acme/conversation/7", typ: "conversation.queued", ts: 1795400000000, source: event.TsIngest,
			image: `{"caseId":"7","positionInQueue":3,"status":"queued"}`}},
		{name: "unmapped digital event", body: digital("CaseHumming", `"case":{"id":"7"}`), want: want{key: "cxone/acme/conversation/7", op: "u", typ: "cxone.casehumming", md: map[string]string{"unmapped_action": "CaseHumming"}}},
		{name: "digital event without case", body: digital("AgentContactStarted", `"agent":1`), want: want{op: "none", typ: "cxone.agentcontactstarted", image: `{"agent":1}`}},
		{name: "in S3", body: digital("EventInS3", `"s3Object":{"url":"https://x"},"originEvent":{"eventType":"CaseStatusChanged"},"case":{"id":"7","status":"closed"}`), want: want{op: "none", typ: "cxone.eventins3"}},
		{name: "no event id", body: `{"eventType":"CaseCreated","createdAt":"2026-11-22T01:50:00Z","data":{"case":{"id":"7"}}}`, want: want{id: "261caa92-fd65-549a-9aa2-bdb21822c5cc"}},
		{name: "unknown digital field", body: `{"eventId":"d1","eventType":"CaseCreated","data":{"case":{"id":"7"}},"shard":1}`, want: want{op: "c", md: map[string]string{"x_shard": "1"}}},
		{name: "postback", body: `{"eventId":"p","postback":{"eventType":"CaseCreated","data":{"case":{"id":"7"}}}}`, filtered: "postback"},
		{name: "typing", body: digital("SenderTypingStarted", `"case":{"id":"7"}`), filtered: "typing"},
		{name: "no case", body: digital("CaseCreated", ``), reason: event.MissingField, detail: "data.case.id"},
		{name: "case is text", body: digital("CaseCreated", `"case":"7"`), reason: event.InvalidField, detail: "data.case"},
		{name: "data is a list", body: `{"eventType":"CaseCreated","data":[]}`, reason: event.InvalidField, detail: "data"},
		{name: "bad creation time", body: `{"eventType":"CaseCreated","createdAt":"soon","data":{"case":{"id":"7"}}}`, reason: event.InvalidField, detail: "createdAt"},

		// Polled records.
		{name: "agent", hint: "agents", body: `{"agentId":218903,"isActive":"False","lastUpdated":"2026-11-22T01:50:00Z"}`,
			want: want{key: "cxone/acme/user/218903", id: "f7d2d355-df82-5420-8ef5-7f0d5f751cd8", op: "r", typ: "config.user.updated", ts: 1795312200000, source: event.TsEvent, image: `{"agentId":218903,"isActive":"False","lastUpdated":"2026-11-22T01:50:00Z"}`}},
		{name: "agent, its id as text", hint: "agents", body: `{"agentId":"218903","lastUpdated":"2026-11-22T01:50:00.000Z"}`, want: want{key: "cxone/acme/user/218903", id: "f7d2d355-df82-5420-8ef5-7f0d5f751cd8"}},
		{name: "skill", hint: "skills", body: `{"skillId":9001,"skillName":"Claims"}`, want: want{key: "cxone/acme/queue/9001", op: "r", typ: "config.queue.updated", ts: 1795400000000, source: event.TsIngest}},
		{name: "state", hint: "agents/states", body: `{"agentId":1,"agentStateName":"Levitating","startDate":"2026-11-22T01:50:00Z"}`,
			want: want{key: "cxone/acme/agent_state/1", op: "r", typ: "agent.routing_changed", ts: 1795312200000}},
		{name: "member", hint: "agents/skills", body: `{"agentId":1,"skillId":2,"isActive":"True"}`, want: want{key: "cxone/acme/queue_membership/2:1", op: "r", typ: "queue.member_joined"}},
		{name: "no member any more", hint: "agents/skills", body: `{"agentId":1,"skillId":2,"isActive":"False"}`, want: want{op: "r", typ: "queue.member_left"}},
		{name: "transferred contact", hint: "contacts/completed", body: `{"contactId":2,"masterContactId":1,"lastUpdateTime":"2026-11-22T01:50:00Z"}`,
			want: want{key: "cxone/acme/conversation/1", op: "r", typ: "conversation.ended", ts: 1795312200000,
				image: `{"contactId":2,"endedMs":1795312200000,"lastUpdateTime":"2026-11-22T01:50:00Z","masterContactId":1,"status":"ended"}`}},
		{name: "active contact", hint: "contacts/active", body: `{"contactId":1}`, want: want{key: "cxone/acme/conversation/1", op: "r", typ: "cxone.contacts.active", image: `{"contactId":1}`}},
		{name: "no agent id", hint: "agents", body: `{"agentId":null}`, reason: event.MissingField, detail: "agentId"},
		{name: "no skill id", hint: "agents/skills", body: `{"agentId":1}`, reason: event.MissingField, detail: "skillId"},
		{name: "bad update time", hint: "skills", body: `{"skillId":1,"lastUpdateTime":"soon"}`, reason: event.InvalidField, detail: "lastUpdateTime"},
		{name: "page", hint: "agents", body: `{"lastPollTime":"2026-11-22T01:50:00Z","agents":[]}`, reason: event.NotSplit},
		{name: "record of an unknown list", hint: "teams", body: `{"teamId":1}`, reason: event.UnknownFormat},

		{name: "no contact", body: `{` + head + `,"eventType":"CALL_STARTED","data":{}}`, reason: event.MissingField, detail: "data.masterContactId"},
		{name: "no data", body: `{` + head + `,"eventType":"CALL_STARTED"}`, reason: event.MissingField, detail: "data.masterContactId"},
		{name: "no type", body: `{"eventType":"","timestamp":1}`, reason: event.MissingField, detail: "eventType"},
		{name: "data is text", body: `{` + head + `,"eventType":"CALL_STARTED","data":"x"}`, reason: event.InvalidField, detail: "data"},
		{name: "type is a number", body: `{"eventType":7}`, reason: event.InvalidField, detail: "eventType"},
		{name: "bad time", body: `{"eventType":"CALL_STARTED","timestamp":"now","data":{"contactId":"1"}}`, reason: event.InvalidField, detail: "timestamp"},
		{name: "bad id", body: `{` + head + `,"eventType":"CALL_STARTED","data":{"masterContactId":true}}`, reason: event.InvalidField, detail: "data.masterContactId"},
		{name: "array", body: `[{}]`, reason: event.NotSplit},
		{name: "unknown shape", body: `{"hello":"world"}`, reason: event.UnknownFormat},
		{name: "scalar", body: `null`, reason: event.UnknownFormat},
		{name: "XML", body: `<event/>`, reason: event.MalformedJSON},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Map(record(tt.body, tt.hint))
			if f, ok := errors.AsType[*event.Filtered](err); ok || tt.filtered != "" {
				if !ok || f.Reason != tt.filtered {
					t.Fatalf("got error %v, want filtered %q", err, tt.filtered)
				}
				return
			}
			if r, ok := errors.AsType[*event.Rejected](err); ok || tt.reason != "" {
				if !ok || r.Reason != tt.reason || !strings.Contains(r.Detail, tt.detail) {
					t.Fatalf("got error %v, want %s naming %s", err, tt.reason, tt.detail)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := want{key: e.Key.String(), id: e.ID, op: or(string(e.Op), "none"), typ: e.Type, ts: e.TsMs, source: e.TsSource, image: string(e.Image), md: e.Metadata}
			w := tt.want
			w.key, w.id, w.op, w.typ = or(w.key, got.key), or(w.id, got.id), or(w.op, got.op), or(w.typ, got.typ)
			w.image, w.source = or(w.image, got.image), event.TsSource(or(string(w.source), string(got.source)))
			if w.ts == 0 {
				w.ts = got.ts
			}
			if diff := cmp.Diff(w, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
}

func digital(eventType, data string) string {
	return `{"eventId":"d1","eventType":"` + eventType + `","data":{` + data + `}}`
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func TestDetect(t *testing.T) {
	for _, tt := range []struct {
		body, hint string
		want       event.Format
	}{
		{body: `{"eventType":"CALL_STARTED"}`, want: event.CXoneSeed},
		{body: `{"eventType":"CALL_STARTED"}`, hint: "agents", want: event.CXoneSeed},
		{body: `{"eventType":"Parked","timestamp":1}`, want: event.CXoneSeed},
		{body: `{"eventType":"EventInS3","data":{}}`, want: event.CXoneDFO},
		{body: `{"eventType":"CaseCreated","createdAt":"x"}`, want: event.CXoneDFO},
		{body: `{"postback":{}}`, want: event.CXoneDFO},
		{body: `{"lastPollTime":"x","agents":[]}`, want: event.CXonePoll},
		{body: `{"agentId":1}`, hint: "agents", want: event.CXonePoll},
		{body: `{"agentId":1}`, hint: "teams", want: event.FormatUnknown},
		{body: `{}`, want: event.FormatUnknown},
		{body: `[{"agentId":1}]`, hint: "agents", want: event.FormatUnknown},
		{body: `[{"eventType":"CALL_STARTED"}]`, want: event.FormatUnknown},
		{body: `{"eventType":`, want: event.FormatUnknown},
	} {
		if got := Detect([]byte(tt.body), tt.hint); got != tt.want {
			t.Errorf("%s with hint %q: got %s, want %s", tt.body, tt.hint, got, tt.want)
		}
	}
}

// FuzzMap holds that Key agrees with Map, that neither panics or touches the
// body, and that the errors are those of the contract. Whatever the bytes say,
// vendor and tenant stay (I9).
func FuzzMap(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.json")
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, "")
	}
	f.Add([]byte(`{"eventType":"CALL_ENDED","timestamp":"1e9","data":{"contactId":1e3,"\ud800":{}}}`), "")
	f.Add([]byte(`{"eventType":"SetPositionInQueue","data":{"consumerContact":{"id":"7","status":4}}}`), "")
	for list := range endpoints {
		f.Add([]byte(`{"agentId":1,"skillId":"2","contactId":"3","isActive":"True","startDate":"2026-11-22T01:50:00"}`), list)
	}
	f.Fuzz(func(t *testing.T, body []byte, hint string) {
		m := Mapper()
		raw := record(string(body), hint)
		for _, format := range []event.Format{m.Detect(raw.Body, hint), event.CXoneSeed, event.CXoneDFO, event.CXonePoll} {
			raw.Format = format
			e, err := m.Map(raw)
			key, id, ok := m.Key(raw)
			if ok != (err == nil) || ok && (key != e.Key || id != e.ID) {
				t.Fatalf("Key gives %v, %q, %v, Map %v, %q, %v", key, id, ok, e.Key, e.ID, err)
			}
			if !bytes.Equal(raw.Body, body) {
				t.Fatalf("body became %q", raw.Body)
			}
			if err != nil {
				_, rejected := errors.AsType[*event.Rejected](err)
				_, filtered := errors.AsType[*event.Filtered](err)
				if !rejected && !filtered {
					t.Fatalf("got error %T", err)
				}
				continue
			}
			if e.Key.Vendor != Vendor || e.Key.Tenant != raw.Tenant || e.Key.ID == "" || e.ID == "" || e.Type == "" || len(e.Image) == 0 {
				t.Fatalf("incomplete event %+v", e)
			}
			if (e.Op == event.OpNone) != (e.Key.Type == "-") {
				t.Fatalf("op %q of key %v", e.Op, e.Key)
			}
		}
	})
}
