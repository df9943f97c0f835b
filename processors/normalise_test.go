package processors_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lovoo/goka"

	"trunkline/codecs"
	"trunkline/event"
	"trunkline/processors"
	"trunkline/state"
	"trunkline/stream"
	"trunkline/topology"
	"trunkline/vendors"
)

// rawRecord is a record of a raw topic.
type rawRecord struct {
	at      event.Position
	key     string
	body    []byte
	headers goka.Headers
}

// rawAt is the record that an edge makes of body. Without a mapper that finds a
// key it is keyed by its ingest id.
func rawAt(c processors.Config, vendor string, offset, appendMs int64, body string, change ...func(*rawRecord)) rawRecord {
	raw := event.Raw{
		Vendor: vendor, Tenant: "acme", Transport: event.Push, IngestID: fmt.Sprintf("request-%d/0", offset),
		ReceivedMs: appendMs - 5, ContentType: "application/json", Body: []byte(body),
	}
	raw.Format = c.Mappers[vendor].Detect(raw.Body, "")
	key := event.RecordKey(event.Unkeyed(vendor, raw.Tenant, raw.IngestID), raw.IngestID)
	if k, id, ok := c.Mappers[vendor].Key(&raw); ok {
		key = event.RecordKey(k, id)
	}
	r := rawRecord{
		at:  event.Position{Topic: string(topology.RawTopic(vendor)), Partition: 3, Offset: offset, AppendMs: appendMs},
		key: key, body: raw.Body, headers: merge(nil, raw.Headers()),
	}
	for _, f := range change {
		f(&r)
	}
	return r
}

// user is a configuration push of a user.
func user(id, resource, name string, tsMs int64) string {
	return fmt.Sprintf(`{"id":%q,"resourceType":"user","eventType":"updated","resourceId":%q,"ts_ms":%d,"data":{"id":%q,"name":%q}}`,
		id, resource, tsMs, resource, name)
}

func header(name, value string) func(*rawRecord) {
	return func(r *rawRecord) { r.headers[name] = []byte(value) }
}

func keyed(key string) func(*rawRecord) { return func(r *rawRecord) { r.key = key } }

func withoutValue(r *rawRecord) { r.body = nil }

func merge(into goka.Headers, hs []event.Header) goka.Headers {
	if into == nil {
		into = goka.Headers{}
	}
	for _, h := range hs {
		into[h.Key] = h.Value
	}
	return into
}

// normalised hands a raw record to the stage and says what came of it. Every
// output must tell the record's own position, ingest id and run (I3).
func normalised(s *stage, r rawRecord) []string {
	s.t.Helper()
	s.loop = event.Position{Topic: string(topology.NormaliseLoop), Partition: 5, Offset: s.loop.Offset + 1, AppendMs: r.at.AppendMs + 40}
	var got []string
	for _, e := range s.deliver(r.at, r.key, r.body, maps.Clone(r.headers)) {
		if at, ok := event.PositionOf(e.Headers); !ok || at != r.at {
			s.t.Errorf("%s: an output of %v tells position %v", e.Stream, r.at, at)
		}
		if id := e.Headers[event.HeaderIngestID]; !bytes.Equal(id, r.headers[event.HeaderIngestID]) {
			s.t.Errorf("%s: an output of %v tells ingest id %q", e.Stream, r.at, id)
		}
		if run := string(e.Headers[event.HeaderRun]); run != "run-1" && e.Stream != topology.NormaliseLoop {
			s.t.Errorf("%s: an output of %v tells run %q", e.Stream, r.at, run)
		}
		got = append(got, outcome(s.t, e))
	}
	return got
}

// outcome renders one output of a stage.
func outcome(t testing.TB, e emission) string {
	t.Helper()
	switch e.Stream {
	case topology.CanonicalEvents:
		return fmt.Sprintf("canonical %s on %s", e.Key, e.Headers[stream.ToTopic])
	case topology.EventsTopic:
		if w := workingOf(t, e); e.Key != w.Key.String() {
			t.Errorf("working event of %s has key %s", w.Key, e.Key)
		}
		return "event of " + e.Key
	case topology.NormaliseLoop:
		return "loop " + e.Key
	case topology.DeadLettersTopic:
		letter, err := codecs.ParseDeadLetter(e.Headers)
		if err != nil {
			t.Fatal(err)
		}
		return "dead letter " + string(letter.Reason)
	case topology.FatesTopic:
		f, err := codecs.DecodeFate(e.Value)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.TrimSpace(string(f.Kind) + " " + f.Reason)
		if f.First != nil {
			text += " of " + f.First.String()
		}
		return text
	case topology.LateEventsTopic:
		l, err := codecs.ParseLate(e.Headers)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("late %s at %d, %s was at %d", l.Own.EventID, l.Own.TsMs-t0, l.Row.EventID, l.Row.TsMs-t0)
	default:
		t.Fatalf("output on %s", e.Stream)
		return ""
	}
}

