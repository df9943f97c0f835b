package state

import (
	"math"
	"slices"
	"testing"

	"trunkline/event"
)

// TestExpireDropsExactly holds that a row goes once the hour in which it
// expires has passed, and that it takes all its entries with it.
func TestExpireDropsExactly(t *testing.T) {
	const window = 48 * hourMs
	row := func(appendMs int64) []byte {
		return Seen{First: event.Position{Topic: "raw.genesys", AppendMs: appendMs}}.Encode()
	}
	tests := []struct {
		name   string
		append int64
		now    int64
		want   int
	}{
		{"long before", hourMs, 0, 0},
		{"in the hour of its expiry", hourMs + 5, hourMs + 2*window + 10, 0},
		{"at the end of that hour", hourMs + 5, 2*hourMs + 2*window - 1, 0},
		{"when the hour has passed", hourMs + 5, 2*hourMs + 2*window, 1},
		{"long after", hourMs, math.MaxInt64, 1},
		{"no clock yet", hourMs, -1, 0},
		{"a clock from before 1970", hourMs, math.MinInt64, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := openStore(t, t.TempDir(), Options{Expiry: SeenExpiry(window)})
			must(t, s.MarkRecovered())
			must(t, s.Set("k", row(tt.append)))
			must(t, s.Commit(1))
			got, err := s.Expire(tt.now, 10)
			must(t, err)
			if got != tt.want {
				t.Errorf("got %d rows, want %d", got, tt.want)
			}
			// The offset stays; a row and its entry are two more.
			if got, want := len(entriesOf(s)), 1+2*(1-tt.want); got != want {
				t.Errorf("got %d entries, want %d", got, want)
			}
		})
	}
}

// TestExpireKnowsLongerWindow holds that a row lives for the window of today: a
// window that grew over a restart must not lose what it still needs.
func TestExpireKnowsLongerWindow(t *testing.T) {
	type step struct{ hour, want int64 }
	for _, steps := range [][]step{{{50, 0}, {201, 0}, {202, 1}}, {{201, 0}, {202, 1}}, {{300, 1}}} {
		dir := t.TempDir()
		s := openStore(t, dir, Options{Expiry: SeenExpiry(10 * hourMs)})
		must(t, s.MarkRecovered())
		row := Seen{First: event.Position{AppendMs: hourMs}}.Encode()
		must(t, s.Set("k", row))
		must(t, s.Set("deleted later", row))
		must(t, s.Commit(1))
		must(t, s.Close())

		s = openStore(t, dir, Options{Expiry: SeenExpiry(100 * hourMs)})
		must(t, s.MarkRecovered())
		must(t, s.Delete("deleted later"))
		must(t, s.Commit(2))
		for _, step := range steps {
			got, err := s.Expire(step.hour*hourMs, 10)
			must(t, err)
			if int64(got) != step.want {
				t.Errorf("%v at hour %d: got %d rows, want %d", steps, step.hour, got, step.want)
			}
		}
		if got := entriesOf(s); len(got) != 1 {
			t.Errorf("%v: got entries %q, want the offset only", steps, got)
		}
	}
}

// TestDueOrder holds that ticks come by time, then by key, whatever the order
// in which rows were written and whether the store was opened again (I7).
func TestDueOrder(t *testing.T) {
	row := func(at ...int64) []byte {
		b := []byte{byte(len(at))}
		for _, ms := range at {
			b = append(b, 1, byte(ms))
		}
		return b
	}
	rows := map[string][]byte{"a": row(3), "b": row(1), "c": row(1, 3), "d": row(2, 9)}
	for _, order := range []string{"abcd", "dcba", "cadb"} {
		for _, reopen := range []bool{false, true} {
			dir := t.TempDir()
			s := openStore(t, dir, Options{Timers: rowTimers})
			must(t, s.MarkRecovered())
			// Rows are written before their clock has come near, and after.
			for i, key := range order {
				if i == len(order)/2 {
					_, err := s.Due(storeClocks[1], 0)
					must(t, err)
				}
				must(t, s.Set(string(key), rows[string(key)]))
			}
			must(t, s.Commit(1))
			if reopen {
				must(t, s.Close())
				s = openStore(t, dir, Options{Timers: rowTimers})
				must(t, s.MarkRecovered())
			}
			for _, step := range []struct {
				clock string
				now   int64
				want  []string
			}{
				{storeClocks[2], 99, nil},
				{storeClocks[1], 0, nil},
				{storeClocks[1], 4, []string{"b", "c", "d", "a"}},
				{storeClocks[1], 4, nil},
				{storeClocks[1], 9, []string{"d"}},
			} {
				got, err := s.Due(step.clock, step.now*storeStep)
				must(t, err)
				if !slices.Equal(got, step.want) {
					t.Errorf("order %s, reopen %v: Due(%q, %d): got %q, want %q", order, reopen, step.clock, step.now, got, step.want)
				}
			}
			must(t, s.Set("a", rows["a"])) // written again, it asks again
			got, err := s.Due(storeClocks[1], 9*storeStep)
			must(t, err)
			if !slices.Equal(got, []string{"a"}) {
				t.Errorf("Due after another write: got %q, want a", got)
			}
		}
	}
}
