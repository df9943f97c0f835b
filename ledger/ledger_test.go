package ledger

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/codecs"
	"trunkline/event"
	"trunkline/topology"
)

// TestCorrectHistoryBalances proves that the ledger finds nothing where nothing
// is wrong, in whatever order the topics come (I3, I4, I5).
func TestCorrectHistoryBalances(t *testing.T) {
	for seed := range uint64(10) {
		for _, format := range []codecs.Format{codecs.FormatAvro, codecs.FormatJSON} {
			h := correctHistory(seed, 600)
			r := h.balance(t, Config{Run: "1", Rows: true}, format, seed)
			if !r.OK || !r.Balanced {
				t.Fatalf("seed %d, %s: %s", seed, format, text(t, &r))
			}
			if got, want := r.RawRecords, int64(600); got != want {
				t.Errorf("seed %d: raw records: got %d, want %d", seed, got, want)
			}
			var fates int64
			for _, n := range r.Fates {
				fates += n
			}
			if fates != r.RawRecords || r.Fates[event.FateChange]+r.Caused != r.Changes || r.Caused == 0 || r.Tombstones == 0 || r.Rows == 0 {
				t.Errorf("seed %d: counts do not fit each other:\n%s", seed, text(t, &r))
			}
		}
	}
}

// TestDefects damages a correct history in one place: the findings are exactly
// those that name the damage.
func TestDefects(t *testing.T) {
	isFate := func(o output) bool { return o.fate != "" }
	onTopic := func(name string) func(output) bool { return func(o output) bool { return o.topic == name } }
	late, dead := onTopic(string(topology.LateEventsTopic)), onTopic(string(topology.DeadLettersTopic))
	opIs := func(op event.Op) func(output) bool {
		return func(o output) bool { return o.change != nil && o.change.Op == op && o.cause == "" }
	}
	tombstone := func(o output) bool { return o.tombstone && o.cause == "" }
	expiry := func(o output) bool { return o.change != nil && o.cause != "" }
	drop := func(fits func(output) bool) func(*testing.T, *history) {
		return func(t *testing.T, h *history) {
			i := h.find(t, fits)
			h.outputs = slices.Delete(h.outputs, i, i+1)
		}
	}
	double := func(fits func(output) bool) func(*testing.T, *history) {
		return func(t *testing.T, h *history) {
			i := h.find(t, fits)
			h.outputs = slices.Insert(h.outputs, i, h.outputs[i])
		}
	}
	update := func(damage func(h *history, o *output, c *event.Change)) func(*testing.T, *history) {
		return func(t *testing.T, h *history) {
			o := &h.outputs[h.updates(t, 3)[1]]
			damage(h, o, o.own())
		}
	}
	rowOf := func(live bool) func(*testing.T, *history) event.Key {
		return func(t *testing.T, h *history) event.Key {
			for k, r := range h.rows {
				if r.deleted != live {
					return k
				}
			}
			t.Fatal("the history has no such row: choose another seed")
			return event.Key{}
		}
	}

	tests := []struct {
		name   string
		damage func(*testing.T, *history)
		want   map[string]int64
	}{
		{"nothing", func(*testing.T, *history) {}, nil},

		{"fate dropped", drop(isFate), map[string]int64{"no_fate": 1}},
		{"late event dropped", drop(late), map[string]int64{"no_fate": 1}},
		{"dead letter swallowed", drop(dead), map[string]int64{"no_fate": 1}},
		{"change dropped", func(t *testing.T, h *history) {
			i := h.updates(t, 3)[1]
			h.outputs = slices.Delete(h.outputs, i, i+1)
		}, map[string]int64{"no_fate": 1, "before_mismatches": 1}},
		{"fate doubled", double(isFate), map[string]int64{"many_fates": 1}},
		{"late event doubled", double(late), map[string]int64{"many_fates": 1}},
		{"dead letter doubled", double(dead), map[string]int64{"many_fates": 1}},
		{"fate three times", func(t *testing.T, h *history) { double(isFate)(t, h); double(isFate)(t, h) },
			map[string]int64{"many_fates": 1}},
		{"change doubled", func(t *testing.T, h *history) {
			i := h.updates(t, 3)[1]
			h.outputs = slices.Insert(h.outputs, i, h.outputs[i])
		}, map[string]int64{"many_fates": 1, "duplicate_changes": 1, "before_mismatches": 1}},
		{"late and unchanged", func(t *testing.T, h *history) {
			o := h.outputs[h.find(t, late)]
			o.topic, o.fate = string(topology.FatesTopic), event.FateUnchanged
			h.outputs = append(h.outputs, o)
		}, map[string]int64{"many_fates": 1}},
		{"raw record lost", func(_ *testing.T, h *history) { h.raws = h.raws[1:] }, map[string]int64{"no_raw": 1}},
		{"raw record without any output", func(_ *testing.T, h *history) {
			r := h.raws[len(h.raws)-1]
			r.Offset += 10_000
			h.raws = append(h.raws, r)
		}, map[string]int64{"no_fate": 1}},
		{"late event without its raw position", func(t *testing.T, h *history) {
			h.outputs[h.find(t, late)].raw = event.Position{}
		}, map[string]int64{"no_fate": 1, "no_raw": 1}},
		{"fate of a negative offset", func(t *testing.T, h *history) {
			h.outputs[h.find(t, isFate)].raw.Offset = -5
		}, map[string]int64{"no_fate": 1, "no_raw": 1}},
		{"fate of another run", func(t *testing.T, h *history) { h.outputs[h.find(t, isFate)].run = "2" },
			map[string]int64{"no_fate": 1}},

		{"two changes swapped", func(t *testing.T, h *history) {
			u := h.updates(t, 4)
			h.outputs[u[1]], h.outputs[u[2]] = h.outputs[u[2]], h.outputs[u[1]]
		}, map[string]int64{"before_mismatches": 3, "out_of_order": 1, "sequence_back": 1}},
		{"event time goes back", update(func(_ *history, _ *output, c *event.Change) { c.TsMs = baseMs - 1 }),
			map[string]int64{"out_of_order": 1}},
		{"sequence time goes back", update(func(_ *history, _ *output, c *event.Change) { c.SequenceUs = 1 }),
			map[string]int64{"sequence_back": 1}},
		{"change number goes back", func(t *testing.T, h *history) {
			u := h.updates(t, 3)
			c := h.outputs[u[2]].own()
			c.SequenceUs, c.SequenceN = h.outputs[u[1]].change.SequenceUs, 0
		}, map[string]int64{"sequence_back": 1}},
		{"one event, two changes", func(t *testing.T, h *history) {
			u := h.updates(t, 3)
			h.outputs[u[2]].own().EventID = h.outputs[u[0]].change.EventID
		}, map[string]int64{"duplicate_changes": 1}},

		{"one raw record, two changes", func(t *testing.T, h *history) {
			u := h.updates(t, 3)
			h.outputs[u[2]].raw = h.outputs[u[0]].raw
		}, map[string]int64{"duplicate_changes": 1, "many_fates": 1, "no_fate": 1}},

		{"before from the new image", update(func(_ *history, _ *output, c *event.Change) { c.Before = c.After }),
			map[string]int64{"before_mismatches": 1}},
		{"before of another name", update(func(_ *history, _ *output, c *event.Change) {
			c.Before = &event.Image{Version: c.Before.Version, Data: c.Before.Data}
		}),
			map[string]int64{"before_mismatches": 1}},
		{"before of another version", update(func(_ *history, _ *output, c *event.Change) {
			c.Before = &event.Image{Name: c.Before.Name, Data: c.Before.Data}
		}),
			map[string]int64{"before_mismatches": 1}},
		{"before of other data", update(func(_ *history, _ *output, c *event.Change) {
			c.Before = &event.Image{Name: c.Before.Name, Version: c.Before.Version, Data: []byte("{}")}
		}), map[string]int64{"before_mismatches": 1}},
		{"u with the key-only before that the last change left", func(t *testing.T, h *history) {
			u := h.updates(t, 3)
			h.outputs[u[0]].own().After = &event.Image{}
			h.outputs[u[1]].own().Before = &event.Image{}
		}, map[string]int64{"before_mismatches": 1}},
		{"u with a key-only before", update(func(_ *history, _ *output, c *event.Change) { c.Before = &event.Image{} }),
			map[string]int64{"before_mismatches": 1}},
		{"c of what lives", update(func(_ *history, _ *output, c *event.Change) { c.Op, c.Before = event.Create, nil }),
			map[string]int64{"before_mismatches": 1}},
		{"r of what lives", update(func(_ *history, _ *output, c *event.Change) { c.Op, c.Before = event.Read, nil }),
			map[string]int64{"before_mismatches": 1}},
		{"d of what was deleted, with its last state", func(t *testing.T, h *history) {
			i := h.find(t, func(o output) bool { return opIs(event.Delete)(o) && o.change.Before.Data != nil })
			d, tomb := h.outputs[i], h.outputs[i+1]
			d.cause, tomb.cause = "forged", "forged"
			d.raw, tomb.raw = event.Position{}, event.Position{}
			d.own().EventID = ""
			h.outputs = slices.Insert(h.outputs, i+2, d, tomb)
		}, map[string]int64{"before_mismatches": 1, "no_raw": 1}},
		{"u of what was deleted", func(t *testing.T, h *history) {
			// The update behind a delete's tombstone was a create before.
			d := h.find(t, tombstone)
			i := h.find(t, func(o output) bool {
				return o.key == h.outputs[d].key && o.change != nil && o.change.TsMs > h.outputs[d-1].change.TsMs
			})
			c := h.outputs[i].own()
			c.Op, c.Before = event.Update, c.After
		}, map[string]int64{"before_mismatches": 1}},
		{"d with a key-only before of a known state", func(t *testing.T, h *history) {
			i := h.find(t, func(o output) bool { return opIs(event.Delete)(o) && o.change.Before.Data != nil })
			h.outputs[i].own().Before = &event.Image{}
		}, map[string]int64{"before_mismatches": 1}},
		{"d with a full before of an unknown state", func(t *testing.T, h *history) {
			i := h.find(t, func(o output) bool { return opIs(event.Delete)(o) && o.change.Before.Data == nil })
			h.outputs[i].own().Before = &event.Image{Data: []byte("{}")}
		}, map[string]int64{"before_mismatches": 1}},

		{"tombstone dropped", drop(tombstone), map[string]int64{"missing_tombstones": 1}},
		{"last tombstone dropped", func(t *testing.T, h *history) {
			slices.Reverse(h.outputs)
			drop(tombstone)(t, h)
			slices.Reverse(h.outputs)
		}, map[string]int64{"missing_tombstones": 1}},
		{"tombstone doubled", double(tombstone), map[string]int64{"ghost_tombstones": 1}},
		{"tombstone of another delete", func(t *testing.T, h *history) {
			i := h.find(t, tombstone)
			h.outputs[i].raw.Offset++
		}, map[string]int64{"missing_tombstones": 1, "ghost_tombstones": 1}},
		{"tombstone before its delete", func(t *testing.T, h *history) {
			i := h.find(t, tombstone)
			h.outputs[i-1], h.outputs[i] = h.outputs[i], h.outputs[i-1]
		}, map[string]int64{"missing_tombstones": 1, "ghost_tombstones": 1}},

		{"row lost", func(t *testing.T, h *history) { delete(h.rows, rowOf(true)(t, h)) },
			map[string]int64{"table_mismatches": 1}},
		{"row deleted", func(t *testing.T, h *history) { h.rows[rowOf(true)(t, h)].deleted = true },
			map[string]int64{"table_mismatches": 1}},
		{"row of another image", func(t *testing.T, h *history) {
			h.rows[rowOf(true)(t, h)] = &row{image: &event.Image{Data: []byte("{}")}}
		}, map[string]int64{"table_mismatches": 1}},
		{"row of what was deleted", func(t *testing.T, h *history) {
			h.rows[rowOf(false)(t, h)] = &row{image: &event.Image{Data: []byte("{}")}}
		}, map[string]int64{"table_mismatches": 1}},
		{"row of what never changed", func(_ *testing.T, h *history) {
			h.rows[event.Key{Vendor: "genesys", Tenant: "acme", Type: "user", ID: "new"}] = &row{image: &event.Image{Data: []byte("{}")}}
		}, map[string]int64{"table_mismatches": 1}},
		{"row that only holds events", func(_ *testing.T, h *history) {
			h.rows[event.Key{Vendor: "genesys", Tenant: "acme", Type: "user", ID: "new"}] = &row{}
		}, nil},

		{"for a cause that nobody knows", func(t *testing.T, h *history) {
			i := h.find(t, expiry)
			h.outputs[i].cause, h.outputs[i+1].cause = "boredom", "boredom"
		}, map[string]int64{"no_raw": 1, "out_of_order": 1}},
		{"for a cause, from a raw record", func(t *testing.T, h *history) {
			i, raw := h.find(t, expiry), h.outputs[h.find(t, opIs(event.Update))].raw
			h.outputs[i].raw, h.outputs[i+1].raw = raw, raw
		}, map[string]int64{"many_fates": 1, "duplicate_changes": 1, "out_of_order": 1}},
		{"without its cause", func(t *testing.T, h *history) { h.outputs[h.find(t, expiry)].cause = "" },
			map[string]int64{"no_raw": 1, "missing_tombstones": 1, "ghost_tombstones": 1, "out_of_order": 1}},
		{"idle, and no end", func(t *testing.T, h *history) {
			o := &h.outputs[h.find(t, func(o output) bool { return opIs(event.Update)(o) && o.key.Interaction() })]
			o.raw, o.cause = event.Position{}, "idle"
		}, map[string]int64{"no_raw": 1, "no_fate": 1}},
		{"idle, and no interaction", func(t *testing.T, h *history) {
			i := h.find(t, func(o output) bool { return opIs(event.Delete)(o) && !o.key.Interaction() })
			for _, o := range []*output{&h.outputs[i], &h.outputs[i+1]} {
				o.raw, o.cause = event.Position{}, "idle"
			}
		}, map[string]int64{"no_raw": 1, "no_fate": 1}},
		{"idle twice", func(t *testing.T, h *history) {
			i := h.find(t, expiry)
			h.outputs = slices.Insert(h.outputs, i+2, h.outputs[i:i+2]...)
		}, map[string]int64{"before_mismatches": 1, "duplicate_changes": 1}},
		{"idle of another state", func(t *testing.T, h *history) {
			h.outputs[h.find(t, expiry)].own().Before = &event.Image{Data: []byte("{}")}
		}, map[string]int64{"before_mismatches": 1}},
		{"idle before its last event", func(t *testing.T, h *history) { h.outputs[h.find(t, expiry)].own().TsMs = baseMs - 1 },
			map[string]int64{"out_of_order": 1}},
		{"idle without a tombstone", func(t *testing.T, h *history) {
			i := h.find(t, expiry) + 1
			h.outputs = slices.Delete(h.outputs, i, i+1)
		}, map[string]int64{"missing_tombstones": 1}},
		{"quarantined dead letter", func(_ *testing.T, h *history) {
			h.outputs = append(h.outputs, output{topic: string(topology.DeadLettersTopic), stage: "quarantine"})
		}, nil},
		{"replay of another run", func(t *testing.T, h *history) {
			o := h.outputs[h.find(t, isFate)]
			o.run, o.fate = "2", event.FateReplayed
			h.outputs = append(h.outputs, o)
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := correctHistory(4, 600)
			tt.damage(t, h)
			r := h.balance(t, Config{Run: "1", Rows: true}, codecs.FormatAvro, 1)
			if diff := cmp.Diff(tt.want, findings(t, &r)); diff != "" {
				t.Errorf("findings differ (-want +got):\n%s%s", diff, text(t, &r))
			}
			if got, want := r.OK, len(tt.want) == 0; got != want {
				t.Errorf("ok: got %t, want %t", got, want)
			}
			join := tt.want["no_fate"] + tt.want["many_fates"] + tt.want["no_raw"]
			if got, want := r.Balanced, join == 0; got != want {
				t.Errorf("balanced: got %t, want %t", got, want)
			}
		})
	}
}