func workingOf(t testing.TB, e emission) event.Event {
	t.Helper()
	w, err := codecs.UnmarshalEvent(e.Value)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// firsts is the dedup table: record key and where its event was first seen.
func firsts(s *stage) []string {
	s.t.Helper()
	var got []string
	for key, row := range s.rows() {
		seen, err := state.DecodeSeen(row)
		if err != nil {
			s.t.Fatal(err)
		}
		got = append(got, key+" "+seen.First.String())
	}
	slices.Sort(got)
	return got
}

const (
	ann = "genesys/acme/user/u1"
	bus = "ccaaus.events.genesys.acme"
)

func TestNormalise(t *testing.T) {
	c := config(t)
	after := func(d time.Duration) int64 { return t0 + d.Milliseconds() }
	raw := func(offset, appendMs int64, body string, change ...func(*rawRecord)) rawRecord {
		return rawAt(c, topology.Genesys, offset, appendMs, body, change...)
	}
	redrive := func(offset int64) func(*rawRecord) {
		return header(event.HeaderRedriveOf, fmt.Sprintf("raw.genesys/3/%d", offset))
	}
	accepted := []string{"event of " + ann, "canonical e1 on " + bus}
	replayed := []string{"canonical e1 on " + bus, "replayed"}
	row := func(offset int64) []string { return []string{fmt.Sprintf("%s#e1 raw.genesys/3/%d", ann, offset)} }
	body := user("e1", "u1", "Ann", t0)

	tests := map[string]struct {
		records []rawRecord
		want    [][]string // outputs of each record
		rows    []string
	}{
		"accepted": {
			[]rawRecord{raw(1, t0, body)},
			[][]string{accepted}, row(1),
		},
		"the same bytes at another position": {
			[]rawRecord{raw(1, t0, body), raw(2, after(time.Second), body), raw(3, after(window), body)},
			[][]string{accepted, {"duplicate same_body of raw.genesys/3/1"}, {"duplicate same_body of raw.genesys/3/1"}}, row(1),
		},
		"the same id with another body": {
			[]rawRecord{raw(1, t0, body), raw(2, t0, user("e1", "u1", "Bea", t0))},
			[][]string{accepted, {"duplicate same_id_other_body of raw.genesys/3/1"}}, row(1),
		},
		"the same id of another entity": {
			[]rawRecord{raw(1, t0, body), raw(2, t0, user("e1", "u2", "Bea", t0))},
			[][]string{accepted, {"event of genesys/acme/user/u2", "canonical e1 on " + bus}},
			append(row(1), "genesys/acme/user/u2#e1 raw.genesys/3/2"),
		},
		"offsets reset": {
			[]rawRecord{raw(1, t0, body), raw(2, t0, body), raw(1, t0, body), raw(2, t0, body)},
			[][]string{accepted, {"duplicate same_body of raw.genesys/3/1"}, replayed, {"duplicate same_body of raw.genesys/3/1"}}, row(1),
		},
		"after the window": {
			[]rawRecord{raw(1, t0, body), raw(2, after(window)+1, body), raw(3, after(window)+2, body)},
			[][]string{accepted, accepted, {"duplicate same_body of raw.genesys/3/2"}}, row(2),
		},
		"redrive of a letter that the entity stage wrote": {
			[]rawRecord{raw(1, t0, body), raw(8, t0, body, redrive(1)), raw(9, t0, body, redrive(1)), raw(8, t0, body, redrive(1))},
			[][]string{accepted, accepted, {"duplicate same_body of raw.genesys/3/8"}, replayed}, row(8),
		},
		"redrive of a letter that left no row": {
			[]rawRecord{raw(8, t0, body, redrive(1)), raw(9, t0, body, redrive(1))},
			[][]string{accepted, {"duplicate same_body of raw.genesys/3/8"}}, row(8),
		},
		"redrive of another position": {
			[]rawRecord{raw(1, t0, body), raw(8, t0, body, redrive(2))},
			[][]string{accepted, {"duplicate same_body of raw.genesys/3/1"}}, row(1),
		},
		"heartbeat": {
			[]rawRecord{raw(1, t0, `{"eventType":"heartbeat"}`)},
			[][]string{{"filtered heartbeat"}}, nil,
		},
		"event that touches no entity": {
			[]rawRecord{raw(1, t0, `{"id":"e7","eventType":"weather.changed"}`)},
			[][]string{{"canonical e7 on " + bus, "event_only no_entity"}},
			[]string{"genesys/acme/-/request-1%2F0#e7 raw.genesys/3/1"},
		},
		"wrong key": {
			[]rawRecord{raw(1, t0, body, keyed("genesys/acme/user/u9#e1")), raw(2, t0, body)},
			[][]string{append(slices.Clone(accepted), "loop "+ann+"#e1"), {"duplicate same_body of raw.genesys/3/1"}}, row(1),
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := startNormalise(t, c)
			for i, r := range tt.records {
				if diff := cmp.Diff(tt.want[i], normalised(s, r)); diff != "" {
					t.Errorf("record %d (-want +got):\n%s", i, diff)
				}
			}
			if diff := cmp.Diff(tt.rows, firsts(s)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

// I6: what cannot be read is kept whole and unaltered, with all that a redrive
// needs, and leaves no row.
func TestNormaliseDeadLetters(t *testing.T) {
	c := config(t)
	mapGenesys := c.Mappers[topology.Genesys].Map
	m := c.Mappers[topology.Genesys]
	m.Map = func(raw *event.Raw) (event.Event, error) {
		if bytes.Contains(raw.Body, []byte("hunter2")) {
			panic("cannot stand hunter2")
		}
		return mapGenesys(raw)
	}
	c.Mappers[topology.Genesys] = m

	tests := map[string]struct {
		body   string
		change []func(*rawRecord)
		want   event.Reason
	}{
		"no value":            {user("e1", "u1", "Ann", t0), []func(*rawRecord){withoutValue}, event.NullValue},
		"unknown tenant":      {user("e1", "u1", "Ann", t0), []func(*rawRecord){header(event.HeaderTenant, "nobody")}, event.UnknownTenant},
		"tenant of the other": {user("e1", "u1", "Ann", t0), []func(*rawRecord){header(event.HeaderTenant, "globex")}, event.UnknownTenant},
		"empty":               {"", nil, event.MalformedJSON},
		"cut off":             {`{"id":"e1","resourceType":"us`, nil, event.MalformedJSON},
		"bytes":               {"\x00\xff\xfe#/%", nil, event.MalformedJSON},
		"unknown format":      {`{"hello":"world"}`, nil, event.UnknownFormat},
		"array":               {"[" + user("e1", "u1", "Ann", t0) + "]", nil, event.NotSplit},
		"missing field":       {`{"id":"e1","resourceType":"user","eventType":"updated"}`, nil, event.MissingField},
		"mapper panics":       {user("e1", "u1", "hunter2", t0), nil, event.MapperPanic},
		"another redrive": {
			`{`, []func(*rawRecord){header(codecs.HeaderDLQAttempt, "2"), header(codecs.HeaderDLQFirstSeen, "17"), header(codecs.HeaderDLQRoot, "raw.genesys/3/1")}, event.MalformedJSON,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := startNormalise(t, c)
			r := rawAt(c, topology.Genesys, 4, t0, tt.body)
			if tt.want == event.MapperPanic {
				r = rawAt(config(t), topology.Genesys, 4, t0, tt.body)
			}
			for _, f := range tt.change {
				f(&r)
			}
			es := s.deliver(r.at, r.key, r.body, maps.Clone(r.headers))
			if len(es) != 1 || es[0].Stream != topology.DeadLettersTopic {
				t.Fatalf("got %v, want one dead letter", es)
			}
			e := es[0]
			if !bytes.Equal(e.Value, r.body) || e.Value == nil || e.Key != r.key {
				t.Errorf("letter %q: %q, want %q: %q", e.Key, e.Value, r.key, r.body)
			}
			for k, want := range r.headers {
				if got := e.Headers[k]; !strings.HasPrefix(k, "dlq.") && !bytes.Equal(got, want) {
					t.Errorf("header %s: %q, want %q", k, got, want)
				}
			}
			got, err := codecs.ParseDeadLetter(e.Headers)
			if err != nil {
				t.Fatal(err)
			}
			want := codecs.DeadLetter{
				Reason: tt.want, Stage: "normalise", Raw: r.at, Key: r.key, IngestID: "request-4/0",
				Attempt: 1, FirstSeenMs: t0, Run: "run-1", Detail: got.Detail,
			}
			if _, again := r.headers[codecs.HeaderDLQAttempt]; again {
				want.Attempt, want.FirstSeenMs, want.Root = 3, 17, "raw.genesys/3/1"
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("letter (-want +got):\n%s", diff)
			}
			if got.Detail == "" || strings.Contains(got.Detail, "hunter2") {
				t.Errorf("detail %q: want one that tells why, without payload (I10)", got.Detail)
			}
			if rows := s.rows(); len(rows) > 0 {
				t.Errorf("rows %v, want none", rows)
			}
		})
	}
}

// A record is re-keyed once; what finds yet another key is no ping-pong.
func TestNormaliseLoop(t *testing.T) {
	c := config(t)
	m := c.Mappers[topology.Genesys]
	plain := m.Map
	calls := 0
	m.Map = func(raw *event.Raw) (event.Event, error) {
		e, err := plain(raw)
		calls++
		e.Key.ID = fmt.Sprint("other-", calls)
		return e, err
	}
	r := rawAt(c, topology.Genesys, 4, t0, user("e1", "u1", "Ann", t0))
	c.Mappers[topology.Genesys] = m
	s := startNormalise(t, c)
	want := []string{"dead letter rekey_loop", "loop genesys/acme/user/other-1#e1"}
	if diff := cmp.Diff(want, normalised(s, r)); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
	if calls != 2 || len(s.rows()) > 0 {
		t.Errorf("mapped %d times, %d rows; want 2 and none", calls, len(s.rows()))
	}
}

func TestNormaliseOrigin(t *testing.T) {
	const ahead = t0 + event.MaxAheadMs
	tests := map[string]struct {
		vendor string
		body   string
		change []func(*rawRecord)
		want   func(*event.Event)
	}{
		"plain": {
			topology.Genesys, user("e1", "u1", "Ann", t0-7), nil,
			func(e *event.Event) {},
		},
		"five minutes ahead": {
			topology.Genesys, user("e1", "u1", "Ann", ahead), nil,
			func(e *event.Event) { e.TsMs = ahead },
		},
		"more than five minutes ahead": {
			topology.Genesys, user("e1", "u1", "Ann", ahead+1), nil,
			func(e *event.Event) { e.TsMs, e.TsSource = t0, event.TsClamped },
		},
		"through the loop": { // its log is the loop; its position and clamp are the raw record's
			topology.Genesys, user("e1", "u1", "Ann", ahead+1), []func(*rawRecord){keyed("genesys/acme/user/u9#e1")},
			func(e *event.Event) {
				e.TsMs, e.TsSource = t0, event.TsClamped
				e.Origin.LogSource, e.Origin.LogMs = "normalise-loop/5", t0+40
			},
		},
		"vendor of a header": { // (I9)
			topology.Genesys, user("e1", "u1", "Ann", t0-7), []func(*rawRecord){header(event.HeaderVendor, topology.CXone)},
			func(e *event.Event) {},
		},
		"position of a header": { // such as a redrive that copied all headers of a letter
			topology.Genesys, user("e1", "u1", "Ann", t0-7), []func(*rawRecord){
				func(r *rawRecord) { merge(r.headers, event.Position{Topic: "raw.cxone", Offset: 99}.Headers()) },
			},
			func(e *event.Event) {},
		},
		"tenant of a payload": { // (I9)
			topology.CXone, `{"eventId":"e1","eventType":"CALL_STARTED","tenantId":"globex","timestamp":"2026-11-22T01:50:00Z","data":{"masterContactId":"u1","tenantId":"globex"}}`, nil,
			func(e *event.Event) {
				e.Key = event.Key{Vendor: topology.CXone, Tenant: "acme", Type: event.TypeConversation, ID: "u1"}
				e.Type, e.Op, e.TsMs, e.Origin.Format = "conversation.started", event.Create, t0, event.CXoneSeed
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := config(t)
			s := startNormalise(t, c)
			r := rawAt(c, tt.vendor, 4, t0, tt.body, tt.change...)
			s.loop = event.Position{Topic: string(topology.NormaliseLoop), Partition: 5, Offset: 77, AppendMs: t0 + 40}
			want := event.Event{
				ID: "e1", Key: event.Key{Vendor: topology.Genesys, Tenant: "acme", Type: "user", ID: "u1"},
				Type: "config.user.updated", Op: event.Update, TsMs: t0 - 7, TsSource: event.TsEvent,
				Origin: event.Origin{
					IngestID: "request-4/0", Transport: event.Push, Format: event.GenesysSeed, ReceivedMs: t0 - 5,
					Raw: r.at, LogSource: r.at.Topic + "/3", LogMs: t0,
				},
			}
			tt.want(&want)
			var working, canonical int
			for _, e := range s.deliver(r.at, r.key, r.body, r.headers) {
				switch e.Stream {
				case topology.EventsTopic:
					working++
					got := workingOf(t, e)
					got.Image, got.Partial, got.Metadata = nil, false, nil // the mapper's
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("working event (-want +got):\n%s", diff)
					}
					clock, ms, ok := processors.Stages(c)[1].LogTime(func(name string) []byte { return e.Headers[name] })
					if !ok || clock != want.Origin.LogSource || ms != want.Origin.LogMs {
						t.Errorf("log time %s %d %t, want %s %d", clock, ms, ok, want.Origin.LogSource, want.Origin.LogMs)
					}
				case topology.CanonicalEvents:
					canonical++
					got, err := c.Canonical[string(e.Headers[stream.ToTopic])].Codec.Decode(e.Value)
					if err != nil {
						t.Fatal(err)
					}
					if got.Vendor != want.Key.Vendor || got.TenantID != "acme" || got.Timestamp != want.TsMs {
						t.Errorf("canonical event of %s/%s at %d, want %s/acme at %d", got.Vendor, got.TenantID, got.Timestamp, want.Key.Vendor, want.TsMs)
					}
					if topic := string(e.Headers[stream.ToTopic]); topic != topology.CanonicalTopic(want.Key.Vendor, "acme") {
						t.Errorf("canonical event on %s", topic)
					}
					if by := string(e.Headers[stream.PartitionBy]); by != want.Key.String() {
						t.Errorf("canonical event partitioned by %s, want %s", by, want.Key)
					}
				}
			}
			if working != 1 || canonical != 1 {
				t.Errorf("%d working and %d canonical events, want one each", working, canonical)
			}
		})
	}
}

// A mark is a clock without an event, in the partition where the log's events go.
func TestNormaliseMark(t *testing.T) {
	c := config(t)
	s := startNormalise(t, c)
	es := s.tick("raw.genesys/4", stream.Tick{Clock: "raw.genesys/4", NowMs: t0 + 500}, 4)
	want := []emission{{
		Stream: topology.EventsTopic, Key: "raw.genesys/4", Value: []byte{},
		Headers: goka.Headers{
			event.HeaderMark: []byte("true"), stream.ToPartition: []byte("4"),
			event.HeaderLogSource: []byte("raw.genesys/4"), event.HeaderLogMs: fmt.Append(nil, t0+500),
		},
	}}
	if diff := cmp.Diff(want, es); diff != "" {
		t.Errorf("mark (-want +got):\n%s", diff)
	}
	clock, ms, ok := processors.Stages(c)[1].LogTime(func(name string) []byte { return es[0].Headers[name] })
	if clock != "raw.genesys/4" || ms != t0+500 || !ok {
		t.Errorf("log time %s %d %t", clock, ms, ok)
	}
}

func TestStages(t *testing.T) {
	for _, holds := range [][2]int{{500, 100}, {100, 500}, {300, 300}} {
		c := config(t)
		c.ConfigHold, c.InteractionHold = time.Duration(holds[0])*time.Millisecond, time.Duration(holds[1])*time.Millisecond
		stages := processors.Stages(c)
		normalise, entity := stages[0], stages[1]
		longest, shortest := max(c.ConfigHold, c.InteractionHold), min(c.ConfigHold, c.InteractionHold)
		if normalise.MaxHold < longest || normalise.Quiet < normalise.MaxHold+c.ClockMargin {
			t.Errorf("holds %v: silence is announced after %v for what is held %v", holds, normalise.Quiet, normalise.MaxHold)
		}
		if entity.MinHold > shortest || entity.LogTime == nil || entity.Store.Timers == nil {
			t.Errorf("holds %v: timers from %v on", holds, entity.MinHold)
		}
		if normalise.Store.Expiry == nil || normalise.LogTime != nil {
			t.Errorf("holds %v: dedup rows stay for ever, or raw records have timers", holds)
		}
		for i, g := range processors.Graphs(c) {
			if err := g.Validate(); err != nil {
				t.Errorf("group %s: %v", g.Group(), err)
			}
			if stages[i].Tick != string(topology.Ticks) {
				t.Errorf("group %s: ticks on %q", g.Group(), stages[i].Tick)
			}
		}
	}
}

func TestValidate(t *testing.T) {
	c := config(t)
	c.Layout.SeedProjection = true
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "genesys.config.seed") {
		t.Errorf("without the codec of the projection: %v", err)
	}
	c.Layout.SeedProjection = false
	delete(c.Changes, "cxone.config.changes")
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "cxone.config.changes") {
		t.Errorf("without an encoder: %v", err)
	}
	c.Mappers = map[string]vendors.Mapper{topology.Genesys: c.Mappers[topology.Genesys]}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "cxone") {
		t.Errorf("without a mapper: %v", err)
	}
}
