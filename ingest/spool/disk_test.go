package spool

import (
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// memory is a disk that forgets what was not synced when its power is cut, in the
// ways that real ones do: of writes under way any sectors are there, of names
// changed any.
type memory struct {
	mu      sync.Mutex
	rng     *rand.Rand
	names   map[string]*memoryFile
	durable map[string]*memoryFile
	changes []func(map[string]*memoryFile) // of names, since the last sync

	budget int   // operations until the power fails; below zero: for ever
	full   bool  // writes find no space
	broken error // of syncs
}

const sector = 512

var errPower = errors.New("power is cut")

func newMemory(seed uint64) *memory {
	return &memory{
		rng: rand.New(rand.NewPCG(seed, 0)), budget: -1,
		names: map[string]*memoryFile{}, durable: map[string]*memoryFile{},
	}
}

// use spends one operation.
func (m *memory) use() error {
	if m.budget == 0 {
		return errPower
	}
	m.budget--
	return nil
}

func (m *memory) powered() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.budget == 0 {
		return errPower
	}
	return nil
}

// cut returns the disk as it is found after its power was cut.
func (m *memory) cut() *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	after := newMemory(m.rng.Uint64())
	after.durable = maps.Clone(m.durable)
	for _, change := range m.changes {
		if m.rng.IntN(2) == 0 {
			change(after.durable)
		}
	}
	for name, f := range after.durable {
		after.durable[name] = &memoryFile{disk: after, now: f.found(m.rng)}
		after.durable[name].safe = slices.Clone(after.durable[name].now)
	}
	after.names = maps.Clone(after.durable)
	return after
}

func (m *memory) change(do func(names map[string]*memoryFile)) {
	do(m.names)
	m.changes = append(m.changes, do)
}

func (m *memory) MkdirAll(string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.use()
}

func (m *memory) ReadDir(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.use(); err != nil {
		return nil, err
	}
	in := map[string]bool{}
	for name := range m.names {
		if rest, ok := strings.CutPrefix(name, dir+"/"); ok {
			first, _, _ := strings.Cut(rest, "/")
			in[first] = true
		}
	}
	return slices.Sorted(maps.Keys(in)), nil
}

func (m *memory) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.use(); err != nil {
		return nil, err
	}
	if f := m.names[name]; f != nil {
		return f, nil
	}
	f := &memoryFile{disk: m}
	m.change(func(names map[string]*memoryFile) { names[name] = f })
	return f, nil
}

func (m *memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.use(); err != nil {
		return err
	}
	m.change(func(names map[string]*memoryFile) { delete(names, name) })
	return nil
}

func (m *memory) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.use(); err != nil {
		return err
	}
	f := m.names[from]
	m.change(func(names map[string]*memoryFile) {
		delete(names, from)
		names[to] = f
	})
	return nil
}

func (m *memory) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.use(); err != nil {
		return err
	}
	m.durable = maps.Clone(m.names) // of every folder: the spool syncs what it changes
	m.changes = nil
	_ = dir
	return nil
}

// memoryFile is a file of [memory].
type memoryFile struct {
	disk   *memory
	now    []byte // what a reader sees
	safe   []byte // what a power cut leaves
	writes []func([]byte, *rand.Rand) []byte
}

// found returns what a power cut leaves with luck: any part of what was written
// since the last sync.
func (f *memoryFile) found(rng *rand.Rand) []byte {
	b := slices.Clone(f.safe)
	for _, write := range f.writes {
		b = write(b, rng)
	}
	return b
}

func (f *memoryFile) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return int64(len(f.now)), f.disk.use()
}

func (f *memoryFile) ReadAt(b []byte, at int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.use(); err != nil {
		return 0, err
	}
	n := copy(b, f.now[min(at, int64(len(f.now))):])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

var errNoSpace = errors.New("no space left on device")

func (f *memoryFile) WriteAt(b []byte, at int64) (int, error) {
	runtime.Gosched() // a disk takes its time
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.use(); err != nil {
		return 0, err
	}
	b = slices.Clone(b)
	var err error
	if f.disk.full {
		b, err = b[:f.disk.rng.IntN(len(b)+1)], errNoSpace
	}
	f.now = overwrite(f.now, b, at)
	f.writes = append(f.writes, func(old []byte, rng *rand.Rand) []byte {
		if rng.IntN(4) == 0 {
			return overwrite(old, b, at)
		}
		for from := 0; from < len(b); from += sector {
			if rng.IntN(2) == 0 {
				old = overwrite(old, b[from:min(from+sector, len(b))], at+int64(from))
			}
		}
		return old
	})
	return len(b), err
}

// overwrite returns old with b at an offset, zeros between where it was shorter.
func overwrite(old, b []byte, at int64) []byte {
	if grow := at + int64(len(b)) - int64(len(old)); grow > 0 {
		old = append(old, make([]byte, grow)...)
	}
	copy(old[at:], b)
	return old
}

func (f *memoryFile) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.use(); err != nil {
		return err
	}
	f.now = slices.Clone(f.now[:size])
	f.writes = append(f.writes, func(old []byte, rng *rand.Rand) []byte {
		if rng.IntN(2) == 0 {
			return old
		}
		return old[:min(size, int64(len(old)))]
	})
	return nil
}

func (f *memoryFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.use(); err != nil {
		return err
	}
	if f.disk.broken != nil {
		return f.disk.broken
	}
	f.safe, f.writes = slices.Clone(f.now), nil
	return nil
}

func (*memoryFile) Close() error { return nil }

// clone returns a disk with the same files, all of them safe.
func (m *memory) clone() *memory {
	c := newMemory(m.rng.Uint64())
	for name, f := range m.names {
		c.names[name] = &memoryFile{disk: c, now: slices.Clone(f.now), safe: slices.Clone(f.now)}
	}
	c.durable = maps.Clone(c.names)
	return c
}
