package ingest

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestAnswerWithinBudget proves that a 200 follows an acknowledgement and only
// that (I1), and that an answer is given in time whatever the log does.
func TestAnswerWithinBudget(t *testing.T) {
	after := func(d time.Duration, err error) func(context.Context) error {
		return func(context.Context) error { time.Sleep(d); return err }
	}
	tests := []struct {
		name   string
		fail   func(context.Context) error
		status int
		took   time.Duration
	}{
		{"acknowledged", after(799*time.Millisecond, nil), 200, 799 * time.Millisecond},
		{"refused", after(0, errors.New("not enough replicas")), 503, 0},
		{"hangs until told to stop", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 503, 800 * time.Millisecond},
		{"hangs whatever it is told", after(time.Hour, nil), 503, 800 * time.Millisecond},
		{"panics", func(context.Context) error { panic("no broker") }, 503, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options(&memoryLog{fail: tt.fail})
				o.Random = nil
				e := newEdge(t, o)
				start := time.Now()
				resp := answerTo(e, post(genesysPath, seedEvent, "Authorization", "Bearer "+devToken))
				if got := time.Since(start); resp.StatusCode != tt.status || got != tt.took {
					t.Errorf("%d after %v, want %d after %v", resp.StatusCode, got, tt.status, tt.took)
				}
				if tt.status == http.StatusServiceUnavailable {
					if s := resp.Header.Get("Retry-After"); len(s) < 1 || len(s) > 2 || s == "0" || len(s) == 2 && s > "30" {
						t.Errorf("Retry-After %q, want 1 to 30", s)
					}
				}
				e.Wait()
			})
		})
	}
}

// TestSenderHangsUp proves that a sender that goes away does not tear its batch
// apart.
func TestSenderHangsUp(t *testing.T) {
	log := &memoryLog{}
	ctx, hangUp := context.WithCancel(t.Context())
	log.fail = func(ctx context.Context) error { hangUp(); return ctx.Err() }
	e := newEdge(t, options(log))
	resp := answerTo(e, post(genesysPath, "["+seedEvent+","+seedEvent+"]", "Authorization", "Bearer "+devToken).WithContext(ctx))
	if got := len(log.taken()); resp.StatusCode != http.StatusOK || got != 2 {
		t.Errorf("status %d with %d records, want 200 with 2", resp.StatusCode, got)
	}
}

// TestPendingAppendsAreBounded proves that a log that hangs cannot pile up
// deliveries, and that the edge serves again when it is back.
func TestPendingAppendsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{fail: func(context.Context) error { time.Sleep(10 * time.Second); return nil }}
		o := options(log)
		o.MaxPending = 3
		var mu sync.Mutex
		outcomes := map[Outcome]int{}
		o.Answered = func(_, _ string, out Outcome) { mu.Lock(); defer mu.Unlock(); outcomes[out]++ }
		e := newEdge(t, o)
		send := func() int {
			return answerTo(e, post(genesysPath, seedEvent, "Authorization", "Bearer "+devToken)).StatusCode
		}
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { send() })
		}
		wg.Wait()
		e.Wait() // the three come back after 10 s
		if outcomes[NotDurable] != 3 || outcomes[Overloaded] != 7 || log.calls != 3 {
			t.Errorf("outcomes %v with %d appends, want 3 not durable, 7 overloaded, 3 appends", outcomes, log.calls)
		}
		log.fail = nil
		if got := send(); got != http.StatusOK {
			t.Errorf("status %d after the log is back, want 200", got)
		}
	})
}

// TestSlowBody proves that time spent on a slow line is no part of the budget.
func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, options(&memoryLog{}))
		r := httptest.NewRequest(http.MethodPost, genesysPath, &slowReader{rest: seedEvent})
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+devToken)
		if resp := answerTo(e, r); resp.StatusCode != http.StatusOK {
			t.Errorf("status %d, want 200", resp.StatusCode)
		}
	})
}
