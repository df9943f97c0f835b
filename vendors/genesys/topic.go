package genesys

import (
	"regexp"
	"strings"
)

// Beginnings of the topics `{beginning}{id}.{name}` whose messages belong to
// entities.
const (
	detailTopic = "v2.detail.events.conversation." // v2.detail.events.conversation.{id}.customer.start and its like
	agentTopic  = "v2.detail.events.agent."        // v2.detail.events.agent.{id}.state
	userTopic   = "v2.users."                      // v2.users.{id}.presence and its like
	queueTopic  = "v2.routing.queues."             // v2.routing.queues.{id}.users and its like
)

// IsTransport reports whether the messages of a topic are about the channel that
// carries them: no events.
func IsTransport(topic string) bool {
	return topic == "channel.metadata" || topic == "v2.subscription.updated" || strings.HasPrefix(topic, "v2.system.")
}

// knownNames tells which names we know, by the beginning of their topic.
var knownNames = map[string]func(name string) bool{
	detailTopic: func(name string) bool { _, ok := steps[name]; return ok },
	agentTopic:  func(name string) bool { return name == "state" },
	userTopic:   func(name string) bool { return isAgentPart(name) || isSnapshot(name) },
	queueTopic:  func(name string) bool { return name == "users" || isSnapshot(name) },
}

func isAgentPart(name string) bool {
	return name == "presence" || name == "routingStatus" || name == "activity"
}

// isSnapshot reports whether name is that of a whole conversation as a queue or
// a user sees it: "conversations", "conversations.calls" and its like.
func isSnapshot(name string) bool {
	return name == "conversations" || strings.HasPrefix(name, "conversations.")
}

// locate takes a topic `{beginning}{id}.{name}` apart. Ids may hold dots, so
// the name is that of the template, else the longest that we know, else all
// after the first dot.
func (m *message) locate() {
	for beginning, knows := range knownNames {
		rest, ok := strings.CutPrefix(m.topic, beginning)
		if !ok {
			continue
		}
		m.beginning = beginning
		m.id, m.name, _ = strings.Cut(rest, ".")
		if name, ok := strings.CutPrefix(m.template, beginning+"{id}."); ok {
			m.id, m.name = strings.TrimSuffix(rest, "."+name), name
		} else {
			for i := range rest {
				if rest[i] == '.' && knows(rest[i+1:]) {
					m.id, m.name = rest[:i], rest[i+1:]
					break
				}
			}
		}
		m.id = notTemplate(m.id)
		return
	}
}

// concrete is the topic of the entity: a workflow may hint at the template
// only, and its event is that of the topic.
func (m *message) concrete(id string) string { return strings.Replace(m.topic, "{id}", id, 1) }

var uuidText = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// typeName names the kind of the message: its topic with {id} for the ids.
func (m *message) typeName() string {
	switch {
	case m.template != "":
		return m.template
	case m.name != "":
		return m.beginning + "{id}." + m.name
	}
	segments := strings.Split(m.topic, ".")
	for i, s := range segments {
		if uuidText.MatchString(s) {
			segments[i] = "{id}"
		}
	}
	return strings.Join(segments, ".")
}

// notTemplate is a segment of a topic, "" where the topic is only a template.
func notTemplate(segment string) string {
	if segment == "{id}" {
		return ""
	}
	return segment
}
