package genesys

import (
	"strings"

	"trunkline/event"
	"trunkline/vendors"
)

// detailTopic begins `v2.detail.events.conversation.{id}.customer.start` and
// its like.
const detailTopic = "v2.detail.events.conversation."

// mapDetail reads a step of a conversation, and whatever else names the
// conversation it belongs to. A message that names none is for the event bus
// only.
func mapDetail(raw *event.Raw, m *message, e event.Event) (event.Event, error) {
	idOfTopic, name := m.detail()
	step, known := steps[name]
	id, err := vendors.FirstID(m.named("conversationId"))
	if err != nil {
		return event.Event{}, err
	}
	id = first(id, notTemplate(idOfTopic))
	switch {
	case id == "" && known:
		return event.Event{}, vendors.Missing(m.named("conversationId").Path, "send the id of the conversation")
	case id == "":
		e.ID = m.contentID(m.topic)
		e.Metadata = m.md.Map()
		return eventOnly(raw, e, m.typeName(), m.body), nil
	}

	original := m.typeName()
	if name != "" {
		original = detailTopic + "{id}." + name
	}
	e.Type, e.Op = step.Type, step.Op()
	if step.Type == "" {
		e.Type = ownType(original)
	}
	if !known {
		m.md.Set("unmapped_action", first(name, original))
	}
	// A workflow may hint at the template only: its event is that of the topic.
	e.ID = m.contentID(strings.Replace(m.topic, "{id}", id, 1))
	e.Key = key(raw, event.TypeConversation, id)
	fields := m.body.Without(vendors.NamesOf("eventTime"))
	if !fields.Field("conversationId").Exists() {
		fields = fields.With("conversationId", vendors.String(id))
	}
	e.Image, e.Partial = step.Image(fields, "eventBody", e.TsMs, e.TsSource, &m.md).Canonical(), true
	e.Metadata = m.md.Map()
	return e, nil
}

// detail takes the topic of a detail event apart; both are "" for any other
// topic. Ids may hold dots, so the end of the topic is looked for first.
func (m *message) detail() (id, name string) {
	rest, ok := strings.CutPrefix(m.topic, detailTopic)
	if !ok {
		return "", ""
	}
	if name, ok := strings.CutPrefix(m.template, detailTopic+"{id}."); ok {
		return strings.TrimSuffix(rest, "."+name), name
	}
	for name := range steps { // no name is the end of another
		if id, ok := strings.CutSuffix(rest, "."+name); ok {
			return id, name
		}
	}
	id, name, _ = strings.Cut(rest, ".")
	return id, name
}
