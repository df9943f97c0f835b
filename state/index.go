package state

import (
	"bytes"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/util"
)

// The indexes are functions of the rows: a batch that changes a row changes its
// entries with it, so they survive a crash as exactly as the rows do.

// index adds to the batch what the new value of a row changes in the indexes;
// a nil value is a delete.
func (s *Store) index(batch *leveldb.Batch, key string, value []byte) error {
	if s.opts.Timers == nil && s.opts.Expiry == nil {
		return nil
	}
	old, err := s.db.Get(rowKey(key), nil)
	if err != nil && !errors.Is(err, leveldb.ErrNotFound) {
		return fmt.Errorf("read row for its index: %w", err)
	}
	before, after := s.entries(key, old), s.entries(key, value)
	for _, e := range before {
		if !contains(after, e) {
			batch.Delete(e)
		}
	}
	for _, e := range after {
		if !contains(before, e) {
			batch.Put(e, nil)
		}
	}
	return nil
}

func contains(entries [][]byte, e []byte) bool {
	return slices.ContainsFunc(entries, func(f []byte) bool { return bytes.Equal(e, f) })
}

func (s *Store) entries(key string, row []byte) [][]byte {
	if row == nil {
		return nil
	}
	var es [][]byte
	if s.opts.Timers != nil {
		for _, t := range s.opts.Timers(row) {
			es = append(es, timerEntry(t, key))
		}
	}
	if s.opts.Expiry != nil {
		if at := s.opts.Expiry(row); at > 0 {
			es = append(es, expiryEntry(at, key))
		}
	}
	return es
}

// timerEntry is 'd', the clock's length and name, the time, the row key.
func timerEntry(t Timer, key string) []byte {
	e := append([]byte{dueSpace, byte(len(t.Clock))}, t.Clock...)
	e = binary.BigEndian.AppendUint64(e, uint64(t.AtMs))
	return append(e, key...)
}

const hourMs = 3600 * 1000

// expiryEntry is 'x', the hour of the expiry, the row key.
func expiryEntry(atMs int64, key string) []byte {
	e := binary.BigEndian.AppendUint64([]byte{expirySpace}, uint64(atMs/hourMs))
	return append(e, key...)
}

// Expire physically drops up to limit rows whose hour of expiry has passed at
// nowMs, a time on the log's clock, and returns how many. It is mere clean-up:
// whether a row has expired is decided by the stage that reads it. The
// changelog's own retention drops them there.
func (s *Store) Expire(nowMs int64, limit int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.db == nil:
		return 0, errClosed
	case s.opts.Expiry == nil:
		return 0, nil
	}
	hour := max(nowMs, 0) / hourMs
	it := s.db.NewIterator(&util.Range{
		Start: []byte{expirySpace},
		Limit: binary.BigEndian.AppendUint64([]byte{expirySpace}, uint64(hour)),
	}, nil)
	defer it.Release()
	batch, n := new(leveldb.Batch), 0
	for n < limit && it.Next() {
		key := string(it.Key()[9:])
		if _, waiting := s.overlay[key]; waiting {
			continue
		}
		row, err := s.committed(key)
		if err != nil {
			return 0, fmt.Errorf("expire rows: %w", err)
		}
		batch.Delete(it.Key())
		if row == nil { // deleted under another window than it was written
			continue
		}
		entries := s.entries(key, row)
		if at := s.opts.Expiry(row); at <= 0 || at/hourMs >= hour { // the window grew
			for _, e := range entries {
				batch.Put(e, nil)
			}
			continue
		}
		for _, e := range entries {
			batch.Delete(e)
		}
		batch.Delete(rowKey(key))
		n++
	}
	if err := errors.Join(it.Error(), s.db.Write(batch, nil)); err != nil {
		return 0, fmt.Errorf("expire rows: %w", err)
	}
	return n, nil
}

// ahead is how far beyond the present of a clock its timers are kept in memory.
// The rest wait in the index on disk: interactions set timers a week ahead with
// every event, and take most of them back.
const ahead = 60 * 1000

