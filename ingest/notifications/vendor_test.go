package notifications

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// vendor is a Notifications API. Whatever happens at it happens under its lock:
// its events have an order, and their time is exact.
type vendor struct {
	t   testing.TB
	url string

	delay time.Duration // from a socket's opening until frames are sent to it

	mu       sync.Mutex
	ids      map[string][]string // by the path of their list
	unlisted string              // a list that may not be read
	denied   string              // the beginning of topics that may not be subscribed
	lives    time.Duration       // of a channel that is not subscribed again
	channels map[string]*vendorChannel
	opened   int
	host     string // of the addresses it gives; its own if empty
	failing  func() bool
	events   []vendorEvent
}

type vendorChannel struct {
	topics  map[string]bool
	conn    *websocket.Conn // nil: not read
	mute    bool            // what is sent gets lost, and no ping is answered
	expires time.Time
}

// vendorEvent is what became of an event.
type vendorEvent struct {
	at   time.Time
	sent int // to how many sockets
}

func newVendor(t testing.TB) *vendor {
	t.Helper()
	v := &vendor{t: t, ids: map[string][]string{}, channels: map[string]*vendorChannel{}, lives: time.Hour}
	mux := http.NewServeMux()
	for _, path := range []string{"/api/v2/users", "/api/v2/routing/queues", "/api/v2/flows"} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { v.list(w, r, path) })
	}
	mux.HandleFunc("POST /api/v2/notifications/channels", v.open)
	for _, method := range []string{"PUT", "POST"} {
		mux.HandleFunc(method+" /api/v2/notifications/channels/{id}/subscriptions", v.subscribe)
	}
	mux.HandleFunc("GET /api/v2/notifications/availabletopics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"entities":[{"id":"v2.users.{id}.presence","requiresPermissions":["presence:userPresence:view"]}]}`)
	})
	mux.HandleFunc("GET /socket/{id}", v.socket)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	v.url = server.URL
	return v
}

