package genesys

import (
	"fmt"
	"strings"

	"trunkline/event"
	"trunkline/vendors"
)

// auditTopic begins `v2.audits.entitytype.{type}.entityid.{id}`.
const auditTopic = "v2.audits.entitytype."

// auditFields are the members of an audit, of the topic and of the query (they
// name some differently). Unknown members become metadata.
var auditFields = vendors.NamesOf(
	"id", "userId", "user", "userHomeOrgId", "username", "userDisplay",
	"clientId", "client", "remoteIp", "serviceName", "level", "eventTime",
	"eventDate", "action", "entityType", "entity", "propertyChanges",
	"entityChanges", "context", "status", "application", "initiatingAction",
	"transactionInitiator", "message", "timestamp")

// mapAudit reads an audit, of the topic or of a query: who did what to which
// resource, with the properties it changed but never the whole resource. Both
// tell the same audit under one id.
func mapAudit(raw *event.Raw, m *message, e event.Event) (event.Event, error) {
	text := func(name string) (string, error) {
		return vendors.TextAt(m.named(name))
	}
	name, err := text("action")
	if err != nil {
		return event.Event{}, err
	}
	status, err := text("status")
	if err != nil {
		return event.Event{}, err
	}
	switch {
	case reads[strings.ToLower(name)]:
		return event.Event{}, &event.Filtered{Reason: "audit_read"}
	case strings.EqualFold(status, "FAILURE"):
		return event.Event{}, &event.Filtered{Reason: "audit_failure"}
	case name == "":
		return event.Event{}, vendors.Missing(m.named("action").Path, "send the audited action, such as Update")
	}

	typeOfTopic, idOfTopic, _ := strings.Cut(strings.TrimPrefix(m.topic, auditTopic), ".entityid.")
	typeName, err := text("entityType")
	if err != nil {
		return event.Event{}, err
	}
	typeName = first(typeName, notTemplate(typeOfTopic))
	if typeName == "" {
		return event.Event{}, vendors.Missing(m.named("entityType").Path, "send the type of the audited resource, such as Queue")
	}
	id, err := vendors.FirstID(m.named("entity", "id"))
	if err != nil {
		return event.Event{}, err
	}
	id = first(id, notTemplate(idOfTopic))
	if id == "" {
		return event.Event{}, vendors.Missing(m.named("entity", "id").Path, "send the id of the audited resource")
	}
	e.ID, err = vendors.FirstID(m.named("id"))
	if err != nil {
		return event.Event{}, err
	}
	if e.ID == "" {
		e.ID = m.contentID(auditTopic + typeName + ".entityid." + id)
	}
	image, err := auditImage(m)
	if err != nil {
		return event.Event{}, err
	}

	act, known := actionOf(name)
	if !known {
		m.md.Set("unmapped_action", name)
	}
	if deletedState(image) {
		act = deleted
	}
	m.md.Unknown("eventBody.", m.body, auditFields)
	entity := resourceType(typeName)
	e.Key, e.Op, e.Type = key(raw, entity, id), act.op, "config."+entity+"."+act.verb
	e.Image, e.Partial = image.Canonical(), true
	e.Version = version(image)
	e.Metadata = m.md.Map()
	return e, nil
}

// auditImage is the part of the resource that the audit tells: each changed
// property with its new value (several values are an array; none means that it
// was removed, null), and id and name of the resource.
func auditImage(m *message) (vendors.Value, error) {
	list := m.named("propertyChanges")
	if list.Value.Exists() && !list.Value.IsArray() {
		return vendors.Value{}, event.Reject(event.InvalidField, "%s: send an array", list.Path)
	}
	values := make(map[string][]vendors.Value) // one property may be told in pieces
	for i, change := range list.Value.Elements() {
		path := fmt.Sprintf("%s.%d.property", list.Path, i)
		property, err := vendors.TextAt(vendors.Named{Path: path, Value: change.Field("property")})
		if err != nil {
			return vendors.Value{}, err
		}
		if property == "" {
			return vendors.Value{}, vendors.Missing(path, "send the name of the changed property")
		}
		var added []vendors.Value
		switch v := change.Field("newValues"); {
		case v.IsArray():
			added = v.Elements()
		case v.Exists():
			added = []vendors.Value{v}
		}
		values[property] = append(values[property], added...)
	}
	properties := make(map[string]vendors.Value, len(values)+2)
	for _, name := range []string{"id", "name"} {
		if v := m.body.Field("entity", name); v.Exists() {
			properties[name] = v
		}
	}
	for property, v := range values {
		properties[property] = newValue(v)
	}
	return vendors.ObjectOf(properties), nil
}

func newValue(values []vendors.Value) vendors.Value {
	switch len(values) {
	case 0:
		return vendors.Null()
	case 1:
		return values[0]
	default:
		return vendors.Array(values...)
	}
}
