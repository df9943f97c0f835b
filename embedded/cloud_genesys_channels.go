package embedded

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/google/uuid"

	"trunkline/event"
)

// The vendor's limits of notification channels.
const (
	mostChannels = 20
	mostTopics   = 1000
	channelLife  = 24 * time.Hour
	channelBeat  = 30 * time.Second
)

// channel is a notification channel. What happens while it has no socket is told
// to nobody.
type channel struct {
	id string

	mu      sync.Mutex
	topics  map[string]bool
	expires time.Time
	socket  context.CancelFunc // ends the one that is open; nil: there is none
}

// notificationTopics are the templates of what channels tell.
var notificationTopics = []string{
	"v2.audits.entitytype.{id}.entityid.{id}", "v2.flows.{id}", "v2.users.{id}.presence", "v2.routing.queues.{id}.users",
	"v2.detail.events.conversation.{id}.customer.start", "v2.detail.events.conversation.{id}.customer.end",
	"v2.detail.events.conversation.{id}.acd.start", "v2.detail.events.conversation.{id}.acd.end",
	"v2.detail.events.conversation.{id}.user.start", "v2.detail.events.conversation.{id}.user.end",
}

func (c *Cloud) availableTopics(w http.ResponseWriter, r *http.Request) {
	all := []any{}
	for _, id := range notificationTopics {
		all = append(all, map[string]any{"id": id, "transports": []string{"All"}, "visibility": "Public", "requiresPermissions": []string{}})
	}
	answerJSON(w, http.StatusOK, pageOf(all, 1, len(all)))
}

// openChannel opens a channel; the 21st takes the place of the oldest.
func (c *Cloud) openChannel(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.report.Channels++
	ch := &channel{
		id:     "streaming-5-" + uuid.NewSHA1(uuid.Nil, fmt.Appendf(nil, "%d/channels/%d", c.cfg.Seed, c.report.Channels)).String(),
		topics: map[string]bool{}, expires: time.Now().Add(channelLife),
	}
	c.channels = append(c.channels, ch)
	if len(c.channels) > mostChannels {
		c.channels[0].connected(nil)
		c.channels = c.channels[1:]
	}
	c.mu.Unlock()
	answerJSON(w, http.StatusOK, ch.describe(r))
}

func (ch *channel) describe(r *http.Request) map[string]any {
	return map[string]any{
		"connectUri": "ws://" + r.Host + "/channels/" + ch.id, "id": ch.id, "expires": ch.expires.UTC().Format(time.RFC3339Nano),
	}
}

func (c *Cloud) listChannels(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	all := []any{}
	for _, ch := range c.channels {
		all = append(all, ch.describe(r))
	}
	c.mu.Unlock()
	answerJSON(w, http.StatusOK, map[string]any{"entities": all})
}

func (c *Cloud) channel(r *http.Request) *channel {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range c.channels {
		if ch.id == r.PathValue("id") {
			return ch
		}
	}
	return nil
}

// onChannel serves a call that names a channel.
func (c *Cloud) onChannel(serve func(*channel, http.ResponseWriter, *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if ch := c.channel(r); ch != nil {
			serve(ch, w, r)
		} else {
			notFound(w)
		}
	}
}

type topicName struct {
	ID string `json:"id"`
}

// subscribe adds topics, or with PUT replaces them, and extends the channel's life.
func (ch *channel) subscribe(w http.ResponseWriter, r *http.Request) {
	var names []topicName
	if !readJSON(w, r, &names) {
		return
	}
	topics := map[string]bool{}
	if r.Method == http.MethodPost {
		ch.mu.Lock()
		for t := range ch.topics {
			topics[t] = true
		}
		ch.mu.Unlock()
	}
	for _, n := range names {
		topics[n.ID] = true
	}
	if len(topics) > mostTopics {
		answerJSON(w, http.StatusBadRequest, map[string]string{"code": "too.many.topics", "message": fmt.Sprintf("A channel has at most %d topics.", mostTopics)})
		return
	}
	ch.replace(topics)
	ch.list(w, r)
}

func (ch *channel) replace(topics map[string]bool) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.topics, ch.expires = topics, time.Now().Add(channelLife)
}

func (ch *channel) list(w http.ResponseWriter, _ *http.Request) {
	ch.mu.Lock()
	names := []topicName{}
	for t := range ch.topics {
		names = append(names, topicName{t})
	}
	ch.mu.Unlock()
	slices.SortFunc(names, func(a, b topicName) int { return strings.Compare(a.ID, b.ID) })
	answerJSON(w, http.StatusOK, map[string]any{"entities": names})
}

// connected notes the socket of the channel, and ends the one before.
func (ch *channel) connected(end context.CancelFunc) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.socket != nil {
		ch.socket()
	}
	ch.socket = end
}

func (ch *channel) wants(topic string) bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.topics[topic]
}

