package embedded

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// commitIntents writes down each commit of a transaction before kfake carries it
// out, so that [repairLog] can finish the one that a kill interrupted: the part
// that PREPARE_COMMIT and the offsets topic play in a real broker (I2).
//
// kfake handles one request at a time and a commit within it, so only the last
// intent can be unfinished and the file holds just that one.
type commitIntents struct {
	dir  string
	file *os.File

	mu     sync.Mutex
	staged map[int64]stagedOffsets // by producer id
}

// commitIntent is the commit of one transaction.
type commitIntent struct {
	ProducerID int64             `json:"producer_id"`
	Epoch      int16             `json:"epoch"`
	Offsets    []committedOffset `json:"offsets"`

	// ProducerLog is the size of kfake's pids.log before the commit. The commit
	// ends with an entry there: the same size later means that it did not end.
	ProducerLog int64 `json:"producer_log"`
}

// stagedOffsets are the offsets that a producer has put into its open transaction.
type stagedOffsets struct {
	epoch   int16
	offsets []committedOffset
}

// committedOffset is an entry of type "commit" of kfake's groups.log, with its
// field names.
type committedOffset struct {
	Type       string  `json:"type"`
	Group      string  `json:"g"`
	Topic      string  `json:"t"`
	Partition  int32   `json:"p"`
	Offset     int64   `json:"o"`
	Epoch      int32   `json:"e"`
	Metadata   *string `json:"m,omitempty"`
	LastCommit int64   `json:"lc"` // Unix milliseconds
}

const intentFile = "commit.intent"

// openCommitIntents starts with no intent: the last one has been carried out by
// [repairLog] or before.
func openCommitIntents(dir string) (*commitIntents, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make broker data dir: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, intentFile), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open commit intents: %w", err)
	}
	return &commitIntents{dir: dir, file: f, staged: make(map[int64]stagedOffsets)}, nil
}

// install makes the cluster write down what it is about to commit. A commit whose
// intent cannot be written is answered with a closed connection: its producer
// asks again.
func (c *commitIntents) install(cluster *kfake.Cluster) {
	cluster.ControlKey(int16(kmsg.TxnOffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if r, ok := req.(*kmsg.TxnOffsetCommitRequest); ok {
			c.stage(r)
		}
		return nil, nil, false
	})
	cluster.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r, ok := req.(*kmsg.EndTxnRequest)
		if !ok {
			return nil, nil, false
		}
		if err := c.end(r); err != nil {
			cluster.KeepControl()
			return nil, err, true
		}
		return nil, nil, false
	})
}

// stage keeps the offsets of a transaction until it ends. What kfake refuses
// stays in as well: its producer does not commit then.
func (c *commitIntents) stage(r *kmsg.TxnOffsetCommitRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.staged[r.ProducerID]
	if s.epoch != r.ProducerEpoch {
		s = stagedOffsets{epoch: r.ProducerEpoch}
	}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			s.offsets = append(s.offsets, committedOffset{
				Type: "commit", Group: r.Group, Topic: t.Topic, Partition: p.Partition,
				Offset: p.Offset, Epoch: p.LeaderEpoch, Metadata: p.Metadata,
			})
		}
	}
	c.staged[r.ProducerID] = s
}

// end forgets what was staged and, for a commit, writes the intent.
func (c *commitIntents) end(r *kmsg.EndTxnRequest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.staged[r.ProducerID]
	delete(c.staged, r.ProducerID)
	if !r.Commit {
		return nil
	}
	intent := commitIntent{ProducerID: r.ProducerID, Epoch: r.ProducerEpoch}
	if s.epoch == r.ProducerEpoch {
		intent.Offsets = s.offsets
	}
	var err error
	if intent.ProducerLog, err = fileSize(filepath.Join(c.dir, producerLogFile)); err != nil {
		return fmt.Errorf("write commit intent: %w", err)
	}
	entry, err := encodeEntry(intent)
	if err != nil {
		return fmt.Errorf("write commit intent: %w", err)
	}
	if _, err := c.file.WriteAt(entry, 0); err != nil {
		return fmt.Errorf("write commit intent: %w", err)
	}
	return nil
}

func (c *commitIntents) close() error {
	if err := c.file.Close(); err != nil {
		return fmt.Errorf("close commit intents: %w", err)
	}
	return nil
}

// readIntent returns the last intent, or false when there is none or when it was
// cut off, which means that its commit had not begun.
func readIntent(dir string) (commitIntent, bool, error) {
	data, err := os.ReadFile(filepath.Join(dir, intentFile))
	if errors.Is(err, fs.ErrNotExist) {
		return commitIntent{}, false, nil
	}
	if err != nil {
		return commitIntent{}, false, fmt.Errorf("read commit intent: %w", err)
	}
	var intent commitIntent
	entry, _, ok := nextEntry(data)
	if !ok || json.Unmarshal(entry, &intent) != nil {
		return commitIntent{}, false, nil
	}
	return intent, true, nil
}

// Entries of kfake's append logs (groups.log, pids.log) are framed, all
// little-endian: length of what follows the checksum uint32, CRC-32C of it
// uint32, version uint16, JSON. The intent uses the same frame.
const (
	entryHeader  = 10
	entryVersion = 1

	producerLogFile = "pids.log"
	groupLogFile    = "groups.log"
)

func encodeEntry(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	entry := make([]byte, 8, entryHeader+len(data))
	entry = binary.LittleEndian.AppendUint16(entry, entryVersion)
	entry = append(entry, data...)
	binary.LittleEndian.PutUint32(entry, uint32(len(entry)-8))
	binary.LittleEndian.PutUint32(entry[4:], crc32.Checksum(entry[8:], castagnoli))
	return entry, nil
}

// nextEntry returns the JSON of the first entry and what follows it, or false
// when there is no whole entry.
func nextEntry(log []byte) (data, rest []byte, ok bool) {
	if len(log) < entryHeader {
		return nil, log, false
	}
	n := int64(binary.LittleEndian.Uint32(log))
	if n < 2 || n > int64(len(log)-8) {
		return nil, log, false
	}
	body := log[8 : 8+n]
	if binary.LittleEndian.Uint32(log[4:]) != crc32.Checksum(body, castagnoli) {
		return nil, log, false
	}
	return body[2:], log[8+n:], true
}

func fileSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
