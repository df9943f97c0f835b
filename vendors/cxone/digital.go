package cxone

import (
	"strings"

	"trunkline/event"
	"trunkline/vendors"
)

// digitalSteps are the digital events of a case, by event type in lower case.
// Those without a canonical type keep the vendor's. What a change of status or
// of assignee means, the case tells; see digitalStep.
var digitalSteps = map[string]vendors.Step{
	"casecreated":                  vendors.Started,
	"setpositioninqueue":           vendors.Queued,
	"messagecreated":               vendors.Message,
	"messageaddedintocase":         vendors.Message,
	"messageupdated":               {},
	"messagereadchanged":           {},
	"messageseenchanged":           {},
	"messagedeliverystatuschanged": {},
	"messagenotecreated":           {},
	"messagenoteupdated":           {},
	"messagenotedeleted":           {},
}

// elsewhere is the type of an event that was too large to be sent, of whatever
// type it is: its data says where it lies. To fetch what a payload names is
// not for a mapper.
const elsewhere = "eventins3"

// digitalFields are the members of a digital event that its mapper knows.
var digitalFields = vendors.NamesOf("eventId", "eventObject", "eventType", "traceId", "createdAt", "data")

// mapDigital reads a digital (DFO) event {eventId, eventType, createdAt, data}
// of the case in data. Its brand is the vendor's name for the tenant and
// decides nothing (I9).
func mapDigital(raw *event.Raw, doc vendors.Value) (event.Event, error) {
	if doc.Field("postback").Exists() && !doc.Field("data").Exists() {
		// The answer to what a client asked: nothing happened.
		return event.Event{}, &event.Filtered{Reason: "postback"}
	}
	eventType, err := typeOf(doc, "send CaseCreated, CaseStatusChanged or another type of digital event")
	if err != nil {
		return event.Event{}, err
	}
	data, err := dataOf(doc)
	if err != nil {
		return event.Event{}, err
	}
	c, err := caseOf(data)
	if err != nil {
		return event.Event{}, err
	}

	var e event.Event
	e.ID, err = vendors.FirstID(vendors.Named{Path: "eventId", Value: doc.Field("eventId")})
	if err != nil {
		return event.Event{}, err
	}
	if e.ID == "" {
		e.ID = vendors.ContentID(eventType, c.id, string(doc.Field("createdAt").Canonical()), vendors.Digest(data))
	}
	name := strings.ToLower(eventType)
	fields := timesOf("", doc)
	if name == statusChanged {
		fields = append(fields, at(c.path, c.fields, "statusUpdatedAt"))
	}
	e.TsMs, e.TsSource, err = vendors.EventTime(raw.ReceivedMs, fields...)
	if err != nil {
		return event.Event{}, err
	}
	step, known := digitalStep(name, data, c.fields)
	var md vendors.Metadata
	md.Unknown("", doc, digitalFields)
	switch {
	case c.id == "" && known:
		return event.Event{}, vendors.Missing(c.path+".id", "send the id of the case")
	case c.id == "", name == elsewhere:
		e.Metadata = md.Map()
		return vendors.EventOnly(Vendor, raw, e, eventType, data), nil
	case !known:
		md.Set("unmapped_action", eventType)
	}
	e.Type = vendors.OwnType(Vendor, eventType)
	return conversation(raw, e, c.id, step, "data", c.image(data), &md), nil
}

// Types whose meaning the case tells.
const (
	statusChanged   = "casestatuschanged"
	assigneeChanged = "caseinboxassigneechanged"
)

// digitalStep is what an event of the type name does to the case.
func digitalStep(name string, data, fields vendors.Value) (step vendors.Step, known bool) {
	switch name {
	case statusChanged:
		status, _ := fields.Field("status").Text()
		return statusStep(strings.ToLower(status)), true
	case assigneeChanged:
		if data.Has("inboxAssignee") {
			fields = data
		}
		if fields.Field("inboxAssignee").Exists() {
			return vendors.AgentAssigned, true
		}
		return vendors.AgentUnassigned, true
	}
	step, known = digitalSteps[name]
	return step, known
}

// statusStep is the step by which a case came to a status. One that stands for
// no step is the status of the conversation as it is: what was closed may be
// open again.
func statusStep(status string) vendors.Step {
	switch status {
	case "new":
		return vendors.Queued
	case "closed", "trashed":
		return vendors.Ended
	}
	return vendors.Step{Status: status}
}

// digitalCase is the case of a digital event, told whole or in part.
type digitalCase struct {
	member string // of data
	path   string
	id     string
	fields vendors.Value
}

// caseOf finds the case in data. The event of a position in a queue calls it
// consumerContact.
func caseOf(data vendors.Value) (digitalCase, error) {
	c := digitalCase{member: "case"}
	if !data.Field(c.member).Exists() && data.Field("consumerContact").Exists() {
		c.member = "consumerContact"
	}
	c.path, c.fields = "data."+c.member, data.Field(c.member)
	if c.fields.Exists() && !c.fields.IsObject() {
		return c, event.Reject(event.InvalidField, "%s: send an object", c.path)
	}
	var err error
	c.id, err = vendors.FirstID(vendors.Named{Path: c.path + ".id", Value: c.fields.Field("id")})
	return c, err
}

// image is what the event tells of the conversation: the members of the case,
// so that a case told in part merges into what is known of it, and what data
// tells beside it. Of two members of one name the case's gets another: data has
// an inboxAssignee with a name, and the status of a conversation is ours.
func (c digitalCase) image(data vendors.Value) vendors.Value {
	return c.fields.
		Rename("id", "caseId").Rename("status", "caseStatus").Rename("inboxAssignee", "inboxAssigneeId").
		Merge(data.Without(vendors.NamesOf(c.member)))
}
