package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"
)

// queue is the log of one tenant. Any number of goroutines append to it and one
// drains it.
type queue struct {
	name string
	dir  string
	o    *Options
	log  *slog.Logger

	writing   sync.Mutex    // held by who writes a batch
	reader    reader        // of the drain alone
	positions *positions    // of the drain alone
	written   chan struct{} // told when there is more to drain

	mu        sync.Mutex
	gathering *batch     // entries that wait for the one who writes
	gathered  int64      // bytes of entries that are not on disk yet
	segments  []*segment // oldest first
	made      uint64     // index of the next segment
	seq       uint64     // number of the next entry to be written
	drained   uint64     // number of the first entry that is not drained
	done      int64      // bytes of the first segment that are drained
	bytes     int64      // on disk and not drained
	oldest    time.Time  // when the first of them was appended; zero: there is none
	failed    error      // of the disk; final
}

// batch is what becomes durable in one write.
type batch struct {
	entries [][]byte
	bytes   int64
	done    chan struct{}
	err     error // valid when done
}

// openQueue opens the queue in dir or makes it.
func openQueue(o *Options, name string) (*queue, error) {
	q := &queue{
		name: name, dir: filepath.Join(o.Dir, name), o: o,
		log: o.Logger.With("queue", name), written: make(chan struct{}, 1),
	}
	if err := o.FS.MkdirAll(q.dir); err != nil {
		return nil, fmt.Errorf("make queue %s: %w", name, err)
	}
	if err := o.FS.SyncDir(o.Dir); err != nil {
		return nil, fmt.Errorf("make queue %s: %w", name, err)
	}
	if err := q.recover(); err != nil {
		return nil, fmt.Errorf("open queue %s: %w", name, err)
	}
	return q, nil
}

// recover finds out what an earlier process left.
func (q *queue) recover() error {
	var at position
	var err error
	if q.positions, at, err = openPositions(q.o.FS, q.dir); err != nil {
		return err
	}
	if q.segments, err = openSegments(q.o.FS, q.dir); err != nil {
		return err
	}
	q.drained, q.seq = at.drained, at.written
	if n := len(q.segments); n > 0 {
		if q.positions.turns == 0 {
			q.drained = q.segments[0].first
		}
		end, err := q.segments[n-1].next()
		if err != nil {
			return err
		}
		q.seq = max(q.seq, end)
		q.made = q.segments[n-1].index + 1
	}
	q.reader.next = q.drained
	for _, s := range q.segments {
		q.bytes += s.size
	}
	if q.bytes > 0 {
		q.oldest = q.o.Now()
		q.more()
	}
	return nil
}

// append returns nil when the entry is on disk for good (I1). The first who comes
// while another batch is being written writes the next one for all who come after
// him.
func (q *queue) append(entry []byte) error {
	q.mu.Lock()
	if err := q.refusal(int64(len(entry))); err != nil {
		q.mu.Unlock()
		return err
	}
	b := q.gathering
	first := b == nil
	if first {
		b = &batch{done: make(chan struct{})}
		q.gathering = b
	}
	b.entries = append(b.entries, entry)
	b.bytes += int64(len(entry))
	q.gathered += int64(len(entry))
	if b.bytes >= q.o.BatchBytes {
		q.gathering = nil // full: who comes now begins another
	}
	q.mu.Unlock()
	if first {
		q.commit(b)
	}
	<-b.done
	return b.err
}

// refusal says why the queue cannot take an entry of so many bytes.
func (q *queue) refusal(bytes int64) error {
	switch {
	case q.failed != nil:
		return q.failed
	case q.bytes+q.gathered+bytes > q.o.MaxBytes:
		return fmt.Errorf("%w: %d bytes wait", ErrFull, q.bytes+q.gathered)
	case !q.oldest.IsZero() && q.o.Now().Sub(q.oldest) > q.o.MaxAge:
		return fmt.Errorf("%w: the oldest entry waits since %s", ErrFull, q.oldest.UTC().Format(time.RFC3339))
	default:
		return nil
	}
}

