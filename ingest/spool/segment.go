package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
)

// segment is one file of a queue. It is written by one process and never again
// by the next one, which begins another.
type segment struct {
	index  uint64 // of the order in which segments were made
	first  uint64 // number of its first entry
	salt   uint32
	file   File
	size   int64 // bytes to read: those that are on disk for good
	active bool  // this process made it and may write more
}

const (
	segmentSuffix = ".segment"
	damagedSuffix = ".damaged" // behind the name of a segment that was kept for its damage
)

func (s *segment) name() string {
	return fmt.Sprintf("%016x-%016x-%08x%s", s.index, s.first, s.salt, segmentSuffix)
}

// parseSegmentName reads the name of a segment.
func parseSegmentName(name string) (*segment, bool) {
	s := &segment{}
	_, err := fmt.Sscanf(name, "%016x-%016x-%08x"+segmentSuffix, &s.index, &s.first, &s.salt)
	return s, err == nil && name == s.name()
}

// createSegment makes the file of the segment that begins with entry first.
func createSegment(fs FileSystem, dir string, index, first uint64) (*segment, error) {
	s := &segment{index: index, first: first, salt: rand.Uint32(), active: true} //nolint:gosec // who could guess it cannot see the disk
	var err error
	if s.file, err = fs.Open(filepath.Join(dir, s.name())); err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	// A power cut that takes the name away takes with it what is synced.
	if err := fs.SyncDir(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("create segment: %w", err), s.remove(fs, dir))
	}
	return s, nil
}

// openSegments opens the segments in dir, oldest first.
func openSegments(fs FileSystem, dir string) ([]*segment, error) {
	names, err := fs.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	var all []*segment
	for _, name := range names {
		s, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		if s.file, err = fs.Open(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("open segment: %w", err)
		}
		if s.size, err = s.file.Size(); err != nil {
			return nil, fmt.Errorf("open segment %s: %w", name, err)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *segment) int { return strings.Compare(a.name(), b.name()) })
	return all, nil
}

// read returns n bytes of the segment from offset, fewer at its end.
func (s *segment) read(offset, n int64) ([]byte, error) {
	b := make([]byte, max(0, min(n, s.size-offset)))
	if _, err := s.file.ReadAt(b, offset); err != nil {
		return nil, fmt.Errorf("read segment %s at %d: %w", s.name(), offset, err)
	}
	return b, nil
}

// find returns the offset, from offset on, of the next whole frame that holds
// entry low or a later one; the end of the segment when there is none.
func (s *segment) find(offset int64, low uint64) (int64, error) {
	b, err := s.read(offset, s.size-offset)
	if err != nil {
		return 0, err
	}
	skip, ok := findFrame(b, s.salt, low, low+uint64(len(b)))
	if !ok {
		return s.size, nil
	}
	return offset + skip, nil
}

// next returns the number after the segment's last entry.
func (s *segment) next() (uint64, error) {
	next := s.first
	for offset := int64(0); offset < s.size; {
		f, size, err := s.frame(offset)
		if err != nil {
			return 0, err
		}
		if size == 0 {
			if offset, err = s.find(offset+1, next); err != nil {
				return 0, err
			}
			continue
		}
		next = f.next()
		offset += size
	}
	return next, nil
}

// frame reads the frame at offset and its size, zero when it is damaged.
func (s *segment) frame(offset int64) (frame, int64, error) {
	b, err := s.read(offset, frameHeader)
	if err != nil {
		return frame{}, 0, err
	}
	if n, ok := frameSize(b); ok && n <= s.size-offset {
		if b, err = s.read(offset, n); err != nil {
			return frame{}, 0, err
		}
	}
	f, size, _ := decodeFrame(b, s.salt)
	return f, size, nil
}

// remove deletes the segment.
func (s *segment) remove(fs FileSystem, dir string) error {
	return errors.Join(s.file.Close(), fs.Remove(filepath.Join(dir, s.name())))
}

// keep takes the segment out of the queue for somebody to look at.
func (s *segment) keep(fs FileSystem, dir string) error {
	name := filepath.Join(dir, s.name())
	return errors.Join(s.file.Close(), fs.Rename(name, name+damagedSuffix))
}
