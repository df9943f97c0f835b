package embedded

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// callsPerMinute is how often one token may call.
const callsPerMinute = 300

// cloudTokens are the access tokens that a cloud gave.
type cloudTokens struct {
	life time.Duration
	seed int64

	mu      sync.Mutex
	given   int
	valid   map[string]*cloudToken
	refresh map[string]bool
}

type cloudToken struct {
	ends  time.Time
	calls *rate.Limiter
}

// give makes a token and what it is refreshed with.
func (t *cloudTokens) give() (access, refresh string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.given++
	access, refresh = fmt.Sprintf("access-%x-%d", t.seed, t.given), fmt.Sprintf("refresh-%x-%d", t.seed, t.given)
	t.valid[access] = &cloudToken{ends: time.Now().Add(t.life), calls: rate.NewLimiter(callsPerMinute/60.0, callsPerMinute)}
	t.refresh[refresh] = true
	return access, refresh
}

// redeem uses a refresh token up.
func (t *cloudTokens) redeem(refresh string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	ok := t.refresh[refresh]
	delete(t.refresh, refresh)
	return ok
}

func (t *cloudTokens) revoke() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.valid)
	clear(t.refresh)
}

// judge answers 0 for a token that may call now, else the status to answer.
func (t *cloudTokens) judge(access string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	token := t.valid[access]
	switch {
	case token == nil || !time.Now().Before(token.ends):
		return http.StatusUnauthorized
	case !token.calls.Allow():
		return http.StatusTooManyRequests
	}
	return 0
}

// authorised answers calls that carry no good token, or come too often.
func (c *Cloud) authorised(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		access, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		switch status := c.tokens.judge(access); status {
		case 0:
			serve(w, r)
		case http.StatusTooManyRequests:
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(status)
		default:
			answerJSON(w, status, map[string]any{"code": "bad.credentials", "message": "Invalid login credentials."})
		}
	}
}

// answerJSON writes v.
func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the caller went away
}

// readJSON decodes a call's body, or answers that it cannot.
func readJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(v); err != nil {
		answerJSON(w, http.StatusBadRequest, map[string]string{"code": "bad.request", "message": err.Error()})
		return false
	}
	return true
}
