package vendors

import (
	"strconv"
	"strings"

	"trunkline/event"
)

// Bounds of the unknown fields that one event carries along.
const (
	maxUnknownFields = 64
	maxUnknownBytes  = 8 << 10 // names and values
)

// Metadata gathers what an event tells beside its image. The zero Metadata is
// empty.
type Metadata struct {
	fields  map[string]string
	unknown int // fields noted by Unknown
	bytes   int // their size
	left    int // those that found no room
}

// Set notes value under key.
func (m *Metadata) Set(key, value string) {
	if m.fields == nil {
		m.fields = make(map[string]string)
	}
	m.fields[key] = value
}

// Unknown notes as `x_{prefix}{name}` the canonical JSON text of every member
// of the object v that is not among known. Vendors add fields without notice:
// they are kept, not refused. Beyond 64 fields or 8 KiB the rest is only
// counted, in `x_overflow`.
func (m *Metadata) Unknown(prefix string, v Value, known Names) {
	for _, member := range v.members {
		if v.kind == '{' && !known[string(member.Name)] {
			m.unknownField(prefix, member)
		}
	}
}

func (m *Metadata) unknownField(prefix string, member Member) {
	key := event.UnknownPrefix + prefix + strings.ToValidUTF8(string(member.Name), "\uFFFD")
	text := member.Value.Canonical()
	if size := len(key) + len(text); m.left == 0 && m.unknown < maxUnknownFields && m.bytes+size <= maxUnknownBytes {
		m.unknown++
		m.bytes += size
		m.Set(key, string(text))
		return
	}
	m.left++
	m.Set(event.UnknownOverflow, strconv.Itoa(m.left))
}

// Map returns what was noted, nil when nothing was.
func (m *Metadata) Map() map[string]string { return m.fields }
