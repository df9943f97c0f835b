package embedded

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"trunkline/event"
	"trunkline/topology"
)

// genesysTraffic speaks as Genesys Cloud: seed push events with whole resources,
// audits with what changed, and detail events of conversations, the last two in
// EventBridge and in notification envelopes.
type genesysTraffic struct{}

// Shapes of Genesys messages.
const (
	seedPush     = "seed"
	eventBridge  = "eventbridge"
	notification = "notification"
)

const genesysOrganization = "23faea37-1117-4c0a-88a2-572c46780b03"

// Ids of this kind are legal, and every stage has to carry them.
var oddIDs = []string{"a/b", "a#b", "100%", "nul\x00nul", "Ünï çode", "a%2Fb"}

var (
	departments = []string{"Claims", "Sales", "Support", "Billing", "Retention"}
	skills      = []string{"Spanish", "French", "Claims L2", "Licensing"}

	conversationSteps = []string{"customer.start", "acd.start", "acd.end", "user.start", "user.end", "customer.end"}
)

func (genesysTraffic) open(g *Generator, n int) subject {
	s := subject{n: n, peer: g.uuid()}
	s.key = event.Key{Vendor: topology.Genesys, Tenant: g.cfg.Tenant, ID: g.uuid()}
	s.key.Type = of([]string{"user", "queue", "flow", event.TypeConversation, "user", "queue", "user", event.TypeConversation}, n)
	if s.key.Type != event.TypeConversation && n%50 == 0 {
		s.key.ID = of(oddIDs, n/50) + fmt.Sprint(n)
	}
	return s
}

func (t genesysTraffic) advance(g *Generator, s *subject) message {
	if s.key.Type == event.TypeConversation {
		return t.step(g, s)
	}
	s.revision++
	m := message{kind: DeliveryEvent, shape: seedPush, action: "updated", id: g.uuid(), hasID: true, splits: true}
	m.tsMs, m.text = g.now(), of(departments, g.random.IntN(len(departments)))
	switch {
	case !s.alive:
		s.alive = true
		m.action = "created"
	case g.random.IntN(5) == 0:
		m.shape, m.action = t.envelope(g), "Update"
	case s.key.Type == "flow":
		m.action = "published"
	}
	m.subject = *s
	return m
}

// step tells the next step of a conversation; after the last a new one begins.
func (t genesysTraffic) step(g *Generator, s *subject) message {
	if s.stage == len(conversationSteps) {
		s.stage, s.revision, s.key.ID = 0, 0, g.uuid()
	}
	m := message{
		kind: DeliveryEvent, shape: t.envelope(g), action: conversationSteps[s.stage],
		id: g.uuid(), tsMs: g.now(), text: "tel:+1317555" + fmt.Sprintf("%04d", s.n), splits: true,
	}
	s.stage++
	s.revision++
	m.subject = *s
	return m
}

func (t genesysTraffic) remove(g *Generator, s *subject) (message, bool) {
	if !s.alive || s.key.Type == event.TypeConversation {
		return message{}, false
	}
	s.alive = false
	s.revision++
	m := message{
		kind: DeliveryDelete, shape: seedPush, action: "deleted", id: g.uuid(), hasID: true,
		subject: *s, tsMs: g.now(), splits: true,
	}
	if g.random.IntN(3) == 0 {
		m.shape, m.action = t.envelope(g), "Delete"
	}
	// Half of the deleted resources come back under their id.
	if g.random.IntN(2) == 0 {
		s.key.ID, s.revision = g.uuid(), 0
	}
	return m, true
}

func (genesysTraffic) envelope(g *Generator) string {
	if g.random.IntN(2) == 0 {
		return eventBridge
	}
	return notification
}

func (genesysTraffic) heartbeat(g *Generator) message {
	m := message{kind: DeliveryHeartbeat, tsMs: g.now(), splits: true}
	if g.random.IntN(2) == 0 {
		m.raw = fmt.Appendf(nil, `{"topicName":"channel.metadata","eventBody":{"message":"WebSocket Heartbeat"}}`)
	} else {
		m.raw = fmt.Appendf(nil, `{"id":"%s","resourceType":"organization","eventType":"heartbeat","ts_ms":%d}`, g.uuid(), m.tsMs)
	}
	return m
}

