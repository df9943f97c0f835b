package codecs

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrUnframed is returned by [Unframe] for bytes that no registry client wrote.
var ErrUnframed = errors.New("no registry framing")

const (
	frameMagic = 0
	frameSize  = 5
)

// Frame appends the registry's wire format to dst: 0x00 and the schema id in
// four bytes, big endian. The Avro binary follows it.
func Frame(dst []byte, id int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, frameMagic), uint32(id))
}

// Unframe splits what [Frame] began: the schema id and the Avro binary, which
// shares its bytes with b.
func Unframe(b []byte) (id int, payload []byte, err error) {
	switch {
	case len(b) < frameSize:
		return 0, nil, fmt.Errorf("unframe: %w: %d bytes, want at least %d", ErrUnframed, len(b), frameSize)
	case b[0] != frameMagic:
		return 0, nil, fmt.Errorf("unframe: %w: first byte is 0x%02x, want 0x00", ErrUnframed, b[0])
	}
	return int(binary.BigEndian.Uint32(b[1:frameSize])), b[frameSize:], nil
}