func (v *vendor) list(w http.ResponseWriter, r *http.Request, path string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.failing != nil && v.failing() {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	if path == v.unlisted {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	number, _ := strconv.Atoi(r.URL.Query().Get("pageNumber"))
	size, _ := strconv.Atoi(r.URL.Query().Get("pageSize"))
	pages := slices.Collect(slices.Chunk(v.ids[path], size))
	type entity struct {
		ID string `json:"id"`
	}
	entities := []entity{}
	if number <= len(pages) {
		for _, id := range pages[number-1] {
			entities = append(entities, entity{id})
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"entities": entities, "pageCount": len(pages), "pageNumber": number})
}

func (v *vendor) open(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.failing != nil && v.failing() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	v.opened++
	id, host := fmt.Sprintf("c%d", v.opened), v.host
	if host == "" {
		host = r.Host
	}
	ch := &vendorChannel{topics: map[string]bool{}, expires: time.Now().Add(v.lives)}
	v.channels[id] = ch
	fmt.Fprintf(w, `{"id":%q,"connectUri":"ws://%s/socket/%s","expires":%q}`, id, host, id, ch.expires.Format(time.RFC3339Nano))
}

func (v *vendor) subscribe(w http.ResponseWriter, r *http.Request) {
	var topics []struct{ ID string }
	err := json.NewDecoder(r.Body).Decode(&topics)
	v.mu.Lock()
	defer v.mu.Unlock()
	ch := v.channels[r.PathValue("id")]
	switch {
	case err != nil || len(topics) > 1000:
		w.WriteHeader(http.StatusBadRequest)
		return
	case v.failing != nil && v.failing():
		w.WriteHeader(http.StatusInternalServerError)
		return
	case ch == nil:
		w.WriteHeader(http.StatusNotFound)
		return
	}
	for _, t := range topics {
		if v.denied != "" && strings.HasPrefix(t.ID, v.denied) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
	}
	if r.Method == http.MethodPut {
		ch.topics = map[string]bool{}
	}
	for _, t := range topics {
		ch.topics[t.ID] = true
	}
	ch.expires = time.Now().Add(v.lives)
	fmt.Fprint(w, `{"entities":[]}`)
}

func (v *vendor) socket(w http.ResponseWriter, r *http.Request) {
	// One that ended is known as such a moment later.
	for wait := time.Now(); v.reads() >= channelsAtOnce; time.Sleep(time.Millisecond) {
		if time.Since(wait) > 5*time.Second {
			v.t.Errorf("a channel more than %d is read", channelsAtOnce)
			w.WriteHeader(http.StatusConflict)
			return
		}
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	time.Sleep(v.delay)
	v.mu.Lock()
	ch := v.channels[r.PathValue("id")]
	if ch != nil {
		ch.conn = conn
	}
	v.mu.Unlock()
	if ch == nil {
		v.t.Error("a channel is read that was not given")
		return
	}
	for {
		_, frame, err := conn.Read(v.t.Context())
		v.mu.Lock()
		if err == nil && time.Now().After(ch.expires) {
			_ = conn.CloseNow()
		}
		if err == nil && !ch.mute && string(frame) == `{"message":"ping"}` {
			v.write(ch, `{"topicName":"channel.metadata","eventBody":{"message":"pong"}}`)
		}
		if err != nil {
			ch.conn = nil
		}
		v.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (v *vendor) reads() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.read())
}

// read are the channels that are read.
func (v *vendor) read() (ids []string) {
	for id, ch := range v.channels {
		if ch.conn != nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (v *vendor) write(ch *vendorChannel, frame string) {
	ctx, cancel := context.WithTimeout(v.t.Context(), 10*time.Second)
	defer cancel()
	_ = ch.conn.Write(ctx, websocket.MessageText, []byte(frame))
}

// publish sends an event of a topic to who is subscribed, and returns its number.
func (v *vendor) publish(topic string, padding int) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := len(v.events)
	e := vendorEvent{at: time.Now()}
	for _, id := range v.read() {
		if ch := v.channels[id]; ch.topics[topic] && !ch.mute {
			v.write(ch, fmt.Sprintf(`{"topicName":%q,"eventBody":{"n":%d,"x":%q}}`, topic, n, strings.Repeat("x", padding)))
			e.sent++
		}
	}
	v.events = append(v.events, e)
	return n
}

// each does something to each channel that is read.
func (v *vendor) each(do func(ch *vendorChannel)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, id := range v.read() {
		do(v.channels[id])
	}
}

// closeLater closes a socket as its protocol says, which takes the other end.
func closeLater(conn *websocket.Conn) {
	go func() { _ = conn.Close(websocket.StatusGoingAway, "") }()
}

// tell sends a frame to all who are connected.
func (v *vendor) tell(frame string) { v.each(func(ch *vendorChannel) { v.write(ch, frame) }) }

// subscribed reports whether exactly n channels are read and have the topics.
func (v *vendor) subscribed(n int, topics ...string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	ids := v.read()
	return len(ids) == n && !slices.ContainsFunc(topics, func(t string) bool {
		return !slices.ContainsFunc(ids, func(id string) bool { return v.channels[id].topics[t] })
	})
}

// reader is who keeps what a client hands out.
type reader struct {
	t testing.TB
	v *vendor

	mu      sync.Mutex
	frames  []string
	seen    map[int]int // by number of the event
	covered time.Time
	gaps    []Gap
	alarms  []string
	refuse  func() bool // the next commit
}

func newReader(t testing.TB, v *vendor) *reader {
	t.Helper()
	return &reader{t: t, v: v, seen: map[int]int{}}
}

// quick is a timing in which nothing takes long.
var quick = Timing{
	Expand: 20 * time.Millisecond, ExpandMin: time.Millisecond, Ping: 5 * time.Millisecond, Watchdog: 3 * time.Second,
	Proof: 100 * time.Millisecond, Linger: time.Millisecond, Commit: 5 * time.Millisecond, Call: 10 * time.Second,
	ReconnectMin: time.Millisecond, ReconnectMax: 5 * time.Millisecond, Backoff: time.Millisecond, BackoffMax: 5 * time.Millisecond, Refused: 20 * time.Millisecond,
}

func (r *reader) options(topics ...string) Options {
	return Options{
		URL: r.v.url, Topics: topics, Timing: quick, Covered: r.until(), Handle: r.handle,
		Gap: func(g Gap) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.gaps = append(r.gaps, g)
		},
		Alarm: func(err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.alarms = append(r.alarms, err.Error())
		},
	}
}

func (r *reader) until() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.covered
}

func (r *reader) handle(_ context.Context, frames []Frame, covered time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil && r.refuse() {
		return errFenced
	}
	if covered.Before(r.covered) {
		r.t.Errorf("covered goes back by %v", r.covered.Sub(covered))
	}
	r.covered = covered
	for _, f := range frames {
		r.frames = append(r.frames, string(f.Body))
		var e struct {
			EventBody struct{ N *int }
		}
		if json.Unmarshal(f.Body, &e) == nil && e.EventBody.N != nil {
			r.seen[*e.EventBody.N]++
		}
	}
	return nil
}

func (r *reader) has(n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[n] > 0
}

// reasons are those of the gaps so far.
func (r *reader) reasons() (all []Reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, g := range r.gaps {
		all = append(all, g.Reason)
	}
	return all
}

func (r *reader) alarmed(parts ...string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.alarms, func(alarm string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(alarm, part) })
	})
}

// complete reports each event that was neither read nor told as missing.
func (r *reader) complete() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.v.mu.Lock()
	defer r.v.mu.Unlock()
	for n, e := range r.v.events {
		if r.seen[n] > e.sent {
			r.t.Errorf("event %d was sent %d times and kept %d times", n, e.sent, r.seen[n])
		}
		told := slices.ContainsFunc(r.gaps, func(g Gap) bool { return !e.at.Before(g.From) && !e.at.After(g.To) })
		if r.seen[n] == 0 && !told {
			r.t.Errorf("event %d, sent to %d, is missing, and in no gap", n, e.sent)
		}
	}
}

// life is a client that runs.
type life struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// live runs a client until the test or the life ends, or a commit fails.
func (r *reader) live(o Options) life {
	r.t.Helper()
	c, err := NewClient(o)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	l := life{cancel, make(chan struct{})}
	go func() {
		defer close(l.done)
		if err := c.Run(ctx); err != nil && !errors.Is(err, errFenced) {
			r.t.Errorf("the client ended: %v", err)
		}
	}()
	r.t.Cleanup(l.end)
	return l
}

func (l life) end() { l.cancel(); <-l.done }

func (l life) ended() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

var errFenced = errors.New("fenced")

func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
