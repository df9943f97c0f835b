package cxone

import (
	"strconv"
	"strings"

	"trunkline/event"
	"trunkline/vendors"
)

// endpoint is a list that is asked for what changed. Its records come as they
// are, so the topic hint of a raw record names the endpoint.
type endpoint struct {
	entity string
	// ids finds what tells a record from the others of the list, and the id of
	// its entity.
	ids  func(record vendors.Value) (recordID, id string, err error)
	typ  string       // canonical event type; "" when the record decides it
	step vendors.Step // of a contact
}

// endpoints are the lists that we know, by name. An agent of CXone is a user, a
// skill the queue that its members serve.
var endpoints = map[string]endpoint{
	"agents":             {entity: "user", ids: agentIDs, typ: "config.user.updated"},
	"skills":             {entity: "queue", ids: skillIDs, typ: "config.queue.updated"},
	"agents/states":      {entity: event.TypeAgentState, ids: agentIDs, typ: vendors.RoutingChanged},
	"agents/skills":      {entity: event.TypeQueueMembership, ids: memberIDs},
	"contacts/completed": {entity: event.TypeConversation, ids: contactIDs, step: vendors.Ended},
	"contacts/active":    {entity: event.TypeConversation, ids: contactIDs},
}

// mapPoll reads one record of a list: all of an agent, a skill, a state or a
// membership, or what a contact adds to its conversation. Whether it is new
// only the row of its entity can tell.
func mapPoll(raw *event.Raw, record vendors.Value) (event.Event, error) {
	list, known := endpoints[raw.TopicHint]
	switch {
	case !known:
		return event.Event{}, vendors.Missing("topic", "name the list that the record is of, such as agents/states")
	case !record.IsObject():
		return event.Event{}, event.Reject(event.InvalidField, "body: send the record as an object")
	}
	recordID, id, err := list.ids(record)
	if err != nil {
		return event.Event{}, err
	}
	var e event.Event
	e.TsMs, e.TsSource, err = vendors.EventTime(raw.ReceivedMs, timesOf("", record)...)
	if err != nil {
		return event.Event{}, err
	}
	// Polls overlap: what has not changed since comes again and is no new event.
	version := vendors.Digest(record)
	if e.TsSource == event.TsEvent {
		version = strconv.FormatInt(e.TsMs, 10)
	}
	e.ID = vendors.ContentID(raw.TopicHint, recordID, version)
	e.Type = list.typ
	switch list.entity {
	case event.TypeConversation:
		var md vendors.Metadata
		e.Type = vendors.OwnType(Vendor, strings.ReplaceAll(raw.TopicHint, "/", "."))
		e = conversation(raw, e, id, list.step, "", record, &md)
		e.Op = event.Read
		return e, nil
	case event.TypeQueueMembership:
		active, told := record.Field("isActive").Flag()
		e.Type = vendors.Membership(active || !told)
	}
	e.Key, e.Op = key(raw, list.entity, id), event.Read
	e.Image = record.Canonical()
	return e, nil
}

// required is the id that stands in the member name of a record.
func required(record vendors.Value, name string) (string, error) {
	id, err := vendors.FirstID(vendors.Named{Path: name, Value: record.Field(name)})
	if err == nil && id == "" {
		err = vendors.Missing(name, "send the id of the record")
	}
	return id, err
}

func agentIDs(record vendors.Value) (recordID, id string, err error) {
	id, err = required(record, "agentId")
	return id, id, err
}

func skillIDs(record vendors.Value) (recordID, id string, err error) {
	id, err = required(record, "skillId")
	return id, id, err
}

func memberIDs(record vendors.Value) (recordID, id string, err error) {
	skill, err := required(record, "skillId")
	if err != nil {
		return "", "", err
	}
	agent, err := required(record, "agentId")
	id = vendors.MembershipID(skill, agent)
	return id, id, err
}

// contactIDs tells the contacts of one conversation apart.
func contactIDs(record vendors.Value) (recordID, id string, err error) {
	if recordID, err = required(record, "contactId"); err != nil {
		return "", "", err
	}
	id, err = contactOf("", record)
	return recordID, id, err
}
