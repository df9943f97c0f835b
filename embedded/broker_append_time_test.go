package embedded

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Whatever time and codec the client writes, records carry the time at which
// they were appended, their bytes are whole, and so it stays after a restart.
func TestAppendTime(t *testing.T) {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	dir := t.TempDir()
	b := startTestBroker(t, dir)
	first := make(map[string][]string)
	for name, codec := range codecs {
		createTopics(t, b.Addr(), 1, name)
		cl := newClient(t, b.Addr(), kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(20*time.Millisecond))
		var sent []*kgo.Record
		for i := range 50 {
			r := numbered(i)
			r.Topic = name
			sent = append(sent, r)
		}
		before := time.Now().Truncate(time.Millisecond)
		if err := cl.ProduceSync(testContext(t), sent...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		after := time.Now()

		got := records(t, b.Addr(), name)
		if len(got) != len(sent) {
			t.Fatalf("%s: got %d records, want %d", name, len(got), len(sent))
		}
		for i, r := range got {
			if r.Timestamp.Before(before) || r.Timestamp.After(after) {
				t.Fatalf("%s: record %d: got timestamp %s, want between %s and %s", name, i, r.Timestamp, before, after)
			}
			want := numbered(i)
			if !bytes.Equal(r.Key, want.Key) || !bytes.Equal(r.Value, want.Value) || !bytes.Equal(r.Headers[0].Value, want.Headers[0].Value) {
				t.Fatalf("%s: record %d is not what was sent: %v", name, i, r)
			}
		}
		first[name] = stamps(got)
	}

	killed := copyDir(t, dir)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for _, again := range []string{dir, killed} {
		b := startTestBroker(t, again)
		for name := range codecs {
			if diff := cmp.Diff(first[name], stamps(records(t, b.Addr(), name))); diff != "" {
				t.Errorf("%s: timestamps after the restart: %s", name, diff)
			}
		}
	}
}

// numbered is a record whose client's clock goes forth and back by weeks.
func numbered(i int) *kgo.Record {
	return &kgo.Record{
		Key:       fmt.Appendf(nil, "k%d", i),
		Value:     bytes.Repeat([]byte{byte(i), 0}, 100*i),
		Timestamp: time.UnixMilli(int64(1e12 - 1e9*i*(1-2*(i%2)))),
		Headers:   []kgo.RecordHeader{{Key: "h", Value: []byte{byte(i)}}},
	}
}

func stamps(rs []*kgo.Record) []string {
	var s []string
	for _, r := range rs {
		s = append(s, fmt.Sprintf("%d@%d", r.Offset, r.Timestamp.UnixMilli()))
	}
	return s
}

// Bytes that are no batch are left to kfake to refuse.
func TestStampBatchRefuses(t *testing.T) {
	good := marker(5, 1, 2, 3, true, time.UnixMilli(4))
	if got, err := stampBatch(good, 9); err != nil || checkBatch(got) != nil {
		t.Fatalf("got %x, %v for a good batch", got, err)
	}
	for i := range good {
		if _, err := stampBatch(good[:i], 9); err == nil {
			t.Errorf("got no error for %d of %d bytes", i, len(good))
		}
		if i < batchChecksumAt && i != batchMagicAt && (i < batchLengthAt || i >= batchLengthAt+4) {
			continue // offset and leader epoch stand outside the checksum
		}
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		if _, err := stampBatch(bad, 9); err == nil {
			t.Errorf("got no error with byte %d flipped", i)
		}
	}
}
