package embedded

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"time"
)

// repairLog brings a broker's data dir back in order after its process was
// killed, before kfake loads it (I2, I8):
//
//   - what was written only in part is cut off. kfake appends behind it instead,
//     and the next start reads none of that;
//   - the commit that the kill interrupted is finished: markers and offsets;
//   - every other open transaction gets its abort marker. kfake aborts them in
//     memory only: readers then drop what the same producer commits later, and
//     the next kill but one brings the aborted records back as committed;
//   - every transactional producer is fenced. kfake has forgotten what their
//     transactions held and would commit the rest.
//
// A data dir that was closed in order is left as it is.
func repairLog(dir string, now func() time.Time, log *slog.Logger) error {
	// kfake writes session_state.json as the last act of Close, and removes it
	// when it has loaded.
	if !exists(dir, "meta.json") || exists(dir, "session_state.json") {
		return nil
	}
	producers, err := readProducers(dir)
	if err != nil {
		return err
	}
	if _, err := trimEntries(filepath.Join(dir, groupLogFile)); err != nil {
		return err
	}
	intent, err := unfinishedCommit(dir, producers)
	if err != nil {
		return err
	}
	ended, err := endAllTransactions(filepath.Join(dir, "partitions"), intent, now())
	if err != nil {
		return err
	}
	if ended > 0 {
		log.Info("broker: ended the transactions that a kill left open", "transactions", ended)
	}
	if intent != nil {
		if err := finishCommit(dir, *intent, now()); err != nil {
			return err
		}
	}
	return fence(dir, producers)
}

// endAllTransactions ends what is open in every partition and returns how much
// that was.
func endAllTransactions(dir string, intent *commitIntent, now time.Time) (int, error) {
	partitions, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("list partitions: %w", err)
	}
	var ended int
	for _, p := range partitions {
		n, err := endTransactions(filepath.Join(dir, p.Name()), intent, now)
		if err != nil {
			return 0, fmt.Errorf("repair %s: %w", p.Name(), err)
		}
		ended += n
	}
	return ended, nil
}

// producer is the state of a producer id as pids.log has it.
type producer struct {
	epoch         int16
	transactional bool
}

// producerEntry is an entry of kfake's pids.log.
type producerEntry struct {
	Type          string `json:"type"` // init, endtx, timeout
	ProducerID    int64  `json:"pid"`
	Epoch         int16  `json:"epoch"`
	Transactional string `json:"txid,omitempty"`
	Commit        *bool  `json:"commit,omitempty"`
}

func readProducers(dir string) (map[int64]producer, error) {
	data, err := trimEntries(filepath.Join(dir, producerLogFile))
	if err != nil {
		return nil, err
	}
	producers := make(map[int64]producer)
	for {
		entry, rest, ok := nextEntry(data)
		if !ok {
			return producers, nil
		}
		data = rest
		var e producerEntry
		if err := json.Unmarshal(entry, &e); err != nil {
			return nil, fmt.Errorf("read %s: %w", producerLogFile, err)
		}
		p := producers[e.ProducerID]
		p.epoch = e.Epoch
		p.transactional = p.transactional || e.Transactional != ""
		producers[e.ProducerID] = p
	}
}

// unfinishedCommit returns the intent that was not carried out to its end, or nil.
func unfinishedCommit(dir string, producers map[int64]producer) (*commitIntent, error) {
	intent, ok, err := readIntent(dir)
	if err != nil || !ok {
		return nil, err
	}
	size, err := fileSize(filepath.Join(dir, producerLogFile))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", producerLogFile, err)
	}
	// A fenced producer may ask for a commit too: its epoch is over.
	if p, known := producers[intent.ProducerID]; !known || p.epoch != intent.Epoch || size != intent.ProducerLog {
		return nil, nil
	}
	return &intent, nil
}

