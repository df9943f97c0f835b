package harness

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxFrame bounds a request or response; more is a stream out of step.
const maxFrame = 256 << 20

// readFrame reads one request or response of the Kafka protocol, with the four
// bytes that say how long it is.
func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := int32(binary.BigEndian.Uint32(size[:])) //nolint:gosec // signed in the protocol
	if n < 4 || n > maxFrame {
		return nil, fmt.Errorf("read frame: its length is %d", n)
	}
	frame := make([]byte, 4+n)
	copy(frame, size[:])
	_, err := io.ReadFull(r, frame[4:])
	return frame, err
}

// parseRequest reads the header of a request: api key, version, correlation id,
// client id and, in the flexible versions, tags
// (https://kafka.apache.org/protocol#protocol_messages).
func parseRequest(frame []byte) (e Exchange, correlation int32, err error) {
	const fixed = 4 + 2 + 2 + 4 + 2
	if len(frame) < fixed {
		return e, 0, fmt.Errorf("parse request: %d bytes are no header", len(frame))
	}
	e.Key = int16(binary.BigEndian.Uint16(frame[4:]))              //nolint:gosec // signed in the protocol
	e.Version = int16(binary.BigEndian.Uint16(frame[6:]))          //nolint:gosec // signed in the protocol
	correlation = int32(binary.BigEndian.Uint32(frame[8:]))        //nolint:gosec // signed in the protocol
	length := int(int16(binary.BigEndian.Uint16(frame[fixed-2:]))) //nolint:gosec // signed in the protocol
	rest := frame[fixed:]
	if length > 0 { // -1 is null
		if length > len(rest) {
			return e, 0, fmt.Errorf("parse request: the client id ends behind the frame")
		}
		e.ClientID, rest = string(rest[:length]), rest[length:]
	}
	if request := kmsg.RequestForKey(e.Key); request != nil {
		if request.SetVersion(e.Version); request.IsFlexible() {
			if rest, err = skipTags(rest); err != nil {
				return e, 0, err
			}
		}
	}
	e.Body = rest
	return e, correlation, nil
}

// skipTags drops a tag section: a count, then tag, length and bytes of each.
func skipTags(b []byte) ([]byte, error) {
	next := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			b = nil
			return 0
		}
		b = b[n:]
		return v
	}
	for range next() {
		next() // tag
		length := next()
		if length > uint64(len(b)) || b == nil {
			return nil, fmt.Errorf("parse request: a tag ends behind the frame")
		}
		b = b[length:]
	}
	return b, nil
}
