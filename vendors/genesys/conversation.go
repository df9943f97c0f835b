package genesys

import (
	"trunkline/event"
	"trunkline/vendors"
)

// mapConversation reads a step of a conversation, a snapshot of one, and
// whatever else names the conversation it belongs to. A message that names none
// is for the event bus only.
func mapConversation(raw *event.Raw, m *message, e event.Event) (event.Event, error) {
	ids := []vendors.Named{m.named("conversationId")}
	unmapped := m.typeName()
	var idOfTopic string
	var step vendors.Step
	var known bool
	switch {
	case m.beginning == detailTopic:
		idOfTopic, unmapped = m.id, m.name
		step, known = steps[m.name]
	case (m.beginning == queueTopic || m.beginning == userTopic) && isSnapshot(m.name):
		ids = append(ids, m.named("id"))
		known = true
		if m.beginning == queueTopic && m.name == "conversations.messages" {
			step = vendors.Message
		}
	}
	id, err := vendors.FirstID(ids...)
	if err != nil {
		return event.Event{}, err
	}
	id = first(id, idOfTopic)
	switch {
	case id == "" && known:
		return event.Event{}, vendors.Missing(ids[0].Path, "send the id of the conversation")
	case id == "":
		e.ID = m.contentID(m.topic)
		return m.eventOnly(raw, e), nil
	}

	e.Type, e.Op = step.Type, step.Op()
	if step.Type == "" {
		e.Type = vendors.OwnType(Vendor, m.typeName())
	}
	if !known {
		m.md.Set("unmapped_action", unmapped)
	}
	e.ID = m.contentID(m.concrete(id))
	e.Key = key(raw, event.TypeConversation, id)
	fields := m.body.Without(vendors.NamesOf("eventTime")).Default("conversationId", vendors.String(id))
	e.Image, e.Partial = step.Image(fields, "eventBody", e.TsMs, e.TsSource, &m.md).Canonical(), true
	e.Metadata = m.md.Map()
	return e, nil
}
