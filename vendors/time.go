package vendors

import (
	"math"
	"strconv"
	"strings"
	"time"

	"trunkline/event"
)

const (
	firstMs = 1e11            // a smaller number counts seconds: 10^11 s is the year 5138, 10^11 ms March 1973
	lastMs  = 253402300799999 // the end of the year 9999, above which a number counts µs or ns
)

// TimeField is a place where a vendor may tell the time of an event.
type TimeField struct {
	Path   string // for error texts, such as "eventBody.eventTime"
	Value  Value
	Source event.TsSource
}

// EventTime returns the time of the first field that exists, in epoch ms, and
// where it came from; if none does, receivedMs and event.TsIngest. Accepted are
// epoch ms, epoch s, both also as strings, and RFC 3339 with 0 to 9 fraction
// digits, where a time without zone is UTC. A field that exists and says
// anything else is invalid_field: to pass over it would put the event in a
// place it does not belong.
func EventTime(receivedMs int64, fields ...TimeField) (int64, event.TsSource, error) {
	for _, f := range fields {
		if text, ok := f.Value.Text(); !f.Value.Exists() || ok && text == "" {
			continue
		}
		ms, ok := readTime(f.Value)
		if !ok {
			return 0, "", event.Reject(event.InvalidField, "%s is no time: send epoch ms, epoch s or RFC 3339", f.Path)
		}
		return ms, f.Source, nil
	}
	return receivedMs, event.TsIngest, nil
}

func readTime(v Value) (ms int64, ok bool) {
	text := string(v.text)
	switch v.kind {
	case '0':
	case '"':
		text, _ = v.Text()
	default:
		return 0, false
	}
	if ms, ok := epoch(text); ok {
		return ms, ok
	}
	// time.Parse takes a fraction also where the layout has none.
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04:05Z0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			ms := t.UnixMilli()
			return ms, ms > 0 && ms <= lastMs
		}
	}
	return 0, false
}

func epoch(text string) (ms int64, ok bool) {
	if text == "" || strings.Trim(text, "0123456789+-.eE") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(text, 64) // exact for all integers up to lastMs
	if err != nil {
		return 0, false
	}
	if n < firstMs {
		n *= 1000
	}
	return int64(math.Round(n)), n >= 1 && n <= lastMs
}
