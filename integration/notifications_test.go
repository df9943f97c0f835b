package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/linkedin/goavro/v2"

	"trunkline/app"
	"trunkline/event"
	"trunkline/integration/harness"
	"trunkline/topology"
)

// notifier is a Notifications API. Under its lock events have an order, and
// their time is exact.
type notifier struct {
	t        testing.TB
	mu       sync.Mutex
	channels map[string]*notifierChannel
	sent     []time.Time // when each event was sent, to whoever reads
}

type notifierChannel struct {
	topics map[string]bool
	conn   *websocket.Conn // nil: not read
}

const notifierUsers, notifierQueues = 5, 3

func (v *notifier) serve(t *testing.T) string {
	t.Helper()
	v.t = t
	v.channels = map[string]*notifierChannel{}
	mux := http.NewServeMux()
	list := func(prefix string, n int) http.HandlerFunc {
		var entities []string
		for i := range n {
			entities = append(entities, fmt.Sprintf(`{"id":"%s%d"}`, prefix, i))
		}
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer notifier-token" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			fmt.Fprintf(w, `{"entities":[%s],"pageNumber":1,"pageCount":1}`, strings.Join(entities, ","))
		}
	}
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"notifier-token","token_type":"bearer","expires_in":3600}`)
	})
	mux.HandleFunc("GET /api/v2/users", list("u", notifierUsers))
	mux.HandleFunc("GET /api/v2/routing/queues", list("q", notifierQueues))
	mux.HandleFunc("POST /api/v2/notifications/channels", func(w http.ResponseWriter, r *http.Request) {
		v.mu.Lock()
		defer v.mu.Unlock()
		id := fmt.Sprintf("c%d", len(v.channels))
		v.channels[id] = &notifierChannel{topics: map[string]bool{}}
		fmt.Fprintf(w, `{"id":%q,"connectUri":"ws://%s/socket/%s","expires":%q}`, id, r.Host, id, time.Now().Add(24*time.Hour).Format(time.RFC3339))
	})
	mux.HandleFunc("PUT /api/v2/notifications/channels/{id}/subscriptions", func(w http.ResponseWriter, r *http.Request) {
		var topics []struct{ ID string }
		if json.NewDecoder(r.Body).Decode(&topics) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		for _, topic := range topics {
			v.channels[r.PathValue("id")].topics[topic.ID] = true
		}
	})
	mux.HandleFunc("GET /socket/{id}", v.socket)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func (v *notifier) socket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	v.mu.Lock()
	ch := v.channels[r.PathValue("id")]
	ch.conn = conn
	v.mu.Unlock()
	for err == nil {
		if _, _, err = conn.Read(v.t.Context()); err == nil {
			v.mu.Lock()
			err = conn.Write(v.t.Context(), websocket.MessageText, []byte(`{"topicName":"channel.metadata","eventBody":{"message":"pong"}}`))
			v.mu.Unlock()
		}
	}
	v.mu.Lock()
	ch.conn = nil
	v.mu.Unlock()
}

// readers are the channels that are read.
func (v *notifier) readers() (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, ch := range v.channels {
		if ch.conn != nil {
			n++
		}
	}
	return n
}

// publish sends an event to who is subscribed.
func (v *notifier) publish() {
	v.mu.Lock()
	defer v.mu.Unlock()
	n, now := len(v.sent), time.Now()
	at := now.UTC().Format("2006-01-02T15:04:05.000Z")
	topic := fmt.Sprintf("v2.users.u%d.presence", n%notifierUsers)
	body := fmt.Sprintf(`{"source":"PURECLOUD","presenceDefinition":{"id":"p","systemPresence":"Away"},"primary":true,"message":"%d","modifiedDate":%q}`, n, at)
	if n%4 == 0 {
		queue := n % notifierQueues
		topic = fmt.Sprintf("v2.routing.queues.q%d.users", queue)
		body = fmt.Sprintf(`{"id":"u1","queueId":"q%d","joined":%v,"user":{"id":"u1"},"note":"%d"}`, queue, n%8 == 0, n)
	}
	for _, ch := range v.channels {
		if ch.conn != nil && ch.topics[topic] {
			_ = ch.conn.Write(v.t.Context(), websocket.MessageText, fmt.Appendf(nil,
				`{"topicName":%q,"version":"2","eventBody":%s,"metadata":{"CorrelationId":"%d"}}`, topic, body, n))
		}
	}
	v.sent = append(v.sent, now)
}

// I2, I8: notifications are read by one edge. When that is killed, another takes
// over, and each event is a record or its time is in a gap that was told.
//
// Seen failing with the position of the last life ignored.
func TestNotificationsOutliveTheirReaders(t *testing.T) {
	v := &notifier{}
	url := v.serve(t)
	d := harness.StartDeployment(t)
	c := d.Config
	genesys := c.Tenants[0].Vendors[topology.Genesys]
	genesys.API = app.API{URL: url, OAuth: &app.OAuth{URL: url, ClientID: "trunkline", ClientSecret: "s"}}
	genesys.Notifications = &app.Notifications{Topics: []string{"v2.users.{id}.presence", "v2.routing.queues.{id}.users"}}
	c.Tenants[0].Vendors[topology.Genesys] = genesys
	if err := app.WriteConfig(d.File, c); err != nil {
		t.Fatal(err)
	}
	edges := []*harness.Instance{d.Run("e1", app.RoleIngest), d.Run("e2", app.RoleIngest)}
	d.Run("p1", app.RoleProcess)
	harness.Until(t, "the notifications are read", func() bool { return v.readers() == 1 })
	began := time.Now()

	ctx, stop := context.WithCancel(t.Context())
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for ctx.Err() == nil {
			v.publish()
			pause(t, 5*time.Millisecond)
		}
	})
	var logs []string
	kill := func(e *harness.Instance) {
		e.Kill()
		logs = append(logs, e.Stderr())
	}
	kept := func() int { return len(rawRecords(t, d.Config)) }
	for _, both := range []bool{true, false} {
		before := kept()
		harness.Until(t, "events are in the raw log", func() bool { return kept() >= before+200 })
		kill(edges[0])
		if both {
			kill(edges[1])
			edges[1].Start()
		}
		harness.Until(t, "the notifications are read again", func() bool { return v.readers() == 1 })
		edges[0].Start()
		edges[0].UntilReady()
	}
	kill(edges[1]) // it may be the reader; the other goes on, or takes over
	before := kept()
	harness.Until(t, "events are in the raw log", func() bool { return v.readers() == 1 && kept() >= before+200 })
	stop()
	publishing.Wait()
	last := len(v.sent)
	v.publish()
	v.publish()
	seen := map[string]int{}
	harness.Until(t, "the last event is in the raw log", func() bool {
		clear(seen)
		for _, r := range rawRecords(t, d.Config) {
			if by, as := string(r.Headers[event.HeaderTransport]), string(r.Headers[event.HeaderFormat]); by != string(event.WebSocket) || as != string(event.GenesysNotification) {
				t.Fatalf("a record of format %s came by %s", as, by)
			}
			var frame struct {
				Metadata struct {
					ID string `json:"CorrelationId"`
				}
			}
			if err := json.Unmarshal(r.Value, &frame); err != nil {
				t.Fatal(err)
			}
			seen[frame.Metadata.ID]++
		}
		return seen[fmt.Sprint(last)] > 0 && seen[fmt.Sprint(last+1)] > 0
	})
	gaps := gapsOf(t, append(logs, edges[0].Stderr()))
	missing := 0
	for n, at := range v.sent {
		told := slices.ContainsFunc(gaps, func(g toldGap) bool { return !at.Before(g.From) && !at.After(g.To) })
		switch times := seen[fmt.Sprint(n)]; {
		case times > 1:
			t.Errorf("event %d stands %d times in the raw log, and was sent once", n, times)
		case times == 0 && !told:
			t.Errorf("event %d, sent %v after the begin, is missing, and in no gap", n, at.Sub(began))
		case times == 0:
			missing++
		}
	}
	if missing == 0 {
		t.Error("no event was missed: this shows nothing")
	}
	harness.Drained(t, d.Config)
	balance(t, d.Config)
	changes := map[any]int{}
	r := &foreignReader{t: t, config: d.Config, registry: d.Config.Registry.URL, schemas: map[uint32]*goavro.Codec{}}
	for _, topic := range topology.ChangeTopicsOf(topology.Genesys) {
		for _, record := range r.read(topic) {
			changes[r.avro(record.Key)["resourceType"]]++
		}
	}
	if changes[string(event.TypeAgentState)] == 0 || changes[string(event.TypeQueueMembership)] == 0 {
		t.Errorf("changes of %v, want some of agent_state and queue_membership", changes)
	}
}

// toldGap is one that stands in the log of an edge.
type toldGap struct {
	Msg      string
	From, To time.Time
}

func gapsOf(t *testing.T, logs []string) (gaps []toldGap) {
	t.Helper()
	for line := range strings.Lines(strings.Join(logs, "\n")) {
		var g toldGap
		if json.Unmarshal([]byte(line), &g) == nil && g.Msg == "notifications may be missing" {
			gaps = append(gaps, g)
		}
	}
	return gaps
}
