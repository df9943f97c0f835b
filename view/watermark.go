package view

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"trunkline/state"
)

// Watermark tracks the event time that an entity table has reached: the highest
// event time among the events applied to its rows. Events that still wait in a
// row's reorder buffer do not count. The zero value is ready for use, and it is
// safe for concurrent use.
//
// A view that restarts has most rows on its disk and is told of the others only,
// so the API completes the watermark with one scan once the view has caught up.
type Watermark struct {
	ms       atomic.Int64
	complete atomic.Bool
	scan     sync.Mutex
}

// OnUpdate takes note of a row that arrived, as stream.ViewOptions.OnUpdate. A
// nil row, a delete, tells no event time; nor does a row that cannot be read,
// which is an error only for who asks for it.
func (w *Watermark) OnUpdate(_ string, row []byte) {
	if row == nil {
		return
	}
	if e, err := state.DecodeEntity(row); err == nil {
		w.reach(e.Applied.TsMs)
	}
}

// Ms is the watermark in epoch ms, 0 before the first event. It never goes back.
func (w *Watermark) Ms() int64 { return w.ms.Load() }

// reach raises the watermark to ms and returns it.
func (w *Watermark) reach(ms int64) int64 {
	for {
		now := w.ms.Load()
		if ms <= now {
			return now
		}
		if w.ms.CompareAndSwap(now, ms) {
			return ms
		}
	}
}

var errScanning = errors.New("its watermark is being read from the rows")

// initialise scans the rows of a table that has caught up, once. While one
// caller scans, the others get an error instead of waiting for a big table; a
// scan that fails is tried again by the next caller.
func (w *Watermark) initialise(rows Table) error {
	if w.complete.Load() {
		return nil
	}
	if !w.scan.TryLock() {
		return errScanning
	}
	defer w.scan.Unlock()
	if w.complete.Load() {
		return nil
	}
	it, err := rows.Rows("", "")
	if err != nil {
		return fmt.Errorf("read the watermark from the rows: %w", err)
	}
	defer it.Release()
	for it.Next() {
		// As in OnUpdate: a row that cannot be read must not take all others
		// with it.
		if row, err := it.Value(); err == nil {
			if e, ok := row.(*state.Entity); ok {
				w.reach(e.Applied.TsMs)
			}
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("read the watermark from the rows: %w", err)
	}
	w.complete.Store(true)
	return nil
}
