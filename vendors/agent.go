package vendors

// Types of the events of agents and of the members of queues, named alike for
// all vendors.
const (
	PresenceChanged = "agent.presence_changed"
	RoutingChanged  = "agent.routing_changed"
	MemberJoined    = "queue.member_joined"
	MemberLeft      = "queue.member_left"
)

// MembershipID is the id of the membership of an agent in a queue.
func MembershipID(queue, agent string) string { return queue + ":" + agent }

// Membership is the event type of a membership of which a vendor tells whether
// it is active.
func Membership(active bool) string {
	if active {
		return MemberJoined
	}
	return MemberLeft
}
