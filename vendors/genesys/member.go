package genesys

import (
	"trunkline/event"
	"trunkline/vendors"
)

// mapMember reads that a user joined a queue or left it. Who is no longer a
// member at all is told by the audits of the queue.
func mapMember(raw *event.Raw, m *message, e event.Event) (event.Event, error) {
	queue, err := vendors.FirstID(m.named("queueId"))
	if err != nil {
		return event.Event{}, err
	}
	user, err := vendors.FirstID(m.named("user", "id"), m.named("id"))
	if err != nil {
		return event.Event{}, err
	}
	queue = first(queue, m.id)
	joined, told := m.body.Field("joined").Flag()
	switch {
	case queue == "":
		return event.Event{}, vendors.Missing(m.named("queueId").Path, "send the id of the queue")
	case user == "":
		return event.Event{}, vendors.Missing(m.named("user", "id").Path, "send the id of the member")
	case !told && m.body.Field("joined").Exists():
		return event.Event{}, event.Reject(event.InvalidField, "%s: send true or false", m.named("joined").Path)
	case !told:
		return event.Event{}, vendors.Missing(m.named("joined").Path, "send true or false")
	}
	e.ID = m.memberID(m.concrete(queue))
	e.Key = key(raw, event.TypeQueueMembership, vendors.MembershipID(queue, user))
	e.Op, e.Type = event.Update, vendors.Membership(joined)
	e.Image, e.Partial = m.body.Default("queueId", vendors.String(queue)).Canonical(), true
	e.Metadata = m.md.Map()
	return e, nil
}

// memberID is the event id of a message that tells neither its time nor its
// operation: who joins, leaves and joins again sends the same body twice. What
// tells the two apart is the trace of the request that made them; it comes with
// the message through both envelopes, and again with a re-sent one. Others may
// share it, so it only adds to the content.
func (m *message) memberID(topic string) string {
	return vendors.ContentID(m.contentID(topic), m.trace)
}