// TestRangeStart proves that a ledger over what retention has left of the raw
// topics finds nothing, whether compaction has taken the older changes or not.
func TestRangeStart(t *testing.T) {
	from := map[string]map[int32]int64{}
	for _, v := range topology.Vendors {
		from[string(topology.RawTopic(v))] = map[int32]int64{0: 40, 1: 50, 2: 60}
	}
	early := func(p event.Position) bool { return p.Offset < from[p.Topic][p.Partition] }
	for _, compacted := range []bool{false, true} {
		h := correctHistory(5, 900)
		h.raws = slices.DeleteFunc(h.raws, func(r Record) bool { return early(r.position()) })
		i := h.find(t, func(o output) bool { return early(o.raw) && o.change != nil && o.change.Op == event.Update })
		h.outputs[i].own().Before = &event.Image{Data: []byte("{}")} // not ours to judge
		if compacted {
			last := map[event.Key]int{} // an expiry goes with the changes around it
			for i, o := range h.outputs {
				if o.raw.Topic != "" && early(o.raw) {
					last[o.key] = i
				}
			}
			var kept []output
			for i, o := range h.outputs {
				if n, some := last[o.key]; o.raw.Topic != "" && !early(o.raw) || o.raw.Topic == "" && (!some || i > n) {
					kept = append(kept, o)
				}
			}
			h.outputs = kept
		}
		r := h.balance(t, Config{From: from}, codecs.FormatJSON, 1)
		if !r.OK || r.RawRecords != int64(len(h.raws)) {
			t.Errorf("compacted %t:\n%s", compacted, text(t, &r))
		}
		r = h.balance(t, Config{}, codecs.FormatJSON, 1)
		if got, want := r.Balanced, compacted; got != want {
			t.Errorf("compacted %t, without a range: balanced %t, want %t", compacted, got, want)
		}
	}
}

