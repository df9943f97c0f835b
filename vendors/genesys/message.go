package genesys

import (
	"strings"

	"trunkline/event"
	"trunkline/vendors"
)

// message is a topic message of the platform, the same whatever envelope it
// came in: that of the Notifications API or that of Amazon EventBridge.
type message struct {
	topic    string // concrete, such as "v2.flows.6f…"
	template string // with {id} for the ids; "" when the envelope does not tell
	body     vendors.Value
	times    []vendors.TimeField // of the envelope, best first
	trace    string              // CorrelationId, the same in both envelopes
	md       vendors.Metadata
	err      error // of the envelope, told after transport frames are filtered

	bodyPath  string // of body, for error texts
	topicPath string

	// The parts of a topic `{beginning}{id}.{name}`; see locate.
	beginning, id, name string
}

var (
	bridgeFields = vendors.NamesOf("version", "id", "detail-type", "source",
		"account", "time", "region", "resources", "detail")
	frameFields = vendors.NamesOf("topicName", "version", "eventBody", "metadata", "timestamp")
)

// eventBridgeMessage opens the envelope of Amazon EventBridge. Its `id` is new
// on every re-send and its `time` cut to seconds: neither tells one event from
// another.
func eventBridgeMessage(doc vendors.Value) *message {
	detail := doc.Field("detail")
	m := &message{
		body: detail.Field("eventBody"), bodyPath: "detail.eventBody", topicPath: "detail.topicName",
		times: []vendors.TimeField{
			at(doc, event.TsEnvelope, "detail", "timestamp"),
			at(doc, event.TsEnvelope, "time"),
		},
	}
	m.template, m.err = vendors.TextAt(vendors.Named{Path: "detail-type", Value: doc.Field("detail-type")})
	if m.err == nil {
		m.topic, m.err = vendors.TextAt(vendors.Named{Path: m.topicPath, Value: detail.Field("topicName")})
	}
	if m.topic == "" {
		m.topic = m.template
	}
	m.trace, _ = detail.Field("metadata", "CorrelationId").Text()
	m.md.Unknown("", doc, bridgeFields)
	m.md.Unknown("detail.", detail, frameFields)
	return m
}

// notificationMessage opens a frame of the Notifications API, or takes doc for
// a bare event body of the hinted topic, as workflows send it.
func notificationMessage(doc vendors.Value, topicHint string) *message {
	m := &message{
		body: doc.Field("eventBody"), bodyPath: "eventBody", topicPath: "topicName",
		times: []vendors.TimeField{at(doc, event.TsEnvelope, "timestamp")},
	}
	m.topic, m.err = vendors.TextAt(vendors.Named{Path: m.topicPath, Value: doc.Field("topicName")})
	if m.topic == "" && m.err == nil {
		m.topic, m.err = topicHint, vendors.CheckText("topic", topicHint)
	}
	if !m.body.Exists() && topicHint != "" {
		m.body, m.bodyPath, m.times = doc, "body", nil
		return m
	}
	m.trace, _ = doc.Field("metadata", "CorrelationId").Text()
	m.md.Unknown("", doc, frameFields)
	return m
}

// auditMessage takes doc for one audit of a query, which comes without an
// envelope.
func auditMessage(doc vendors.Value) *message {
	return &message{topic: auditTopic + "{id}.entityid.{id}", body: doc, bodyPath: "body"}
}

// mapMessage reads the message of a topic.
func mapMessage(raw *event.Raw, m *message) (event.Event, error) {
	switch {
	case m.err != nil:
		return event.Event{}, m.err
	case IsTransport(m.topic):
		return event.Event{}, &event.Filtered{Reason: "transport_frame"}
	case m.topic == "":
		return event.Event{}, vendors.Missing(m.topicPath, "send the topic that the event body belongs to")
	case !m.body.Exists():
		return event.Event{}, vendors.Missing(m.bodyPath, "send the event as an object")
	case !m.body.IsObject():
		return event.Event{}, event.Reject(event.InvalidField, "%s: send the event as an object", m.bodyPath)
	}
	m.locate()
	var e event.Event
	var err error
	e.TsMs, e.TsSource, err = vendors.EventTime(raw.ReceivedMs, m.allTimes()...)
	if err != nil {
		return event.Event{}, err
	}
	switch {
	case strings.HasPrefix(m.topic, auditTopic):
		return mapAudit(raw, m, e)
	case m.isFlow():
		return mapFlow(raw, m, e)
	case m.beginning == userTopic && isAgentPart(m.name), m.beginning == agentTopic && m.name == "state":
		return mapAgent(raw, m, e)
	case m.beginning == queueTopic && m.name == "users":
		return mapMember(raw, m, e)
	}
	return mapConversation(raw, m, e)
}

// eventOnly is a message of no entity, for the event bus; e has its id.
func (m *message) eventOnly(raw *event.Raw, e event.Event) event.Event {
	e.Metadata = m.md.Map()
	return vendors.EventOnly(Vendor, raw, e, m.typeName(), m.body)
}

// named is the value at a path of the body, with its path from the top.
func (m *message) named(path ...string) vendors.Named {
	return vendors.Named{
		Path:  m.bodyPath + "." + strings.Join(path, "."),
		Value: m.body.Field(path...),
	}
}

// allTimes are the places of the event time in the order of the design: those
// of the event, the envelope's exact one, and last what is cut to seconds.
func (m *message) allTimes() []vendors.TimeField {
	times := []vendors.TimeField{
		m.timeAt("ts_ms"), m.timeAt("eventTime"), m.timeAt("eventDate"),
		m.timeAt("modifiedDate"), m.timeAt("routingStatus", "startTime"),
		m.timeAt("currentStateStart"),
	}
	if len(m.times) > 0 {
		times = append(times, m.times[0])
	}
	times = append(times, m.timeAt("timestamp"))
	if len(m.times) > 1 {
		times = append(times, m.times[1:]...)
	}
	return times
}

// timeAt is the time field at a path of the body.
func (m *message) timeAt(path ...string) vendors.TimeField {
	n := m.named(path...)
	return vendors.TimeField{Path: n.Path, Value: n.Value, Source: event.TsEvent}
}

// contentID is the event id of a message that carries none. Both envelopes give
// the same, so a message that comes through both is one event; CorrelationId
// and EventBridge's id would not do (a trace id; new on every re-send). What a
// flow notification has instead of a time, its versions and its operation,
// stands in the body and so in the digest.
func (m *message) contentID(topic string) string {
	return vendors.ContentID(topic, string(m.body.Field("eventTime").Canonical()), vendors.Digest(m.body))
}
