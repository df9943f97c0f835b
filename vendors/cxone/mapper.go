// Package cxone holds all that is known of the data of NICE CXone: how to tell
// its formats apart, and how to read an entity event from each. TYPES.md lists
// what is mapped to what.
package cxone

import (
	"strings"

	"trunkline/event"
	"trunkline/vendors"
)

// Vendor is the name of NICE CXone in keys and topics.
const Vendor = "cxone"

// Mapper returns the functions of this package.
func Mapper() vendors.Mapper {
	return vendors.Mapper{Vendor: Vendor, Detect: Detect, Key: vendors.KeyOf(Map), Map: Map}
}

// Detect tells the format of one event by its shape; see [vendors.Mapper]. The
// topic hint of a polled record is its endpoint, such as "agents/states".
func Detect(body []byte, topicHint string) event.Format {
	doc, err := vendors.ParseTop(body)
	if err != nil {
		return event.FormatUnknown
	}
	return detect(doc, topicHint)
}

// detect looks only at the top level. Webhook events and digital (DFO) events
// both have an eventType; webhooks write it in capitals and have a timestamp
// and a tenant, which digital events never have. A polled record tells nothing
// of itself.
func detect(doc vendors.Value, topicHint string) event.Format {
	has := func(name string) bool { return doc.Field(name).Exists() }
	eventType, _ := doc.Field("eventType").Text()
	_, polled := endpoints[topicHint]
	switch {
	case has("eventType") && (has("timestamp") || has("tenantId") || eventType == strings.ToUpper(eventType)):
		return event.CXoneSeed
	case has("eventType"), has("postback"):
		return event.CXoneDFO
	case has("lastPollTime"), doc.IsObject() && polled:
		return event.CXonePoll
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
	switch {
	case format == event.CXoneSeed:
		return mapSeed(raw, doc)
	case format == event.CXoneDFO:
		return mapDigital(raw, doc)
	case doc.Field("lastPollTime").Exists():
		return event.Event{}, event.Reject(event.NotSplit, "a page: the poller makes a record of each entry")
	case format == event.CXonePoll:
		return mapPoll(raw, doc)
	}
	return event.Event{}, event.Reject(event.UnknownFormat, "format %q has no mapper: send an object with eventId, eventType, timestamp and data", format)
}

// frames are the events that tell of the connection or of a passing moment.
var frames = map[string]string{
	"heartbeat": "heartbeat", "pong": "heartbeat",
	"sendertypingstarted": "typing", "sendertypingended": "typing",
}

// typeOf reads the event type of doc; cure says what would be right where there
// is none.
func typeOf(doc vendors.Value, cure string) (string, error) {
	eventType, err := vendors.TextAt(vendors.Named{Path: "eventType", Value: doc.Field("eventType")})
	if err != nil {
		return "", err
	}
	if eventType == "" {
		return "", vendors.Missing("eventType", cure)
	}
	if reason, ok := frames[strings.ToLower(eventType)]; ok {
		return "", &event.Filtered{Reason: reason}
	}
	return eventType, nil
}

func key(raw *event.Raw, entityType, id string) event.Key {
	return event.Key{Vendor: Vendor, Tenant: raw.Tenant, Type: entityType, ID: id} // (I9)
}

// conversation completes e as a step of the conversation id. e has the vendor's
// own type, which stands where the step has none. fields, found at path, are
// what the vendor tells of the conversation.
func conversation(raw *event.Raw, e event.Event, id string, step vendors.Step, path string, fields vendors.Value, md *vendors.Metadata) event.Event {
	if step.Type != "" {
		e.Type = step.Type
	}
	e.Key, e.Op = key(raw, event.TypeConversation, id), step.Op()
	e.Image, e.Partial = step.Image(fields, path, e.TsMs, e.TsSource, md).Canonical(), true
	e.Metadata = md.Map()
	return e
}

// times are the names under which CXone tells when something happened, best
// first.
var times = []string{"timestamp", "createdAt", "statusUpdatedAt", "lastUpdateTime", "lastUpdated", "lastStateChangeTimeUtc", "startDate"}

// timesOf are the places of the event time in the object v, found at path.
func timesOf(path string, v vendors.Value) []vendors.TimeField {
	var fields []vendors.TimeField
	for _, name := range times {
		fields = append(fields, at(path, v, name))
	}
	return fields
}

// at is the time field name of the object v, found at path.
func at(path string, v vendors.Value, name string) vendors.TimeField {
	return vendors.TimeField{Path: strings.TrimPrefix(path+"."+name, "."), Value: v.Field(name), Source: event.TsEvent}
}