// commit writes and syncs the batch once it is its turn.
func (q *queue) commit(b *batch) {
	q.writing.Lock()
	defer q.writing.Unlock()
	q.mu.Lock()
	if q.gathering == b {
		q.gathering = nil
	}
	q.mu.Unlock()
	b.err = q.write(b)
	close(b.done)
}

// write makes the batch durable as one frame. A disk that refuses bytes loses
// nothing: they are taken back and the next batch tries again. After a failed
// sync nobody can say what is on disk, nor would another sync say it: the queue
// takes no more.
func (q *queue) write(b *batch) error {
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.gathered -= b.bytes
	}()
	s, err := q.segment()
	if err != nil {
		return err
	}
	now := q.o.Now()
	bytes := frame{seq: q.seq, at: now.UnixMilli(), entries: b.entries}.encode(s.salt)
	if _, err := s.file.WriteAt(bytes, s.size); err != nil {
		if undo := s.file.Truncate(s.size); undo != nil {
			return q.fail(errors.Join(err, undo))
		}
		return fmt.Errorf("write to queue %s: %w", q.name, err)
	}
	began := time.Now()
	if err := s.file.Sync(); err != nil {
		return q.fail(err)
	}
	q.o.Synced(time.Since(began))
	q.mu.Lock()
	defer q.mu.Unlock()
	s.size += int64(len(bytes))
	q.seq += uint64(len(b.entries))
	q.bytes += int64(len(bytes))
	if q.oldest.IsZero() {
		q.oldest = now
	}
	q.more()
	return nil
}

// segment returns the one to write to, a new one when the last is long enough or
// was another process'.
func (q *queue) segment() (*segment, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failed != nil {
		return nil, q.failed
	}
	if n := len(q.segments); n > 0 {
		if last := q.segments[n-1]; last.active && last.size < q.o.SegmentBytes {
			return last, nil
		}
	}
	s, err := createSegment(q.o.FS, q.dir, q.made, q.seq)
	q.made++
	if err != nil {
		return nil, fmt.Errorf("write to queue %s: %w", q.name, err)
	}
	q.segments = append(q.segments, s)
	return s, nil
}

// fail ends the queue's taking of entries; the process must be started again.
func (q *queue) fail(err error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.failed = fmt.Errorf("queue %s takes no more until the process is started anew: %w", q.name, err)
	q.log.Error("disk does not keep what it is given: the spool refuses deliveries", "error", err)
	return q.failed
}

func (q *queue) more() {
	select {
	case q.written <- struct{}{}:
	default:
	}
}

// fill is the used part of what the queue may hold, from 0 to 1, by bytes or by
// age.
func (q *queue) fill() float64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failed != nil {
		return 1
	}
	used := float64(q.bytes+q.gathered) / float64(q.o.MaxBytes)
	if !q.oldest.IsZero() {
		used = max(used, float64(q.o.Now().Sub(q.oldest))/float64(q.o.MaxAge))
	}
	return min(used, 1)
}

func (q *queue) stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Stats{Bytes: q.bytes, Entries: q.seq - q.drained}
	if !q.oldest.IsZero() {
		s.Age = q.o.Now().Sub(q.oldest)
	}
	return s
}

// writePosition keeps how far the queue is. Its caller holds mu.
func (q *queue) writePosition() error {
	return q.positions.write(position{drained: q.drained, written: q.seq})
}

// close ends the queue. What is not drained is there for the next process.
func (q *queue) close() error {
	q.writing.Lock()
	defer q.writing.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.failed = ErrClosed
	err := errors.Join(q.writePosition(), q.positions.sync(), q.positions.file.Close())
	for _, s := range q.segments {
		err = errors.Join(err, s.file.Close())
	}
	return err
}
