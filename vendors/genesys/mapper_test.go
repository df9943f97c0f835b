package genesys

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/event"
)

const conversation = "0b6c1c8e-9d2f-4a8b-8d2e-6f0f5a1e7c01"

func frame(topic, body string) string {
	return fmt.Sprintf(`{"topicName":%q,"version":"2","eventBody":%s,"metadata":{"CorrelationId":"c"}}`, topic, body)
}

func bridge(template, topic, body string) string {
	return fmt.Sprintf(`{"version":"0","id":"b","detail-type":%q,"source":"aws.partner/genesys.com/cloud/o/s","time":"2026-11-22T01:50:00Z","detail":{"topicName":%q,"version":"2","eventBody":%s,"timestamp":"2026-11-22T01:50:00.250Z"}}`, template, topic, body)
}

func audit(members string) string {
	return frame("v2.audits.entitytype.Queue.entityid.q1", `{"id":"a1","eventTime":1795312200000,"entity":{"id":"q1","name":"Claims"},`+members+`}`)
}

func TestMap(t *testing.T) {
	type want struct {
		key, id, op, typ string
		ts               int64
		source           event.TsSource
		image            string
		md               map[string]string
	}
	const seedHead = `"id":"e1","resourceType":"user","resourceId":"u1","ts_ms":1795312200000`
	for _, tt := range []struct {
		name, body, hint string
		want             want // fields left empty are not compared, but for md
		reason           event.Reason
		detail           string // the rejection names it
		filtered         string
	}{
		// The guides' pushes.
		{name: "numeric ids", body: `{"id":17,"resourceType":"Queue","eventType":"Created","resourceId":42,"ts_ms":1795312200000,"data":{"id":42}}`,
			want: want{key: "genesys/acme/queue/42", id: "17", op: "c", typ: "config.queue.created", image: `{"id":42}`}},
		{name: "odd id", body: `{"id":"e","resourceType":"user","eventType":"updated","resourceId":"a/b#c\u0000é","data":{}}`,
			want: want{key: "genesys/acme/user/a%2Fb%23c%00é", typ: "config.user.updated", ts: 1795400000000, source: event.TsIngest, image: `{}`}},
		{name: "empty ids do not count", body: `{"id":"","eventId":"e2","resourceType":"user","eventType":"updated","resourceId":"","resource":{"id":null},"data":{"id":"u9"}}`,
			want: want{key: "genesys/acme/user/u9", id: "e2"}},
		{name: "delete with data", body: `{` + seedHead + `,"eventType":"deleted","data":{"name":"Ana"}}`,
			want: want{op: "d", typ: "config.user.deleted", image: `{"name":"Ana"}`}},
		{name: "state tells the delete", body: `{` + seedHead + `,"eventType":"updated","data":{"state":"deleted"}}`,
			want: want{op: "d", typ: "config.user.deleted"}},
		{name: "deleted flag", body: `{` + seedHead + `,"eventType":"updated","data":{"deleted":true}}`, want: want{op: "d"}},
		{name: "deleted flag not set", body: `{` + seedHead + `,"eventType":"updated","data":{"deleted":false}}`, want: want{op: "u"}},
		{name: "unknown action", body: `{` + seedHead + `,"eventType":"frobnicated","data":{"id":"u1"}}`,
			want: want{op: "u", typ: "config.user.updated", md: map[string]string{"unmapped_action": "frobnicated"}}},
		{name: "unknown action without data", body: `{` + seedHead + `,"eventType":"frobnicated"}`,
			want: want{op: "u", image: `{"id":"u1"}`, md: map[string]string{"unmapped_action": "frobnicated"}}},
		{name: "unknown resource type", body: `{"resourceType":"IVRConfig-v2","eventType":"created","resourceId":"w","data":{}}`,
			want: want{key: "genesys/acme/ivr_config_v2/w", typ: "config.ivr_config_v2.created"}},
		{name: "unknown fields", body: `{` + seedHead + `,"eventType":"updated","data":{},"shard":{"b":1,"a":[]}}`,
			want: want{op: "u", md: map[string]string{"x_shard": `{"a":[],"b":1}`}}},
		{name: "payload's own tenant is no authority", body: `{` + seedHead + `,"eventType":"updated","data":{},"tenant":"evil","organizationId":"evil"}`,
			want: want{key: "genesys/acme/user/u1", md: map[string]string{"x_tenant": `"evil"`}}},
		{name: "no entity", body: `{"id":"e","resourceType":"organization","eventType":"Health","message":"up"}`,
			want: want{key: "genesys/acme/-/01934f5e-0000-7000-8000-000000000000%2F0", id: "e", op: "none", typ: "genesys.organization.health", image: `{"message":"up"}`}},
		{name: "heartbeat of a user", body: `{` + seedHead + `,"eventType":"HEARTBEAT"}`, filtered: "heartbeat"},
		{name: "no resource id", body: `{"resourceType":"user","eventType":"updated","data":{}}`, reason: event.MissingField, detail: "resourceId"},
		{name: "no resource type", body: `{"eventType":"updated","resourceId":"u1","data":{}}`, reason: event.MissingField, detail: "resourceType"},
		{name: "no event type", body: `{"resourceType":"user","resourceId":"u1","data":{}}`, reason: event.MissingField, detail: "eventType"},
		{name: "no data", body: `{` + seedHead + `,"eventType":"updated","data":null}`, reason: event.MissingField, detail: "data"},
		{name: "data is a list", body: `{` + seedHead + `,"eventType":"deleted","data":[]}`, reason: event.InvalidField, detail: "data"},
		{name: "type is a number", body: `{"resourceType":1,"eventType":"updated","resourceId":"u1"}`, reason: event.InvalidField, detail: "resourceType"},
		{name: "id is an object", body: `{"resourceType":"user","eventType":"updated","resourceId":{},"data":{}}`, reason: event.InvalidField, detail: "resourceId"},
		{name: "bad time", body: `{"resourceType":"user","eventType":"updated","resourceId":"u1","ts_ms":"soon","data":{}}`, reason: event.InvalidField, detail: "ts_ms"},

		// The guides' stream.
		{name: "routing.queued", body: `{"id":"0000000000000042","eventType":"routing.queued","organizationId":"o","conversationId":"` + conversation + `","queueId":"q","timestamp":"2026-11-22T01:50:04.310Z"}`,
			want: want{key: "genesys/acme/conversation/" + conversation, id: "0000000000000042", op: "u", typ: "conversation.queued", ts: 1795312204310, source: event.TsEvent,
				image: `{"conversationId":"` + conversation + `","queueId":"q","status":"queued"}`}},
		{name: "conversation.ended", body: `{"id":"44","eventType":"conversation.ended","conversationId":"c","timestamp":"2026-11-22T01:57:31.000Z"}`,
			want: want{op: "u", typ: "conversation.ended", image: `{"conversationId":"c","endedMs":1795312651000,"status":"ended"}`}},
		{name: "pushed conversation", body: `{"id":"1","resourceType":"conversation","eventType":"started","resourceId":"c","ts_ms":1795312200000,"data":{"status":"live"}}`,
			want: want{key: "genesys/acme/conversation/c", op: "c", typ: "conversation.started", image: `{"conversationId":"c","startedMs":1795312200000,"status":"started"}`,
				md: map[string]string{"x_data.status": `"live"`}}},
		{name: "unmapped step", body: `{"id":"1","eventType":"interaction.Transferred","conversationId":"c","to":"x"}`,
			want: want{key: "genesys/acme/conversation/c", op: "u", typ: "genesys.interaction.transferred", image: `{"conversationId":"c","to":"x"}`, md: map[string]string{"unmapped_action": "interaction.Transferred"}}},
		{name: "unmapped start", body: `{"id":"1","eventType":"interaction.started","conversationId":"c"}`, want: want{op: "c", typ: "genesys.interaction.started"}},
		{name: "stream event without entity", body: `{"id":"1","eventType":"interaction.metrics","load":3}`, want: want{op: "none", typ: "genesys.interaction.metrics", image: `{"load":3}`}},
		{name: "step without conversation", body: `{"id":"1","eventType":"routing.queued"}`, reason: event.MissingField, detail: "conversationId"},

		// Audits.
		{name: "values", body: audit(`"action":"Update","entityType":"Queue","propertyChanges":[{"property":"one","newValues":["1"]},{"property":"two","newValues":["1",2]},{"property":"gone","oldValues":["x"]},{"property":"empty","newValues":[]},{"property":"piece","newValues":["a"]},{"property":"piece","newValues":["b"]},{"property":"plain","newValues":7}]`),
			want: want{key: "genesys/acme/queue/q1", id: "a1", op: "u", typ: "config.queue.updated", image: `{"empty":null,"gone":null,"id":"q1","name":"Claims","one":"1","piece":["a","b"],"plain":7,"two":["1",2]}`}},
		{name: "publish", body: audit(`"action":"Publish","entityType":"Flow"`), want: want{key: "genesys/acme/flow/q1", op: "u", typ: "config.flow.published"}},
		{name: "member of a queue", body: audit(`"action":"MemberAdd","entityType":"Queue"`), want: want{op: "u", typ: "config.queue.updated"}},
		{name: "AuthUser", body: audit(`"action":"HardDelete","entityType":"AuthUser"`), want: want{key: "genesys/acme/user/q1", op: "d", typ: "config.user.deleted"}},
		{name: "restore", body: audit(`"action":"Restore","entityType":"Queue"`), want: want{op: "u"}},
		{name: "deleted by state", body: audit(`"action":"Update","entityType":"User","propertyChanges":[{"property":"state","newValues":["deleted"]}]`), want: want{op: "d"}},
		{name: "unknown audit action", body: audit(`"action":"Teleport","entityType":"Queue"`), want: want{op: "u", typ: "config.queue.updated", md: map[string]string{"unmapped_action": "Teleport"}}},
		{name: "unknown audit field", body: audit(`"action":"Update","risk":"high"`), want: want{key: "genesys/acme/queue/q1", op: "u", md: map[string]string{"x_eventBody.risk": `"high"`}}},
		{name: "ids from the topic", body: frame("v2.audits.entitytype.UserPresence.entityid.a.b", `{"action":"Update"}`), want: want{key: "genesys/acme/user_presence/a.b"}},
		{name: "view", body: audit(`"action":"View"`), filtered: "audit_read"},
		{name: "failure", body: audit(`"action":"Update","status":"FAILURE"`), filtered: "audit_failure"},
		{name: "warning", body: audit(`"action":"Update","status":"WARNING"`), want: want{op: "u"}},
		{name: "no action", body: audit(`"entityType":"Queue"`), reason: event.MissingField, detail: "eventBody.action"},
		{name: "no entity id", body: frame("v2.audits.entitytype.{id}.entityid.{id}", `{"action":"Update","entityType":"Queue"}`), reason: event.MissingField, detail: "eventBody.entity.id"},
		{name: "of a query", body: `{"id":"a1","eventDate":"2026-11-22T01:50:00Z","action":"Update","user":{"id":"u"},"client":{"id":""},"entityType":"Queue","entity":{"id":"q1"},"status":"SUCCESS","propertyChanges":[{"property":"name","newValues":["Claims"]}],"entityChanges":[],"risk":"high"}`,
			want: want{key: "genesys/acme/queue/q1", id: "a1", op: "u", typ: "config.queue.updated", ts: 1795312200000, source: event.TsEvent, image: `{"id":"q1","name":"Claims"}`, md: map[string]string{"x_eventBody.risk": `"high"`}}},
		{name: "query of what was read", body: `{"id":"a1","eventDate":"2026-11-22T01:50:00Z","action":"View","entityType":"Queue","entity":{"id":"q1"}}`, filtered: "audit_read"},
		{name: "query, no entity", body: `{"id":"a","eventDate":"2026-11-22T01:50:00Z","action":"Update","entityType":"Queue"}`, reason: event.MissingField, detail: "body.entity.id"},
		{name: "query, no type", body: `{"id":"a","eventDate":"2026-11-22T01:50:00Z","action":"Update","entity":{"id":"q1"}}`, reason: event.MissingField, detail: "body.entityType"},
		{name: "page of a query", body: `{"entities":[],"pageSize":25}`, reason: event.NotSplit},
		{name: "changes are no list", body: audit(`"action":"Update","propertyChanges":{}`), reason: event.InvalidField, detail: "propertyChanges"},
		{name: "change without property", body: audit(`"action":"Update","propertyChanges":[{"newValues":["x"]}]`), reason: event.MissingField, detail: "propertyChanges.0.property"},

		// Detail events and other topics.
		{name: "customer.end", body: frame("v2.detail.events.conversation.c.customer.end", `{"eventTime":1795312200000,"conversationId":"c","disconnectType":"PEER"}`),
			want: want{key: "genesys/acme/conversation/c", op: "u", typ: "conversation.ended", image: `{"conversationId":"c","disconnectType":"PEER","endedMs":1795312200000,"status":"ended"}`}},
		{name: "user.end", body: frame("v2.detail.events.conversation.c.user.end", `{"conversationId":"c"}`), want: want{typ: "conversation.agent_unassigned", image: `{"conversationId":"c","status":"unassigned"}`}},
		{name: "acw", body: frame("v2.detail.events.conversation.c.acw", `{"conversationId":"c"}`), want: want{typ: "conversation.wrapup", image: `{"conversationId":"c","status":"wrapup"}`}},
		{name: "flow.start", body: frame("v2.detail.events.conversation.c.flow.start", `{"conversationId":"c","flowId":"f"}`),
			want: want{key: "genesys/acme/conversation/c", op: "u", typ: "genesys.v2.detail.events.conversation.{id}.flow.start", image: `{"conversationId":"c","flowId":"f"}`}},
		{name: "id with dots, slash and hash from the topic", body: frame("v2.detail.events.conversation.a.b/c#d.customer.start", `{}`), want: want{key: "genesys/acme/conversation/a.b%2Fc%23d", op: "c"}},
		{name: "unknown detail event", body: bridge("v2.detail.events.conversation.{id}.New.Thing", "v2.detail.events.conversation.c.New.Thing", `{"conversationId":"c"}`),
			want: want{key: "genesys/acme/conversation/c", op: "u", typ: "genesys.v2.detail.events.conversation.{id}.new.thing", ts: 1795312200250, source: event.TsEnvelope, md: map[string]string{"unmapped_action": "New.Thing"}}},
		{name: "other template", body: bridge("v2.operations.events.{id}", "v2.operations.events.abc", `{"eventDefinition":"x","timestamp":1795312200000}`),
			want: want{key: "genesys/acme/-/01934f5e-0000-7000-8000-000000000000%2F0", op: "none", typ: "genesys.v2.operations.events.{id}", ts: 1795312200250, image: `{"eventDefinition":"x","timestamp":1795312200000}`}},
		{name: "no template, ids that look like none", body: frame("v2.weather.abc.storm", `{}`), want: want{typ: "genesys.v2.weather.abc.storm"}},
		{name: "no template, a topic of users", body: frame("v2.users.abc.tokens", `{}`), want: want{op: "none", typ: "genesys.v2.users.{id}.tokens"}},
		{name: "calls of a queue", body: frame("v2.routing.queues.q.conversations.calls", `{"id":"c","participants":[]}`),
			want: want{key: "genesys/acme/conversation/c", op: "u", typ: "genesys.v2.routing.queues.{id}.conversations.calls", image: `{"conversationId":"c","id":"c","participants":[]}`}},
		{name: "messages of a queue", body: frame("v2.routing.queues.q.conversations.messages", `{"id":"c"}`), want: want{key: "genesys/acme/conversation/c", op: "u", typ: "conversation.message"}},
		{name: "messages of a user", body: frame("v2.users.u.conversations.messages", `{"id":"c"}`), want: want{key: "genesys/acme/conversation/c", typ: "genesys.v2.users.{id}.conversations.messages"}},
		{name: "snapshot without id", body: frame("v2.users.u.conversations", `{"participants":[]}`), reason: event.MissingField, detail: "eventBody.conversationId"},

		// Agents.
		{name: "presence", body: frame("v2.users.u.presence", `{"source":"PURECLOUD","primary":true,"modifiedDate":"2026-11-22T01:50:00Z","presenceDefinition":{"systemPresence":"BREAK"}}`),
			want: want{key: "genesys/acme/agent_state/u", op: "u", typ: "agent.presence_changed", ts: 1795312200000, source: event.TsEvent,
				image: `{"id":"u","presence":{"modifiedDate":"2026-11-22T01:50:00Z","presenceDefinition":{"systemPresence":"BREAK"},"primary":true,"source":"PURECLOUD"}}`}},
		{name: "presence that does not count", body: frame("v2.users.u.presence", `{"source":"OTHER","primary":false}`), want: want{op: "none", typ: "genesys.v2.users.{id}.presence"}},
		{name: "unknown presence", body: frame("v2.users.u.presence", `{"presenceDefinition":{"systemPresence":"TELEPORTED"}}`), want: want{op: "u", typ: "agent.presence_changed"}},
		{name: "id with dots", body: frame("v2.users.a.presence.b.presence", `{}`), want: want{key: "genesys/acme/agent_state/a.presence.b"}},
		{name: "routing status", body: frame("v2.users.u.routingStatus", `{"routingStatus":{"status":"IDLE","startTime":"2026-11-22T01:50:00Z"}}`),
			want: want{key: "genesys/acme/agent_state/u", op: "u", typ: "agent.routing_changed", ts: 1795312200000, source: event.TsEvent,
				image: `{"id":"u","routingStatus":{"startTime":"2026-11-22T01:50:00Z","status":"IDLE"}}`}},
		{name: "activity after a presence", body: frame("v2.users.u.activity", `{"id":"u","routingStatus":{"startTime":"2026-11-22T01:00:00Z"},"presence":{"modifiedDate":"2026-11-22T01:50:00Z"},"dateActiveQueuesChanged":"2026-11-22T01:49:59Z"}`),
			want: want{key: "genesys/acme/agent_state/u", op: "u", typ: "agent.presence_changed", ts: 1795312200000, source: event.TsEvent}},
		{name: "activity after a queue", body: frame("v2.users.u.activity", `{"routingStatus":{"startTime":"2026-11-22T01:00:00Z"},"dateActiveQueuesChanged":"2026-11-22T01:50:00Z","outOfOffice":{"modifiedDate":"2018-04-02T01:42:52.505Z"}}`),
			want: want{op: "u", typ: "agent.routing_changed", ts: 1795312200000}},
		{name: "activity without times", body: bridge("v2.users.{id}.activity", "v2.users.u.activity", `{"activeQueueIds":[]}`), want: want{op: "u", typ: "agent.routing_changed", ts: 1795312200250, source: event.TsEnvelope}},
		{name: "activity, bad time", body: frame("v2.users.u.activity", `{"presence":{"modifiedDate":"soon"}}`), reason: event.InvalidField, detail: "eventBody.presence.modifiedDate"},
		{name: "agent state", body: frame("v2.detail.events.agent.u.state", `{"userId":"u","currentState":"INTERACTING","currentStateStart":1795312200000,"queueId":"q"}`),
			want: want{key: "genesys/acme/agent_state/u", op: "u", typ: "genesys.v2.detail.events.agent.{id}.state", ts: 1795312200000, source: event.TsEvent,
				image: `{"currentState":"INTERACTING","currentStateStart":1795312200000,"id":"u","queueId":"q","userId":"u"}`}},
		{name: "agent of a bare body", body: `{"userId":"u","currentState":"IDLE"}`, hint: "v2.detail.events.agent.{id}.state", want: want{key: "genesys/acme/agent_state/u", op: "u"}},
		{name: "no agent", body: `{"presenceDefinition":{}}`, hint: "v2.users.{id}.presence", reason: event.MissingField, detail: "topicName"},
		{name: "other topic of agents", body: frame("v2.detail.events.agent.u.mood", `{}`), want: want{op: "none", typ: "genesys.v2.detail.events.agent.{id}.mood"}},

		// Members of queues.
		{name: "joined", body: frame("v2.routing.queues.q.users", `{"id":"u","user":{"id":"u"},"queueId":"q","joined":true}`),
			want: want{key: "genesys/acme/queue_membership/q:u", op: "u", typ: "queue.member_joined", image: `{"id":"u","joined":true,"queueId":"q","user":{"id":"u"}}`}},
		{name: "left, as text", body: frame("v2.routing.queues.q.users", `{"id":"u","joined":"False"}`),
			want: want{key: "genesys/acme/queue_membership/q:u", op: "u", typ: "queue.member_left", image: `{"id":"u","joined":"False","queueId":"q"}`}},
		{name: "joined perhaps", body: frame("v2.routing.queues.q.users", `{"id":"u","joined":"maybe"}`), reason: event.InvalidField, detail: "eventBody.joined"},
		{name: "joined untold", body: frame("v2.routing.queues.q.users", `{"id":"u"}`), reason: event.MissingField, detail: "eventBody.joined"},
		{name: "no member", body: frame("v2.routing.queues.q.users", `{"joined":true}`), reason: event.MissingField, detail: "eventBody.user.id"},
		{name: "no queue", body: frame("v2.routing.queues.{id}.users", `{"id":"u","joined":true}`), reason: event.MissingField, detail: "eventBody.queueId"},
		{name: "other topic of a conversation", body: frame("v2.analytics.conversation.x.metrics", `{"conversationId":"c"}`), want: want{key: "genesys/acme/conversation/c", op: "u", typ: "genesys.v2.analytics.conversation.x.metrics",
			md: map[string]string{"unmapped_action": "v2.analytics.conversation.x.metrics"}}},
		{name: "unknown envelope fields", body: `{"topicName":"t","eventBody":{},"sequence":7}`, want: want{typ: "genesys.t", md: map[string]string{"x_sequence": "7"}}},
		{name: "bare body with a hint", body: `{"eventTime":1795312200000,"conversationId":"c"}`, hint: "v2.detail.events.conversation.{id}.customer.start",
			want: want{key: "genesys/acme/conversation/c", op: "c", typ: "conversation.started"}},
		{name: "subscription changed", body: frame("v2.subscription.updated", `{}`), filtered: "transport_frame"},
		{name: "system topic by EventBridge", body: bridge("v2.system.token_revoked.{id}", "v2.system.token_revoked.x", `{}`), filtered: "transport_frame"},
		{name: "body is a list", body: frame("v2.x", `[]`), reason: event.InvalidField, detail: "eventBody"},
		{name: "EventBridge without body", body: `{"detail-type":"EC2 Instance State-change","detail":{"state":"on"}}`, reason: event.MissingField, detail: "detail.eventBody"},
		{name: "step without id", body: frame("v2.detail.events.conversation.{id}.acd.start", `{}`), reason: event.MissingField, detail: "eventBody.conversationId"},

		// Flows.
		{name: "flow deleted", body: frame("v2.flows.f", `{"id":"f","deleted":true}`), want: want{key: "genesys/acme/flow/f", op: "d", typ: "config.flow.deleted"}},
		{name: "flow operation runs", body: frame("v2.flows.f", `{"id":"f","currentOperation":{"actionName":"DELETE","complete":false}}`), want: want{op: "u", typ: "config.flow.updated", image: `{"id":"f"}`}},
		{name: "flow operation failed", body: frame("v2.flows.f", `{"id":"f","currentOperation":{"actionName":"PUBLISH","actionStatus":"FAILURE"}}`), filtered: "flow_failure"},
		{name: "below a flow", body: frame("v2.flows.f.instances", `{"id":"f"}`), want: want{typ: "genesys.v2.flows.f.instances", op: "none"}},

		// No event.
		{name: "array", body: `[{"resourceType":"user"}]`, reason: event.NotSplit},
		{name: "scalar", body: `42`, reason: event.UnknownFormat},
		{name: "unknown shape", body: `{"hello":"world"}`, reason: event.UnknownFormat},
		{name: "no JSON", body: `<xml/>`, reason: event.MalformedJSON},
		{name: "doubled name", body: `{"resourceType":"user","eventType":"updated","data":{"a":1,"a":2}}`, reason: event.MalformedJSON, detail: `"data.a"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw := record(tt.body)
			raw.TopicHint = tt.hint
			raw.Format = Detect(raw.Body, tt.hint)
			e, err := Map(raw)
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
			if e.Origin != (event.Origin{}) {
				t.Errorf("got origin %+v, want none", e.Origin)
			}
		})
	}
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// One event that comes through both envelopes, through a workflow, twice, or
// with its members in another order, has one id; its envelope's ids are new
// each time.
func TestEventIDIsOfContent(t *testing.T) {
	const (
		template = "v2.detail.events.conversation.{id}.acd.start"
		topic    = "v2.detail.events.conversation." + conversation + ".acd.start"
		body     = `{"eventTime":1795312204310,"conversationId":"` + conversation + `","queueId":"q"}`
	)
	first, err := Map(record(frame(topic, body)))
	if err != nil {
		t.Fatal(err)
	}
	bare := record(body)
	bare.Format, bare.TopicHint = event.GenesysNotification, template
	for name, raw := range map[string]*event.Raw{
		"EventBridge": record(bridge(template, topic, body)),
		"re-sent":     record(strings.Replace(bridge(template, topic, body), `"id":"b"`, `"id":"b2"`, 1)),
		"traced":      record(strings.Replace(frame(topic, body), `"c"`, `"c2"`, 1)),
		"reordered":   record(frame(topic, `{ "queueId":"q","conversationId":"`+conversation+`","eventTime":1795312204310}`)),
		"bare":        bare,
	} {
		e, err := Map(raw)
		if err != nil {
			t.Fatal(err)
		}
		if e.ID != first.ID || e.Key != first.Key || e.Type != first.Type || e.TsMs != first.TsMs || !bytes.Equal(e.Image, first.Image) {
			t.Errorf("%s: got %+v, want %+v", name, e, first)
		}
	}
	for name, raw := range map[string]*event.Raw{
		"other topic": record(frame(strings.Replace(topic, "acd.start", "acd.end", 1), body)),
		"other body":  record(frame(topic, strings.Replace(body, `"q"`, `"r"`, 1))),
	} {
		if e, err := Map(raw); err != nil || e.ID == first.ID {
			t.Errorf("%s: got id %s and error %v, want another id", name, e.ID, err)
		}
	}
}

// A publish of A, then B, then A again is three events, though nothing tells a
// time: the operation differs.
func TestFlowOperationsDiffer(t *testing.T) {
	body := func(version, operation string) string {
		return fmt.Sprintf(`{"id":"f","publishedVersion":{"id":%q},"currentOperation":{"id":%q,"actionName":"PUBLISH","complete":true}}`, version, operation)
	}
	ids := map[string]bool{}
	for _, b := range []string{body("1.0", "op1"), body("2.0", "op2"), body("1.0", "op3"), body("1.0", "op3")} {
		e, err := Map(record(frame("v2.flows.f", b)))
		if err != nil {
			t.Fatal(err)
		}
		ids[e.ID] = true
	}
	if len(ids) != 3 {
		t.Errorf("got %d ids, want 3", len(ids))
	}
}

// Without an id of its own, a streamed event has that of the stream; a push has
// that of its bytes, since the id of a delivery is new on every retry.
func TestEventIDWithoutPayloadID(t *testing.T) {
	const body = `{"eventType":"routing.queued","conversationId":"c"}`
	for _, tt := range []struct {
		transport event.Transport
		sourceID  string
		want      string // "" for that of the bytes
	}{
		{event.SSE, "0042", "0042"},
		{event.Poll, "0042", "0042"},
		{event.SSE, "", ""},
		{event.Push, "delivery-1", ""},
	} {
		raw := record(body)
		raw.Transport, raw.SourceID = tt.transport, tt.sourceID
		e, err := Map(raw)
		if err != nil {
			t.Fatal(err)
		}
		if want := or(tt.want, "8d930a27-be6b-58db-a89d-4830a46d58a1"); e.ID != want {
			t.Errorf("%s %q: got id %s, want %s", tt.transport, tt.sourceID, e.ID, want)
		}
	}
}

func TestDetect(t *testing.T) {
	for _, tt := range []struct {
		body, hint string
		want       event.Format
	}{
		{body: `{"detail-type":"t","detail":{},"topicName":"t","eventBody":{}}`, want: event.GenesysEventBridge},
		{body: `{"topicName":"t","eventBody":{},"resourceType":"r","eventType":"e"}`, want: event.GenesysNotification},
		{body: `{"resourceType":"r","eventType":"e"}`, hint: "t", want: event.GenesysSeed},
		{body: `{"eventType":"e"}`, hint: "t", want: event.GenesysNotification},
		{body: `{"eventType":"e"}`, want: event.GenesysSeed},
		{body: `{"entities":[],"pageSize":25}`, want: event.GenesysAuditQuery},
		{body: `{"topicName":"t"}`, want: event.FormatUnknown},
		{body: `[]`, hint: "t", want: event.FormatUnknown},
		{body: `"x"`, hint: "t", want: event.FormatUnknown},
		{body: `{"resourceType":`, want: event.FormatUnknown},
		{body: ``, want: event.FormatUnknown},
	} {
		if got := Detect([]byte(tt.body), tt.hint); got != tt.want {
			t.Errorf("%s with hint %q: got %s, want %s", tt.body, tt.hint, got, tt.want)
		}
	}
}

// FuzzMap holds that Key agrees with Map, that neither panics or touches the
// body, that what is mapped can be keyed and told again, and that the errors
// are those of the contract. Whatever the bytes say, vendor and tenant stay
// (I9).
func FuzzMap(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.json")
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, "")
	}
	f.Add([]byte(`{"eventTime":"1","conversationId":"\ud800"}`), "v2.detail.events.conversation.{id}.acw")
	f.Add([]byte(audit(`"action":"Update","propertyChanges":[{"property":"a","newValues":[[],{}]}]`)), "")
	f.Add([]byte(`{"a":1,"a":1}`), "v2.audits.entitytype.")
	f.Fuzz(func(t *testing.T, body []byte, hint string) {
		m := Mapper()
		raw := record(string(body))
		raw.TopicHint = hint
		for _, format := range []event.Format{m.Detect(raw.Body, hint), event.GenesysSeed, event.GenesysEventBridge, event.GenesysNotification, event.GenesysAuditQuery} {
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
			if e.Key.Vendor != Vendor || e.Key.Tenant != raw.Tenant || e.Key.Type == "" || e.Key.ID == "" || e.ID == "" || e.Type == "" {
				t.Fatalf("incomplete event %+v", e)
			}
			if back, err := event.ParseKey(e.Key.String()); err != nil || back != e.Key {
				t.Fatalf("key %v read back as %v, %v", e.Key, back, err)
			}
			if (e.Op == event.OpNone) != (e.Key.Type == "-") {
				t.Fatalf("op %q of key %v", e.Op, e.Key)
			}
			if e.Op != event.Delete && len(e.Image) == 0 {
				t.Fatalf("no image in %+v", e)
			}
		}
	})
}
