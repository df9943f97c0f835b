package vendors

import (
	"strings"

	"trunkline/event"
)

// OwnType is the event type of what has no canonical name: the vendor's own.
func OwnType(vendor, original string) string { return vendor + "." + strings.ToLower(original) }

// EventOnly completes an event of a known format in which no entity can be
// found: it reaches the event bus under the vendor's own name.
func EventOnly(vendor string, raw *event.Raw, e event.Event, original string, content Value) event.Event {
	e.Key = event.Unkeyed(vendor, raw.Tenant, raw.IngestID)
	e.Op, e.Type = event.OpNone, OwnType(vendor, original)
	e.Image, e.Partial = content.Canonical(), true
	return e
}
