package app

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"trunkline/codecs"
	"trunkline/event"
	"trunkline/stream"
	"trunkline/topology"
)

var letterTime = time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)

// letterAt is a record of dead-letters, minute after letterTime, of a raw record of
// genesys.
func letterAt(offset, rawOffset int64, reason event.Reason, change ...func(*codecs.DeadLetter, map[string][]byte)) stream.Record {
	d := codecs.DeadLetter{
		Reason: reason, Stage: "normalise", Raw: event.Position{Topic: "raw.genesys", Partition: 3, Offset: rawOffset, AppendMs: 1},
		Key: "genesys/acme/user/u1#e" + strconv.FormatInt(rawOffset, 10), IngestID: "r/0", Attempt: 1, FirstSeenMs: 1, Run: "1",
	}
	headers := map[string][]byte{event.HeaderTenant: []byte("acme")}
	for _, f := range change {
		f(&d, headers)
	}
	for _, h := range d.Headers() {
		headers[h.Key] = h.Value
	}
	return stream.Record{
		Topic: string(topology.DeadLettersTopic), Partition: 1, Offset: offset, Headers: headers, Value: []byte("hunter2"),
		Time: letterTime.Add(time.Duration(offset) * time.Minute),
	}
}

func attempt(n int, root string) func(*codecs.DeadLetter, map[string][]byte) {
	return func(d *codecs.DeadLetter, _ map[string][]byte) { d.Attempt, d.Root = n, root }
}

func of(stage, vendor, tenant string) func(*codecs.DeadLetter, map[string][]byte) {
	return func(d *codecs.DeadLetter, headers map[string][]byte) {
		d.Stage, d.Raw.Topic, headers[event.HeaderTenant] = stage, "raw."+vendor, []byte(tenant)
	}
}

func gather(records []stream.Record, redriven ...string) *lineages {
	ls := newLineages()
	for _, r := range records {
		ls.letter(letterOf(r))
	}
	for _, raw := range redriven {
		ls.redriven[raw] = true
	}
	return ls
}

