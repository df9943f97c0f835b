package vendors

import "trunkline/event"

// Guarded returns a mapper that refuses bytes on which m panics, for whoever reads
// outside of the stages what made one panic before.
func Guarded(m Mapper) Mapper {
	return Mapper{
		Vendor: m.Vendor,
		Detect: func(body []byte, topicHint string) (f event.Format) {
			defer func() {
				if recover() != nil {
					f = event.FormatUnknown
				}
			}()
			return m.Detect(body, topicHint)
		},
		Key: func(raw *event.Raw) (key event.Key, eventID string, ok bool) {
			defer func() {
				if recover() != nil {
					key, eventID, ok = event.Key{}, "", false
				}
			}()
			return m.Key(raw)
		},
		Map: func(raw *event.Raw) (e event.Event, err error) {
			defer func() {
				if recover() != nil { // what it says may hold payload (I10)
					e, err = event.Event{}, event.Reject(event.MapperPanic, "the mapper panics")
				}
			}()
			return m.Map(raw)
		},
	}
}
