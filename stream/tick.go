package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// Tick is a message of the virtual tick topic: a log's clock has moved on.
//
// In a group with timers its key is the row whose timer is due. In a group that
// watches idleness its key is the clock's name: the log has said nothing for
// long enough that everything up to NowMs can be taken as said.
type Tick struct {
	Clock string // topic/partition
	NowMs int64  // epoch ms on that clock
}

// TickCodec is the goka codec of the virtual tick topic.
type TickCodec struct{}

// Encode writes a [Tick].
func (TickCodec) Encode(v any) ([]byte, error) {
	t, ok := v.(Tick)
	if !ok {
		return nil, fmt.Errorf("encode tick: got %T", v)
	}
	return t.encode(), nil
}

// Decode reads what Encode wrote.
func (TickCodec) Decode(b []byte) (any, error) {
	if len(b) < 8 {
		return nil, errors.New("decode tick: cut off")
	}
	return Tick{NowMs: int64(binary.BigEndian.Uint64(b)), Clock: string(b[8:])}, nil
}

func (t Tick) encode() []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(t.NowMs)), t.Clock...)
}

// message makes the tick a record of the virtual topic. It has no offset: a
// tick never enters the transaction's offsets.
func (t Tick) message(topic string, partition int32, key string) *sarama.ConsumerMessage {
	return &sarama.ConsumerMessage{
		Topic: topic, Partition: partition, Offset: -1,
		Key: []byte(key), Value: t.encode(), Timestamp: time.UnixMilli(t.NowMs),
	}
}
