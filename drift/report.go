package drift

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"trunkline/event"
)

// Days is how long a field must be in consistent use before it is eligible.
const Days = 30

// minPercent is on how many of the days with events of its type a field in use is
// seen.
const minPercent = 80

// Field is an unknown field of an event type, over all that was counted.
type Field struct {
	Vendor      string    `json:"vendor"`
	EventType   string    `json:"event_type"`
	Field       string    `json:"field"` // as in the metadata of a canonical event
	FirstSeen   time.Time `json:"first_seen"`
	LastSeen    time.Time `json:"last_seen"`
	Days        int       `json:"days"` // on which it was seen
	Count       int64     `json:"count"`
	Types       []string  `json:"types"` // of its JSON values
	Tenants     []string  `json:"tenants"`
	MoreTenants bool      `json:"more_tenants,omitempty"` // than are listed
	Eligible    bool      `json:"eligible"`
	Why         string    `json:"why,omitempty"` // it is not eligible
}

// Fold adds up the rows of all processes. Its zero value is empty.
type Fold struct{ rows map[string]row }

// Add takes a record of the topic. The last one of a key counts.
func (f *Fold) Add(key, value []byte) error {
	if f.rows == nil {
		f.rows = map[string]row{}
	}
	if value == nil {
		delete(f.rows, string(key))
		return nil
	}
	var r row
	if err := json.Unmarshal(value, &r); err != nil {
		return fmt.Errorf("decode a row of drift: %w", err)
	}
	if _, err := time.Parse(time.DateOnly, r.Day); err != nil {
		return fmt.Errorf("decode a row of drift: day: %w", err)
	}
	f.rows[string(key)] = r
	return nil
}

// Fields returns every field, by vendor, event type and name. It is eligible when it
// was first seen before the last so many days of the log or on the first of them, and
// within them its values were of one JSON type, null aside, and it was seen on 80 % of
// the days on which events of its type came.
func (f *Fold) Fields(days int) []Field {
	type name struct{ vendor, eventType, field string }
	fields := map[name]*history{}
	newest := ""
	for _, r := range f.rows {
		n := name{r.Vendor, r.EventType, r.Field}
		if fields[n] == nil {
			fields[n] = &history{Field: Field{Vendor: r.Vendor, EventType: r.EventType, Field: r.Field}, days: map[string]typeSet{}}
		}
		fields[n].add(&r)
		newest = max(newest, r.Day)
	}
	var all []Field
	for n, h := range fields {
		if n.field == "" {
			continue
		}
		h.judge(fields[name{n.vendor, n.eventType, ""}], newest, days)
		all = append(all, h.Field)
	}
	slices.SortFunc(all, func(a, b Field) int {
		return cmp.Or(strings.Compare(a.Vendor, b.Vendor), strings.Compare(a.EventType, b.EventType), strings.Compare(a.Field, b.Field))
	})
	return all
}

// history is a field with the types of each day; a field without a name is the
// events of the type.
type history struct {
	Field
	days map[string]typeSet
	all  typeSet
}

func (h *history) add(r *row) {
	first, last := time.UnixMilli(r.FirstMs).UTC(), time.UnixMilli(r.LastMs).UTC()
	if h.Count == 0 || first.Before(h.FirstSeen) {
		h.FirstSeen = first
	}
	if last.After(h.LastSeen) {
		h.LastSeen = last
	}
	types := typesNamed(r.Types)
	h.days[r.Day] |= types
	h.all |= types
	h.Count += r.Count
	h.Days, h.Types = len(h.days), h.all.names()
	h.Tenants = slices.Compact(slices.Sorted(slices.Values(append(h.Tenants, r.Tenants...))))
	h.MoreTenants = h.MoreTenants || r.MoreTenants
}

// judge tells whether the field is eligible, given the events of its type.
func (h *history) judge(events *history, newest string, days int) {
	end, _ := time.Parse(time.DateOnly, newest) // Add checked it
	start := end.AddDate(0, 0, 1-days).Format(time.DateOnly)
	var types typeSet
	seen, came := 0, 0
	for day, t := range h.days {
		if day >= start {
			seen++
			types |= t.values()
		}
	}
	if events != nil {
		for day := range events.days {
			if day >= start {
				came++
			}
		}
	}
	switch {
	case h.Field.Field == event.UnknownOverflow:
		h.Why = "counts the fields that found no room"
	case seen == 0:
		h.Why = fmt.Sprintf("not seen since %s", h.LastSeen.Format(time.DateOnly))
	case h.FirstSeen.Format(time.DateOnly) > start:
		h.Why = fmt.Sprintf("first seen on %s, less than %d days ago", h.FirstSeen.Format(time.DateOnly), days)
	case types == 0:
		h.Why = "only null"
	case types&(types-1) != 0:
		h.Why = "of types " + strings.Join(types.names(), ", ")
	case seen*100 < came*minPercent:
		h.Why = fmt.Sprintf("seen on %d of %d days with events of its type", seen, came)
	default:
		h.Eligible = true
	}
}
