package drift_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"trunkline/drift"
	"trunkline/event"
)

// first is the start of the first day of the logs of these tests. Days are inputs:
// nothing here asks a clock.
var first = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

const days = 30

// seen is an event of a day with unknown fields.
func seen(day int, tenant string, fields map[string]string) *event.Event {
	return seenOf("config.user.updated", day, tenant, fields)
}

func seenOf(eventType string, day int, tenant string, fields map[string]string) *event.Event {
	e := &event.Event{Key: event.Key{Vendor: "genesys", Tenant: tenant}, Type: eventType, Metadata: map[string]string{"unmapped_action": "wave"}}
	maps.Copy(e.Metadata, fields)
	e.Origin.Raw.AppendMs = first.AddDate(0, 0, day).Add(time.Hour).UnixMilli()
	return e
}

// topic keeps the newest row of each key, as a compacted topic does.
type topic map[string][]byte

func (t topic) write(rows map[string][]byte) error {
	maps.Copy(t, rows)
	return nil
}

func (t topic) flush(tb testing.TB, tables ...*drift.Table) {
	tb.Helper()
	for _, table := range tables {
		if err := table.Flush(t.write); err != nil {
			tb.Fatal(err)
		}
	}
}

func (t topic) fields(tb testing.TB) map[string]drift.Field {
	tb.Helper()
	var fold drift.Fold
	for key, row := range t {
		if err := fold.Add([]byte(key), row); err != nil {
			tb.Fatal(err)
		}
	}
	byName := map[string]drift.Field{}
	for _, f := range fold.Fields(days) {
		byName[strings.TrimPrefix(f.EventType+" "+f.Field, "config.user.updated ")] = f
	}
	return byName
}

// What is eligible is what was in consistent use for 30 days of the log.
//
// Seen failing with each condition of judge left out, with the days of the calendar
// instead of those with events, and with null counted as a type.
func TestEligible(t *testing.T) {
	always := func(int) string { return `"a"` }
	for _, tt := range []struct {
		field string
		value func(day int) string // of each day from -10 to 29; "": none
		why   string               // empty: eligible
	}{
		{"x_old", always, ""},
		{"x_thirty", since(0, `"a"`), ""},
		{"x_null", func(day int) string { return map[bool]string{true: "null", false: "7"}[day%2 == 0] }, ""},
		{"x_changed_long_ago", func(day int) string { return map[bool]string{true: `{}`, false: `[]`}[day < 0] }, ""},
		{"x_weekdays", func(day int) string { return map[bool]string{true: "", false: "true"}[day%6 == 5] }, ""},
		{"x_overnight", since(29, `"a"`), "first seen on 2026-11-30, less than 30 days ago"},
		{"x_twenty_nine", since(1, `"a"`), "first seen on 2026-11-02, less than 30 days ago"},
		{"x_changed", func(day int) string { return map[bool]string{true: "1", false: `"1"`}[day < 15] }, "of types number, string"},
		{"x_only_null", func(int) string { return "null" }, "only null"},
		{"x_comes_and_goes", func(day int) string { return map[bool]string{true: "1", false: ""}[day%2 == 0] }, "seen on 15 of 30 days with events of its type"},
		{"x_gone", func(day int) string { return map[bool]string{true: "1", false: ""}[day < 0] }, "not seen since 2026-10-31"},
		{"x_overflow", always, "counts the fields that found no room"},
	} {
		t.Run(tt.field, func(t *testing.T) {
			table, log := drift.NewTable("p1"), topic{}
			for day := -10; day < days; day++ {
				fields := map[string]string{}
				if v := tt.value(day); v != "" {
					fields[tt.field] = v
				}
				table.Observe(seen(day, "acme", fields))
				log.flush(t, table)
			}
			if got := log.fields(t)[tt.field]; got.Why != tt.why || got.Eligible != (tt.why == "") {
				t.Errorf("got eligible %t, %q, want %q", got.Eligible, got.Why, tt.why)
			}
		})
	}
}

func since(first int, value string) func(int) string {
	return func(day int) string {
		if day < first {
			return ""
		}
		return value
	}
}

// Types of which events come on some days only are judged by those days.
func TestEligibleOnTheDaysOfItsType(t *testing.T) {
	table, log := drift.NewTable("p1"), topic{}
	for day := range days {
		table.Observe(seen(day, "acme", nil))
		if day%7 == 0 {
			table.Observe(seenOf("config.flow.published", day, "acme", map[string]string{"x_weekly": "1"}))
		}
	}
	log.flush(t, table)
	if got := log.fields(t)["config.flow.published x_weekly"]; !got.Eligible || got.Days != 5 {
		t.Errorf("got %+v, want it eligible after 5 days", got)
	}
}