// Due takes the keys whose timers on the given clock are at or before nowMs,
// earliest first, each key once. A key may come although its row no longer asks
// for it; its stage then finds nothing to do.
func (s *Store) Due(clock string, nowMs int64) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.db == nil:
		return nil, errClosed
	case s.opts.Timers == nil || s.recovering:
		return nil, nil
	}
	if err := s.lookAhead(clock, nowMs); err != nil {
		return nil, err
	}
	return s.timers.pop(clock, nowMs), nil
}

// lookAhead brings the timers of a clock into memory once it has come close to
// them: those of committed rows from the index, those of rows that wait for a
// commit from the rows.
func (s *Store) lookAhead(clock string, nowMs int64) error {
	c := s.timers.of(clock)
	if nowMs <= c.untilMs {
		return nil
	}
	from, until := c.untilMs+1, nowMs+ahead
	c.untilMs = until
	prefix := timerEntry(Timer{Clock: clock}, "")
	prefix = prefix[:len(prefix)-8]
	it := s.db.NewIterator(&util.Range{
		Start: binary.BigEndian.AppendUint64(slices.Clone(prefix), uint64(from)),
		Limit: binary.BigEndian.AppendUint64(slices.Clone(prefix), uint64(until+1)),
	}, nil)
	defer it.Release()
	for it.Next() {
		e := it.Key()[len(prefix):]
		c.push(int64(binary.BigEndian.Uint64(e)), string(e[8:]))
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("read timers: %w", err)
	}
	for key, row := range s.overlay {
		for _, t := range s.opts.Timers(row) {
			if t.Clock == clock && from <= t.AtMs && t.AtMs <= until {
				c.push(t.AtMs, key)
			}
		}
	}
	return nil
}

// ask queues the timers of a row that are near; lookAhead finds the others once
// they are.
func (s *Store) ask(key string, row []byte) {
	for _, t := range s.opts.Timers(row) {
		if c := s.timers.of(t.Clock); t.AtMs <= c.untilMs {
			c.push(t.AtMs, key)
		}
	}
}

// timerQueue holds what is due soon, per clock.
type timerQueue map[string]*clockQueue

func (q timerQueue) of(clock string) *clockQueue {
	c := q[clock]
	if c == nil {
		c = &clockQueue{queued: map[dueKey]bool{}, untilMs: -1}
		q[clock] = c
	}
	return c
}

func (q timerQueue) pop(clock string, nowMs int64) []string {
	c := q.of(clock)
	var keys []string
	taken := map[string]bool{}
	for len(c.heap) > 0 && c.heap[0].atMs <= nowMs {
		due := c.heap[0]
		heap.Pop(&c.heap)
		delete(c.queued, due)
		if !taken[due.key] {
			taken[due.key] = true
			keys = append(keys, due.key)
		}
	}
	return keys
}

// clockQueue holds what waits for one clock, each moment of a row once although
// every write of the row names it again.
type clockQueue struct {
	heap    timerHeap
	queued  map[dueKey]bool
	untilMs int64 // timers up to here are in the heap, or were taken
}

func (c *clockQueue) push(atMs int64, key string) {
	if k := (dueKey{atMs, key}); !c.queued[k] {
		c.queued[k] = true
		heap.Push(&c.heap, k)
	}
}

type dueKey struct {
	atMs int64
	key  string
}

// timerHeap orders by time, then by key, so that ticks come in one order
// whatever the order in which rows were written (I7).
type timerHeap []dueKey

func (h timerHeap) Len() int      { return len(h) }
func (h timerHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h timerHeap) Less(i, j int) bool {
	return h[i].atMs < h[j].atMs || h[i].atMs == h[j].atMs && h[i].key < h[j].key
}
func (h *timerHeap) Push(x any) { *h = append(*h, x.(dueKey)) } //nolint:errcheck // push gives nothing else
func (h *timerHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
