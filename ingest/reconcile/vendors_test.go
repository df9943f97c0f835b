package reconcile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// simulated is a vendor whose data change, and that fails at times, by seed. It is the
// transport of its clients: no call leaves the process.
type simulated struct {
	mu     sync.Mutex
	rng    *rand.Rand
	quiet  bool // nothing changes or fails any more
	answer func(r *http.Request) (status int, body any)
	// asked is told the beginning of each interval that is asked for.
	asked func(since time.Time)
}

// RoundTrip implements [http.RoundTripper].
func (v *simulated) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(time.Duration(v.draw(int(8 * time.Second))))
	v.mu.Lock()
	defer v.mu.Unlock()
	status, header, text := http.StatusOK, http.Header{}, ""
	fate := 0
	if !v.quiet {
		fate = v.rng.IntN(12)
	}
	switch fate {
	case 1:
		return nil, errors.New("connection reset")
	case 2:
		status = http.StatusTooManyRequests
		header.Set("Retry-After", "7")
	case 3:
		status = http.StatusBadGateway
	case 4:
		text = `{"entities":[{"id"` // it broke off
	default:
		var body any
		if status, body = v.answer(r); body != nil {
			b, err := json.Marshal(body)
			if err != nil {
				return nil, err
			}
			text = string(b)
		}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
}

func (v *simulated) draw(n int) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.rng.IntN(n)
}

// agentBody is a record of the list `agents` after its n-th update.
func agentBody(id, n int, at time.Time) string {
	return fmt.Sprintf(`{"agentId":%d,"firstName":"v%d","lastUpdated":%q}`, id, n, at.UTC().Format(pollTime))
}

const agentCount = 200

// agents are CXone's list of that name.
type agents struct {
	simulated
	links  bool           // pages by links, not by skip and top
	byID   bool           // is in that order, not in that of updates
	latest map[int]string // by id
	at     map[int]time.Time
	n      int
	last   time.Time // update; no two in one millisecond, for the vendor has no other version
}

func newAgents(seed uint64) *agents {
	a := &agents{links: seed%2 == 1, byID: seed%4 > 1, latest: map[int]string{}, at: map[int]time.Time{}}
	a.rng = rand.New(rand.NewPCG(seed, 2))
	a.answer = a.page
	for id := range agentCount {
		a.update(id)
	}
	return a
}

func (a *agents) update(id int) {
	a.n++
	if a.last = a.last.Add(time.Millisecond); a.last.Before(time.Now()) {
		a.last = time.Now().Truncate(time.Millisecond)
	}
	a.at[id] = a.last
	a.latest[id] = agentBody(id, a.n, a.at[id])
}

// change updates some agents.
func (a *agents) change() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for range 1 + a.rng.IntN(30) {
		a.update(a.rng.IntN(agentCount))
	}
}

// since returns the ids of what was updated since a time.
func (a *agents) since(since time.Time) (ids []int) {
	for id, at := range a.at {
		if !at.Before(since) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(x, y int) int {
		if a.byID {
			return x - y
		}
		return a.at[x].Compare(a.at[y])
	})
	return ids
}

func (a *agents) page(r *http.Request) (int, any) {
	q := r.URL.Query()
	since, err := time.Parse(pollTime, q.Get("updatedSince"))
	if err != nil || !strings.HasSuffix(r.URL.Path, "/v33.0/agents") {
		return http.StatusBadRequest, nil
	}
	a.asked(since)
	skip, _ := strconv.Atoi(q.Get("skip"))
	ids := a.since(since)
	if !a.quiet && skip > 0 && a.rng.IntN(20) == 0 { // between two pages, one that was read
		a.update(ids[a.rng.IntN(min(skip, len(ids)))])
		ids = a.since(since)
	}
	if skip >= len(ids) {
		return http.StatusNoContent, nil
	}
	ids = ids[skip:]
	page := map[string]any{"businessUnitId": 4593, "lastPollTime": time.Now().UTC().Format(pollTime)}
	if most := 3 + a.rng.IntN(12); len(ids) > most {
		ids = ids[:most]
		if a.links {
			q.Set("skip", strconv.Itoa(skip+most))
			next := "agents?" + q.Encode()
			if a.rng.IntN(2) == 0 {
				next = "https://api.example/services/v33.0/" + next
			}
			page["_links"] = map[string]string{"next": next}
		}
	}
	var records []json.RawMessage
	for _, id := range ids {
		records = append(records, json.RawMessage(a.latest[id]))
	}
	page["agents"] = records
	return http.StatusOK, page
}