// frame is what a socket tells.
type frame struct {
	TopicName string            `json:"topicName"`
	Version   string            `json:"version,omitempty"`
	EventBody rawJSON           `json:"eventBody"`
	Metadata  map[string]string `json:"metadata,omitempty"`
}

func channelFrame(message string) frame {
	return frame{TopicName: "channel.metadata", EventBody: rawJSON(fmt.Sprintf(`{"message":"%s"}`, message))}
}

// listen is the socket of a channel. It tells what happens while it is open; an
// answer to a ping stands behind all that happened before.
func (c *Cloud) listen(w http.ResponseWriter, r *http.Request) {
	ch := c.channel(r)
	if ch == nil {
		notFound(w)
		return
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // it is answered
	}
	defer func() { _ = conn.CloseNow() }()
	ctx, end := context.WithCancel(r.Context())
	defer end()
	ch.connected(end)
	pings := make(chan struct{})
	var reader sync.WaitGroup
	defer reader.Wait()
	defer end()
	reader.Go(func() {
		defer end()
		for {
			var sent struct{ Message string }
			if err := wsjson.Read(ctx, conn, &sent); err != nil {
				return
			}
			select {
			case pings <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	})
	c.tell(ctx, conn, ch, pings)
}

// tell writes to a socket until ctx ends or the cloud severs its connections.
func (c *Cloud) tell(ctx context.Context, conn *websocket.Conn, ch *channel, pings <-chan struct{}) {
	severed := c.severed()
	beats := time.NewTicker(channelBeat)
	defer beats.Stop()
	next := c.log.end()
	all := func(entry) bool { return true }
	for pong := false; ; {
		entries, after, grown := c.log.from(next, streamChunk, all)
		next = after
		for _, e := range entries {
			for _, f := range notifications(e) {
				if !ch.wants(f.TopicName) {
					continue
				}
				if wsjson.Write(ctx, conn, f) != nil {
					return
				}
			}
		}
		if len(entries) > 0 {
			continue
		}
		if pong && wsjson.Write(ctx, conn, channelFrame("pong")) != nil {
			return
		}
		pong = false
		select {
		case <-grown:
		case <-pings:
			pong = true
		case <-beats.C:
			if !c.Faults().Mute && wsjson.Write(ctx, conn, channelFrame("WebSocket Heartbeat")) != nil {
				return
			}
		case <-severed:
			_ = wsjson.Write(ctx, conn, closing(ch)) // as far as it gets
			return
		case <-ctx.Done():
			return
		}
	}
}

func closing(ch *channel) frame {
	return frame{TopicName: "v2.system.socket_closing", Version: "2", EventBody: rawJSON(fmt.Sprintf(
		`{"channelId":"%s","systemTopicType":"socket_closing","reason":"maintenance","message":"This channel's websocket connection is about to be closed."}`, ch.id))}
}

// notifications are what channels tell of an event: the audit of a change, of the
// same id as everywhere, and what shows of the change elsewhere; the step of a
// conversation that is not on the stream.
func notifications(e entry) []frame {
	t, m := genesysTraffic{}, e.message
	key := m.subject.key
	tell := func(topic string, body []byte) frame {
		return frame{TopicName: topic, Version: "2", EventBody: body, Metadata: map[string]string{"CorrelationId": m.subject.peer}}
	}
	switch {
	case isChange(m):
		topic, _, body := t.audit(asAudit(m))
		fs := []frame{tell(topic, body)}
		switch {
		case m.kind == DeliveryDelete:
		case key.Type == "user":
			fs = append(fs, tell("v2.users."+key.ID+".presence", fmt.Appendf(nil,
				`{"source":"PURECLOUD","presenceDefinition":{"id":"%s","systemPresence":"%s"},"message":"","modifiedDate":"%s"}`,
				m.subject.peer, of([]string{"AVAILABLE", "BUSY", "MEAL"}, m.subject.revision), isoMillis(m.tsMs))))
		case key.Type == "queue":
			fs = append(fs, tell("v2.routing.queues."+key.ID+".users", fmt.Appendf(nil,
				`{"id":"%s","queueId":%s,"joined":%t}`, m.subject.peer, quote(key.ID), m.subject.revision%2 == 0)))
		case key.Type == "flow":
			fs = append(fs, tell("v2.flows."+key.ID, fmt.Appendf(nil,
				`{"id":%s,"name":"Flow %d","description":%s,"deleted":false,"publishedVersion":{"id":"%d.0"},"currentOperation":{"id":"%s","complete":true,"actionName":"PUBLISH","actionStatus":"SUCCESS"}}`,
				quote(key.ID), m.subject.n, quote(m.text), m.subject.revision, m.id)))
		}
		return fs
	case key.Type == event.TypeConversation && !e.streamed && m.raw == nil && (m.kind == DeliveryEvent || m.kind == DeliveryLate):
		topic, _, body := t.detail(m)
		return []frame{tell(topic, body)}
	}
	return nil
}
