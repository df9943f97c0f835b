package topology

import (
	"hash"

	"trunkline/event"
)

// Partition is the partition of a record with the given key in a topic of n
// partitions: murmur2 of the key's partition key, Kafka's own default hash. All
// clients of Trunkline use it; goka's default (FNV) differs from every other
// client and panics for some keys.
func Partition(key string, n int32) int32 {
	return int32(murmur2([]byte(event.PartitionKey(key)))&0x7fffffff) % n
}

// Hasher returns the hash that goka's processors, emitters and views use. It
// agrees with [Partition]: goka takes the sum modulo the partition count.
func Hasher() hash.Hash32 { return &hasher{} }

type hasher struct{ key []byte }

func (h *hasher) Write(p []byte) (int, error) {
	h.key = append(h.key, p...)
	return len(p), nil
}

func (h *hasher) Sum32() uint32 {
	return murmur2([]byte(event.PartitionKey(string(h.key)))) & 0x7fffffff
}

func (h *hasher) Sum(b []byte) []byte {
	s := h.Sum32()
	return append(b, byte(s>>24), byte(s>>16), byte(s>>8), byte(s))
}

func (h *hasher) Reset()         { h.key = h.key[:0] }
func (h *hasher) Size() int      { return 4 }
func (h *hasher) BlockSize() int { return 4 }

// murmur2 is the 32-bit hash of Kafka's DefaultPartitioner
// (org.apache.kafka.common.utils.Utils.murmur2).
func murmur2(data []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(data))
	for ; len(data) >= 4; data = data[4:] {
		k := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(data[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}
