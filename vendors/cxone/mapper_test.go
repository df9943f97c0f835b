package cxone

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/event"
)

func TestMap(t *testing.T) {
	type want struct {
		key, id, op, typ string
		ts               int64
		source           event.TsSource
		image            string
		md               map[string]string
	}
	const head = `"eventId":"e1","tenantId":"11e85da0","timestamp":"2026-11-22T01:50:00.123Z"`
	for _, tt := range []struct {
		name, body string
		want       want // fields left empty are not compared, but for md
		reason     event.Reason
		detail     string // the rejection names it
		filtered   string
	}{
		{name: "transfer keeps the master", body: `{` + head + `,"eventType":"CALL_STARTED","data":{"contactId":"2","masterContactId":"1"}}`,
			want: want{key: "cxone/acme/conversation/1", id: "e1", op: "c", typ: "conversation.started", ts: 1795312200123, source: event.TsEvent,
				image: `{"contactId":"2","masterContactId":"1","startedMs":1795312200123,"status":"started"}`}},
		{name: "contact without master", body: `{` + head + `,"eventType":"CALL_ENDED","data":{"contactId":427000000001,"masterContactId":""}}`,
			want: want{key: "cxone/acme/conversation/427000000001", op: "u", typ: "conversation.ended"}},
		{name: "odd id", body: `{` + head + `,"eventType":"QUEUE_ENTERED","data":{"masterContactId":"a/b#c\u0000é"}}`,
			want: want{key: "cxone/acme/conversation/a%2Fb%23c%00é"}},
		{name: "no id, no time", body: `{"eventType":"QUEUE_ENTERED","data":{"masterContactId":"1"}}`,
			want: want{id: "03dc5e6f-ba4c-51da-9cdf-ac74246a539f", ts: 1795400000000, source: event.TsIngest, image: `{"masterContactId":"1","status":"queued"}`}},
		{name: "time of the contact", body: `{"eventId":"e","eventType":"QUEUE_ENTERED","data":{"masterContactId":"1","lastUpdateTime":"1795312200"}}`,
			want: want{ts: 1795312200000, source: event.TsEvent}},
		{name: "vendor's own status", body: `{` + head + `,"eventType":"AGENT_ASSIGNED","data":{"masterContactId":"1","status":"Active"}}`,
			want: want{image: `{"masterContactId":"1","status":"assigned"}`, md: map[string]string{"x_data.status": `"Active"`}}},
		{name: "unknown field", body: `{` + head + `,"eventType":"AGENT_ASSIGNED","data":{"masterContactId":"1"},"shard":[1, 2]}`,
			want: want{op: "u", md: map[string]string{"x_shard": `[1,2]`}}},
		{name: "unmapped type", body: `{` + head + `,"eventType":"CALL_PARKED","data":{"masterContactId":"1","slot":4}}`,
			want: want{key: "cxone/acme/conversation/1", op: "u", typ: "cxone.call_parked", image: `{"masterContactId":"1","slot":4}`, md: map[string]string{"unmapped_action": "CALL_PARKED"}}},
		{name: "no entity", body: `{` + head + `,"eventType":"SURVEY_SENT","data":{"to":"x"}}`,
			want: want{key: "cxone/acme/-/01934f5e-0000-7000-8000-000000000000%2F0", op: "none", typ: "cxone.survey_sent", image: `{"to":"x"}`}},
		{name: "no entity, no data", body: `{` + head + `,"eventType":"SURVEY_SENT"}`, want: want{op: "none", image: `{}`}},
		{name: "heartbeat", body: `{` + head + `,"eventType":"HEARTBEAT"}`, filtered: "heartbeat"},

		{name: "no contact", body: `{` + head + `,"eventType":"CALL_STARTED","data":{}}`, reason: event.MissingField, detail: "data.masterContactId"},
		{name: "no data", body: `{` + head + `,"eventType":"CALL_STARTED"}`, reason: event.MissingField, detail: "data.masterContactId"},
		{name: "no type", body: `{"eventType":"","timestamp":1}`, reason: event.MissingField, detail: "eventType"},
		{name: "data is text", body: `{` + head + `,"eventType":"CALL_STARTED","data":"x"}`, reason: event.InvalidField, detail: "data"},
		{name: "type is a number", body: `{"eventType":7}`, reason: event.InvalidField, detail: "eventType"},
		{name: "bad time", body: `{"eventType":"CALL_STARTED","timestamp":"now","data":{"contactId":"1"}}`, reason: event.InvalidField, detail: "timestamp"},
		{name: "bad id", body: `{` + head + `,"eventType":"CALL_STARTED","data":{"masterContactId":true}}`, reason: event.InvalidField, detail: "data.masterContactId"},
		{name: "array", body: `[{}]`, reason: event.NotSplit},
		{name: "postback", body: `{"postback":{"eventType":"x"}}`, reason: event.UnknownFormat, detail: "cxone.dfo"},
		{name: "unknown shape", body: `{"hello":"world"}`, reason: event.UnknownFormat},
		{name: "scalar", body: `null`, reason: event.UnknownFormat},
		{name: "XML", body: `<event/>`, reason: event.MalformedJSON},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Map(record(tt.body))
			if f, ok := errors.AsType[*event.Filtered](err); ok || tt.filtered != "" {
				if !ok || f.Reason != tt.filtered {
					t.Fatalf("got error %v, want filtered %q", err, tt.filtered)
				}
				return
			}
			if r, ok := errors.AsType[*event.Rejected](err); ok || tt.reason != "" {
				if !ok || r.Reason != tt.reason || !strings.Contains(r.Detail, tt.detail) {
					t.Fatalf("got error %v, want %s naming %s", err, tt.reason, tt.detail)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := want{key: e.Key.String(), id: e.ID, op: or(string(e.Op), "none"), typ: e.Type, ts: e.TsMs, source: e.TsSource, image: string(e.Image), md: e.Metadata}
			w := tt.want
			w.key, w.id, w.op, w.typ = or(w.key, got.key), or(w.id, got.id), or(w.op, got.op), or(w.typ, got.typ)
			w.image, w.source = or(w.image, got.image), event.TsSource(or(string(w.source), string(got.source)))
			if w.ts == 0 {
				w.ts = got.ts
			}
			if diff := cmp.Diff(w, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func TestDetect(t *testing.T) {
	for _, tt := range []struct {
		body string
		want event.Format
	}{
		{`{"eventType":"CALL_STARTED"}`, event.CXoneSeed},
		{`{"eventType":"Parked","timestamp":1}`, event.CXoneSeed},
		{`{"eventType":"EventInS3","data":{}}`, event.CXoneDFO},
		{`{"eventType":"CaseCreated","createdAt":"x"}`, event.CXoneDFO},
		{`{"lastPollTime":"x","agents":[]}`, event.CXonePoll},
		{`{}`, event.FormatUnknown},
		{`[{"eventType":"CALL_STARTED"}]`, event.FormatUnknown},
		{`{"eventType":`, event.FormatUnknown},
	} {
		if got := Detect([]byte(tt.body), ""); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.body, got, tt.want)
		}
	}
}

// FuzzMap holds that Key agrees with Map, that neither panics or touches the
// body, and that the errors are those of the contract. Whatever the bytes say,
// vendor and tenant stay (I9).
func FuzzMap(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.json")
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte(`{"eventType":"CALL_ENDED","timestamp":"1e9","data":{"contactId":1e3,"\ud800":{}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m := Mapper()
		raw := record(string(body))
		for _, format := range []event.Format{m.Detect(raw.Body, ""), event.CXoneSeed} {
			raw.Format = format
			e, err := m.Map(raw)
			key, id, ok := m.Key(raw)
			if ok != (err == nil) || ok && (key != e.Key || id != e.ID) {
				t.Fatalf("Key gives %v, %q, %v, Map %v, %q, %v", key, id, ok, e.Key, e.ID, err)
			}
			if !bytes.Equal(raw.Body, body) {
				t.Fatalf("body became %q", raw.Body)
			}
			if err != nil {
				_, rejected := errors.AsType[*event.Rejected](err)
				_, filtered := errors.AsType[*event.Filtered](err)
				if !rejected && !filtered {
					t.Fatalf("got error %T", err)
				}
				continue
			}
			if e.Key.Vendor != Vendor || e.Key.Tenant != raw.Tenant || e.Key.ID == "" || e.ID == "" || e.Type == "" || len(e.Image) == 0 {
				t.Fatalf("incomplete event %+v", e)
			}
			if (e.Op == event.OpNone) != (e.Key.Type == "-") {
				t.Fatalf("op %q of key %v", e.Op, e.Key)
			}
		}
	})
}
