package state

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestRecoveryResumes recovers a changelog larger than a recovery batch, with
// stops of every kind in between. The offset on disk is never ahead of the
// rows, so that going on behind it ends with the whole changelog applied (I2).
func TestRecoveryResumes(t *testing.T) {
	for _, mode := range modes {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%s/%d", mode.name, seed), func(t *testing.T) {
				g := rand.New(rand.NewPCG(seed, 2))
				dir, opts := t.TempDir(), Options{WriteThrough: mode.writeThrough}
				s := openStore(t, dir, opts)
				want := map[string]string{}
				states := []map[string]string{{}} // rows before each offset
				log := make([]struct{ key, row string }, 60)
				for i := range log {
					log[i].key = storeKeys[g.IntN(len(storeKeys))]
					if g.IntN(5) > 0 {
						log[i].row = fmt.Sprint(i) + strings.Repeat("x", g.IntN(recoveryBatchBytes/4))
						want[log[i].key] = log[i].row
					} else {
						delete(want, log[i].key)
					}
					states = append(states, maps.Clone(want))
				}
				onDisk := int64(-1)
				for at := int64(0); at < int64(len(log)); {
					if r := log[at]; r.row == "" {
						must(t, s.Delete(r.key))
					} else {
						must(t, s.Set(r.key, []byte(r.row)))
					}
					must(t, s.SetOffset(at))
					at++
					if g.IntN(12) > 0 {
						continue
					}
					switch g.IntN(3) {
					case 0:
						crash(t, s)
					case 1:
						s.Rollback() // the session failed in its Setup
						must(t, s.Close())
					default:
						must(t, s.Close())
					}
					s = openStore(t, dir, opts)
					offset, err := s.GetOffset(-1)
					must(t, err)
					if offset < onDisk || offset >= at {
						t.Fatalf("offset on disk: got %d after %d, want at least %d", offset, at-1, onDisk)
					}
					// A batch may hold the row after its offset, never one less.
					if got := rowsOf(t, s); !maps.Equal(got, states[offset+1]) && !maps.Equal(got, states[offset+2]) {
						t.Fatalf("rows on disk lag behind their offset %d", offset)
					}
					at, onDisk = offset+1, offset
				}
				must(t, s.MarkRecovered())
				if got, err := s.GetOffset(-1); err != nil || got != int64(len(log)-1) {
					t.Fatalf("GetOffset: got %d, %v, want %d", got, err, len(log)-1)
				}
				if !maps.Equal(rowsOf(t, s), want) {
					t.Fatal("the rows are not what the changelog says")
				}
			})
		}
	}
}

func rowsOf(t *testing.T, s *Store) map[string]string {
	t.Helper()
	it, err := s.Iterator()
	must(t, err)
	defer it.Release()
	rows := map[string]string{}
	for it.Next() {
		row, err := it.Value()
		must(t, err)
		rows[string(it.Key())] = string(row)
	}
	must(t, it.Err())
	return rows
}

// TestClosedStore holds that a closed store answers with errors: goka may still
// be marking a table as recovered when its session ends.
func TestClosedStore(t *testing.T) {
	for _, mode := range modes {
		for _, recovered := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/recovered=%v", mode.name, recovered), func(t *testing.T) {
				s := openStore(t, t.TempDir(), Options{WriteThrough: mode.writeThrough, Timers: rowTimers, Expiry: rowExpiry})
				must(t, s.SetOffset(7))
				if recovered {
					must(t, s.MarkRecovered())
				}
				must(t, s.Set("k", []byte("row")))
				must(t, s.Close())
				must(t, s.Close())

				_, get := s.Get("k")
				_, has := s.Has("k")
				_, committed := s.Committed("k")
				_, iterator := s.Iterator()
				_, expire := s.Expire(math.MaxInt64, 1)
				for name, err := range map[string]error{
					"Get": get, "Has": has, "Committed": committed, "Iterator": iterator, "Expire": expire,
					"Set": s.Set("k", nil), "Delete": s.Delete("k"), "Commit": s.Commit(8),
					"SetOffset": s.SetOffset(8), "MarkRecovered": s.MarkRecovered(),
				} {
					if !errors.Is(err, errClosed) {
						t.Errorf("%s: got %v, want %v", name, err, errClosed)
					}
				}
			})
		}
	}
}
