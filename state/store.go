// Package state is what Trunkline keeps: the transactional LevelDB store under
// goka's tables, the dedup row (Seen) and the entity row (Entity) with its
// reorder buffer.
package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/lovoo/goka/storage"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"
)

// Rows and private keys live in separate key spaces of one database, so that no
// row can be taken for a private key and iterators see rows only.
const (
	rowSpace    = 'r' // rows, by their goka key
	offsetSpace = 'o' // one key: changelog offset of the last committed write
	dueSpace    = 'd' // timers: clock, time, row key
	expirySpace = 'x' // hour of expiry, row key
)

// recoveryBatchBytes is how much a recovering store collects before it writes.
const recoveryBatchBytes = 4 << 20

// Options tunes a [Store].
type Options struct {
	// WriteThrough makes every write visible on disk at once. Views, which only
	// ever read committed records, use it; processors must not (I2).
	WriteThrough bool
	// Timers reads from an encoded row the moments at which its stage wants to
	// be called; nil when the table has no timers.
	Timers func(row []byte) []Timer
	// Expiry reads from an encoded row the time in epoch ms from which it may
	// be physically dropped; 0 is never. Nil when rows do not expire.
	Expiry func(row []byte) int64
	// BlockCacheBytes and WriteBufferBytes bound the memory of one store.
	BlockCacheBytes  int
	WriteBufferBytes int
}

// Timer is a moment on the clock of a log.
type Timer struct {
	Clock string // topic/partition whose append times are the clock
	AtMs  int64  // epoch ms
}

// Store is one partition of a table over LevelDB. It implements goka's
// storage.Storage. What a stage writes stays in an overlay in memory until
// [Store.Commit], so the disk never knows what Kafka does not (I2): a crash or
// [Store.Rollback] drops it, and the changelog brings back what was committed.
//
// Before MarkRecovered the store is recovering: writes come from the changelog,
// are committed by definition and go through in large batches.
//
// One writer and any number of readers may use it concurrently.
type Store struct {
	opts Options

	mu      sync.RWMutex
	db      *leveldb.DB
	overlay map[string][]byte // a nil value is a delete
	bytes   int
	offset  int64
	stored  bool // whether offset is known
	timers  timerQueue

	recovering bool // until MarkRecovered
}

var errClosed = errors.New("store is closed")

// OpenStore opens or creates the store in the folder dir.
func OpenStore(dir string, opts Options) (*Store, error) {
	db, err := leveldb.OpenFile(dir, &opt.Options{
		Filter:             filter.NewBloomFilter(10), // dedup misses dominate
		BlockCacheCapacity: opts.BlockCacheBytes,
		WriteBuffer:        opts.WriteBufferBytes,
		NoSync:             true, // Kafka is the log
	})
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	s := &Store{opts: opts, db: db, overlay: map[string][]byte{}, timers: timerQueue{}, recovering: true}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", dir, err), db.Close())
	}
	return s, nil
}

func (s *Store) load() error {
	v, err := s.db.Get([]byte{offsetSpace}, nil)
	switch {
	case errors.Is(err, leveldb.ErrNotFound):
	case err != nil:
		return fmt.Errorf("read offset: %w", err)
	case len(v) != 8:
		return fmt.Errorf("read offset: %d bytes, want 8", len(v))
	default:
		s.offset, s.stored = int64(binary.BigEndian.Uint64(v)), true
	}
	return nil
}

// Open does nothing: [OpenStore] returned an open store.
func (s *Store) Open() error { return nil }

// Close writes what recovery collected and drops what was not committed.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return nil
	}
	err := errors.Join(s.flushRecovery(), s.db.Close())
	s.db = nil
	s.overlay, s.bytes = map[string][]byte{}, 0
	return err
}

// Has reports whether the table holds the key, uncommitted writes included.
func (s *Store) Has(key string) (bool, error) {
	v, err := s.Get(key)
	return v != nil, err
}

// Get returns the row of a key, uncommitted writes included, or nil.
func (s *Store) Get(key string) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.get(key)
}

func (s *Store) get(key string) ([]byte, error) {
	if v, ok := s.overlay[key]; ok {
		return v, nil
	}
	return s.committed(key)
}

// Committed returns the row of a key as of the last commit, or nil: what
// readers outside the stage may see.
func (s *Store) Committed(key string) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.committed(key)
}

