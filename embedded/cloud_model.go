package embedded

import "trunkline/event"

// Model is what a consumer of a cloud must end with, told by the log alone.
type Model struct {
	// Events are the entities of all events, by event id. A consumer has each
	// once, however often and by how many ways it was told.
	Events map[string]event.Key
	// Last is the newest event of each entity, which decides what it is in the end.
	Last map[event.Key]LastEvent
}

// LastEvent is the newest event of an entity.
type LastEvent struct {
	ID      string
	TsMs    int64
	Deleted bool
}

// Model returns what a consumer of what was told so far must end with: of the
// stream, or of the deliveries. Events whose format has no id of its own, which
// the mappers name by their content, are left out. It takes a log that has events
// in order ([CloudConfig.Plain]): what is late loses by the consumer's rules.
func (c *Cloud) Model(stream bool) Model {
	m := Model{Events: map[string]event.Key{}, Last: map[event.Key]LastEvent{}}
	for _, e := range c.log.all(func(e entry) bool { return e.hasID && e.raw == nil && e.streamed == stream }) {
		key := e.subject.key
		m.Events[e.id] = key
		if last, known := m.Last[key]; !known || e.tsMs >= last.TsMs {
			m.Last[key] = LastEvent{ID: e.id, TsMs: e.tsMs, Deleted: e.kind == DeliveryDelete}
		}
	}
	return m
}

// Told returns the bodies of what was told so far, in order.
func (c *Cloud) Told() [][]byte {
	var all [][]byte
	for _, e := range c.log.all(func(entry) bool { return true }) {
		all = append(all, e.body)
	}
	return all
}
