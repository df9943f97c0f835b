package codecs_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/codecs"
	"trunkline/event"
)

var rawPosition = event.Position{Topic: "raw.genesys", Partition: 3, Offset: 1041, AppendMs: 1767323044123}

func TestDeadLetterHeaders(t *testing.T) {
	full := codecs.DeadLetter{
		Reason: event.MissingField, Stage: "normalise", Detail: "resourceId: want a string", Raw: rawPosition,
		Key: "genesys/acme/-/r\xff#r", IngestID: "r/0", Attempt: 2, FirstSeenMs: 1767323044200, Run: "1",
	}
	want := map[string]string{
		"dlq.reason": "missing_field", "dlq.stage": "normalise", "dlq.detail": "resourceId: want a string",
		"dlq.key": "genesys/acme/-/r\xff#r", "dlq.attempt": "2", "dlq.first_seen": "1767323044200",
		"raw_topic": "raw.genesys", "raw_partition": "3", "raw_offset": "1041", "raw_append_ms": "1767323044123",
		"ingest_id": "r/0", "run": "1",
	}
	got := map[string]string{}
	for k, v := range headerMap(full.Headers()) {
		got[k] = string(v)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	quarantined := codecs.DeadLetter{Reason: event.MalformedJSON, Stage: codecs.QuarantineStage}
	for _, d := range []codecs.DeadLetter{full, quarantined} {
		got, err := codecs.ParseDeadLetter(headerMap(d.Headers()))
		if diff := cmp.Diff(d, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	for _, name := range []string{"dlq.reason", "raw_offset", "raw_topic"} {
		headers := headerMap(full.Headers())
		delete(headers, name)
		if d, err := codecs.ParseDeadLetter(headers); err == nil {
			t.Errorf("without %s: parsed %+v", name, d)
		}
	}
	for _, name := range []string{"dlq.attempt", "dlq.first_seen", "raw_partition"} {
		headers := headerMap(full.Headers())
		headers[name] = []byte("x")
		if d, err := codecs.ParseDeadLetter(headers); err == nil {
			t.Errorf("%s is no number: parsed %+v", name, d)
		}
	}
}

func TestLateHeaders(t *testing.T) {
	full := codecs.Late{
		Raw: rawPosition, Key: "genesys/acme/user/u-1#e-1", IngestID: "r/0", Run: "1",
		Own:    event.Order{TsMs: 1, Op: event.Update, EventID: "e-1"},
		Row:    event.Order{TsMs: 2, Version: event.Version{Known: true}, Op: event.Delete, EventID: "e-2"},
		RowRaw: event.Position{Topic: "raw.genesys", Partition: 3, Offset: 1040, AppendMs: 1767323044000},
	}
	bare := full
	bare.RowRaw, bare.Run = event.Position{}, ""
	for _, l := range []codecs.Late{full, bare} {
		hs, err := l.Headers()
		if err != nil {
			t.Fatal(err)
		}
		got, err := codecs.ParseLate(headerMap(hs))
		if diff := cmp.Diff(l, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	hs, err := full.Headers()
	if err != nil {
		t.Fatal(err)
	}
	headers := headerMap(hs)
	if got, want := string(headers["late.row_order"]), `{"ts_ms":2,"version":0,"op":"d","event_id":"e-2"}`; got != want {
		t.Errorf("late.row_order is %s, want %s", got, want)
	}
	for _, name := range []string{"late.order", "late.row_order", "late.row_raw", "raw_offset"} {
		broken := maps.Clone(headers)
		broken[name] = []byte("{")
		if l, err := codecs.ParseLate(broken); err == nil {
			t.Errorf("%s is broken: parsed %+v", name, l)
		}
	}
}

func TestFate(t *testing.T) {
	first := event.Position{Topic: "raw.genesys", Partition: 3, Offset: 7, AppendMs: 1767323044000}
	fates := []event.Fate{
		{Kind: event.FateDuplicate, Run: "1", Raw: rawPosition, IngestID: "r/0", EventID: "e-1", Reason: "same event_id", First: &first},
		{Kind: event.FateFiltered, Raw: rawPosition, Reason: "heartbeat"},
	}
	var text strings.Builder
	for _, f := range fates {
		b, err := codecs.EncodeFate(f)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s\n", b)
		got, err := codecs.DecodeFate(b)
		if diff := cmp.Diff(f, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	checkGolden(t, "fates.jsonl", text.String())

	if _, err := codecs.EncodeFate(event.Fate{Kind: event.FateFiltered, EventID: "\xff"}); err != nil {
		t.Errorf("odd id: %v", err)
	}
	for _, bad := range []string{
		``, `{}`, `[]`,
		`{"kind":"lost","raw":{"topic":"t"}}`,
		`{"kind":"filtered"}`,
		`{"kind":"filtered","raw":{"topic":"t","offset":"x"}}`,
	} {
		if f, err := codecs.DecodeFate([]byte(bad)); err == nil {
			t.Errorf("decoded %s as %+v", bad, f)
		}
	}
	if _, err := codecs.DecodeFate([]byte(`{"kind":"filtered","raw":{"topic":"t"},"added":1}`)); err != nil {
		t.Errorf("added member: %v", err)
	}
}

func headerMap(hs []event.Header) map[string][]byte {
	m := make(map[string][]byte, len(hs))
	for _, h := range hs {
		m[h.Key] = h.Value
	}
	return m
}
