package chaos

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"trunkline/event"
)

// Findings are what must not be: each count is 0 for a correct run.
type Findings struct {
	Lost          Finding `json:"lost"`           // accepted, and no fate, or fates that leave the event out
	Duplicate     Finding `json:"duplicate"`      // two fates, two changes, or a change of another event
	Unpromised    Finding `json:"unpromised"`     // outcomes of what was never sent
	Disorder      Finding `json:"order"`          // event time goes back in an entity (I4)
	BeforeUnlike  Finding `json:"before_unlike"`  // before is not the previous after (I5)
	WrongRow      Finding `json:"wrong_rows"`     // row, fold of the changes and model differ
	ReadersDiffer Finding `json:"readers_differ"` // during the run and after it
	Unreadable    Finding `json:"unreadable"`     // outputs that do not decode
	LedgerDiffers Finding `json:"ledger_differs"` // trunkline verify counts otherwise
}

// Finding counts one kind of defect and shows the first few.
type Finding struct {
	Count    int      `json:"count"`
	Examples []string `json:"examples,omitempty"`
}

const maxExamples = 5

func (f *Finding) note(format string, args ...any) {
	f.Count++
	if len(f.Examples) < maxExamples {
		f.Examples = append(f.Examples, fmt.Sprintf(format, args...))
	}
}

// all lists the findings by name.
func (f *Findings) all() map[string]*Finding {
	return map[string]*Finding{
		"lost": &f.Lost, "duplicate": &f.Duplicate, "unpromised": &f.Unpromised, "order": &f.Disorder,
		"before unlike the previous after": &f.BeforeUnlike, "wrong rows": &f.WrongRow,
		"readers differ": &f.ReadersDiffer, "unreadable": &f.Unreadable, "ledger differs": &f.LedgerDiffers,
	}
}

// check compares what was promised with what is there: every accepted delivery
// has its raw record, every raw record one fate, every event id one fate that is
// no duplicate (I3), and the changes of every entity follow from each other and
// from what was told (I4, I5).
func check(t *traffic, h *history) Findings {
	var f Findings
	for _, fault := range h.faults {
		f.Unreadable.note("%s", fault)
	}
	byIngest, byEvent := map[string]bool{}, map[string][]rawRecord{}
	for _, raw := range h.raws {
		byIngest[raw.ingestID] = true
		byEvent[raw.eventID] = append(byEvent[raw.eventID], raw)
		switch fates := h.outcomes[raw.at]; {
		case len(fates) == 0:
			f.Lost.note("%s, ingest id %s: no fate", raw.at, raw.ingestID)
		case len(fates) > 1:
			f.Duplicate.note("%s: %s at %s after %s at %s", raw.at, fates[1].kind, fates[1].at, fates[0].kind, fates[0].at)
		}
	}
	for at, fates := range h.outcomes {
		if _, ok := h.raws[at]; !ok {
			f.Unpromised.note("%s at %s: there is no raw record %s", fates[0].kind, fates[0].at, at)
		}
	}
	for _, a := range t.accepted {
		switch raws := byEvent[a.eventID]; {
		case a.ingestID != "" && !byIngest[a.ingestID]:
			f.Lost.note("event %s, ingest id %s: accepted, no raw record", a.eventID, a.ingestID)
		case len(raws) == 0:
			f.Lost.note("%s: accepted, no raw record", a.eventID)
		case a.ingestID == "": // poison
			for _, raw := range raws {
				for _, o := range h.outcomes[raw.at] {
					if o.kind != event.FateDeadLetter {
						f.Lost.note("%s: %s at %s", a.eventID, o.kind, o.at)
					}
				}
			}
		}
	}
	for id, e := range t.told {
		checkEvent(&f, h, e, byEvent[id])
	}
	for key, steps := range h.steps {
		checkEntity(&f, t, key, steps)
	}
	return f
}

// checkEvent demands one first sight of an event, however often it arrived.
func checkEvent(f *Findings, h *history, e *told, raws []rawRecord) {
	firsts := 0
	// The copies have one key and so one partition.
	slices.SortFunc(raws, func(a, b rawRecord) int { return cmp.Compare(a.at.offset, b.at.offset) })
	for i, raw := range raws {
		for _, o := range h.outcomes[raw.at] {
			if o.kind == event.FateDeadLetter {
				f.Lost.note("event %s: dead letter at %s", e.ID, o.at)
			}
			if o.kind == event.FateDuplicate {
				continue
			}
			if firsts++; i > 0 {
				f.Duplicate.note("event %s of %s: first seen at %s, but it stands at %s", e.ID, e.Key, raw.at, raws[0].at)
			}
		}
	}
	switch {
	case firsts == 0:
		f.Lost.note("event %s of %s: all of its %d raw records are duplicates", e.ID, e.Key, len(raws))
	case firsts > 1:
		f.Duplicate.note("event %s of %s: %d first sights", e.ID, e.Key, firsts)
	}
}

