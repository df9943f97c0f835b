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

// mapSeed reads a webhook event {eventId, eventType, tenantId, timestamp, data}.
// It belongs to the master contact: contactId is another one after a transfer.
// The tenantId is the vendor's name for the tenant and decides nothing (I9).
func mapSeed(raw *event.Raw, doc vendors.Value) (event.Event, error) {
	eventType, err := typeOf(doc, "send CALL_STARTED, QUEUE_ENTERED, AGENT_ASSIGNED or CALL_ENDED")
	if err != nil {
		return event.Event{}, err
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
	data, err := dataOf(doc)
	if err != nil {
		return event.Event{}, err
	}
	e.TsMs, e.TsSource, err = vendors.EventTime(raw.ReceivedMs, append(timesOf("", doc), timesOf("data", data)...)...)
	if err != nil {
		return event.Event{}, err
	}
	contact, err := contactOf("data.", data)
	if err != nil {
		return event.Event{}, err
	}
	step, known := steps[strings.ToUpper(eventType)]
	var md vendors.Metadata
	md.Unknown("", doc, seedFields)
	switch {
	case contact == "" && known:
		return event.Event{}, vendors.Missing("data.masterContactId", "send the id of the master contact, or at least data.contactId")
	case contact == "":
		e.Metadata = md.Map()
		return vendors.EventOnly(Vendor, raw, e, eventType, data), nil
	case !known:
		md.Set("unmapped_action", eventType)
	}
	e.Type = vendors.OwnType(Vendor, eventType)
	return conversation(raw, e, contact, step, "data", data, &md), nil
}

// dataOf is what an event tells, empty when it tells nothing.
func dataOf(doc vendors.Value) (vendors.Value, error) {
	data := doc.Field("data")
	switch {
	case !data.Exists():
		return vendors.Object(), nil
	case !data.IsObject():
		return vendors.Value{}, event.Reject(event.InvalidField, "data: send an object")
	}
	return data, nil
}

// contactOf is the id of the conversation that a contact belongs to, "" where
// it tells none.
func contactOf(path string, contact vendors.Value) (string, error) {
	return vendors.FirstID(
		vendors.Named{Path: path + "masterContactId", Value: contact.Field("masterContactId")},
		vendors.Named{Path: path + "contactId", Value: contact.Field("contactId")})
}