func (s *Store) committed(key string) ([]byte, error) {
	if s.db == nil {
		return nil, errClosed
	}
	v, err := s.db.Get(rowKey(key), nil)
	if errors.Is(err, leveldb.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read row: %w", err)
	}
	if v == nil {
		v = []byte{} // LevelDB's own way to return an empty row
	}
	return v, nil
}

// Set writes a row.
func (s *Store) Set(key string, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	return s.write(key, value)
}

// Delete removes a row.
func (s *Store) Delete(key string) error { return s.write(key, nil) }

func (s *Store) write(key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return errClosed
	}
	if s.opts.Timers != nil && value != nil && !s.recovering {
		s.ask(key, value)
	}
	if old, ok := s.overlay[key]; ok {
		s.bytes -= len(key) + len(old)
	}
	s.overlay[key] = value
	s.bytes += len(key) + len(value)
	switch {
	case s.recovering && s.bytes >= recoveryBatchBytes:
		return s.flushRecovery()
	case !s.recovering && s.opts.WriteThrough:
		return s.flush()
	}
	return nil
}

// OverlayBytes is the size of what waits for a commit.
func (s *Store) OverlayBytes() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.bytes
}

// Commit moves the overlay to disk in one batch, together with the changelog
// offset of its last write; offset < 0 leaves the offset as it is. The caller
// has committed the transaction that holds these writes (I2).
func (s *Store) Commit(offset int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return errClosed
	}
	if offset >= 0 {
		s.offset, s.stored = offset, true
	}
	return s.flush()
}

// Rollback drops the overlay. Timers of dropped rows stay queued, which is
// harmless: a stage asked for nothing does nothing. Timers that were taken come
// back when the store is opened again. What a recovering store collected is
// committed and stays: without it the offset would be ahead of the rows (I2).
func (s *Store) Rollback() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recovering {
		return
	}
	s.overlay, s.bytes = map[string][]byte{}, 0
}

// flush writes overlay, indexes and offset as one batch.
func (s *Store) flush() error {
	batch := new(leveldb.Batch)
	for key, value := range s.overlay {
		if err := s.index(batch, key, value); err != nil {
			return err
		}
		if value == nil {
			batch.Delete(rowKey(key))
		} else {
			batch.Put(rowKey(key), value)
		}
	}
	if s.stored {
		batch.Put([]byte{offsetSpace}, binary.BigEndian.AppendUint64(nil, uint64(s.offset)))
	}
	if err := s.db.Write(batch, nil); err != nil {
		return fmt.Errorf("write overlay: %w", err)
	}
	clear(s.overlay)
	s.bytes = 0
	return nil
}

// flushRecovery writes what recovery collected; outside recovery it does nothing.
func (s *Store) flushRecovery() error {
	if !s.recovering || (len(s.overlay) == 0 && !s.stored) {
		return nil
	}
	return s.flush()
}

// GetOffset returns the changelog offset of the last write on disk.
func (s *Store) GetOffset(absent int64) (int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.stored {
		return absent, nil
	}
	return s.offset, nil
}

// SetOffset tells how far the changelog was read. A processor's own writes
// reach the disk with [Store.Commit], so goka's offsets count only while the
// store recovers or belongs to a view.
func (s *Store) SetOffset(offset int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return errClosed
	}
	if !s.recovering && !s.opts.WriteThrough {
		return nil
	}
	s.offset, s.stored = offset, true
	if !s.recovering {
		return s.flush()
	}
	return nil
}

// MarkRecovered ends recovery: from here on writes are transactional.
func (s *Store) MarkRecovered() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return errClosed
	}
	if !s.recovering {
		return nil
	}
	err := s.flushRecovery()
	s.recovering = false
	if err != nil {
		return fmt.Errorf("finish recovery: %w", err)
	}
	s.timers = timerQueue{}
	return nil
}

// Iterator walks the committed rows in key order.
func (s *Store) Iterator() (storage.Iterator, error) {
	return s.IteratorWithRange(nil, nil)
}

// IteratorWithRange walks the committed rows with start ≤ key < limit; a nil
// bound is open.
func (s *Store) IteratorWithRange(start, limit []byte) (storage.Iterator, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return nil, errClosed
	}
	r := util.BytesPrefix([]byte{rowSpace})
	if start != nil {
		r.Start = rowKey(string(start))
	}
	if limit != nil {
		r.Limit = rowKey(string(limit))
	}
	return &rows{Iterator: s.db.NewIterator(r, &opt.ReadOptions{DontFillCache: true})}, nil
}

func rowKey(key string) []byte {
	return append([]byte{rowSpace}, key...)
}
