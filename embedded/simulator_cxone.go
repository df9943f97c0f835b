package embedded

import (
	"fmt"

	"trunkline/event"
	"trunkline/topology"
)

// cxoneTraffic speaks as NICE CXone's webhooks of the guide: the life of a call
// in four events.
type cxoneTraffic struct{}

// cxoneTenant is the vendor's own id of the simulated customer. Trunkline takes
// the tenant from the path, never from here (I9).
const cxoneTenant = "11e85da0-f32c-7e10-898c-0242ac110003"

var callSteps = []string{"CALL_STARTED", "QUEUE_ENTERED", "AGENT_ASSIGNED", "CALL_ENDED"}

func (t cxoneTraffic) open(g *Generator, n int) subject {
	s := subject{n: n, peer: fmt.Sprint(218000 + n)}
	s.key = event.Key{Vendor: topology.CXone, Tenant: g.cfg.Tenant, Type: event.TypeConversation, ID: t.contact(g)}
	return s
}

// contact is a new contact id: CXone numbers them.
func (cxoneTraffic) contact(g *Generator) string {
	return fmt.Sprint(427_000_000_000 + g.random.Int64N(1_000_000_000))
}

func (t cxoneTraffic) advance(g *Generator, s *subject) message {
	if s.stage == len(callSteps) {
		s.stage, s.key.ID = 0, t.contact(g)
	}
	m := message{
		kind: DeliveryEvent, action: callSteps[s.stage], id: g.uuid(), hasID: true,
		tsMs: g.now(), text: of(departments, s.n), splits: true,
	}
	s.stage++
	s.revision++
	m.subject = *s
	return m
}

// remove refuses: a webhook of CXone tells of no deletion.
func (cxoneTraffic) remove(*Generator, *subject) (message, bool) { return message{}, false }

func (cxoneTraffic) heartbeat(g *Generator) message {
	m := message{kind: DeliveryHeartbeat, tsMs: g.now(), splits: true}
	m.raw = fmt.Appendf(nil, `{"eventId":"%s","eventType":"HEARTBEAT","tenantId":"%s","timestamp":"%s","data":{}}`, g.uuid(), cxoneTenant, isoMillis(m.tsMs))
	return m
}

func (t cxoneTraffic) unknown(g *Generator) message {
	m := message{kind: DeliveryUnknown, tsMs: g.now(), id: g.uuid(), hasID: true, splits: true}
	m.subject.key = event.Key{Vendor: topology.CXone, Tenant: g.cfg.Tenant, Type: event.TypeConversation, ID: t.contact(g)}
	m.raw = fmt.Appendf(nil, `{"eventId":"%s","eventType":"SURVEY_COMPLETED","tenantId":"%s","timestamp":"%s","data":{"contactId":"%s","masterContactId":"%[4]s","score":%d}}`,
		m.id, cxoneTenant, isoMillis(m.tsMs), m.subject.key.ID, 1+g.random.IntN(5))
	return m
}

func (t cxoneTraffic) poison(g *Generator) message {
	return poison(g, fmt.Sprintf(`{"eventId":"%s","eventType":"CALL_STARTED","tenantId":"%s","timestamp":"yesterday","data":{"contactId":"%s"}}`,
		g.uuid(), cxoneTenant, t.contact(g)))
}

func (cxoneTraffic) render(m message) []byte {
	s := m.subject
	b := fmt.Appendf(nil, `{"eventId":"%s","eventType":"%s","tenantId":"%s","timestamp":"%s","data":{"contactId":"%s","masterContactId":"%[5]s"`,
		m.id, m.action, cxoneTenant, isoMillis(m.tsMs), s.key.ID)
	switch m.action {
	case "CALL_STARTED":
		b = fmt.Appendf(b, `,"direction":"inbound","mediaType":"voice","ani":"+1317555%04d","dnis":"+18005550199","campaign":%s`, s.n, quote(m.text))
	case "QUEUE_ENTERED":
		b = fmt.Appendf(b, `,"skillId":"9001","skillName":%s,"priority":1,"position":%d`, quote(m.text), 1+s.n%9)
	case "AGENT_ASSIGNED":
		b = fmt.Appendf(b, `,"agentId":"%s","teamId":"71","teamName":%s,"skillId":"9001"`, s.peer, quote(m.text))
	case "CALL_ENDED":
		b = fmt.Appendf(b, `,"agentId":"%s","skillId":"9001","disconnectReason":"customer","comment":%s,"inQueueSeconds":%d,"agentSeconds":%d,"totalDurationSeconds":%d`,
			s.peer, quote(m.text), s.n%60, 300+s.n, 300+s.n+s.n%60)
	}
	return append(b, "}}"...)
}
