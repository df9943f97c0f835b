package sse

import (
	"bytes"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// defaultType is the type of an event that names none.
const defaultType = "message"

// maxField is the size in bytes up to which the fields id, event and retry are
// read; a longer one counts as absent.
const maxField = 1 << 10

// Event is one event of a stream.
type Event struct {
	ID   string // the stream's last event id as of this event
	Type string // "message" where the stream names none
	Data []byte // as received, lines joined by LF

	// Cut is the number of bytes of data beyond the decoder's limit, which were
	// dropped: Data is a part of the event when it is not 0. Such an event is
	// delivered because leaving it out would lose it silently, and failing would
	// meet it again with every connection.
	Cut int
}

// Decoder reads the event stream format
// (https://html.spec.whatwg.org/multipage/server-sent-events.html). What it
// returns does not depend on how the bytes are cut into calls, and what it keeps
// is bounded by its limit, whatever the stream holds. An event is returned with
// the blank line that ends it; what stands unfinished at the end of a stream is
// never returned, and its id is no position.
type Decoder struct {
	maxData  int
	id       string // last event id buffer
	position string
	retry    time.Duration
	hasRetry bool

	// The event under way.
	kind    string
	data    []byte
	hasData bool
	cut     int

	// The line under way.
	started bool // the byte order mark is behind us
	bom     int  // bytes of it seen
	afterCR bool // LF would belong to the last line end
	part    linePart
	field   field
	text    []byte // the name, then the value of a field other than data
	tooLong bool
}

type linePart int

const (
	inName    linePart = iota
	inSpace            // directly behind the colon
	inValue            // of field
	inIgnored          // up to the end of the line
)

type field int

const (
	fieldUnknown field = iota
	fieldData
	fieldEvent
	fieldID
	fieldRetry
)

func fieldNamed(name []byte) field {
	switch string(name) {
	case "data":
		return fieldData
	case "event":
		return fieldEvent
	case "id":
		return fieldID
	case "retry":
		return fieldRetry
	default:
		return fieldUnknown
	}
}

// longestName is the length of the longest field name.
const longestName = len("event")

const bom = "\uFEFF"

// NewDecoder returns a decoder for one connection, resumed after position. An
// event keeps at most maxData bytes of data.
func NewDecoder(position string, maxData int) *Decoder {
	return &Decoder{id: position, position: position, maxData: maxData}
}

// Position returns the id after which a later connection can resume: that of
// the last block that ended with a blank line, with or without data. An id that
// the header Last-Event-ID cannot carry is never a position.
func (d *Decoder) Position() string { return d.position }

// Retry returns the reconnection time that the stream last asked for, and
// whether it did.
func (d *Decoder) Retry() (time.Duration, bool) { return d.retry, d.hasRetry }

// Decode reads p, which follows the bytes of the last call, and returns events
// with those appended that end in p. It keeps no reference to p.
func (d *Decoder) Decode(events []Event, p []byte) []Event {
	p = d.skipBOM(p)
	for len(p) > 0 {
		if d.afterCR {
			d.afterCR = false
			if p[0] == '\n' {
				p = p[1:]
				continue
			}
		}
		end := bytes.IndexAny(p, "\r\n")
		if end < 0 {
			d.read(p)
			break
		}
		d.read(p[:end])
		events = d.endLine(events)
		d.afterCR = p[end] == '\r'
		p = p[end+1:]
	}
	return events
}

// skipBOM drops one byte order mark at the start of the stream.
func (d *Decoder) skipBOM(p []byte) []byte {
	for !d.started && len(p) > 0 {
		switch {
		case p[0] != bom[d.bom]:
			d.started = true
			d.read([]byte(bom[:d.bom])) // it was none
		case d.bom == len(bom)-1:
			d.started = true
			p = p[1:]
		default:
			d.bom++
			p = p[1:]
		}
	}
	return p
}

// read takes a part of a line.
func (d *Decoder) read(p []byte) {
	if d.part == inName {
		p = d.readName(p)
	}
	if d.part == inSpace && len(p) > 0 {
		d.part = inValue
		if p[0] == ' ' {
			p = p[1:]
		}
	}
	if d.part != inValue {
		return
	}
	if d.field == fieldData {
		d.addData(p)
		return
	}
	d.addText(p, maxField)
}

// readName returns what stands behind the colon.
func (d *Decoder) readName(p []byte) []byte {
	name, value, found := bytes.Cut(p, []byte(":"))
	d.addText(name, longestName)
	switch {
	case d.tooLong:
		d.part = inIgnored
	case found:
		d.part = inSpace
		if d.begin(); d.field == fieldUnknown { // also a comment, whose name is empty
			d.part = inIgnored
		}
	}
	return value
}

// begin starts the value of the field whose name was read.
func (d *Decoder) begin() {
	d.field, d.text = fieldNamed(d.text), d.text[:0]
	if d.field == fieldData {
		if d.hasData {
			d.addData([]byte("\n"))
		}
		d.hasData = true
	}
}

func (d *Decoder) addText(p []byte, limit int) {
	if d.tooLong = d.tooLong || len(d.text)+len(p) > limit; !d.tooLong {
		d.text = append(d.text, p...)
	}
}

func (d *Decoder) addData(p []byte) {
	keep := min(len(p), d.maxData-len(d.data))
	d.data = append(d.data, p[:keep]...)
	d.cut += len(p) - keep
}

// endLine appends the event that a blank line ends.
func (d *Decoder) endLine(events []Event) []Event {
	if d.part == inName {
		if len(d.text) == 0 {
			return d.dispatch(events)
		}
		d.begin() // a line without a colon is a field without a value
	}
	if d.part != inIgnored && !d.tooLong {
		switch d.field {
		case fieldEvent:
			d.kind = string(d.text)
		case fieldID:
			if bytes.IndexByte(d.text, 0) < 0 {
				d.id = string(d.text)
			}
		case fieldRetry:
			d.setRetry()
		}
	}
	d.part, d.field, d.text, d.tooLong = inName, fieldUnknown, d.text[:0], false
	return events
}

func (d *Decoder) setRetry() {
	ms := 0
	for _, digit := range d.text {
		if digit < '0' || digit > '9' {
			return
		}
		ms = min(ms*10+int(digit-'0'), math.MaxInt32)
	}
	if len(d.text) > 0 {
		d.retry, d.hasRetry = time.Duration(ms)*time.Millisecond, true
	}
}

func (d *Decoder) dispatch(events []Event) []Event {
	if sendable(d.id) {
		d.position = d.id
	}
	if d.hasData {
		e := Event{ID: d.id, Type: d.kind, Data: d.data, Cut: d.cut}
		if e.Type == "" {
			e.Type = defaultType
		}
		events = append(events, e)
	}
	d.kind, d.data, d.hasData, d.cut = "", nil, false, 0
	return events
}

// sendable reports whether an HTTP header can carry the id.
func sendable(id string) bool {
	return utf8.ValidString(id) && !strings.ContainsFunc(id, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}
