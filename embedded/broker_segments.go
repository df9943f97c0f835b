package embedded

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A partition of kfake is a directory of segments. `{base offset}.dat` holds
// record batches one after the other as they stand on the wire;
// `{base offset}.idx` holds 15 bytes for each of them: version, low byte of the
// CRC-32C of what follows, leader epoch int32, an unused timestamp int64, flags
// (bit 0: in a transaction when it was written), little-endian.
const (
	indexEntry         = 15
	indexVersion       = 1
	indexTransactional = 1
)

// partitionLog is what of a partition's log matters to its open transactions.
type partitionLog struct {
	last        string // path of the last segment without its extension
	next        int64  // offset behind the last record
	leaderEpoch int32
	open        map[int64]int16 // epochs of the producers whose transactions lack a marker
}

// endTransactions cuts off what was written in part and adds a marker for every
// open transaction: commit for the one that intent names, abort for the others.
// It returns how many there were.
func endTransactions(dir string, intent *commitIntent, now time.Time) (int, error) {
	bases, err := segmentBases(dir)
	if err != nil {
		return 0, err
	}
	log := partitionLog{open: make(map[int64]int16)}
	for _, base := range bases {
		if err := log.read(filepath.Join(dir, strconv.FormatInt(base, 10))); err != nil {
			return 0, err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(log.open)) {
		epoch := log.open[id]
		commit := intent != nil && intent.ProducerID == id && intent.Epoch == epoch
		batch := marker(log.next, log.leaderEpoch, id, epoch, commit, now)
		if err := appendFile(log.last+".dat", batch); err != nil {
			return 0, err
		}
		if err := appendFile(log.last+".idx", encodeIndex(log.leaderEpoch)); err != nil {
			return 0, err
		}
		log.next++
	}
	return len(log.open), nil
}

// read adds the segment to the log. A batch counts when it and its index entry
// are whole: kfake writes them in this order and acknowledges after both.
func (l *partitionLog) read(segment string) error {
	data, err := os.ReadFile(segment + ".dat")
	if err != nil {
		return fmt.Errorf("read segment: %w", err)
	}
	index, err := os.ReadFile(segment + ".idx")
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("read segment index: %w", err)
	}
	l.last = segment
	rest, n := data, 0
	for (n+1)*indexEntry <= len(index) {
		batch, ok := firstBatch(rest)
		if !ok {
			break
		}
		l.add(batch, index[n*indexEntry:])
		rest = rest[len(batch):]
		n++
	}
	return trimSegment(segment, len(data), len(data)-len(rest), len(index), n*indexEntry)
}

func (l *partitionLog) add(batch, index []byte) {
	l.next = int64(binary.BigEndian.Uint64(batch)) + int64(binary.BigEndian.Uint32(batch[batchLastDeltaAt:])) + 1
	l.leaderEpoch = int32(binary.LittleEndian.Uint32(index[2:]))
	id := int64(binary.BigEndian.Uint64(batch[batchProducerAt:]))
	switch {
	case binary.BigEndian.Uint16(batch[batchAttributeAt:])&batchControl != 0:
		delete(l.open, id)
	case index[14]&indexTransactional != 0:
		l.open[id] = int16(binary.BigEndian.Uint16(batch[batchEpochAt:]))
	}
}

// firstBatch returns the batch that data starts with, or false when it is not
// whole.
func firstBatch(data []byte) ([]byte, bool) {
	if len(data) < batchRecordsAt {
		return nil, false
	}
	n := int64(binary.BigEndian.Uint32(data[batchLengthAt:])) + batchLengthAt + 4
	if n > int64(len(data)) {
		return nil, false
	}
	batch := data[:n]
	return batch, checkBatch(batch) == nil
}

func trimSegment(segment string, data, keepData, index, keepIndex int) error {
	if data != keepData {
		if err := os.Truncate(segment+".dat", int64(keepData)); err != nil {
			return fmt.Errorf("trim segment: %w", err)
		}
	}
	if index != keepIndex {
		if err := os.Truncate(segment+".idx", int64(keepIndex)); err != nil {
			return fmt.Errorf("trim segment index: %w", err)
		}
	}
	return nil
}

// encodeIndex is the index entry of a marker.
func encodeIndex(leaderEpoch int32) []byte {
	entry := make([]byte, indexEntry)
	entry[0] = indexVersion
	binary.LittleEndian.PutUint32(entry[2:], uint32(leaderEpoch))
	entry[1] = byte(crc32.Checksum(entry[2:], castagnoli))
	return entry
}

// segmentBases lists the base offsets of a partition's segments in order.
func segmentBases(dir string) ([]int64, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	var bases []int64
	for _, f := range files {
		name, isData := strings.CutSuffix(f.Name(), ".dat")
		if base, err := strconv.ParseInt(name, 10, 64); isData && err == nil {
			bases = append(bases, base)
		}
	}
	slices.Sort(bases)
	return bases, nil
}
