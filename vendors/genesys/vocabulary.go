package genesys

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"trunkline/event"
	"trunkline/vendors"
)

// action is what an action of the vendor does to its resource.
type action struct {
	op   event.Op
	verb string // last part of the canonical type `config.{type}.{verb}`
}

var (
	created   = action{event.Create, "created"}
	updated   = action{event.Update, "updated"}
	published = action{event.Update, "published"}
	deleted   = action{event.Delete, "deleted"}
)

// actions holds, in lower case, the event types of pushes, the actions of
// audits (enum of the vendor's Java SDK) and those of flow operations. Member*
// is matched by prefix.
var actions = map[string]action{
	"created": created, "create": created, "add": created,

	"published": published, "publish": published,

	"updated": updated, "update": updated, "unpublish": updated, "save": updated,
	"checkin": updated, "revert": updated, "activate": updated,
	"deactivate": updated, "enable": updated, "disable": updated,
	"assign": updated, "unassign": updated, "move": updated, "restore": updated,

	"deleted": deleted, "delete": deleted, "deleteall": deleted,
	"softdelete": deleted, "harddelete": deleted, "remove": deleted,
}

// reads are the audited actions that change nothing.
var reads = vendors.NamesOf("view", "read", "download", "execute", "export", "authenticate")

// actionOf returns what an action does. One that is not in the table counts as
// an update, known is false then.
func actionOf(name string) (a action, known bool) {
	name = strings.ToLower(name)
	if a, known = actions[name]; known {
		return a, true
	}
	return updated, strings.HasPrefix(name, "member")
}

// deletedState reports whether a resource says of itself that it is no more.
func deletedState(resource vendors.Value) bool {
	state, _ := resource.Field("state").Text()
	gone, _ := resource.Field("deleted").Flag()
	return strings.EqualFold(state, "deleted") || gone
}

// resourceType is the entity type of a vendor's type name: lower snake case,
// with the two names that the vendor has for a user made one.
func resourceType(name string) string {
	name = strings.ReplaceAll(name, "OAuth", "Oauth")
	if strings.EqualFold(name, "AuthUser") {
		return "user"
	}
	var b strings.Builder
	var prev rune
	for i, r := range name {
		next, _ := utf8.DecodeRuneInString(name[i+utf8.RuneLen(r):])
		switch {
		case r == ' ' || r == '-' || r == '.':
			r = '_'
		case unicode.IsUpper(r) && (unicode.IsLower(prev) || unicode.IsDigit(prev) ||
			unicode.IsUpper(prev) && unicode.IsLower(next)):
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
		prev = r
	}
	return b.String()
}

// steps are the detail events of a conversation, by the end of their topic
// `v2.detail.events.conversation.{id}.*`. Those without a canonical type keep
// the vendor's and add what they tell to the conversation.
var steps = map[string]vendors.Step{
	"customer.start":  vendors.Started,
	"customer.end":    vendors.Ended,
	"acd.start":       vendors.Queued,
	"acd.end":         vendors.Dequeued,
	"user.start":      vendors.AgentAssigned,
	"user.end":        vendors.AgentUnassigned,
	"acw":             vendors.Wrapup,
	"wrapup":          vendors.Wrapup,
	"flow.start":      {},
	"flow.end":        {},
	"flow.outcome":    {},
	"attributes":      {},
	"contact":         {},
	"outbound":        {},
	"voicemail.start": {},
	"voicemail.end":   {},
}

// streamSteps are the conversation events of the guides' stream, by event type.
var streamSteps = map[string]vendors.Step{
	"routing.queued":             vendors.Queued,
	vendors.Started.Type:         vendors.Started,
	vendors.Queued.Type:          vendors.Queued,
	vendors.Dequeued.Type:        vendors.Dequeued,
	vendors.AgentAssigned.Type:   vendors.AgentAssigned,
	vendors.AgentUnassigned.Type: vendors.AgentUnassigned,
	vendors.Message.Type:         vendors.Message,
	vendors.Wrapup.Type:          vendors.Wrapup,
	vendors.Ended.Type:           vendors.Ended,
}

// version reads the vendor's own version number of a resource: `version` of a
// user, or the version id of a flow, of which "7.0" is 7. A version that cannot
// be read is none: it only refines the order.
func version(resource vendors.Value) event.Version {
	for _, v := range []vendors.Value{
		resource.Field("version"),
		resource.Field("publishedVersion", "id"),
		resource.Field("checkedInVersion", "id"),
		resource.Field("savedVersion", "id"),
	} {
		if n, ok := v.Whole(); ok {
			return event.Version{N: n, Known: true}
		}
	}
	return event.Version{}
}