// TestExamples proves that a finding names where to look.
func TestExamples(t *testing.T) {
	h := correctHistory(1, 300)
	var lost []string
	h.outputs = slices.DeleteFunc(h.outputs, func(o output) bool {
		if o.fate != event.FateFiltered {
			return false
		}
		lost = append(lost, o.raw.String()+" "+o.ingestID)
		return true
	})
	r := h.balance(t, Config{Examples: 3}, codecs.FormatAvro, 1)
	if got, want := r.NoFate.Count, int64(len(lost)); got != want || want <= 3 {
		t.Fatalf("raw records without a fate: got %d, want %d, more than 3", got, want)
	}
	if got, want := len(r.NoFate.Examples), 3; got != want {
		t.Errorf("examples: got %d, want %d", got, want)
	}
	for _, x := range r.NoFate.Examples {
		if !slices.Contains(lost, x.Raw+" "+x.IngestID) {
			t.Errorf("example %+v is none of the lost records", x)
		}
		if !strings.Contains(text(t, &r), x.IngestID) {
			t.Errorf("text does not show ingest id %s", x.IngestID)
		}
	}
}

func TestAdd(t *testing.T) {
	h := correctHistory(1, 50)
	good := h.records(t, codecs.FormatAvro)
	change := good[slices.IndexFunc(good, func(r Record) bool { return strings.HasSuffix(r.Topic, ".changes") && r.Value != nil })]
	// A sink would upsert what it does not know.
	asJSON := h.records(t, codecs.FormatJSON)
	truncate := asJSON[slices.IndexFunc(asJSON, func(r Record) bool { return bytes.Contains(r.Value, []byte(`"op":"u"`)) })]
	truncate.Value = bytes.Replace(truncate.Value, []byte(`"op":"u"`), []byte(`"op":"t"`), 1)
	tests := []struct {
		name    string
		records []Record
		wantErr string
	}{
		{"offsets grow", []Record{{Topic: "raw.genesys", Offset: 7}, {Topic: "raw.genesys", Offset: 9}}, ""},
		{"partitions are apart", []Record{{Topic: "raw.genesys", Offset: 7}, {Topic: "raw.genesys", Partition: 1, Offset: 3}}, ""},
		{"offset twice", []Record{{Topic: "raw.genesys", Offset: 7}, {Topic: "raw.genesys", Offset: 7}}, "raw.genesys/0/7"},
		{"a change", []Record{change}, ""},
		{"another topic", []Record{{Topic: "events", Value: []byte("x")}, {Topic: "events"}}, ""},
		{"a table", []Record{{Topic: "entity-table", Value: []byte("x")}}, ""},
		{"an unknown op", []Record{truncate}, `unknown op "t"`},
		{"undecodable change", []Record{{Topic: "genesys.config.changes", Key: []byte("{}"), Value: []byte("x")}}, "decode change"},
		{"undecodable tombstone", []Record{{Topic: "genesys.config.changes", Key: []byte("x")}}, "decode change key"},
		{"undecodable fate", []Record{{Topic: "fates", Value: []byte("x")}}, "decode fate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := New(Config{})
			var err error
			for _, r := range tt.records {
				if err == nil {
					err = l.Add(r)
				}
			}
			if (err != nil) != (tt.wantErr != "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("got error %v, want %q", err, tt.wantErr)
			}
		})
	}
}

// TestReportJSON pins the names that scripts read.
func TestReportJSON(t *testing.T) {
	h := correctHistory(1, 100)
	r := h.balance(t, Config{Run: "1", Rows: true}, codecs.FormatAvro, 1)
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var names map[string]any
	if err := json.Unmarshal(b, &names); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"balanced", "before_mismatches", "caused", "changes", "duplicate_changes", "entities", "fates", "ghost_tombstones",
		"many_fates", "missing_tombstones", "no_fate", "no_raw", "ok", "other_runs", "out_of_order", "raw_records", "rows",
		"run", "sequence_back", "table_mismatches", "tombstones",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(names))); diff != "" {
		t.Errorf("names differ (-want +got):\n%s", diff)
	}
}

// findings returns the counts above 0 by JSON name.
func findings(t *testing.T, r *Report) map[string]int64 {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		t.Fatal(err)
	}
	var got map[string]int64
	for name, raw := range fields {
		var f struct{ Count *int64 }
		if json.Unmarshal(raw, &f) == nil && f.Count != nil && *f.Count > 0 {
			if got == nil {
				got = map[string]int64{}
			}
			got[name] = *f.Count
		}
	}
	return got
}

func text(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
