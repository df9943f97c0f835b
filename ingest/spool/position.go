package spool

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
)

// position says how far a queue was drained and written, as numbers of entries.
// Entries below drained are not handed out again; those below written were on
// disk, so that the loss of the last of them is noticed.
type position struct{ drained, written uint64 }

// positions keeps the position of a queue in a file of two slots, which are
// written in turn: one that is torn leaves the one before.
type positions struct {
	file  File
	turns uint64
}

const (
	positionName = "position"
	positionSize = 4 + 8 + 8 + 8 // crc32c of turn, drained, written
	slotDistance = 4096          // no sector holds both
)

// openPositions opens the file in dir and returns what it says.
func openPositions(fs FileSystem, dir string) (*positions, position, error) {
	file, err := fs.Open(filepath.Join(dir, positionName))
	if err != nil {
		return nil, position{}, fmt.Errorf("open position: %w", err)
	}
	p := &positions{file: file}
	var latest position
	for slot := range int64(2) {
		b := make([]byte, positionSize)
		if _, err := file.ReadAt(b, slot*slotDistance); err != nil {
			continue // never written
		}
		if binary.LittleEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
			continue
		}
		if turn := binary.LittleEndian.Uint64(b[4:]); turn > p.turns {
			p.turns = turn
			latest = position{binary.LittleEndian.Uint64(b[12:]), binary.LittleEndian.Uint64(b[20:])}
		}
	}
	return p, latest, nil
}

// write keeps at over the end of the process.
func (p *positions) write(at position) error {
	p.turns++
	b := make([]byte, 4, positionSize)
	b = binary.LittleEndian.AppendUint64(b, p.turns)
	b = binary.LittleEndian.AppendUint64(b, at.drained)
	b = binary.LittleEndian.AppendUint64(b, at.written)
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	if _, err := p.file.WriteAt(b, int64(p.turns%2)*slotDistance); err != nil {
		return fmt.Errorf("write position: %w", err)
	}
	return nil
}

// sync keeps what was written over a power cut.
func (p *positions) sync() error {
	if err := p.file.Sync(); err != nil {
		return fmt.Errorf("sync position: %w", err)
	}
	return nil
}
