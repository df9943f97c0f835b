package genesys

import (
	"strings"

	"trunkline/event"
	"trunkline/vendors"
)

// seedFields are the members of a pushed or streamed event that its mapper
// knows; what stands beside them is the conversation's, or unknown.
var seedFields = vendors.NamesOf(
	"id", "eventId", "event_id", "subscriptionId", "organizationId",
	"resourceType", "eventType", "resourceId", "resource", "version", "data",
	"ts_ms", "eventTime", "eventDate", "modifiedDate", "timestamp", "time")

// mapSeed reads the events of the guides: configuration pushes
// {resourceType, eventType, resourceId, ts_ms, data} with the full resource,
// and the flat conversation events of the stream {eventType, conversationId, …}.
func mapSeed(raw *event.Raw, doc vendors.Value) (event.Event, error) {
	eventType, err := vendors.TextAt(vendors.Named{Path: "eventType", Value: doc.Field("eventType")})
	if err != nil {
		return event.Event{}, err
	}
	typeName, err := vendors.TextAt(vendors.Named{Path: "resourceType", Value: doc.Field("resourceType")})
	if err != nil {
		return event.Event{}, err
	}
	last := eventType[strings.LastIndexByte(eventType, '.')+1:]
	switch {
	case strings.EqualFold(last, "heartbeat"), strings.EqualFold(last, "pong"):
		// The guide warns of floods of them, from organisations above all.
		return event.Event{}, &event.Filtered{Reason: "heartbeat"}
	case eventType == "":
		return event.Event{}, vendors.Missing("eventType", "send created, updated, published or deleted")
	}

	e, err := seedEvent(raw, doc)
	if err != nil {
		return event.Event{}, err
	}
	entity := resourceType(typeName)
	resource, err := vendors.FirstID(
		vendors.Named{Path: "resourceId", Value: doc.Field("resourceId")},
		vendors.Named{Path: "resource.id", Value: doc.Field("resource", "id")},
		vendors.Named{Path: "data.id", Value: doc.Field("data", "id")})
	if err != nil {
		return event.Event{}, err
	}
	if entity != "" && entity != event.TypeConversation && resource != "" {
		return configured(doc, e, key(raw, entity, resource), last)
	}
	conversation, err := vendors.FirstID(
		vendors.Named{Path: "conversationId", Value: doc.Field("conversationId")},
		vendors.Named{Path: "data.conversationId", Value: doc.Field("data", "conversationId")})
	if err != nil {
		return event.Event{}, err
	}
	if entity == event.TypeConversation {
		conversation = first(conversation, resource)
	}
	act, known := actionOf(last)
	switch {
	case conversation != "":
		return streamed(doc, e, key(raw, event.TypeConversation, conversation), eventType)
	case typeName != "" && known:
		return event.Event{}, vendors.Missing("resourceId", "send the id of the "+act.verb+" resource as resourceId, resource.id or data.id")
	case known && last == eventType:
		return event.Event{}, vendors.Missing("resourceType", "send the type of the "+act.verb+" resource, such as user, queue or flow")
	case streamSteps[strings.ToLower(eventType)].Type != "":
		return event.Event{}, vendors.Missing("conversationId", "send the id of the conversation")
	}
	original := eventType
	if typeName != "" {
		original = entity + "." + eventType
	}
	return vendors.EventOnly(Vendor, raw, e, original, seedContent(doc)), nil
}

// seedEvent reads what all events of the guides have: id and time.
func seedEvent(raw *event.Raw, doc vendors.Value) (e event.Event, err error) {
	e.ID, err = vendors.FirstID(
		vendors.Named{Path: "id", Value: doc.Field("id")},
		vendors.Named{Path: "eventId", Value: doc.Field("eventId")},
		vendors.Named{Path: "event_id", Value: doc.Field("event_id")})
	if err != nil {
		return e, err
	}
	if e.ID == "" && (raw.Transport == event.SSE || raw.Transport == event.Poll) {
		e.ID = raw.SourceID // what the stream and its fallback name the event
		if err := vendors.CheckText("source_id", e.ID); err != nil {
			return e, err
		}
	}
	if e.ID == "" {
		e.ID = vendors.RawID(raw, event.GenesysSeed)
	}
	e.TsMs, e.TsSource, err = vendors.EventTime(raw.ReceivedMs,
		at(doc, event.TsEvent, "ts_ms"), at(doc, event.TsEvent, "eventTime"),
		at(doc, event.TsEvent, "eventDate"), at(doc, event.TsEvent, "modifiedDate"),
		at(doc, event.TsEvent, "timestamp"), at(doc, event.TsEnvelope, "time"))
	return e, err
}

// at is the time field at a path of doc.
func at(doc vendors.Value, source event.TsSource, path ...string) vendors.TimeField {
	return vendors.TimeField{Path: strings.Join(path, "."), Value: doc.Field(path...), Source: source}
}

// configured maps an event of a configuration resource. Its `data` is the full
// resource; only a delete may come without.
func configured(doc vendors.Value, e event.Event, k event.Key, name string) (event.Event, error) {
	var md vendors.Metadata
	act, known := actionOf(name)
	if !known {
		md.Set("unmapped_action", name)
	}
	data := doc.Field("data")
	switch {
	case data.Exists() && !data.IsObject():
		return event.Event{}, event.Reject(event.InvalidField, "data: send the resource as an object")
	case data.Exists():
		if deletedState(data) {
			act = deleted
		}
		e.Image = data.Canonical()
	case !known:
		e.Image, e.Partial = vendors.Object().With("id", vendors.String(k.ID)).Canonical(), true
	case act != deleted:
		return event.Event{}, vendors.Missing("data", "send the resource as an object: only a delete may come without")
	}
	e.Version = version(data)
	if !e.Version.Known {
		e.Version = version(doc)
	}
	md.Unknown("", doc, seedFields)
	e.Key, e.Op, e.Type = k, act.op, "config."+k.Type+"."+act.verb
	e.Metadata = md.Map()
	return e, nil
}

// streamed maps an event of a conversation. It tells a part of it, flat or in
// `data`.
func streamed(doc vendors.Value, e event.Event, k event.Key, eventType string) (event.Event, error) {
	var md vendors.Metadata
	name := strings.ToLower(eventType)
	if !strings.Contains(name, ".") {
		name = "conversation." + name // a push tells the type apart
	}
	step, known := streamSteps[name]
	e.Type, e.Op = step.Type, step.Op()
	if !known {
		act, mapped := actionOf(name[strings.LastIndexByte(name, '.')+1:])
		e.Type, e.Op = vendors.OwnType(Vendor, name), act.op
		switch {
		case strings.HasSuffix(name, ".started"):
			e.Op = event.Create
		case !mapped:
			md.Set("unmapped_action", eventType)
		}
	}
	fields, path := seedContent(doc), ""
	if data := doc.Field("data"); data.IsObject() {
		fields, path = data, "data"
		md.Unknown("", doc.Without(vendors.NamesOf("conversationId")), seedFields)
	}
	fields = fields.Default("conversationId", vendors.String(k.ID))
	e.Key = k
	e.Image, e.Partial = step.Image(fields, path, e.TsMs, e.TsSource, &md).Canonical(), true
	e.Metadata = md.Map()
	return e, nil
}

// seedContent is what an event tells beside its envelope, when not in `data`.
func seedContent(doc vendors.Value) vendors.Value {
	if data := doc.Field("data"); data.IsObject() {
		return data
	}
	return doc.Without(seedFields)
}

func first(ids ...string) string {
	for _, id := range ids {
		if id != "" {
			return id
		}
	}
	return ""
}
