package state

import (
	"maps"
	"slices"
	"strings"
)

// A test row is a number of timers, (clock, moment) each, an expiry in hours
// (0 is never), and anything. Rows may be cut off or empty.
func rowTimers(row []byte) []Timer {
	if len(row) == 0 {
		return nil
	}
	n, rest := int(row[0]%4), row[1:]
	var ts []Timer
	for ; n > 0 && len(rest) >= 2; n, rest = n-1, rest[2:] {
		ts = append(ts, Timer{Clock: storeClocks[int(rest[0])%len(storeClocks)], AtMs: int64(rest[1]%10) * storeStep})
	}
	return ts
}

func rowExpiry(row []byte) int64 {
	if len(row) < 2 || row[len(row)-1]%8 == 0 {
		return 0
	}
	return int64(row[len(row)-1]%8)*hourMs + int64(row[0])
}

// storeStep lies between two moments of test rows: some are near, some are not.
const storeStep = ahead / 3

var storeClocks = []string{"", "raw.genesys/0", "raw.genesys/1", strings.Repeat("t", 249) + "/12345"}

// model is what a store must be: three maps and a set.
type model struct {
	writeThrough bool
	disk         map[string]string
	overlay      map[string]*string // nil is a delete
	diskOffset   int64              // -1 is none
	offset       int64
	recovering   bool
	queue        map[Timer]map[string]bool
	until        map[string]int64 // by clock: how far its timers are in the queue
}

func (m *model) reopen() {
	m.overlay, m.offset, m.recovering = map[string]*string{}, m.diskOffset, true
	m.queue, m.until = map[Timer]map[string]bool{}, map[string]int64{}
}

// push queues the timers of a row that wants accepts.
func (m *model) push(row, key string, wants func(Timer) bool) {
	for _, t := range rowTimers([]byte(row)) {
		if !wants(t) {
			continue
		}
		if m.queue[t] == nil {
			m.queue[t] = map[string]bool{}
		}
		m.queue[t][key] = true
	}
}

func (m *model) near(t Timer) bool {
	until, looked := m.until[t.Clock]
	return looked && t.AtMs <= until
}

func (m *model) write(key string, row *string) {
	if !m.recovering && row != nil {
		m.push(*row, key, m.near)
	}
	m.overlay[key] = row
	if !m.recovering && m.writeThrough {
		m.flush()
	}
}

func (m *model) flush() {
	for key, row := range m.overlay {
		if row == nil {
			delete(m.disk, key)
		} else {
			m.disk[key] = *row
		}
	}
	m.overlay, m.diskOffset = map[string]*string{}, m.offset
}

func (m *model) due(clock string, now int64) []string {
	if m.recovering {
		return nil
	}
	if until, looked := m.until[clock]; !looked || now > until {
		comes := func(t Timer) bool { return t.Clock == clock && t.AtMs <= now+ahead && (!looked || t.AtMs > until) }
		for _, key := range storeKeys {
			// What a committed row asked for comes, too, while another waits for its commit.
			for _, row := range []*string{m.read(key), m.committed(key)} {
				if row != nil {
					m.push(*row, key, comes)
				}
			}
		}
		m.until[clock] = now + ahead
	}
	var keys []string
	for n := range now/storeStep + 1 {
		t := Timer{clock, n * storeStep}
		for _, key := range slices.Sorted(maps.Keys(m.queue[t])) {
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
		delete(m.queue, t)
	}
	return keys
}

func (m *model) expire(now int64, limit int) int {
	type entry struct {
		hour int64
		key  string
	}
	var es []entry
	for key, row := range m.disk {
		_, waiting := m.overlay[key]
		if at := rowExpiry([]byte(row)); at > 0 && at/hourMs < now/hourMs && !waiting {
			es = append(es, entry{at / hourMs, key})
		}
	}
	slices.SortFunc(es, func(a, b entry) int {
		if a.hour != b.hour {
			return int(a.hour - b.hour)
		}
		return strings.Compare(a.key, b.key)
	})
	es = es[:min(limit, len(es))]
	for _, e := range es {
		delete(m.disk, e.key)
	}
	return len(es)
}

func (m *model) read(key string) *string {
	if row, ok := m.overlay[key]; ok {
		return row
	}
	return m.committed(key)
}

func (m *model) committed(key string) *string {
	if row, ok := m.disk[key]; ok {
		return &row
	}
	return nil
}

// entries is the database that the committed rows and their offset make: the
// indexes are functions of the rows.
func (m *model) entries() map[string]string {
	es := map[string]string{}
	for key, row := range m.disk {
		es["r"+key] = row
		for _, t := range rowTimers([]byte(row)) {
			es[string(timerEntry(t, key))] = ""
		}
		if at := rowExpiry([]byte(row)); at > 0 {
			es[string(expiryEntry(at, key))] = ""
		}
	}
	if m.diskOffset >= 0 {
		es["o"] = string([]byte{0, 0, 0, 0, 0, 0, byte(m.diskOffset >> 8), byte(m.diskOffset)})
	}
	return es
}