func (genesysTraffic) unknown(g *Generator) message {
	m := message{kind: DeliveryUnknown, tsMs: g.now(), id: g.uuid(), splits: true}
	id := g.uuid()
	switch g.random.IntN(3) {
	case 0: // a resource type of which nobody has told us
		m.hasID = true
		m.subject.key = event.Key{Vendor: topology.Genesys, Tenant: g.cfg.Tenant, Type: "gamification_profile", ID: id}
		m.raw = fmt.Appendf(nil, `{"id":"%s","resourceType":"gamification_profile","eventType":"rebalanced","resourceId":"%s","ts_ms":%d,"data":{"id":"%[2]s","name":"Profile","points":12.50}}`,
			m.id, id, m.tsMs)
	case 1: // a template that is no resource
		m.raw = fmt.Appendf(nil, `{"version":"0","id":"%s","detail-type":"v2.analytics.queues.{id}.observations","source":"aws.partner/genesys.com/cloud/%s/ccaas-cdc","account":"123456789012","time":"%s","region":"eu-central-1","resources":[],"detail":{"topicName":"v2.analytics.queues.%s.observations","version":"2","eventBody":{"group":{"queueId":"%[4]s"},"data":[{"interval":"PT30S","metrics":[{"metric":"oWaiting","stats":{"count":%d}}]}]},"metadata":{"CorrelationId":"%[1]s"},"timestamp":"%[6]s"}}`,
			m.id, genesysOrganization, isoSeconds(m.tsMs), id, g.random.IntN(40), isoMillis(m.tsMs))
	default: // a detail event of a kind that is not in our tables
		m.subject.key = event.Key{Vendor: topology.Genesys, Tenant: g.cfg.Tenant, Type: event.TypeConversation, ID: id}
		m.raw = fmt.Appendf(nil, `{"topicName":"v2.detail.events.conversation.%s.hologram.start","version":"2","eventBody":{"eventTime":%d,"conversationId":"%[1]s","mediaType":"HOLOGRAM"},"metadata":{"CorrelationId":"%[3]s"}}`,
			id, m.tsMs, m.id)
	}
	return m
}

func (genesysTraffic) poison(g *Generator) message {
	return poison(g, fmt.Sprintf(`{"id":"%s","resourceType":"user","eventType":"updated","resourceId":"%s","ts_ms":"soon","data":{}}`, g.uuid(), g.uuid()))
}

// poison makes what no mapper can read. invalid is a body that is well-formed
// for the vendor but for one field.
func poison(g *Generator, invalid string) message {
	m := message{kind: DeliveryPoison, tsMs: g.now()}
	switch g.random.IntN(5) {
	case 0:
		m.raw = []byte(`{"id":"` + g.uuid() + `","resourceType":"user","eventTy`)
	case 1:
		m.raw = make([]byte, 40)
		for i := range m.raw {
			m.raw[i] = byte(g.random.IntN(256))
		}
		m.raw[0] = 0xff // never UTF-8, never blank
	case 2:
		m.raw, m.splits = []byte(`{"hello":"`+g.uuid()+`"}`), true
	case 3:
		m.raw = []byte("\"\xc3\x28 is no UTF-8\"")
	default:
		m.raw, m.splits = []byte(invalid), true
	}
	return m
}

func (t genesysTraffic) render(m message) []byte {
	if m.shape == seedPush {
		return t.push(m)
	}
	topic, template, body := t.audit(m)
	if m.subject.key.Type == event.TypeConversation {
		topic, template, body = t.detail(m)
	}
	if m.shape == notification {
		return fmt.Appendf(nil, `{"topicName":%s,"version":"2","eventBody":%s,"metadata":{"CorrelationId":"%s"}}`,
			quote(topic), body, m.subject.peer)
	}
	return fmt.Appendf(nil, `{"version":"0","id":"%s","detail-type":"%s","source":"aws.partner/genesys.com/cloud/%s/ccaas-cdc","account":"123456789012","time":"%s","region":"eu-central-1","resources":[],"detail":{"topicName":%s,"version":"2","eventBody":%s,"metadata":{"CorrelationId":"%s"},"timestamp":"%s"}}`,
		m.id, template, genesysOrganization, isoSeconds(m.tsMs), quote(topic), body, m.subject.peer, isoMillis(m.tsMs))
}

func (t genesysTraffic) push(m message) []byte {
	k := m.subject.key
	b := fmt.Appendf(nil, `{"id":"%s","subscriptionId":"sub-7f3a","organizationId":"%s","resourceType":"%s","eventType":"%s","resourceId":%s,"ts_ms":%d`,
		m.id, genesysOrganization, k.Type, m.action, quote(k.ID), m.tsMs)
	if m.action == "deleted" { // the vendor leaves the resource out
		return append(b, '}')
	}
	if k.Type == "user" {
		b = fmt.Appendf(b, `,"version":%d`, m.subject.revision)
	}
	return fmt.Appendf(b, `,"data":%s}`, t.resource(m))
}

