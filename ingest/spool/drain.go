package spool

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// reader is where the drain of a queue is. Damage is told when it is passed.
type reader struct {
	offset  int64  // in the first segment
	next    uint64 // number of the entry that comes next
	damaged bool   // the first segment is
}

// drain hands the entries out in order until stop ends, and then, while work
// lasts, those that are left.
func (q *queue) drain(stop, work context.Context, slots chan struct{}) {
	var synced time.Time // when the position was, zero: it has not moved since
	for work.Err() == nil {
		entries, err := q.read()
		switch {
		case err != nil:
			q.log.Error("spool cannot be read: trying again", "error", err)
			pause(work, retryLongest)
		case len(entries) > 0:
			if !q.handOut(work, entries, slots) {
				return
			}
			q.advance()
			if synced.IsZero() {
				synced = time.Now()
			}
			synced = q.syncPosition(synced)
		default:
			select {
			case <-q.written:
			case <-stop.Done():
				return // closing syncs
			case <-after(synced):
				synced = q.syncPosition(synced)
			}
		}
	}
}

// syncInterval is the longest time for which a position that moved is not synced.
// What was drained in it is handed out again after a power cut, and must not be
// older than what the normaliser remembers.
const syncInterval = time.Second

// after returns a channel that tells when a position that moved at the time is to
// be synced, nil when none did.
func after(moved time.Time) <-chan time.Time {
	if moved.IsZero() {
		return nil
	}
	return time.After(syncInterval - time.Since(moved))
}

// syncPosition syncs the position if it moved long enough ago, and returns when
// it first moved since the last sync.
func (q *queue) syncPosition(moved time.Time) time.Time {
	if time.Since(moved) < syncInterval {
		return moved
	}
	if err := q.positions.sync(); err != nil {
		q.log.Warn("position of the spool is not on disk: a power cut would send entries again", "error", err)
	}
	return time.Time{}
}

// The pauses between two tries to hand entries out.
const (
	retryShortest = 100 * time.Millisecond
	retryLongest  = 5 * time.Second
)

// handOut offers the entries until they are taken; false when ctx ends before.
// Between two tries another queue may have the slot.
func (q *queue) handOut(ctx context.Context, entries [][]byte, slots chan struct{}) bool {
	for tries := 0; ; tries++ {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return false
		}
		err := q.o.Drain(ctx, q.name, entries)
		<-slots
		switch {
		case err == nil:
			if tries > 0 {
				q.log.Info("spool drains again")
			}
			return true
		case ctx.Err() != nil:
			return false
		case tries == 0:
			q.log.Warn("spool does not drain: trying again", "error", err)
		}
		longest := min(retryShortest<<min(tries, 10), retryLongest)
		pause(ctx, longest/2+rand.N(longest/2)) //nolint:gosec // it only spreads retries
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// read returns the next entries, all of one segment; none when all are read.
func (q *queue) read() ([][]byte, error) {
	for {
		s, last, written, ok := q.first()
		switch {
		case !ok:
			return nil, nil
		case q.reader.offset < s.size:
			if entries, err := q.readChunk(&s); len(entries) > 0 || err != nil {
				return entries, err
			}
			continue
		case last:
			q.expect(written)
			if s.active {
				return nil, nil
			}
		}
		if err := q.finish(&s); err != nil {
			return nil, err
		}
	}
}

// readChunk returns the entries of the next frames; none when there are only
// damaged ones and such as an earlier process drained.
func (q *queue) readChunk(s *segment) (entries [][]byte, err error) {
	r := &q.reader
	chunk, err := s.read(r.offset, q.o.BatchBytes)
	if err != nil {
		return nil, err
	}
	for first := true; len(chunk) > 0; first = false {
		f, size, ok := decodeFrame(chunk, s.salt)
		switch {
		case ok:
		case first: // it is longer than the chunk, or damaged
			if f, size, err = s.frame(r.offset); err == nil && size == 0 {
				size, err = q.damage(s)
			}
			if err != nil {
				return nil, err
			}
		default:
			return entries, nil // the next chunk begins with it
		}
		chunk = chunk[min(size, int64(len(chunk))):]
		r.offset += size
		if f.next() <= r.next {
			continue // damage, or an earlier process drained it
		}
		q.expect(f.seq)
		if len(entries) == 0 {
			q.setOldest(time.UnixMilli(f.at))
		}
		entries = append(entries, f.entries...)
		r.next = f.next()
	}
	return entries, nil
}

// first returns the segment that is read, as it is now, whether it is the last,
// and the number after all that is written.
func (q *queue) first() (s segment, last bool, written uint64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.segments) == 0 {
		return segment{}, false, 0, false
	}
	return *q.segments[0], len(q.segments) == 1, q.seq, true
}

// damage tells of bytes that are no frame and returns how many they are. The
// segment will be kept for somebody to look at.
func (q *queue) damage(s *segment) (int64, error) {
	r := &q.reader
	end, err := s.find(r.offset+1, r.next)
	if err != nil {
		return 0, err
	}
	r.damaged = true
	q.log.Warn("spool holds bytes that are no whole entry: they were being written when the process or the power went away, or the disk altered them",
		"file", s.name()+damagedSuffix, "offset", r.offset, "bytes", end-r.offset)
	return end - r.offset, nil
}

// expect tells of entries that were accepted and are gone.
func (q *queue) expect(seq uint64) {
	r := &q.reader
	if seq <= r.next {
		return
	}
	lost := seq - r.next
	q.log.Error("disk lost entries of the spool that were accepted", "first", r.next, "entries", lost)
	q.o.Lost(q.name, lost)
	r.next = seq
}

// finish takes the first segment out of the queue, all of whose entries are
// drained. The position must not be found before them when they are gone.
func (q *queue) finish(s *segment) error {
	if err := q.positions.sync(); err != nil {
		return err
	}
	end := s.remove
	if q.reader.damaged {
		end = s.keep
	}
	if err := end(q.o.FS, q.dir); err != nil {
		return fmt.Errorf("finish segment %s: %w", s.name(), err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.segments = q.segments[1:]
	q.bytes -= s.size - q.done
	q.done = 0
	q.reader.offset, q.reader.damaged = 0, false
	return nil
}

func (q *queue) setOldest(at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.oldest = at
}

// advance notes that all that was read is safe elsewhere.
func (q *queue) advance() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= q.reader.offset - q.done
	q.done = q.reader.offset
	q.drained = q.reader.next
	if q.drained == q.seq {
		q.oldest = time.Time{}
	}
	if err := q.writePosition(); err != nil {
		q.log.Warn("position of the spool cannot be written: a restart would send entries again", "error", err)
	}
}