func positionsOf(letters []Letter) string {
	var all []string
	for _, l := range letters {
		text := strconv.FormatInt(l.at.Offset, 10)
		if l.Redriven {
			text += " redriven"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// A redriven letter that died again is one lineage with its new letter, in whatever
// order their partitions are read.
//
// Seen failing with lineages by raw position, and with the last letter read taken for
// the newest.
func TestLineages(t *testing.T) {
	const root = "raw.genesys/3/41"
	first, second, third := letterAt(1, 41, event.UnknownFormat), letterAt(5, 50, event.UnknownFormat, attempt(2, root)), letterAt(9, 60, event.MissingField, attempt(3, root))
	other := letterAt(2, 42, event.UnknownFormat)
	tests := []struct {
		name     string
		records  []stream.Record
		redriven []string
		want     string
	}{
		{"none", nil, nil, ""},
		{"two of their own", []stream.Record{first, other}, nil, "1, 2"},
		{"sent back", []stream.Record{first, other}, []string{root}, "1 redriven, 2"},
		{"dead again", []stream.Record{first, second, other}, []string{root}, "2, 5"},
		{"and again", []stream.Record{third, other, first, second}, []string{root, "raw.genesys/3/50"}, "2, 9"},
		{"the third sent back", []stream.Record{second, third, first}, []string{root, "raw.genesys/3/50", "raw.genesys/3/60"}, "9 redriven"},
		{"of two runs", []stream.Record{first, letterAt(7, 41, event.UnknownFormat)}, nil, "7"},
		{"of two runs, sent back", []stream.Record{first, letterAt(7, 41, event.UnknownFormat)}, []string{root}, "7 redriven"},
	}
	for _, tt := range tests {
		if got := positionsOf(gather(tt.records, tt.redriven...).letters(LetterFilter{})); got != tt.want {
			t.Errorf("%s: got letters %s, want %s", tt.name, got, tt.want)
		}
	}
}

// Filters are about the newest letter of a lineage.
//
// Seen failing with each field of admits ignored.
func TestLetterFilter(t *testing.T) {
	ls := gather([]stream.Record{
		letterAt(0, 40, event.UnknownFormat),
		letterAt(1, 41, event.UnknownFormat),
		letterAt(2, 42, event.MissingField),
		letterAt(3, 43, event.UnknownFormat, of("normalise", "genesys", "globex")),
		letterAt(4, 44, event.UnknownFormat, of("normalise", "cxone", "acme")),
		letterAt(5, 45, event.TooLarge, of("entity", "genesys", "acme")),
		letterAt(6, 50, event.UnknownTenant, attempt(2, "raw.genesys/3/40")),
		{Topic: string(topology.DeadLettersTopic), Partition: 1, Offset: 7, Time: letterTime.Add(7 * time.Minute)}, // nobody's
	})
	at := func(minute int) time.Time { return letterTime.Add(time.Duration(minute) * time.Minute) }
	tests := []struct {
		filter LetterFilter
		want   string
	}{
		{LetterFilter{}, "1, 2, 3, 4, 5, 6, 7"},
		{LetterFilter{Reason: event.UnknownFormat}, "1, 3, 4"},
		{LetterFilter{Reason: event.UnknownTenant}, "6"},
		{LetterFilter{Tenant: "globex"}, "3"},
		{LetterFilter{Vendor: topology.CXone}, "4"},
		{LetterFilter{Stage: "entity"}, "5"},
		{LetterFilter{Since: at(4)}, "4, 5, 6, 7"},
		{LetterFilter{Until: at(4)}, "1, 2, 3"},
		{LetterFilter{Since: at(2), Until: at(4), Tenant: "acme"}, "2"},
		{LetterFilter{At: []event.Position{{Topic: "dead-letters", Partition: 1, Offset: 2}, {Topic: "dead-letters", Partition: 0, Offset: 1}}}, "2"},
	}
	for _, tt := range tests {
		if got := positionsOf(ls.letters(tt.filter)); got != tt.want {
			t.Errorf("%+v: got letters %s, want %s", tt.filter, got, tt.want)
		}
	}
	for _, f := range []LetterFilter{
		{Since: at(1), Until: at(1)}, {Reason: "bad_luck"}, {Vendor: "avaya"}, {Stage: "third"}, {At: []event.Position{{Topic: "raw.genesys"}}},
	} {
		if f.Validate() == nil {
			t.Errorf("%+v is valid", f)
		}
	}
}

func TestGroupLetters(t *testing.T) {
	got := GroupLetters(gather([]stream.Record{
		letterAt(1, 41, event.MissingField),
		letterAt(2, 42, event.UnknownFormat), letterAt(3, 43, event.UnknownFormat, attempt(4, "raw.genesys/3/1")), letterAt(4, 44, event.UnknownFormat),
		letterAt(5, 45, event.UnknownFormat, of("normalise", "genesys", "globex")),
	}, "raw.genesys/3/44", "raw.genesys/3/45").letters(LetterFilter{}))
	at := func(minute int) time.Time { return letterTime.Add(time.Duration(minute) * time.Minute) }
	want := []LetterGroup{
		{Reason: event.UnknownFormat, Stage: "normalise", Vendor: "genesys", Tenant: "acme", Open: 2, Redriven: 1, Attempts: 4, First: at(2), Last: at(4), Newest: "dead-letters/1/3"},
		{Reason: event.MissingField, Stage: "normalise", Vendor: "genesys", Tenant: "acme", Open: 1, Attempts: 1, First: at(1), Last: at(1), Newest: "dead-letters/1/1"},
		{Reason: event.UnknownFormat, Stage: "normalise", Vendor: "genesys", Tenant: "globex", Redriven: 1, Attempts: 1, First: at(5), Last: at(5), Newest: "dead-letters/1/5"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

// What is sent back are the letter's bytes under the ids of its first arrival, keyed
// by the mapper of today, with nothing of what the letter told of its death.
//
// Seen failing with the key of the letter, and with the letter's headers.
func TestRedrivenRecord(t *testing.T) {
	const body = `{"id":"e-1","resourceType":"user","eventType":"created","resourceId":"u-1","data":{"id":"u-1"}}`
	r := letterAt(9, 41, event.UnknownFormat, attempt(2, "raw.genesys/0/7"), func(d *codecs.DeadLetter, headers map[string][]byte) {
		d.Key = "genesys/acme/-/r%2F0#r/0"
		headers[event.HeaderFormat], headers[event.HeaderReceivedMs], headers[event.HeaderVendor] = []byte("unknown"), []byte("17"), []byte("cxone")
	})
	r.Value = []byte(body)
	l := letterOf(r)
	raw, err := original(nil, &l, r)
	if err != nil {
		t.Fatal(err)
	}
	records := redriveOf(&l, raw)
	headers := map[string]string{}
	for _, h := range records[0].Headers {
		headers[h.Key] = string(h.Value)
	}
	want := map[string]string{
		"vendor": "genesys", "tenant": "acme", "ingest_id": "r/0", "format": "genesys.seed", "received_ms": "17",
		"redrive_of": "raw.genesys/3/41", "dlq.root": "raw.genesys/0/7", "dlq.attempt": "2", "dlq.first_seen": "1",
	}
	if diff := cmp.Diff(want, headers); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if got := records[0]; got.Topic != "raw.genesys" || got.Key != "genesys/acme/user/u-1#e-1" || string(got.Value) != body {
		t.Errorf("got %s on %s: %s", got.Key, got.Topic, got.Value)
	}
	if got := records[1]; got.Topic != "redrives" || got.Key != "raw.genesys/3/41" || string(got.Value) != "dead-letters/1/9" || len(records) != 2 {
		t.Errorf("noted %s on %s: %s, in %d records", got.Key, got.Topic, got.Value, len(records))
	}
}

// What must not, or cannot, get into a raw topic stays where it is, and the report
// says why.
func TestLettersThatAreLeft(t *testing.T) {
	unproven := letterAt(1, 41, event.MalformedJSON, of("quarantine", "genesys", "acme"))
	foreign := letterAt(2, 42, event.MalformedJSON, of("normalise", "avaya", "acme"))
	table := letterAt(3, 43, event.MalformedJSON, func(d *codecs.DeadLetter, _ map[string][]byte) { d.Raw.Topic = "entity-table" })
	nobodys := stream.Record{Topic: string(topology.DeadLettersTopic)}
	good := letterAt(4, 44, event.MalformedJSON)
	for record, want := range map[*stream.Record]error{&unproven: errUnproven, &foreign: errNoOriginal, &table: errNoOriginal, &nobodys: errNoOriginal, &good: nil} {
		l := letterOf(*record)
		if got := l.bars(); got != want { //nolint:errorlint // these very ones
			t.Errorf("%s of stage %s: got %v, want %v", l.Raw, l.Stage, got, want)
		}
	}
	var r ReplayReport
	for i := range 3 {
		r.leave(&Letter{Position: fmt.Sprint(i)}, errUnproven)
	}
	r.leave(&Letter{Position: "4"}, ErrOriginalGone)
	want := []LeftLetters{{errUnproven.Error(), 3, "2"}, {ErrOriginalGone.Error(), 1, "4"}}
	if diff := cmp.Diff(want, r.Left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}
