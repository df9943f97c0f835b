package cxone

import (
	"strings"

	"trunkline/event"
	"trunkline/vendors"
)

// steps are the webhook events of the guide, by event type.
var steps = map[string]vendors.Step{
	"CALL_STARTED":   vendors.Started,
	"QUEUE_ENTERED":  vendors.Queued,
	"AGENT_ASSIGNED": vendors.AgentAssigned,
	"CALL_ENDED":     vendors.Ended,
}

// seedFields are the members of a webhook event that its mapper knows.
var seedFields = vendors.NamesOf(append([]string{"id", "eventId", "event_id", "eventType", "tenantId", "data"}, times...)...)

// times are the names under which CXone tells when something happened, best
// first.
var times = []string{"timestamp", "createdAt", "statusUpdatedAt", "lastUpdateTime", "lastStateChangeTimeUtc", "startDate"}

// mapSeed reads a webhook event {eventId, eventType, tenantId, timestamp, data}.
// It belongs to the master contact: contactId is another one after a transfer.
// The tenantId is the vendor's name for the tenant and decides nothing (I9).
func mapSeed(raw *event.Raw, doc vendors.Value) (event.Event, error) {
	eventType, err := vendors.TextAt(vendors.Named{Path: "eventType", Value: doc.Field("eventType")})
	if err != nil {
		return event.Event{}, err
	}
	switch name := strings.ToUpper(eventType); name {
	case "HEARTBEAT", "PONG":
		return event.Event{}, &event.Filtered{Reason: "heartbeat"}
	case "":
		return event.Event{}, vendors.Missing("eventType", "send CALL_STARTED, QUEUE_ENTERED, AGENT_ASSIGNED or CALL_ENDED")
	}
	var e event.Event
	e.ID, err = vendors.FirstID(
		vendors.Named{Path: "eventId", Value: doc.Field("eventId")},
		vendors.Named{Path: "id", Value: doc.Field("id")},
		vendors.Named{Path: "event_id", Value: doc.Field("event_id")})
	if err != nil {
		return event.Event{}, err
	}
	if e.ID == "" {
		e.ID = vendors.RawID(raw, event.CXoneSeed)
	}
	data := doc.Field("data")
	if data.Exists() && !data.IsObject() {
		return event.Event{}, event.Reject(event.InvalidField, "data: send the contact as an object")
	}
	e.TsMs, e.TsSource, err = vendors.EventTime(raw.ReceivedMs, timeFields(doc, data)...)
	if err != nil {
		return event.Event{}, err
	}
	contact, err := vendors.FirstID(
		vendors.Named{Path: "data.masterContactId", Value: data.Field("masterContactId")},
		vendors.Named{Path: "data.contactId", Value: data.Field("contactId")})
	if err != nil {
		return event.Event{}, err
	}
	step, known := steps[strings.ToUpper(eventType)]
	if known && contact == "" {
		return event.Event{}, vendors.Missing("data.masterContactId", "send the id of the master contact, or at least data.contactId")
	}

	var md vendors.Metadata
	fields := data
	if !fields.IsObject() {
		fields = vendors.Object()
	}
	e.Type = step.Type
	if !known {
		e.Type = Vendor + "." + strings.ToLower(eventType)
	}
	if contact == "" {
		e.Key, e.Op = event.Unkeyed(Vendor, raw.Tenant, raw.IngestID), event.OpNone
	} else {
		if !known {
			md.Set("unmapped_action", eventType)
		}
		e.Key = event.Key{Vendor: Vendor, Tenant: raw.Tenant, Type: event.TypeConversation, ID: contact} // (I9)
		e.Op = step.Op()
		fields = step.Image(fields, "data", e.TsMs, e.TsSource, &md)
	}
	md.Unknown("", doc, seedFields)
	e.Image, e.Partial = fields.Canonical(), true
	e.Metadata = md.Map()
	return e, nil
}

// timeFields are all places of the event time, those of the event before those
// of the contact.
func timeFields(doc, data vendors.Value) []vendors.TimeField {
	fields := make([]vendors.TimeField, 0, 2*len(times))
	for _, name := range times {
		fields = append(fields, vendors.TimeField{Path: name, Value: doc.Field(name), Source: event.TsEvent})
	}
	for _, name := range times {
		fields = append(fields, vendors.TimeField{Path: "data." + name, Value: data.Field(name), Source: event.TsEvent})
	}
	return fields
}
