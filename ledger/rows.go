package ledger

import (
	"trunkline/codecs"
	"trunkline/event"
)

// AddRow takes a row of the entity table: its image, or that it is the marker of
// a deleted entity. A row that holds neither, because its first events are still
// being held, counts as none. Of several rows of one key the last counts, so a
// changelog can be added as it stands.
func (l *Ledger) AddRow(key event.Key, image *event.Image, deleted bool) {
	if deleted {
		image = nil
	}
	l.entity(writtenKey(key)).row = imageHash(image)
}

// writtenKey is the key as a change record can tell it.
func writtenKey(k event.Key) string {
	k.Tenant, _ = codecs.SanitiseText(k.Tenant)
	k.Type, _ = codecs.SanitiseText(k.Type)
	k.ID, _ = codecs.SanitiseText(k.ID)
	return k.String()
}

// compareRows adds to r the entities whose row is not what their changes fold
// to.
func (l *Ledger) compareRows(r *Report) {
	for key, e := range l.entities {
		if e.row != noImage {
			r.Rows++
		}
		switch {
		case e.row == e.image:
		case e.row == noImage:
			l.note(&r.TableMismatches, Example{Entity: key, Detail: "changes left a state, the table has none"})
		case e.image == noImage:
			l.note(&r.TableMismatches, Example{Entity: key, Detail: "the table has a state, changes left none"})
		default:
			l.note(&r.TableMismatches, Example{Entity: key, Detail: "the row is not the last after"})
		}
	}
}