// resource is the whole resource, 300 to 700 bytes.
func (genesysTraffic) resource(m message) []byte {
	s := m.subject
	division := fmt.Sprintf(`{"id":"%s","name":"Home","selfUri":"/api/v2/authorization/divisions/%[1]s"}`, s.peer)
	id, text := quote(s.key.ID), quote(m.text)
	switch s.key.Type {
	case "user":
		return fmt.Appendf(nil, `{"id":%s,"name":"Agent %d","division":%s,"email":"agent.%[2]d@example.com","username":"agent.%[2]d@example.com","state":"active","title":"Agent, revision %[4]d","department":%[5]s,"version":%[4]d,"acdAutoAnswer":%[6]t,"skills":[{"name":"%[7]s","proficiency":%[8]d.0,"state":"active"}],"groups":[],"locations":[{"id":"%[9]s","floorplanId":null}],"preferredName":null,"selfUri":"/api/v2/users/%[2]d"}`,
			id, s.n, division, s.revision, text, s.revision%2 == 0, of(skills, s.n+s.revision), 1+s.revision%5, s.peer)
	case "queue":
		return fmt.Appendf(nil, `{"id":%s,"name":"Queue %d","division":%s,"description":%s,"dateCreated":"2026-01-02T03:04:05.000Z","dateModified":"%s","memberCount":%d,"joinedMemberCount":%d,"mediaSettings":{"call":{"alertingTimeoutSeconds":%d,"serviceLevel":{"percentage":0.80,"durationMs":20000}}},"acwSettings":{"wrapupPrompt":"MANDATORY_TIMEOUT","timeoutMs":30000},"skillEvaluationMethod":"BEST","enableTranscription":false,"selfUri":"/api/v2/routing/queues/%[2]d"}`,
			id, s.n, division, text, isoMillis(m.tsMs), 10+s.revision%40, s.revision%10, 5+s.revision%25)
	default:
		return fmt.Appendf(nil, `{"id":%s,"name":"Flow %d","division":%s,"description":%s,"type":"INBOUNDCALL","active":true,"system":false,"deleted":false,"publishedVersion":{"id":"%d.0","name":"%[5]d.0","dateCreated":%[6]d},"savedVersion":{"id":"%[5]d.0","name":"%[5]d.0"},"checkedInVersion":{"id":"%[5]d.0"},"publishedBy":{"id":"%[7]s"},"lockedUser":null,"selfUri":"/api/v2/flows/%[2]d"}`,
			id, s.n, division, text, s.revision, m.tsMs, s.peer)
	}
}

// audit tells what changed and not what is: a partial image.
func (genesysTraffic) audit(m message) (topic, template string, body []byte) {
	s := m.subject
	service, entityType, changed := auditOf(m)
	body = fmt.Appendf(nil, `{"id":"%s","userId":"%s","userHomeOrgId":"%s","username":{"id":"%[2]s","name":"Jo Admin"},"userDisplay":"Jo Admin","clientId":{"id":"%[2]s"},"remoteIp":["203.0.113.7"],"serviceName":"%[4]s","level":"USER","eventTime":"%[5]s","action":"%[6]s","entityType":"%[7]s","entity":{"id":%[8]s,"name":"%[7]s %[9]d"},"propertyChanges":%[10]s,"context":{}}`,
		m.id, s.peer, genesysOrganization, service, isoMillis(m.tsMs), m.action, entityType, quote(s.key.ID), s.n, changed)
	return "v2.audits.entitytype." + entityType + ".entityid." + s.key.ID, "v2.audits.entitytype.{id}.entityid.{id}", body
}

// auditOf is what the audit of a change names: service and type of the resource,
// and which properties changed.
func auditOf(m message) (service, entityType, changed string) {
	s := m.subject
	of := auditedTypes[s.key.Type]
	changed = "[]"
	if m.action == "Update" {
		changed = fmt.Sprintf(`[{"property":"description","oldValues":["revision %d"],"newValues":[%s]},{"property":"memberCount","oldValues":["%d"],"newValues":["%d"]}]`,
			s.revision-1, quote(m.text), s.revision-1, s.revision)
	}
	return of.service, of.entity, changed
}

// detail is a step of a conversation.
func (genesysTraffic) detail(m message) (topic, template string, body []byte) {
	s := m.subject
	body = fmt.Appendf(nil, `{"eventTime":%d,"conversationId":"%s","participantId":"%s","sessionId":"%[3]s","mediaType":"VOICE","provider":"Edge","direction":"INBOUND","ani":%[4]s,"dnis":"tel:+18005550199"`,
		m.tsMs, s.key.ID, s.peer, quote(m.text))
	switch m.action {
	case "acd.start":
		body = fmt.Appendf(body, `,"queueId":"%s","divisionId":"%[1]s","routingPriority":0,"requestedRoutingSkillIds":["%[1]s"],"conversationExternalContactIds":[]`, s.peer)
	case "acd.end":
		body = fmt.Appendf(body, `,"queueId":"%s","disconnectType":"TRANSFER","acdOutcome":"ANSWERED","answeredUserId":"%[1]s","usedRouting":"STANDARD","requestedRoutings":["STANDARD"],"connectedDurationMs":%d`, s.peer, 1000+s.n)
	case "user.start", "user.end":
		body = fmt.Appendf(body, `,"userId":"%s","queueId":"%[1]s","divisionId":"%[1]s"`, s.peer)
	case "customer.end":
		body = fmt.Appendf(body, `,"disconnectType":"CLIENT","interactingDurationMs":%d`, 60000+s.n)
	}
	body = append(body, '}')
	const events = "v2.detail.events.conversation."
	return events + s.key.ID + "." + m.action, events + "{id}." + m.action, body
}

func quote(s string) []byte {
	// The only error is invalid UTF-8, and the simulators' strings are theirs.
	b, _ := jsontext.AppendQuote(nil, s)
	return b
}

func isoMillis(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

func isoSeconds(ms int64) string {
	return time.UnixMilli(ms).UTC().Format(time.RFC3339)
}