// The rows of all processes and of all their lives add up: whatever the order of days,
// whenever a row is written, and if a write fails and comes again.
//
// Seen failing with rows that a later life replaces, with rows of a day that comes
// back after the table began anew, and with what a failed write held dropped.
func TestFiguresAddUp(t *testing.T) {
	log := topic{}
	want := drift.Field{
		Vendor: "genesys", EventType: "config.user.updated", Field: "x_a", Types: []string{"null", "boolean", "number", "string", "array", "object"},
		Tenants: []string{"acme", "globex"}, Eligible: false, Why: "of types boolean, number, string, array, object",
		FirstSeen: first.Add(time.Hour), LastSeen: first.AddDate(0, 0, 29).Add(time.Hour), Days: days,
	}
	values := []string{"null", "true", "-1.5", `"a"`, "[]", "{}", "false"}
	fail := errors.New("away")
	for life := range 3 {
		tables := []*drift.Table{drift.NewTable(fmt.Sprint("p1.", life)), drift.NewTable(fmt.Sprint("p2.", life))}
		for i, day := range order(life) {
			table := tables[i/2%2]
			tenant := []string{"acme", "globex"}[i%2]
			table.Observe(seen(day, tenant, map[string]string{"x_a": values[i%len(values)]}))
			want.Count++
			switch i % 5 {
			case 0:
				log.flush(t, table)
			case 1:
				if err := table.Flush(func(map[string][]byte) error { return fail }); !errors.Is(err, fail) {
					t.Fatalf("got %v, want the reason", err)
				}
			}
		}
		log.flush(t, tables...)
	}
	if diff := cmp.Diff(want, log.fields(t)["x_a"]); diff != "" {
		t.Errorf("field (-want +got):\n%s", diff)
	}
}

// order are all days, some of them twice and out of order.
func order(life int) []int {
	var all []int
	for day := range days {
		all = append(all, day, max(0, day-life-2))
	}
	return all
}

// Fifty fields overnight are fifty rows and no more, whatever the number of events;
// what would grow without bound is counted, not kept.
//
// Seen failing without the bound of rows, of names and of tenants.
func TestTableIsBounded(t *testing.T) {
	table, log := drift.NewTable("p1"), topic{}
	fifty := map[string]string{}
	for i := range 50 {
		fifty[fmt.Sprint("x_new", i)] = "1"
	}
	for i := range 1000 {
		table.Observe(seen(0, fmt.Sprint("tenant-", i%100), fifty))
	}
	log.flush(t, table)
	if got := len(log); got != 51 {
		t.Errorf("got %d rows, want one for the type and one for each of 50 fields", got)
	}
	field := log.fields(t)["x_new7"]
	if len(field.Tenants) != 16 || !field.MoreTenants || field.Count != 1000 {
		t.Errorf("got %+v, want 1000 sights, 16 tenants and that there are more", field)
	}
	if n := table.Uncounted(); n != 0 {
		t.Errorf("%d sights found no room", n)
	}

	table.Observe(seen(0, "acme", map[string]string{"x_" + strings.Repeat("n", 200): "1"}))
	if n := table.Uncounted(); n != 1 {
		t.Errorf("got %d sights uncounted, want that of a long name", n)
	}
	for i := range 20_000 {
		table.Observe(seen(0, "acme", map[string]string{fmt.Sprint("x_id", i): "1"}))
	}
	log.flush(t, table)
	if got, n := len(log), table.Uncounted(); got != 10_000 || n != 1+20_000-9_949 {
		t.Errorf("got %d rows and %d sights uncounted, want 10,000 and the rest", got, n)
	}
	// The next day has room again.
	table.Observe(seen(1, "acme", nil))
	log.flush(t, table)
	table.Observe(seen(1, "acme", map[string]string{"x_next": "1"}))
	log.flush(t, table)
	if log.fields(t)["x_next"].Count != 1 {
		t.Error("the table is full for ever")
	}
}

// A record that is no row is told; a tombstone takes a row away.
func TestFoldReadsRows(t *testing.T) {
	var fold drift.Fold
	for _, bad := range []string{`nonsense`, `{"vendor":"genesys","day":"today"}`} {
		if err := fold.Add([]byte("k"), []byte(bad)); err == nil {
			t.Errorf("%s: got no error", bad)
		}
	}
	if err := fold.Add([]byte("k"), []byte(`{"vendor":"genesys","field":"x_a","day":"2026-11-01","count":1}`)); err != nil {
		t.Fatal(err)
	}
	if err := fold.Add([]byte("k"), nil); err != nil || len(fold.Fields(days)) != 0 {
		t.Errorf("after a tombstone: got %v, %v", fold.Fields(days), err)
	}
}

func BenchmarkObserve(b *testing.B) {
	for _, n := range []int{0, 5, 50} {
		b.Run(fmt.Sprint(n, " fields"), func(b *testing.B) {
			fields := map[string]string{}
			for i := range n {
				fields[fmt.Sprint("x_detail.new", i)] = `"text"`
			}
			table, e := drift.NewTable("p1"), seen(0, "acme", fields)
			b.ReportAllocs()
			for b.Loop() {
				table.Observe(e)
			}
		})
	}
}
