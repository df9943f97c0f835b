// Package spool keeps on disk what was accepted until it is safe elsewhere.
//
// It has a log for each queue. Entries become durable in groups, one write and one
// sync for all that came meanwhile (I1), and are drained in their order by one
// goroutine for each queue. The same entries may be handed out again after a crash.
package spool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options say what a [Spool] keeps and where it goes. Zero values of the optional
// ones stand for the default named beside them.
type Options struct {
	Dir    string   // required
	Queues []string // whose entries are taken; names must do as names of folders
	// Drain makes entries of a queue safe elsewhere, in their order, and returns
	// nil once they are. After an error it is called with the same entries again.
	// It is called concurrently for different queues and returns soon after ctx
	// is done. Required.
	Drain func(ctx context.Context, queue string, entries [][]byte) error

	MaxBytes     int64         // that one queue holds; default: 1 GiB
	MaxAge       time.Duration // of the oldest entry of a queue that takes more; default: 24 h
	SegmentBytes int64         // after which a file is followed by another; default: 8 MiB
	BatchBytes   int64         // that are written, read and drained at once; default: 1 MiB
	Drains       int           // calls of Drain at once, over all queues; default: 8
	MaxWaiting   int64         // bytes in memory that wait for the disk, over all queues; default: 16 MiB

	FS     FileSystem       // default: [Disk]
	Now    func() time.Time // default: time.Now
	Logger *slog.Logger     // default: none

	// Synced is told how long each sync took, Lost how many accepted entries a
	// disk lost. Default: nobody is.
	Synced func(took time.Duration)
	Lost   func(queue string, entries uint64)
}

func (o Options) withDefaults() Options {
	o.MaxBytes = cmp.Or(o.MaxBytes, 1<<30)
	o.MaxAge = cmp.Or(o.MaxAge, 24*time.Hour)
	o.SegmentBytes = cmp.Or(o.SegmentBytes, 8<<20)
	o.BatchBytes = cmp.Or(o.BatchBytes, 1<<20)
	o.Drains = cmp.Or(o.Drains, 8)
	o.MaxWaiting = cmp.Or(o.MaxWaiting, 16<<20)
	if o.FS == nil {
		o.FS = Disk{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Synced == nil {
		o.Synced = func(time.Duration) {}
	}
	if o.Lost == nil {
		o.Lost = func(string, uint64) {}
	}
	return o
}

// The errors of Append besides those of the disk.
var (
	// ErrFull is returned while a queue holds as many bytes as it may, or an entry
	// older than it may: the sender should come back later.
	ErrFull = errors.New("spool is full")
	// ErrSlow is returned while too much waits for the disk.
	ErrSlow = errors.New("disk of the spool is too slow")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("spool is closed")
)

// Spool holds the queues in one folder, which no other process may use.
type Spool struct {
	o      Options
	queues map[string]*queue // by name; never changed

	waiting atomic.Int64 // bytes of the appends under way
}

// Open opens the spool with all entries that earlier processes left, also those of
// queues that are no longer among the options.
func Open(o Options) (*Spool, error) {
	o = o.withDefaults()
	if err := o.FS.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	left, err := o.FS.ReadDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s := &Spool{o: o, queues: map[string]*queue{}}
	for _, name := range slices.Concat(o.Queues, left) {
		if s.queues[name] != nil {
			continue
		}
		if name != filepath.Base(filepath.Clean(name)) || !filepath.IsLocal(name) || name == "." {
			return nil, errors.Join(fmt.Errorf("open spool: queue %q: its name is none of a folder", name), s.Close())
		}
		q, err := openQueue(&s.o, name)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open spool: %w", err), s.Close())
		}
		s.queues[name] = q
	}
	return s, nil
}

// Append returns nil once the entry is on disk (I1): neither the end of the
// process nor a power cut takes it away. With an error it may be handed out or not.
// It waits for the disk and is called concurrently.
func (s *Spool) Append(queue string, entry []byte) error {
	q := s.queues[queue]
	if q == nil {
		return fmt.Errorf("append to spool: no queue %q", queue)
	}
	n := int64(len(entry))
	defer s.waiting.Add(-n)
	if all := s.waiting.Add(n); all > max(n, s.o.MaxWaiting) {
		return fmt.Errorf("%w: %d bytes wait for it", ErrSlow, all-n)
	}
	return q.append(entry)
}

// Fill is the used part of what a queue may hold, from 0 to 1; 1 when its disk
// failed.
func (s *Spool) Fill(queue string) float64 {
	if q := s.queues[queue]; q != nil {
		return q.fill()
	}
	return 1
}

// Stats describe a queue.
type Stats struct {
	Bytes   int64         // to be drained
	Entries uint64        // to be drained
	Age     time.Duration // of the oldest of them
}

// Stats returns those of every queue by name.
func (s *Spool) Stats() map[string]Stats {
	all := map[string]Stats{}
	for name, q := range s.queues {
		all[name] = q.stats()
	}
	return all
}

// Run drains the queues until ctx ends, and then for as long as grace what is left
// in them. Call it once.
func (s *Spool) Run(ctx context.Context, grace time.Duration) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	defer stop()
	slots := make(chan struct{}, s.o.Drains)
	var running sync.WaitGroup
	for _, q := range s.queues {
		running.Go(func() { q.drain(ctx, work, slots) })
	}
	running.Wait()
}

// Close waits for appends under way and refuses others. Call it after Run has
// returned.
func (s *Spool) Close() error {
	var errs []error
	for _, q := range s.queues {
		errs = append(errs, q.close())
	}
	return errors.Join(errs...)
}
