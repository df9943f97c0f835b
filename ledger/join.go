package ledger

import (
	"cmp"
	"fmt"
	"slices"

	"trunkline/event"
)

// fateKinds fixes the order of reports and the code of each kind in a mark.
var fateKinds = []event.FateKind{
	event.FateChange, event.FateUnchanged, event.FateEventOnly, event.FateDuplicate,
	event.FateLate, event.FateFiltered, event.FateReplayed, event.FateDeadLetter,
}

// mark is what is known of one raw position: these bits, and in the lowest three
// the code of its first fate.
type mark byte

const (
	arrived mark = 0x80 // the raw record was seen
	settled mark = 0x40 // a fate was seen
	doubled mark = 0x20 // more than one was
	changed mark = 0x10 // a change was, of any run
	fateBit mark = 0x07
)

// rawLog holds the marks of one raw partition in pages, so that a log which
// starts anywhere and has gaps costs what it holds.
type rawLog struct {
	pages map[int64]*page // by offset / pageSize
	last  *page           // the page used last, number at
	at    int64
}

const pageSize = 4096

type page struct {
	marks [pageSize]mark
	// Ingest ids of records that have no fate yet; nil when there are none.
	ids  []string
	open int
}

func (l *Ledger) page(p event.Position) (*page, int) {
	key := partition{p.Topic, p.Partition}
	log := l.logs[key]
	if log == nil {
		log = &rawLog{pages: map[int64]*page{}, at: -1}
		l.logs[key] = log
	}
	if n := p.Offset / pageSize; n != log.at {
		if log.pages[n] == nil {
			log.pages[n] = new(page)
		}
		log.last, log.at = log.pages[n], n
	}
	return log.last, int(p.Offset % pageSize)
}

// covers reports whether p lies in the range that is balanced.
func (l *Ledger) covers(p event.Position) bool {
	if to, ok := l.cfg.To[p.Topic][p.Partition]; ok && p.Offset >= to {
		return false
	}
	return p.Offset >= l.cfg.From[p.Topic][p.Partition]
}

// arrive notes a raw record.
func (l *Ledger) arrive(p event.Position, ingestID string) {
	if !l.covers(p) {
		return
	}
	l.report.RawRecords++
	pg, i := l.page(p)
	pg.marks[i] |= arrived
	if pg.marks[i]&settled == 0 {
		if pg.ids == nil {
			pg.ids = make([]string, pageSize)
		}
		pg.ids[i] = ingestID
		pg.open++
	}
}

// outcome is a fate as a record told it.
type outcome struct {
	kind     event.FateKind
	raw      event.Position // zero when the record does not tell it
	at       event.Position // of the record
	run      string
	ingestID string
}

// settle notes the fate of a raw record (I3).
func (l *Ledger) settle(o outcome) {
	if o.raw.Topic == "" || o.raw.Offset < 0 {
		l.note(&l.report.NoRaw, Example{
			Record: o.at.String(), IngestID: o.ingestID, Detail: fmt.Sprintf("%s without a raw position", o.kind),
		})
		return
	}
	if !l.covers(o.raw) {
		return
	}
	if l.cfg.Run != "" && o.run != l.cfg.Run {
		l.report.OtherRuns++
		return
	}
	l.report.Fates[o.kind]++
	pg, i := l.page(o.raw)
	m := &pg.marks[i]
	if *m&settled != 0 {
		if *m&doubled == 0 {
			*m |= doubled
			l.note(&l.report.ManyFates, Example{
				Raw: o.raw.String(), Record: o.at.String(), IngestID: o.ingestID,
				Detail: fmt.Sprintf("%s after %s", o.kind, m.kind()),
			})
		}
		return
	}
	*m |= settled | mark(slices.Index(fateKinds, o.kind))&fateBit
	if *m&arrived != 0 {
		pg.ids[i] = ""
		if pg.open--; pg.open == 0 {
			pg.ids = nil
		}
	}
}

func (m mark) kind() event.FateKind { return fateKinds[m&fateBit] }

// changedBefore notes a change of the raw position p and reports whether there
// was one already.
func (l *Ledger) changedBefore(p event.Position) bool {
	pg, i := l.page(p)
	before := pg.marks[i]&changed != 0
	pg.marks[i] |= changed
	return before
}

// unsettled adds to r the positions of which only one side was seen, in order.
func (l *Ledger) unsettled(r *Report) {
	keys := make([]partition, 0, len(l.logs))
	for key := range l.logs {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b partition) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.number, b.number))
	})
	for _, key := range keys {
		pages := l.logs[key].pages
		numbers := make([]int64, 0, len(pages))
		for n := range pages {
			numbers = append(numbers, n)
		}
		slices.Sort(numbers)
		for _, n := range numbers {
			for i, m := range pages[n].marks {
				p := event.Position{Topic: key.topic, Partition: key.number, Offset: n*pageSize + int64(i)}
				switch m & (arrived | settled) {
				case arrived:
					l.note(&r.NoFate, Example{Raw: p.String(), IngestID: pages[n].ids[i]})
				case settled:
					l.note(&r.NoRaw, Example{Raw: p.String(), Detail: string(m.kind())})
				}
			}
		}
	}
}