// finishCommit does what kfake does after the markers of a commit.
func finishCommit(dir string, intent commitIntent, now time.Time) error {
	var entries []any
	for _, o := range intent.Offsets {
		o.LastCommit = now.UnixMilli()
		entries = append(entries, o)
	}
	if err := appendEntries(filepath.Join(dir, groupLogFile), entries...); err != nil {
		return err
	}
	commit := true
	return appendEntries(filepath.Join(dir, producerLogFile),
		producerEntry{Type: "endtx", ProducerID: intent.ProducerID, Epoch: intent.Epoch, Commit: &commit})
}

// fence raises the epoch of every transactional producer, as a real broker does
// when it times a transaction out. The producers that are still alive get
// PRODUCER_FENCED or INVALID_PRODUCER_EPOCH and start anew.
func fence(dir string, producers map[int64]producer) error {
	var entries []any
	for id, p := range producers {
		// By two: one epoch behind is, since KIP-890, the repetition of an EndTxn
		// that succeeded. At the highest epochs the next InitProducerId takes a
		// new id anyway.
		if p.transactional && p.epoch < math.MaxInt16-2 {
			entries = append(entries, producerEntry{Type: "timeout", ProducerID: id, Epoch: p.epoch + 2})
		}
	}
	return appendEntries(filepath.Join(dir, producerLogFile), entries...)
}

// trimEntries cuts off the append log behind its last whole entry and returns
// what is left.
func trimEntries(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read broker log: %w", err)
	}
	rest, ok := data, true
	for ok {
		_, rest, ok = nextEntry(rest)
	}
	whole := len(data) - len(rest)
	if len(rest) > 0 {
		if err := os.Truncate(path, int64(whole)); err != nil {
			return nil, fmt.Errorf("trim broker log: %w", err)
		}
	}
	return data[:whole], nil
}

// appendEntries adds entries to an append log.
func appendEntries(path string, entries ...any) error {
	var buf []byte
	for _, e := range entries {
		b, err := encodeEntry(e)
		if err != nil {
			return fmt.Errorf("encode broker log entry: %w", err)
		}
		buf = append(buf, b...)
	}
	return appendFile(path, buf)
}

// appendFile adds data to a file that exists or not.
func appendFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("append to broker log: %w", err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("append to broker log: %w", err)
	}
	return nil
}

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// marker is the control batch that ends a transaction
// (https://kafka.apache.org/documentation/#controlbatch).
func marker(offset int64, leaderEpoch int32, producerID int64, epoch int16, commit bool, now time.Time) []byte {
	var kind byte // 0 abort, 1 commit
	if commit {
		kind = 1
	}
	// The record: attributes, timestamp delta, offset delta, key length, key
	// {version, type}, value length, value {version, coordinator epoch}, headers.
	record := []byte{0, 0, 0, 8, 0, 0, 0, kind, 12, 0, 0, 0, 0, 0, 0, 0}

	be := binary.BigEndian
	b := be.AppendUint64(nil, uint64(offset))
	b = be.AppendUint32(b, 0) // length, below
	b = be.AppendUint32(b, uint32(leaderEpoch))
	b = append(b, 2)             // magic
	b = be.AppendUint32(b, 0)    // checksum, below
	b = be.AppendUint16(b, 0x30) // control, transactional
	b = be.AppendUint32(b, 0)    // last offset delta
	for range 2 {                // first and greatest timestamp
		b = be.AppendUint64(b, uint64(now.UnixMilli()))
	}
	b = be.AppendUint64(b, uint64(producerID))
	b = be.AppendUint16(b, uint16(epoch))
	b = be.AppendUint32(b, math.MaxUint32) // no sequence
	b = be.AppendUint32(b, 1)              // one record
	b = binary.AppendVarint(b, int64(len(record)))
	b = append(b, record...)
	be.PutUint32(b[batchLengthAt:], uint32(len(b)-batchLengthAt-4))
	be.PutUint32(b[batchChecksumAt:], crc32.Checksum(b[batchAttributeAt:], castagnoli))
	return b
}
