package vendors

import (
	"strings"

	"trunkline/event"
)

// Step is one step in the life of a conversation, named alike for all vendors.
type Step struct {
	Type   string // canonical event type; "" when the vendor's own name stands
	Status string // what it makes the status of the conversation; "" leaves it
}

// The steps of a conversation.
var (
	Started         = Step{"conversation.started", "started"}
	Queued          = Step{"conversation.queued", "queued"}
	Dequeued        = Step{"conversation.dequeued", "dequeued"}
	AgentAssigned   = Step{"conversation.agent_assigned", "assigned"}
	AgentUnassigned = Step{"conversation.agent_unassigned", "unassigned"}
	Message         = Step{"conversation.message", ""}
	Wrapup          = Step{"conversation.wrapup", "wrapup"}
	Ended           = Step{"conversation.ended", "ended"}
)

// Op is create for the first step and update for any other: an ended
// conversation still stands, with its status.
func (s Step) Op() event.Op {
	if s == Started {
		return event.Create
	}
	return event.Update
}

// Image is the partial image of a conversation after the step: fields, which
// the vendor tells, with `status`, and `startedMs` or `endedMs` when the vendor
// told the time tsMs. Fields of these names that are the vendor's own give way
// and are noted in md under `x_{path}`.
func (s Step) Image(fields Value, path string, tsMs int64, source event.TsSource, md *Metadata) Value {
	set := func(name string, v Value) {
		if i, found := fields.find(name); found {
			md.unknownField(strings.TrimPrefix(path+".", "."), fields.members[i])
		}
		fields = fields.With(name, v)
	}
	if s.Status != "" {
		set("status", String(s.Status))
	}
	if source != event.TsIngest {
		switch s {
		case Started:
			set("startedMs", Int(tsMs))
		case Ended:
			set("endedMs", Int(tsMs))
		}
	}
	return fields
}