// audit is one of Genesys; it can be found some time after it happened.
type audit struct {
	id        string
	at, found time.Time
}

// auditLog are the audits of a service of Genesys.
type auditLog struct {
	simulated
	all        []audit
	executions map[string]*execution
}

// execution is a query at work: every question for its state brings it on.
type execution struct {
	interval string
	state    int
}

func newAuditLog(seed uint64) *auditLog {
	l := &auditLog{executions: map[string]*execution{}}
	l.rng = rand.New(rand.NewPCG(seed, 3))
	l.answer = l.query
	return l
}

// change audits something.
func (l *auditLog) change() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range 1 + l.rng.IntN(120) {
		now := time.Now()
		l.all = append(l.all, audit{fmt.Sprintf("a-%d", len(l.all)), now, now.Add(time.Duration(l.rng.Int64N(int64(4 * time.Minute))))})
	}
}

// in returns the audits of an interval that can be found.
func (l *auditLog) in(interval string) ([]json.RawMessage, bool) {
	from, to, _ := strings.Cut(interval, "/")
	begin, err1 := time.Parse(time.RFC3339, from)
	end, err2 := time.Parse(time.RFC3339, to)
	if errors.Join(err1, err2) != nil {
		return nil, false
	}
	l.asked(begin)
	found := []json.RawMessage{}
	for _, a := range l.all {
		if !a.at.Before(begin) && a.at.Before(end) && !a.found.After(time.Now()) {
			found = append(found, json.RawMessage(fmt.Sprintf(
				`{"id":%q,"serviceName":"Routing","eventDate":%q,"action":"Update","entityType":"Queue","entity":{"id":"q-1"},"status":"SUCCESS","propertyChanges":[]}`,
				a.id, a.at.UTC().Format(pollTime))))
		}
	}
	return found, true
}

func (l *auditLog) query(r *http.Request) (int, any) {
	var q struct {
		Interval             string
		ServiceName          string
		PageNumber, PageSize int
	}
	if r.Method == http.MethodPost && json.NewDecoder(r.Body).Decode(&q) != nil {
		return http.StatusBadRequest, nil
	}
	path, _ := strings.CutPrefix(r.URL.Path, "/api/v2/audits/query")
	id, results := strings.CutSuffix(strings.TrimPrefix(path, "/"), "/results")
	switch e := l.executions[id]; {
	case strings.HasSuffix(path, "/servicemapping"):
		return http.StatusOK, map[string]any{"services": []any{map[string]any{"name": "Routing"}}}
	case path == "/realtime":
		found, ok := l.in(q.Interval)
		if !ok || q.PageNumber < 1 || q.PageSize < 1 {
			return http.StatusBadRequest, nil
		}
		begin := min((q.PageNumber-1)*q.PageSize, len(found))
		return http.StatusOK, map[string]any{
			"entities": found[begin:min(begin+q.PageSize, len(found))], "pageSize": q.PageSize, "pageNumber": q.PageNumber,
			"total": len(found), "pageCount": (len(found) + q.PageSize - 1) / q.PageSize,
		}
	case path == "":
		id = fmt.Sprintf("t-%d", len(l.executions))
		l.executions[id] = &execution{interval: q.Interval}
		return http.StatusOK, map[string]string{"id": id, "state": "Queued"}
	case e == nil:
		return http.StatusNotFound, nil
	case !results:
		e.state = min(e.state+1+l.rng.IntN(2), 3)
		return http.StatusOK, map[string]string{"id": id, "state": []string{"Queued", "Running", "Running", "Succeeded"}[e.state]}
	case e.state < 3:
		return http.StatusBadRequest, nil
	default:
		found, _ := l.in(e.interval)
		begin, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
		end := min(begin+1+l.rng.IntN(60), len(found))
		page := map[string]any{"id": id, "entities": found[begin:end]}
		if end < len(found) {
			page["cursor"] = strconv.Itoa(end)
		}
		return http.StatusOK, page
	}
}
