package state

import (
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
		if !slices.ContainsFunc(after, func(f []byte) bool { return string(e) == string(f) }) {
			batch.Delete(e)
		}
	}
	for _, e := range after {
		batch.Put(e, nil)
	}
	return nil
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

// loadTimers rebuilds the queue from the index.
func (s *Store) loadTimers() error {
	s.timers = timerQueue{}
	if s.opts.Timers == nil {
		return nil
	}
	it := s.db.NewIterator(util.BytesPrefix([]byte{dueSpace}), nil)
	defer it.Release()
	for it.Next() {
		e := it.Key()[1:]
		n := int(e[0])
		s.timers.push(Timer{
			Clock: string(e[1 : 1+n]),
			AtMs:  int64(binary.BigEndian.Uint64(e[1+n:])),
		}, string(e[9+n:]))
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("load timers: %w", err)
	}
	return nil
}

// Due takes the keys whose timers on the given clock are at or before nowMs,
// earliest first, each key once. A key may come although its row no longer asks
// for it; its stage then finds nothing to do.
func (s *Store) Due(clock string, nowMs int64) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.timers.pop(clock, nowMs)
}

// timerQueue holds what is due, per clock.
type timerQueue map[string]*clockQueue

func (q *timerQueue) push(t Timer, key string) {
	if *q == nil {
		*q = timerQueue{}
	}
	c := (*q)[t.Clock]
	if c == nil {
		c = &clockQueue{queued: map[dueKey]bool{}}
		(*q)[t.Clock] = c
	}
	if k := (dueKey{t.AtMs, key}); !c.queued[k] {
		c.queued[k] = true
		heap.Push(&c.heap, k)
	}
}

func (q timerQueue) pop(clock string, nowMs int64) []string {
	c := q[clock]
	if c == nil {
		return nil
	}
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
	heap   timerHeap
	queued map[dueKey]bool
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