// checkEntity follows the changes of one entity.
func checkEntity(f *Findings, t *traffic, key event.Key, steps []step) {
	var image *event.Image
	var tsMs int64
	var last step
	seen := map[string]bool{}
	for _, s := range steps {
		if s.tombstone {
			if last.op != event.Delete || last.raw != s.raw || last.tombstone {
				f.Duplicate.note("%s: a tombstone at %s that follows no delete", key, s.at)
			}
			last.tombstone = true
			continue
		}
		if last.op == event.Delete && !last.tombstone {
			f.Lost.note("%s: no tombstone follows the delete at %s", key, last.at)
		}
		if seen[s.eventID] {
			f.Duplicate.note("%s: event %s has a second change at %s", key, s.eventID, s.at)
		}
		seen[s.eventID] = true
		if s.tsMs < tsMs {
			f.Disorder.note("%s: event time %d at %s after %d", key, s.tsMs, s.at, tsMs)
		}
		if !sameImage(image, s.before) {
			f.BeforeUnlike.note("%s: at %s", key, s.at)
		}
		if e := t.told[s.eventID]; e == nil || e.Key != key {
			f.Unpromised.note("%s: a change at %s of an event that was not told", key, s.at)
		} else if !shows(s.after, e) {
			f.WrongRow.note("%s: the after at %s is not what event %s told", key, s.at, s.eventID)
		}
		image, tsMs, last = s.after, s.tsMs, s
	}
	if last.op == event.Delete && !last.tombstone {
		f.Lost.note("%s: no tombstone follows the delete at %s", key, last.at)
	}
}

// sameImage compares a before with what the last change left. The before of a
// delete whose entity was not known holds the key alone.
func sameImage(left, before *event.Image) bool {
	if left == nil || left.Data == nil {
		return before == nil || before.Data == nil
	}
	return before != nil && bytes.Equal(left.Data, before.Data)
}

// shows reports whether the image is the state that e told.
func shows(image *event.Image, e *told) bool {
	if e.Op == event.Delete {
		return image == nil
	}
	var s state
	return image != nil && json.Unmarshal(image.Data, &s) == nil && s.Seq == e.Seq && s.Chain == e.Chain
}

// checkRows compares the view API with the fold of the change topics, and that
// with the model: the newest event of an entity that was applied. One that is
// missing there must have come too late, which its fate says.
func checkRows(f *Findings, t *traffic, h *history, get func(path string) (status int, body string)) {
	fates := map[string]event.FateKind{}
	for at, raw := range h.raws {
		for _, o := range h.outcomes[at] {
			if o.kind != event.FateDuplicate {
				fates[raw.eventID] = o.kind
			}
		}
	}
	newest := map[event.Key]*told{}
	for id, e := range t.told {
		if n := newest[e.Key]; fates[id] != event.FateLate && (n == nil || e.Seq > n.Seq) {
			newest[e.Key] = e
		}
	}
	for key, e := range newest {
		var last step
		for _, s := range h.steps[key] {
			if !s.tombstone {
				last = s
			}
		}
		// A delete of what was deleted already changes nothing.
		if !shows(last.after, e) {
			f.WrongRow.note("%s: the changes fold to event %s, the newest is %s, %s", key, last.eventID, e.ID, fates[e.ID])
		}
		status, body := get(rowPath(key))
		var row struct {
			Resource json.RawMessage `json:"resource"`
		}
		switch {
		case status == http.StatusNotFound && last.after == nil:
		case status != http.StatusOK || last.after == nil:
			f.WrongRow.note("%s: the view answers %d, the last change is %s at %s", key, status, last.op, last.at)
		case json.Unmarshal([]byte(body), &row) != nil || !bytes.Equal(row.Resource, last.after.Data):
			f.WrongRow.note("%s: the row is not the after at %s", key, last.at)
		}
	}
}

func rowPath(k event.Key) string {
	if k.Interaction() {
		return fmt.Sprintf("/v1/%s/%s/interactions/%s", k.Vendor, k.Tenant, url.PathEscape(k.ID))
	}
	return fmt.Sprintf("/v1/%s/%s/resources/%s/%s", k.Vendor, k.Tenant, k.Type, url.PathEscape(k.ID))
}

// compareReaders demands that a reader during the run saw what one after it
// sees, record by record.
func compareReaders(f *Findings, during, after *history) {
	for at, n := range after.seen {
		if during.seen[at] != n || during.digest[at] != after.digest[at] {
			f.ReadersDiffer.note("%s/%d: %d records during the run, %d after it", at.topic, at.partition, during.seen[at], n)
		}
	}
}
