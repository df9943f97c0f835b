// Package drift counts the fields that vendors send and the mappers do not know: by
// vendor, event type, field and day of the raw log. Figures are statistics, no part
// of a transaction: a kill may lose a minute of them, a repeated transaction counts
// twice.
package drift

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"trunkline/event"
)

// Bounds of what one process keeps between two changes of the day.
const (
	maxRows      = 10_000
	maxFieldName = 200 // bytes
	maxTenants   = 16  // of one row
)

// Table counts in memory. It may be used concurrently.
type Table struct {
	process string // a name that no other table has

	mu        sync.Mutex
	chapter   int             // rows of different chapters never stand for each other
	newest    int64           // day, in days since 1970
	began     int64           // newest when the chapter began
	types     map[kind]*group // of the chapter
	rows      int
	uncounted int64
	unsent    map[string][]byte // what a flush could not write
}

// kind is an event type of a vendor on a day.
type kind struct {
	vendor, eventType string
	day               int64
}

// group are the events of a kind, and their unknown fields.
type group struct {
	events counts
	fields map[string]*counts
}

// counts is a row.
type counts struct {
	n, firstMs, lastMs int64
	types              typeSet
	tenants            []string
	moreTenants        bool
	changed            bool // since the last flush
}

// NewTable returns an empty table. process must be another one after each start:
// rows are absolute, and would replace those from before it.
func NewTable(process string) *Table {
	return &Table{process: process, types: map[kind]*group{}, unsent: map[string][]byte{}}
}

const dayMs = int64(24 * time.Hour / time.Millisecond)

// Observe counts an event and its unknown fields on the day of its raw append time,
// which is that of the log, not of a wall clock.
func (t *Table) Observe(e *event.Event) {
	at := e.Origin.Raw.AppendMs
	k := kind{e.Key.Vendor, e.Type, at / dayMs}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.newest = max(t.newest, k.day); t.began == 0 {
		t.began = t.newest
	}
	g := t.types[k]
	if g == nil {
		if !t.room(k.eventType) {
			return
		}
		g = &group{fields: map[string]*counts{}}
		k.eventType = strings.Clone(k.eventType) // not the document that it stood in
		t.types[k] = g
	}
	g.events.add(at, e.Key.Tenant, 0)
	for name, value := range e.Metadata {
		if !strings.HasPrefix(name, event.UnknownPrefix) {
			continue
		}
		c := g.fields[name]
		if c == nil {
			if !t.room(name) {
				continue
			}
			c = new(counts)
			g.fields[name] = c
		}
		c.add(at, e.Key.Tenant, typeOf(value))
	}
}

// room takes the place of a new row, if there is one.
func (t *Table) room(name string) bool {
	if t.rows >= maxRows || len(name) > maxFieldName {
		t.uncounted++
		return false
	}
	t.rows++
	return true
}

func (c *counts) add(at int64, tenant string, types typeSet) {
	if c.n == 0 {
		c.firstMs, c.lastMs = at, at
	}
	c.n++
	c.firstMs, c.lastMs = min(c.firstMs, at), max(c.lastMs, at)
	c.types |= types
	c.changed = true
	switch {
	case slices.Contains(c.tenants, tenant):
	case len(c.tenants) < maxTenants:
		c.tenants = append(c.tenants, strings.Clone(tenant))
	default:
		c.moreTenants = true
	}
}

// Uncounted is how many sights found no room: beyond 10,000 rows, or with a name of
// more than 200 bytes.
func (t *Table) Uncounted() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.uncounted
}

// Flush gives write the rows that changed since the last flush, by their keys. What
// could not be written is given again. Once the day of the log is another, the
// table begins anew.
func (t *Table) Flush(write func(rows map[string][]byte) error) error {
	t.mu.Lock()
	for k, g := range t.types {
		t.collect(k, "", &g.events)
		for name, c := range g.fields {
			t.collect(k, name, c)
		}
	}
	if t.newest > t.began {
		t.began, t.types, t.rows = t.newest, map[kind]*group{}, 0
		t.chapter++
	}
	rows := t.unsent
	t.unsent = map[string][]byte{}
	t.mu.Unlock()
	if len(rows) == 0 {
		return nil
	}
	err := write(rows)
	if err != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		maps.Copy(t.unsent, rows)
	}
	return err
}

func (t *Table) collect(k kind, field string, c *counts) {
	if !c.changed {
		return
	}
	c.changed = false
	day := time.UnixMilli(k.day * dayMs).UTC().Format(time.DateOnly)
	parts := []string{k.vendor, k.eventType, field, day, fmt.Sprintf("%s.%d", t.process, t.chapter)}
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	value, err := json.Marshal(row{
		Vendor: k.vendor, EventType: k.eventType, Field: field, Day: day, Count: c.n,
		Types: c.types.names(), Tenants: c.tenants, MoreTenants: c.moreTenants, FirstMs: c.firstMs, LastMs: c.lastMs,
	})
	if err == nil { // texts and numbers cannot fail
		t.unsent[strings.Join(parts, "/")] = value
	}
}

// row is a record of the topic: what one process counted on one day, in all.
type row struct {
	Vendor      string   `json:"vendor"`
	EventType   string   `json:"event_type"`
	Field       string   `json:"field"` // empty: the events of the type
	Day         string   `json:"day"`   // of the raw append time, UTC
	Count       int64    `json:"count"`
	Types       []string `json:"types,omitempty"`
	Tenants     []string `json:"tenants"`
	MoreTenants bool     `json:"more_tenants,omitempty"`
	FirstMs     int64    `json:"first_ms"`
	LastMs      int64    `json:"last_ms"`
}
