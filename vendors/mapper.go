// Package vendors holds what the mappers of all vendors share: JSON documents
// in canonical form, the splitting of arrays, event times, event ids, the life
// of a conversation and the record of unknown fields. What is known of one
// vendor's data lives in the package of that vendor. Everything here is pure.
package vendors

import "trunkline/event"

// Mapper is all that the rest of Trunkline needs to know of one vendor's data.
// Its functions are pure (no clock, no random, no I/O) and safe for concurrent
// use; none panics, whatever the bytes.
type Mapper struct {
	Vendor string // "genesys", "cxone"

	// Detect tells the format of one event by its shape; topicHint is the
	// ?topic= of a bare event body, or the list of a polled record. Bytes of no
	// known shape, and bytes that are no JSON, are event.FormatUnknown.
	Detect func(body []byte, topicHint string) event.Format

	// Key finds the entity key and the event id of a raw record. It agrees with
	// Map: wherever Map succeeds, Key gives the same key and id. ok is false
	// where Map filters or rejects; then the record is keyed by its ingest id.
	Key func(raw *event.Raw) (key event.Key, eventID string, ok bool)

	// Map reads the one event of a raw record and leaves its Origin zero. Its
	// errors are *event.Rejected and *event.Filtered, no others.
	Map func(raw *event.Raw) (event.Event, error)
}

// KeyOf is the Key function that belongs to a Map function: it maps and keeps
// the key, so that edge and normaliser cannot disagree.
func KeyOf(mapRaw func(*event.Raw) (event.Event, error)) func(*event.Raw) (event.Key, string, bool) {
	return func(raw *event.Raw) (event.Key, string, bool) {
		e, err := mapRaw(raw)
		if err != nil {
			return event.Key{}, "", false
		}
		return e.Key, e.ID, true
	}
}
