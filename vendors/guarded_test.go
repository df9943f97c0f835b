package vendors_test

import (
	"errors"
	"testing"

	"trunkline/event"
	"trunkline/vendors"
)

// Bytes on which a mapper panics are refused, and in words without payload (I10).
func TestGuarded(t *testing.T) {
	m := vendors.Guarded(vendors.Mapper{
		Detect: func(body []byte, _ string) event.Format { panic(string(body)) },
		Key:    func(raw *event.Raw) (event.Key, string, bool) { panic(string(raw.Body)) },
		Map:    func(raw *event.Raw) (event.Event, error) { panic(string(raw.Body)) },
	})
	raw := event.Raw{Body: []byte("hunter2")}
	if got := m.Detect(raw.Body, ""); got != event.FormatUnknown {
		t.Errorf("format %q", got)
	}
	if key, id, ok := m.Key(&raw); ok || key != (event.Key{}) || id != "" {
		t.Errorf("key %v, id %q", key, id)
	}
	_, err := m.Map(&raw)
	var rejected *event.Rejected
	if !errors.As(err, &rejected) || *rejected != (event.Rejected{Reason: event.MapperPanic, Detail: "the mapper panics"}) {
		t.Errorf("error %v", err)
	}
}
