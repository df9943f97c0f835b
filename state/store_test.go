package state

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/lovoo/goka/storage"
	"github.com/syndtr/goleveldb/leveldb/util"
)

var _ storage.Storage = (*Store)(nil)

// modes are the stores that must honour the contract.
var modes = []struct {
	name         string
	writeThrough bool
}{{"transactional", false}, {"write-through", true}}

// storeKeys holds names that are someone's private keys elsewhere, prefixes of
// each other and bytes that are no text.
var storeKeys = []string{
	"", "\x00", "__offset", "d", "o", "r", "rr", "x", "d\x01a", "genesys/acme/user/u-1#e-1",
	"k", "k\x00", "\xff", "\xff\xff",
}

// crash leaves the files as a killed process does: nothing is flushed.
func crash(t *testing.T, s *Store) {
	t.Helper()
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
}

func openStore(t *testing.T, dir string, opts Options) *Store {
	t.Helper()
	s, err := OpenStore(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // crashed stores are closed already
	return s
}

// TestStoreContract walks random histories over a store and its model, and
// compares both, memory and disk, after every step. Reopening may happen
// between any two steps, cleanly or by a crash (I2).
func TestStoreContract(t *testing.T) {
	for _, mode := range modes {
		for seed := range uint64(8) {
			t.Run(fmt.Sprintf("%s/%d", mode.name, seed), func(t *testing.T) {
				opts := Options{WriteThrough: mode.writeThrough, Timers: rowTimers, Expiry: rowExpiry}
				walk(t, rand.New(rand.NewPCG(seed, 1)), opts)
			})
		}
	}
}

func walk(t *testing.T, g *rand.Rand, opts Options) {
	t.Helper()
	dir := t.TempDir()
	s := openStore(t, dir, opts)
	m := &model{writeThrough: opts.WriteThrough, disk: map[string]string{}, diskOffset: -1}
	m.reopen()
	anyKey := func() string { return storeKeys[g.IntN(len(storeKeys))] }
	next := int64(0) // offset of the next write

	var trace []string
	for range 200 {
		var op string
		switch n := g.IntN(100); {
		case n < 40:
			key, row := anyKey(), make([]byte, g.IntN(9))
			for i := range row {
				row[i] = byte(g.Uint32())
			}
			op = fmt.Sprintf("Set(%q, %x)", key, row)
			must(t, s.Set(key, row))
			text := string(row)
			m.write(key, &text)
			next++
		case n < 50:
			key := anyKey()
			op = fmt.Sprintf("Delete(%q)", key)
			must(t, s.Delete(key))
			m.write(key, nil)
			next++
		case n < 62:
			offset := next - 1
			if g.IntN(4) == 0 {
				offset = -1
			}
			op = fmt.Sprintf("Commit(%d)", offset)
			must(t, s.Commit(offset))
			if offset >= 0 {
				m.offset = offset
			}
			m.flush()
		case n < 67:
			op = "Rollback()"
			s.Rollback()
			if !m.recovering {
				m.overlay = map[string]*string{}
			}
		case n < 74:
			op = fmt.Sprintf("SetOffset(%d)", next)
			must(t, s.SetOffset(next))
			if m.recovering || m.writeThrough {
				m.offset = next
			}
			if m.writeThrough && !m.recovering {
				m.flush()
			}
		case n < 82:
			op = "MarkRecovered()"
			must(t, s.MarkRecovered())
			if m.recovering {
				if len(m.overlay) > 0 || m.offset >= 0 {
					m.flush()
				}
				m.recovering = false
			}
		case n < 88:
			clock, now := storeClocks[g.IntN(len(storeClocks))], int64(g.IntN(11))*storeStep
			op = fmt.Sprintf("Due(%.20q, %d)", clock, now)
			got, err := s.Due(clock, now)
			must(t, err)
			if want := m.due(clock, now); !slices.Equal(got, want) {
				t.Fatalf("%s after %v: got %q, want %q", op, trace, got, want)
			}
		case n < 93:
			now, limit := int64(g.IntN(10))*hourMs+int64(g.IntN(300)), 1+g.IntN(4)
			op = fmt.Sprintf("Expire(%d, %d)", now, limit)
			got, err := s.Expire(now, limit)
			must(t, err)
			if want := m.expire(now, limit); got != want {
				t.Fatalf("%s after %v: got %d rows, want %d", op, trace, got, want)
			}
		case n < 97:
			op = "crash"
			crash(t, s)
			s = openStore(t, dir, opts)
			m.reopen()
		default:
			op = "Close"
			must(t, s.Close())
			s = openStore(t, dir, opts)
			if m.recovering && (len(m.overlay) > 0 || m.offset >= 0) {
				m.flush()
			}
			m.reopen()
		}
		trace = append(trace, op)
		if diff := differs(g, s, m); diff != "" {
			t.Fatalf("after %s:\n%s", strings.Join(trace, "\n"), diff)
		}
	}
}

// differs compares all that a store shows, and every byte of its disk, with the
// model.
func differs(g *rand.Rand, s *Store, m *model) string {
	bytesOf := 0
	for _, key := range storeKeys {
		row, err1 := s.Get(key)
		has, err2 := s.Has(key)
		committed, err3 := s.Committed(key)
		if err := errors.Join(err1, err2, err3); err != nil {
			return err.Error()
		}
		if got, want := row, m.read(key); !same(got, want) {
			return fmt.Sprintf("Get(%q): got %x, want %x", key, got, want)
		}
		if got, want := has, m.read(key) != nil; got != want {
			return fmt.Sprintf("Has(%q): got %v, want %v", key, got, want)
		}
		if got, want := committed, m.committed(key); !same(got, want) {
			return fmt.Sprintf("Committed(%q): got %x, want %x", key, got, want)
		}
		if row, ok := m.overlay[key]; ok {
			bytesOf += len(key)
			if row != nil {
				bytesOf += len(*row)
			}
		}
	}
	if got := s.OverlayBytes(); got != bytesOf {
		return fmt.Sprintf("OverlayBytes: got %d, want %d", got, bytesOf)
	}
	if got, err := s.GetOffset(-1); err != nil || got != m.offset {
		return fmt.Sprintf("GetOffset: got %d, %v, want %d", got, err, m.offset)
	}
	if diff := cmp.Diff(m.entries(), entriesOf(s), cmpopts.EquateEmpty()); diff != "" {
		return "entries on disk (-want +got):\n" + diff
	}
	return iterates(g, s, m)
}

func same(got []byte, want *string) bool {
	if want == nil {
		return got == nil
	}
	return got != nil && string(got) == *want
}

func entriesOf(s *Store) map[string]string {
	es := map[string]string{}
	it := s.db.NewIterator(nil, nil)
	defer it.Release()
	for it.Next() {
		es[string(it.Key())] = string(it.Value())
	}
	return es
}

// iterates compares a walk over everything, one over a range and a search with
// the model: committed rows in key order and nothing else.
func iterates(g *rand.Rand, s *Store, m *model) string {
	bound := func() []byte {
		if g.IntN(4) == 0 {
			return nil
		}
		return []byte(storeKeys[g.IntN(len(storeKeys))])
	}
	for _, r := range []util.Range{{}, {Start: bound(), Limit: bound()}} {
		var want []string
		for _, key := range slices.Sorted(maps.Keys(m.disk)) {
			if key >= string(r.Start) && (r.Limit == nil || key < string(r.Limit)) {
				want = append(want, key, m.disk[key])
			}
		}
		it, err := s.IteratorWithRange(r.Start, r.Limit)
		if err != nil {
			return err.Error()
		}
		var got []string
		for it.Next() {
			row, err := it.Value()
			if err != nil {
				return err.Error()
			}
			got = append(got, string(it.Key()), string(row))
		}
		if !slices.Equal(got, want) || it.Err() != nil {
			return fmt.Sprintf("IteratorWithRange(%q, %q): got %q, %v, want %q", r.Start, r.Limit, got, it.Err(), want)
		}
		if k := it.Key(); len(k) > 0 {
			return fmt.Sprintf("Key after the last row: got %q", k)
		}

		// Seek stands on the first row at or after the key, as goka documents it
		// for views.
		key := storeKeys[g.IntN(len(storeKeys))]
		for len(want) > 0 && want[0] < key {
			want = want[2:]
		}
		found := it.Seek([]byte(key))
		if found != (len(want) > 0) || found && !bytes.Equal(it.Key(), []byte(want[0])) {
			return fmt.Sprintf("Seek(%q) in [%q, %q): got %v, %q, want %q", key, r.Start, r.Limit, found, it.Key(), want)
		}
		it.Release()
	}
	return ""
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
