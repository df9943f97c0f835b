package view

import (
	"encoding/json"
	"fmt"
	"net/http"

	"trunkline/event"
	"trunkline/state"
)

// Codec reads the rows of the entity table for a goka view.
type Codec struct{}

// Encode returns an error: a view only reads.
func (Codec) Encode(any) ([]byte, error) {
	return nil, fmt.Errorf("encode entity row: a view only reads")
}

// Decode returns the row as a [*state.Entity].
func (Codec) Decode(b []byte) (any, error) {
	row, err := state.DecodeEntity(b)
	if err != nil {
		return nil, err
	}
	return &row, nil
}

// resource is the answer of an entity that exists.
type resource struct {
	Vendor     string          `json:"vendor"`
	Tenant     string          `json:"tenant"`
	Type       string          `json:"type"`
	ID         string          `json:"id"`
	Version    *int64          `json:"version"`
	EventTime  string          `json:"event_time"`
	TsMs       int64           `json:"ts_ms"`
	Partial    bool            `json:"partial"`
	LastChange lastChange      `json:"last_change"`
	Resource   json.RawMessage `json:"resource"`
}

// lastChange is the last event that was applied to the entity, with the
// operation as that event told it.
type lastChange struct {
	Op        event.Op `json:"op"`
	EventID   string   `json:"event_id"`
	EventType string   `json:"event_type"`
	Raw       position `json:"raw"`
}

type position struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	AppendMs  int64  `json:"append_ms"`
}

// resource answers with the row of the entity that the path names. An entity
// that was deleted, or whose first event still waits for its turn, is as absent
// as one that never was.
func (a *API) resource(w http.ResponseWriter, r *http.Request, entityType string) {
	k := event.Key{Vendor: r.PathValue("vendor"), Tenant: r.PathValue("tenant"), Type: entityType, ID: r.PathValue("id")}
	value, err := a.entities.rows.Row(k.String())
	if err != nil {
		a.logger.Error("read row", "table", a.entities.name, "key", k.String(), "error", err)
		unavailable(w, "unavailable", "the row could not be read: retry")
		return
	}
	row, ok := value.(*state.Entity)
	switch {
	case value != nil && !ok:
		a.logger.Error("read row", "table", a.entities.name, "key", k.String(), "error", fmt.Sprintf("no entity but %T", value))
		unavailable(w, "unavailable", "the row could not be read: retry")
		return
	case !ok || !row.Live:
		notFound(w)
		return
	}
	// The row may have arrived after the header was set, or before its update
	// was told: no answer may show an event beyond its own watermark.
	w.Header().Set(headerWatermark, rfc3339(a.entities.watermark.reach(row.Applied.TsMs)))
	a.write(w, http.StatusOK, answerOf(k, row))
}

func answerOf(k event.Key, row *state.Entity) resource {
	res := resource{
		Vendor: k.Vendor, Tenant: k.Tenant, Type: k.Type, ID: k.ID,
		EventTime: rfc3339(row.Applied.TsMs), TsMs: row.Applied.TsMs, Partial: row.Partial,
		LastChange: lastChange{
			Op: row.Applied.Op, EventID: row.Applied.EventID, EventType: row.EventType,
			Raw: position{row.Raw.Topic, row.Raw.Partition, row.Raw.Offset, row.Raw.AppendMs},
		},
		Resource: row.Image,
	}
	if row.Version.Known {
		res.Version = &row.Version.N
	}
	return res
}
