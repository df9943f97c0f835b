package genesys

import (
	"trunkline/event"
	"trunkline/vendors"
)

// mapAgent reads what a message tells of an agent's state: presence, routing
// status or both. It never touches the user, who is configuration.
func mapAgent(raw *event.Raw, m *message, e event.Event) (event.Event, error) {
	id := m.id
	if id == "" {
		var err error
		if id, err = vendors.FirstID(m.named("userId"), m.named("id")); err != nil {
			return event.Event{}, err
		}
	}
	if id == "" {
		return event.Event{}, vendors.Missing(m.topicPath, "send the topic with the id of the user")
	}
	e.ID = m.contentID(m.concrete(id))
	if primary, told := m.body.Field("primary").Flag(); told && !primary {
		// One of several presences, and not the one that counts.
		return m.eventOnly(raw, e), nil
	}
	image := m.body.Without(vendors.NamesOf("eventTime"))
	switch m.name {
	case "presence":
		// As an activity tells it, so that one row holds both.
		image, e.Type = vendors.Object().With("presence", image), vendors.PresenceChanged
	case "state":
		e.Type = vendors.OwnType(Vendor, m.typeName())
	default:
		var err error
		if e, err = m.lastPart(e); err != nil {
			return event.Event{}, err
		}
	}
	e.Key, e.Op = key(raw, event.TypeAgentState, id), event.Update
	e.Image, e.Partial = image.Default("id", vendors.String(id)).Canonical(), true
	e.Metadata = m.md.Map()
	return e, nil
}

// agentParts are the parts of an agent's state: when each changed last, and
// the event type that tells it.
var agentParts = []struct {
	changed []string
	typ     string
}{
	{[]string{"routingStatus", "startTime"}, vendors.RoutingChanged},
	{[]string{"dateActiveQueuesChanged"}, vendors.RoutingChanged},
	{[]string{"presence", "modifiedDate"}, vendors.PresenceChanged},
	{[]string{"outOfOffice", "modifiedDate"}, vendors.PresenceChanged},
}

// lastPart sets type and time of e by the part that changed last. An activity
// repeats the others with their old times, by which it would be late.
func (m *message) lastPart(e event.Event) (event.Event, error) {
	e.Type = vendors.RoutingChanged
	latest := int64(0)
	for _, part := range agentParts {
		ms, source, err := vendors.EventTime(0, m.timeAt(part.changed...))
		if err != nil {
			return event.Event{}, err
		}
		if source == event.TsEvent && ms > latest {
			latest = ms
			e.Type, e.TsMs, e.TsSource = part.typ, ms, source
		}
	}
	return e, nil
}
