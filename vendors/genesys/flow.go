package genesys

import (
	"strings"

	"trunkline/event"
	"trunkline/vendors"
)

// flowTopic begins `v2.flows.{id}`.
const flowTopic = "v2.flows."

// isFlow reports whether m tells of a flow itself and not, like
// v2.flows.{id}.…, of something in it.
func (m *message) isFlow() bool {
	if m.template != "" {
		return m.template == flowTopic+"{id}"
	}
	id, ok := strings.CutPrefix(m.topic, flowTopic)
	own, _ := m.body.Field("id").Text()
	return ok && (id == own || !strings.Contains(id, "."))
}

// mapFlow reads the notification of a flow: a small part of the flow, and the
// operation that changed it. It tells no time.
func mapFlow(raw *event.Raw, m *message, e event.Event) (event.Event, error) {
	id, err := vendors.FirstID(m.named("id"))
	if err != nil {
		return event.Event{}, err
	}
	id = first(id, notTemplate(strings.TrimPrefix(m.topic, flowTopic)))
	if id == "" {
		return event.Event{}, vendors.Missing(m.named("id").Path, "send the id of the flow")
	}
	name, err := vendors.TextAt(m.named("currentOperation", "actionName"))
	if err != nil {
		return event.Event{}, err
	}
	status, _ := m.body.Field("currentOperation", "actionStatus").Text()
	switch {
	case reads[strings.ToLower(name)]:
		return event.Event{}, &event.Filtered{Reason: "flow_read"}
	case strings.EqualFold(status, "FAILURE"):
		return event.Event{}, &event.Filtered{Reason: "flow_failure"}
	}
	act, known := actionOf(name)
	if !known && name != "" {
		m.md.Set("unmapped_action", name)
	}
	if complete, told := m.body.Field("currentOperation", "complete").Flag(); told && !complete {
		act = updated // the operation runs: what it will do is not done yet
	}
	if deletedState(m.body) {
		act = deleted
	}
	e.ID = m.contentID(m.concrete(id))
	e.Key, e.Op, e.Type = key(raw, "flow", id), act.op, "config.flow."+act.verb
	e.Version = version(m.body)
	e.Image, e.Partial = m.body.Without(vendors.NamesOf("currentOperation")).Canonical(), true
	e.Metadata = m.md.Map()
	return e, nil
}
