package codecs

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"trunkline/event"
)

// fateRecord is a fate in JSON, with the names that the headers have:
//
//	{"kind":"duplicate","run":"1","raw":{"topic":"raw.genesys","partition":3,"offset":41,"append_ms":1767323044123},
//	 "ingest_id":"…/0","event_id":"e-1","reason":"…","first":{…}}
//
// Empty texts and an absent first are left out.
type fateRecord struct {
	Kind     event.FateKind  `json:"kind"`
	Run      string          `json:"run,omitzero"`
	Raw      positionRecord  `json:"raw"`
	IngestID string          `json:"ingest_id,omitzero"`
	EventID  string          `json:"event_id,omitzero"`
	Reason   string          `json:"reason,omitzero"`
	First    *positionRecord `json:"first,omitzero"`
}

type positionRecord struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	AppendMs  int64  `json:"append_ms"`
}

// EncodeFate returns the value of a record of the fates topic: JSON with the
// members kind, run, raw, ingest_id, event_id, reason and first, so that anyone
// can repeat the ledger's join (I3).
func EncodeFate(f event.Fate) ([]byte, error) {
	b, err := json.Marshal(fateRecord{
		Kind: f.Kind, Run: f.Run, Raw: positionRecord(f.Raw),
		IngestID: f.IngestID, EventID: f.EventID, Reason: f.Reason,
		First: (*positionRecord)(f.First),
	}, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return nil, fmt.Errorf("encode fate: %w", err)
	}
	return b, nil
}

// DecodeFate reads what [EncodeFate] wrote. A fate without a raw position or of
// an unknown kind is an error: a ledger could not count it.
func DecodeFate(b []byte) (event.Fate, error) {
	var r fateRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return event.Fate{}, fmt.Errorf("decode fate: %w", err)
	}
	switch r.Kind {
	case event.FateChange, event.FateLate, event.FateDeadLetter, event.FateUnchanged,
		event.FateEventOnly, event.FateDuplicate, event.FateFiltered, event.FateReplayed:
	default:
		return event.Fate{}, fmt.Errorf("decode fate: unknown kind %q", r.Kind)
	}
	if r.Raw.Topic == "" {
		return event.Fate{}, fmt.Errorf("decode fate: raw.topic is empty")
	}
	return event.Fate{
		Kind: r.Kind, Run: r.Run, Raw: event.Position(r.Raw),
		IngestID: r.IngestID, EventID: r.EventID, Reason: r.Reason,
		First: (*event.Position)(r.First),
	}, nil
}
