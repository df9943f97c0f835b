package vendors

import (
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// Split returns the events of one delivery: the elements of a JSON array, or
// the one value that the body is. Each element is the part of body it stands
// in, as received, without the white space around it.
//
// It checks syntax and nothing else: an element with a doubled name or raw
// bytes that are no UTF-8 is an element, so that it alone becomes a dead
// letter and not its neighbours. The error, for a body that is no JSON, quotes
// none of it (I10).
func Split(body []byte) (elements [][]byte, isArray bool, err error) {
	body = trimBOM(body)
	dec := lenientDecoder(body)
	isArray = dec.PeekKind() == '['
	if isArray {
		if _, err := dec.ReadToken(); err != nil {
			return nil, false, unreadable(dec)
		}
	}
	for !isArray || dec.PeekKind() != ']' {
		v, err := dec.ReadValue()
		if err != nil {
			return nil, false, unreadable(dec)
		}
		end := dec.InputOffset()
		elements = append(elements, body[end-int64(len(v)):end:end])
		if !isArray {
			break
		}
	}
	if isArray {
		if _, err := dec.ReadToken(); err != nil {
			return nil, false, unreadable(dec)
		}
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, false, unreadable(dec)
	}
	return elements, isArray, nil
}

func unreadable(dec *jsontext.Decoder) error {
	return fmt.Errorf("split body: not JSON at byte %d", dec.InputOffset())
}
