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

// Detect tells the format of one event by its shape; see [vendors.Mapper].
// CXone sends no bare bodies, so the topic hint says nothing.
func Detect(body []byte, _ string) event.Format {
	doc, err := vendors.ParseTop(body)
	if err != nil {
		return event.FormatUnknown
	}
	return detect(doc)
}

// detect looks only at the top level. Webhook events and digital (DFO) events
// both have an eventType; webhooks write it in capitals and have a timestamp
// and a tenant, which digital events never have.
func detect(doc vendors.Value) event.Format {
	has := func(name string) bool { return doc.Field(name).Exists() }
	eventType, _ := doc.Field("eventType").Text()
	switch {
	case has("eventType") && (has("timestamp") || has("tenantId") || eventType == strings.ToUpper(eventType)):
		return event.CXoneSeed
	case has("eventType"), has("postback"):
		return event.CXoneDFO
	case has("lastPollTime"):
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
		format = detect(doc)
	}
	switch {
	case format == event.CXoneSeed:
		return mapSeed(raw, doc)
	case doc.Field("lastPollTime").Exists():
		return event.Event{}, event.Reject(event.NotSplit, "a page: the poller makes a record of each entry")
	}
	return event.Event{}, event.Reject(event.UnknownFormat, "format %q has no mapper: send an object with eventId, eventType, timestamp and data", format)
}
