package codecs

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"trunkline/event"
)

//go:generate go run github.com/tinylib/msgp@v1.6.5 -unexported -io=false -tests=false -o working_msgp.go

// workingVersion is the first byte of a working event. It changes only when
// older readers could no longer read what newer writers write.
const workingVersion = 1

// ErrWorkingVersion is returned by [UnmarshalEvent] for bytes that do not start
// with a version it knows.
var ErrWorkingVersion = errors.New("unknown version of the working event")

// workingEvent is an event as the topic `events` carries it: a msgp map whose
// short names are the format. Fields are only added: readers skip what they do
// not know, and what is absent is zero. A name is never used again.
type workingEvent struct {
	ID           string   `msg:"i,omitempty"`
	Vendor       string   `msg:"v,omitempty"`
	Tenant       string   `msg:"t,omitempty"`
	ResourceType string   `msg:"r,omitempty"`
	ResourceID   string   `msg:"k,omitempty"`
	Type         string   `msg:"e,omitempty"`
	Op           string   `msg:"o,omitempty"`
	TsMs         int64    `msg:"ts,omitempty"`
	TsSource     string   `msg:"s,omitempty"`
	VersionN     int64    `msg:"n,omitempty"`
	VersionKnown bool     `msg:"nk,omitempty"`
	Image        []byte   `msg:"b,omitempty"`
	Partial      bool     `msg:"p,omitempty"`
	Metadata     []string `msg:"m,omitempty,limit=16384"` // name, value, name, value …, sorted by name: equal events have equal bytes
	IngestID     string   `msg:"g,omitempty"`
	Transport    string   `msg:"tr,omitempty"`
	Format       string   `msg:"f,omitempty"`
	ReceivedMs   int64    `msg:"rm,omitempty"`
	RawTopic     string   `msg:"rt,omitempty"`
	RawPartition int32    `msg:"rp,omitempty"`
	RawOffset    int64    `msg:"ro,omitempty"`
	RawAppendMs  int64    `msg:"ra,omitempty"`
	LogSource    string   `msg:"ls,omitempty"`
	LogMs        int64    `msg:"lm,omitempty"`
	Root         string   `msg:"lr,omitempty"`
	Attempts     int      `msg:"la,omitempty"`
	FirstSeenMs  int64    `msg:"lf,omitempty"`
}

// MarshalEvent appends e as the topic `events` carries it to dst: a version
// byte and a msgp map. Texts and the image keep their bytes, whatever they are.
func MarshalEvent(dst []byte, e *event.Event) ([]byte, error) {
	w := workingEvent{
		ID:           e.ID,
		Vendor:       e.Key.Vendor,
		Tenant:       e.Key.Tenant,
		ResourceType: e.Key.Type,
		ResourceID:   e.Key.ID,
		Type:         e.Type,
		Op:           string(e.Op),
		TsMs:         e.TsMs,
		TsSource:     string(e.TsSource),
		VersionN:     e.Version.N,
		VersionKnown: e.Version.Known,
		Image:        e.Image,
		Partial:      e.Partial,
		Metadata:     pairs(e.Metadata),
		IngestID:     e.Origin.IngestID,
		Transport:    string(e.Origin.Transport),
		Format:       string(e.Origin.Format),
		ReceivedMs:   e.Origin.ReceivedMs,
		RawTopic:     e.Origin.Raw.Topic,
		RawPartition: e.Origin.Raw.Partition,
		RawOffset:    e.Origin.Raw.Offset,
		RawAppendMs:  e.Origin.Raw.AppendMs,
		LogSource:    e.Origin.LogSource,
		LogMs:        e.Origin.LogMs,
		Root:         e.Origin.Lineage.Root,
		Attempts:     e.Origin.Lineage.Attempts,
		FirstSeenMs:  e.Origin.Lineage.FirstSeenMs,
	}
	b, err := w.MarshalMsg(append(slices.Grow(dst, w.Msgsize()+1), workingVersion))
	if err != nil {
		return nil, fmt.Errorf("encode working event: %w", err)
	}
	return b, nil
}

// UnmarshalEvent reads what [MarshalEvent] wrote, now or in another release.
// The event shares no bytes with b; an empty image or metadata comes back nil.
func UnmarshalEvent(b []byte) (event.Event, error) {
	if len(b) == 0 || b[0] != workingVersion {
		return event.Event{}, fmt.Errorf("decode working event: %w", ErrWorkingVersion)
	}
	var w workingEvent
	rest, err := w.UnmarshalMsg(b[1:])
	if err != nil {
		return event.Event{}, fmt.Errorf("decode working event: %w", err)
	}
	if len(rest) > 0 {
		return event.Event{}, fmt.Errorf("decode working event: %d bytes follow it", len(rest))
	}
	if len(w.Metadata)%2 != 0 {
		return event.Event{}, errors.New("decode working event: a metadata name has no value")
	}
	e := event.Event{
		ID:       w.ID,
		Key:      event.Key{Vendor: w.Vendor, Tenant: w.Tenant, Type: w.ResourceType, ID: w.ResourceID},
		Type:     w.Type,
		Op:       event.Op(w.Op),
		TsMs:     w.TsMs,
		TsSource: event.TsSource(w.TsSource),
		Version:  event.Version{N: w.VersionN, Known: w.VersionKnown},
		Partial:  w.Partial,
		Metadata: unpair(w.Metadata),
		Origin: event.Origin{
			IngestID:   w.IngestID,
			Transport:  event.Transport(w.Transport),
			Format:     event.Format(w.Format),
			ReceivedMs: w.ReceivedMs,
			Raw:        event.Position{Topic: w.RawTopic, Partition: w.RawPartition, Offset: w.RawOffset, AppendMs: w.RawAppendMs},
			LogSource:  w.LogSource,
			LogMs:      w.LogMs,
			Lineage:    event.Lineage{Root: w.Root, Attempts: w.Attempts, FirstSeenMs: w.FirstSeenMs},
		},
	}
	if len(w.Image) > 0 {
		e.Image = w.Image
	}
	return e, nil
}

func pairs(m map[string]string) []string {
	if len(m) == 0 {
		return nil
	}
	p := make([]string, 0, 2*len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		p = append(p, k, m[k])
	}
	return p
}

func unpair(p []string) map[string]string {
	if len(p) == 0 {
		return nil
	}
	m := make(map[string]string, len(p)/2)
	for i := 0; i < len(p); i += 2 {
		m[p[i]] = p[i+1]
	}
	return m
}
