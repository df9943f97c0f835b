package state

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// TestReadersSeeCommittedRows lets readers race one writer whose every second
// transaction is rolled back. What they see outside the stage was committed,
// never goes back, and stands with all other rows of its transaction (I2).
func TestReadersSeeCommittedRows(t *testing.T) {
	const rows, transactions = 8, 300
	s := openStore(t, t.TempDir(), Options{Timers: rowTimers, Expiry: rowExpiry})
	must(t, s.MarkRecovered())
	key := func(i int) string { return fmt.Sprintf("k%d", i) }

	var committing atomic.Int64 // the highest generation that may be visible
	var done atomic.Bool
	var readers sync.WaitGroup
	check := func(last int64, row []byte) int64 {
		if row == nil {
			return last
		}
		n, err := strconv.ParseInt(string(row), 10, 64)
		if err != nil || n%2 != 0 || n < last || n > committing.Load() {
			t.Errorf("read generation %q after %d while %d commits", row, last, committing.Load())
		}
		return n
	}
	for r := range 3 {
		readers.Go(func() {
			last := int64(0)
			for !done.Load() && !t.Failed() {
				row, err := s.Committed(key(r))
				if err != nil {
					t.Error(err)
				}
				last = check(last, row)
				if _, err := s.Get(key(r)); err != nil {
					t.Error(err)
				}
				if offset, err := s.GetOffset(-1); err != nil || offset > committing.Load() {
					t.Errorf("GetOffset: got %d, %v while %d commits", offset, err, committing.Load())
				}
				s.OverlayBytes()
			}
		})
		readers.Go(func() {
			last := int64(0)
			for !done.Load() && !t.Failed() {
				it, err := s.Iterator()
				if err != nil {
					t.Error(err)
					return
				}
				seen := map[string]int{}
				for it.Next() {
					row, _ := it.Value()
					seen[string(row)]++
					last = check(last, row)
				}
				it.Release()
				if len(seen) > 1 {
					t.Errorf("iterator mixes transactions: %v", seen)
				}
			}
		})
	}
	for n := range int64(transactions) {
		for i := range rows {
			if err := s.Set(key(i), strconv.AppendInt(nil, n, 10)); err != nil {
				t.Error(err)
			}
		}
		if _, err := s.Due("", 16); err != nil {
			t.Error(err)
		}
		if n%2 != 0 {
			s.Rollback()
			continue
		}
		committing.Store(n)
		if err := s.Commit(n); err != nil {
			t.Error(err)
		}
		if _, err := s.Expire(0, 10); err != nil {
			t.Error(err)
		}
	}
	done.Store(true)
	readers.Wait()
}
