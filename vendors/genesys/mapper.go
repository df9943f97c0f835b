// Package genesys holds all that is known of the data of Genesys Cloud: how to
// tell its formats apart, and how to read an entity event from each. TYPES.md
// lists what is mapped to what.
package genesys

import (
	"trunkline/event"
	"trunkline/vendors"
)

// Vendor is the name of Genesys Cloud in keys and topics.
const Vendor = "genesys"

// Mapper returns the functions of this package.
func Mapper() vendors.Mapper {
	return vendors.Mapper{Vendor: Vendor, Detect: Detect, Key: vendors.KeyOf(Map), Map: Map}
}

// Detect tells the format of one event by its shape; see [vendors.Mapper].
func Detect(body []byte, topicHint string) event.Format {
	doc, err := vendors.ParseTop(body)
	if err != nil {
		return event.FormatUnknown
	}
	return detect(doc, topicHint)
}

// detect looks only at the top level. The shapes are tried from the most to the
// least telling: a bare event body may have members of any name.
func detect(doc vendors.Value, topicHint string) event.Format {
	has := func(name string) bool { return doc.Field(name).Exists() }
	switch {
	case !doc.IsObject():
		return event.FormatUnknown
	case has("detail-type") && has("detail"):
		return event.GenesysEventBridge
	case has("topicName") && has("eventBody"):
		return event.GenesysNotification
	case has("resourceType") && has("eventType"):
		return event.GenesysSeed
	case topicHint != "":
		return event.GenesysNotification
	case doc.Field("entities").IsArray(), has("eventDate") && has("action"):
		return event.GenesysAuditQuery
	case has("resourceType"), has("eventType"):
		// The stream's events have no resource type; and a push that lacks one
		// of the two is better told what it lacks than called unknown.
		return event.GenesysSeed
	}
	return event.FormatUnknown
}

// Map reads the one event of a raw record; see [vendors.Mapper].
func Map(raw *event.Raw) (event.Event, error) {
	doc, err := vendors.Parse(raw.Body)
	if err != nil {
		return event.Event{}, err
	}
	if doc.IsArray() {
		return event.Event{}, event.Reject(event.NotSplit, "an array: the edge makes a record of each element")
	}
	format := raw.Format
	if format == "" || format == event.FormatUnknown {
		// What an older edge did not know may be known by now.
		format = detect(doc, raw.TopicHint)
	}
	page := doc.Field("entities").IsArray() || doc.Field("events").IsArray()
	switch {
	case format == event.GenesysSeed:
		return mapSeed(raw, doc)
	case format == event.GenesysEventBridge:
		return mapMessage(raw, eventBridgeMessage(doc))
	case format == event.GenesysNotification:
		return mapMessage(raw, notificationMessage(doc, raw.TopicHint))
	case page:
		return event.Event{}, event.Reject(event.NotSplit, "a page: the poller makes a record of each entry")
	case format == event.GenesysAuditQuery:
		return mapMessage(raw, auditMessage(doc))
	}
	return event.Event{}, event.Reject(event.UnknownFormat, "format %q has no mapper: send an EventBridge event, a notification frame, one audit of a query or an object with resourceType and eventType", format)
}

func key(raw *event.Raw, entityType, id string) event.Key {
	return event.Key{Vendor: Vendor, Tenant: raw.Tenant, Type: entityType, ID: id} // (I9)
}
