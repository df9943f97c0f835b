package spool

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
)

// A frame holds the entries that became durable together, little-endian:
//
//	crc32c u32, of all that follows, begun with the segment's salt
//	length u32, of the entries' bytes
//	count  u32, of the entries
//	seq    u64, the number of the first entry in its queue
//	at     i64, when they were appended, in Unix milliseconds
//	entries, each behind its length as a uvarint
//
// The salt is drawn for each segment and stands in its name, so that bytes of an
// entry are never taken for a frame, whoever chose them. One write makes one
// frame: what a power cut tears is one frame, and none follows it.
type frame struct {
	seq     uint64
	at      int64
	entries [][]byte
}

const frameHeader = 4 + 4 + 4 + 8 + 8 // bytes

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// next is the number of the entry after the frame's.
func (f frame) next() uint64 { return f.seq + uint64(len(f.entries)) }

// encode returns the frame's bytes.
func (f frame) encode(salt uint32) []byte {
	n := frameHeader
	for _, e := range f.entries {
		n += binary.MaxVarintLen32 + len(e)
	}
	b := make([]byte, frameHeader, n)
	for _, e := range f.entries {
		b = binary.AppendUvarint(b, uint64(len(e)))
		b = append(b, e...)
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-frameHeader))
	binary.LittleEndian.PutUint32(b[8:], uint32(len(f.entries)))
	binary.LittleEndian.PutUint64(b[12:], f.seq)
	binary.LittleEndian.PutUint64(b[20:], uint64(f.at))
	binary.LittleEndian.PutUint32(b, crc32.Update(salt, castagnoli, b[4:]))
	return b
}

// frameSize is the size in bytes that a frame at the start of b claims to have.
func frameSize(b []byte) (n int64, ok bool) {
	if len(b) < frameHeader {
		return 0, false
	}
	return frameHeader + int64(binary.LittleEndian.Uint32(b[4:])), true
}

// decodeFrame reads the frame at the start of b and its size. Not ok: it is
// damaged or not all there. The entries are parts of b.
func decodeFrame(b []byte, salt uint32) (f frame, size int64, ok bool) {
	size, ok = frameSize(b)
	if !ok || size > int64(len(b)) {
		return frame{}, 0, false
	}
	b = b[:size]
	if binary.LittleEndian.Uint32(b) != crc32.Update(salt, castagnoli, b[4:]) {
		return frame{}, 0, false
	}
	count := binary.LittleEndian.Uint32(b[8:])
	f.seq = binary.LittleEndian.Uint64(b[12:])
	f.at = int64(binary.LittleEndian.Uint64(b[20:]))
	f.entries = slices.Grow(f.entries, int(min(count, uint32(size))))
	for b = b[frameHeader:]; len(b) > 0; {
		n, width := binary.Uvarint(b)
		if width <= 0 || n > uint64(len(b)-width) {
			return frame{}, 0, false
		}
		f.entries = append(f.entries, b[width:width+int(n)])
		b = b[width+int(n):]
	}
	return f, size, uint32(len(f.entries)) == count
}

// findFrame returns the offset of the first whole frame in b whose number is from
// low to below high. The number is looked at before the checksum is computed, so
// that the search takes one pass.
func findFrame(b []byte, salt uint32, low, high uint64) (offset int64, ok bool) {
	for ; len(b) >= frameHeader; b, offset = b[1:], offset+1 {
		if seq := binary.LittleEndian.Uint64(b[12:]); seq < low || seq >= high {
			continue
		}
		if _, _, ok := decodeFrame(b, salt); ok {
			return offset, true
		}
	}
	return 0, false
}
