package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// appendTime gives every record the time at which it is appended, as a broker
// with log.message.timestamp.type=LogAppendTime does for every topic. kfake
// knows the setting and ignores it.
//
// The timestamp type of the batches stays CreateTime: kfake overwrites the
// timestamps of a LogAppendTime batch without its checksum, which clients then
// refuse and the next start cuts off. So each record's own time is set.
type appendTime struct {
	now func() time.Time
}

// install makes the cluster stamp every batch before it is appended.
func (a appendTime) install(c *kfake.Cluster) {
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		now := a.now().UnixMilli()
		produce, ok := req.(*kmsg.ProduceRequest)
		if !ok {
			return nil, nil, false
		}
		for i := range produce.Topics {
			for j := range produce.Topics[i].Partitions {
				p := &produce.Topics[i].Partitions[j]
				// What cannot be read goes on as it is: kfake refuses it.
				if stamped, err := stampBatch(p.Records, now); err == nil {
					p.Records = stamped
				}
			}
		}
		return nil, nil, false
	})
}

// Positions in a record batch of magic 2, and the attributes used here
// (https://kafka.apache.org/documentation/#recordbatch).
const (
	batchLengthAt    = 8
	batchMagicAt     = 16
	batchChecksumAt  = 17
	batchAttributeAt = 21
	batchLastDeltaAt = 23
	batchFirstTimeAt = 27
	batchMaxTimeAt   = 35
	batchProducerAt  = 43
	batchEpochAt     = 51
	batchCountAt     = 57
	batchRecordsAt   = 61

	batchCodec      = 0x07
	batchAppendTime = 0x08
	batchControl    = 0x20
)

var (
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
	decompressor = kgo.DefaultDecompressor()
	compressors  = newCompressors(kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression())
)

// stampBatch returns the record batch with every record's timestamp set to
// millis (since the epoch), in the codec it came in.
func stampBatch(batch []byte, millis int64) ([]byte, error) {
	if err := checkBatch(batch); err != nil {
		return nil, err
	}
	attributes := binary.BigEndian.Uint16(batch[batchAttributeAt:])
	codec := kgo.CompressionCodecType(attributes & batchCodec)
	records, err := decompressor.Decompress(batch[batchRecordsAt:], codec)
	if err != nil {
		return nil, fmt.Errorf("decompress batch: %w", err)
	}
	records, err = levelRecords(records, int(binary.BigEndian.Uint32(batch[batchCountAt:])))
	if err != nil {
		return nil, err
	}
	if codec != kgo.CodecNone {
		compressor, ok := compressors[codec]
		if !ok {
			return nil, fmt.Errorf("compress batch: unknown codec %d", codec)
		}
		if records, codec = compressor.Compress(new(bytes.Buffer), records); codec < 0 {
			return nil, errors.New("compress batch")
		}
	}

	stamped := append(bytes.Clone(batch[:batchRecordsAt]), records...)
	attributes = attributes&^(batchCodec|batchAppendTime) | uint16(codec)
	binary.BigEndian.PutUint32(stamped[batchLengthAt:], uint32(len(stamped)-batchLengthAt-4))
	binary.BigEndian.PutUint16(stamped[batchAttributeAt:], attributes)
	binary.BigEndian.PutUint64(stamped[batchFirstTimeAt:], uint64(millis))
	binary.BigEndian.PutUint64(stamped[batchMaxTimeAt:], uint64(millis))
	binary.BigEndian.PutUint32(stamped[batchChecksumAt:], crc32.Checksum(stamped[batchAttributeAt:], castagnoli))
	return stamped, nil
}

// checkBatch reports what is wrong with the frame of a record batch.
func checkBatch(batch []byte) error {
	switch {
	case len(batch) < batchRecordsAt:
		return fmt.Errorf("read batch: %d bytes are too few", len(batch))
	case batch[batchMagicAt] != 2:
		return fmt.Errorf("read batch: magic %d", batch[batchMagicAt])
	case int64(binary.BigEndian.Uint32(batch[batchLengthAt:])) != int64(len(batch)-batchLengthAt-4):
		return errors.New("read batch: wrong length")
	case binary.BigEndian.Uint32(batch[batchChecksumAt:]) != crc32.Checksum(batch[batchAttributeAt:], castagnoli):
		return errors.New("read batch: wrong checksum")
	}
	return nil
}

// levelRecords returns the n records with all their timestamp deltas zero. A
// record is: length varint, attributes byte, timestamp delta varint, the rest.
func levelRecords(records []byte, n int) ([]byte, error) {
	out := make([]byte, 0, len(records))
	for range n {
		length, w := binary.Varint(records)
		if w <= 0 || length < 2 || length > int64(len(records)-w) {
			return nil, errors.New("read records: wrong length of a record")
		}
		record := records[w : w+int(length)]
		_, d := binary.Varint(record[1:])
		if d <= 0 {
			return nil, errors.New("read records: wrong timestamp of a record")
		}
		out = binary.AppendVarint(out, length-int64(d)+1)
		out = append(out, record[0], 0)
		out = append(out, record[1+d:]...)
		records = records[w+int(length):]
	}
	if len(records) > 0 {
		return nil, fmt.Errorf("read records: %d bytes left over", len(records))
	}
	return out, nil
}

// newCompressors returns a compressor for each codec: they pool their buffers.
func newCompressors(codecs ...kgo.CompressionCodec) map[kgo.CompressionCodecType]kgo.Compressor {
	m := make(map[kgo.CompressionCodecType]kgo.Compressor)
	for _, codec := range codecs {
		// The only error is an unknown codec.
		if c, err := kgo.DefaultCompressor(codec); err == nil {
			_, used := c.Compress(new(bytes.Buffer), nil)
			m[used] = c
		}
	}
	return m
}
