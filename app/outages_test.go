package app

import (
	"testing"
	"testing/synctest"
	"time"
)

// An outage asks for a run when it is over and was longer than the vendor's retries; a
// second one before the run asks for no other. Answers to other tenants and vendors, and
// refusals that a retry would not change, are no part of it.
//
// Seen failing with the length not asked, and with the answers of all tenants taken.
func TestOutages(t *testing.T) {
	type answered struct {
		vendor, tenant string
		status         int
		after          time.Duration
	}
	const s = time.Second
	tests := []struct {
		name    string
		answers []answered
		want    int // runs
	}{
		{"no outage", []answered{{"genesys", "a", 200, 0}, {"genesys", "a", 200, 300 * s}}, 0},
		{"short", []answered{{"genesys", "a", 503, 0}, {"genesys", "a", 200, 85 * s}}, 0},
		{"long", []answered{{"genesys", "a", 503, 0}, {"genesys", "a", 503, 60 * s}, {"genesys", "a", 200, 26 * s}}, 1},
		{"not over", []answered{{"genesys", "a", 503, 0}, {"genesys", "a", 503, 300 * s}}, 0},
		{"too many", []answered{{"genesys", "a", 429, 0}, {"genesys", "a", 200, 86 * s}}, 1},
		{"two in a row", []answered{{"genesys", "a", 503, 0}, {"genesys", "a", 200, 86 * s}, {"genesys", "a", 503, 0}, {"genesys", "a", 200, 86 * s}}, 1},
		{"short ones", []answered{{"genesys", "a", 503, 0}, {"genesys", "a", 200, 60 * s}, {"genesys", "a", 503, 0}, {"genesys", "a", 200, 60 * s}}, 0},
		{"wrong token meanwhile", []answered{{"genesys", "a", 503, 0}, {"genesys", "a", 401, 60 * s}, {"genesys", "a", 200, 26 * s}}, 1},
		{"another tenant is well", []answered{{"genesys", "a", 503, 0}, {"genesys", "b", 200, 60 * s}, {"genesys", "a", 200, 26 * s}}, 1},
		{"another vendor is not", []answered{{"cxone", "a", 503, 0}, {"cxone", "a", 200, 300 * s}, {"genesys", "a", 200, 0}}, 0},
		{"tenant unknown", []answered{{"genesys", "", 503, 0}, {"genesys", "a", 200, 86 * s}}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOutages()
				wake := o.watch("genesys", "a", 85*s)
				for _, a := range tt.answers {
					time.Sleep(a.after)
					o.answered(a.vendor, a.tenant, a.status)
				}
				if got := len(wake); got != tt.want {
					t.Errorf("got %d runs, want %d", got, tt.want)
				}
			})
		})
	}
}
