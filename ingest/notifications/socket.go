package notifications

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"trunkline/ingest/outbound"
	"trunkline/vendors/genesys"
)

// socket reads one channel. What it read is known to be complete up to the last
// ping that was answered: the answer stands behind all that was sent before, also
// where we read late.
type socket struct {
	c       *Client
	slot    *slot
	conn    *websocket.Conn
	id      string        // of the channel
	extend  time.Duration // between extensions of its life
	cancel  context.CancelFunc
	ended   chan struct{} // closed when nothing more is read
	closing chan Reason   // the vendor announced the end; holds one
	hurry   chan struct{} // a ping is wanted now; holds one

	mu      sync.Mutex
	pings   []time.Time   // when those left that are not answered
	began   time.Time     // what was complete before
	reached time.Time     // what is complete
	moved   chan struct{} // closed and made anew whenever that moves
	broken  bool          // a subscription ended before its socket: nothing is complete from then on
}

// mostExtend is half of what a channel lives without being subscribed again.
const mostExtend = 12 * time.Hour

// connect opens a channel and its socket.
func (c *Client) connect(ctx context.Context, s *slot) (*socket, error) {
	if c.o.Limiter != nil {
		if err := c.o.Limiter.Wait(ctx, c.url.Host); err != nil {
			return nil, err
		}
	}
	ch, err := c.api.open(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkAddress(c.url, ch.ConnectURI); err != nil {
		return nil, err
	}
	dial, cancel := context.WithTimeout(ctx, c.o.Timing.Call)
	defer cancel()
	conn, resp, err := websocket.Dial(dial, ch.ConnectURI, &websocket.DialOptions{HTTPClient: c.o.Sockets}) //nolint:bodyclose // the library closes it
	switch {
	case err != nil && resp != nil:
		return nil, fmt.Errorf("open a socket: %w", answered(resp.StatusCode))
	case err != nil:
		return nil, fmt.Errorf("open a socket: %w", outbound.WithoutURL(err))
	}
	conn.SetReadLimit(mostRead * int64(c.o.MaxFrame))
	opened, half := c.o.Now(), mostExtend
	if expires, err := time.Parse(time.RFC3339, ch.Expires); err == nil && expires.After(c.o.Now()) {
		half = min(half, expires.Sub(c.o.Now())/2)
	}
	return &socket{
		c: c, slot: s, conn: conn, id: ch.ID, reached: opened, extend: half, cancel: func() {},
		ended: make(chan struct{}), closing: make(chan Reason, 1), hurry: make(chan struct{}, 1), moved: make(chan struct{}),
	}, nil
}

// mostRead frames' bytes are read of one that is too large, so that its socket
// lives on; more end it.
const mostRead = 64

// prove waits for the answer to a ping: a vendor may call a socket open, and its
// channel subscribed, before he sends there. It returns what came before the answer.
func (k *socket) prove(ctx context.Context) (early []message, err error) {
	ctx, cancel := context.WithTimeout(ctx, k.c.o.Timing.Proof)
	defer cancel()
	if err := k.conn.Write(ctx, websocket.MessageText, []byte(pingFrame)); err != nil {
		return nil, errUnproven
	}
	k.pings = []time.Time{k.c.o.Now()}
	for size := int64(0); len(k.pings) > 0 && !k.broken; {
		m, err := k.message(ctx)
		if m.frame != nil {
			size += int64(len(m.frame.Body))
		}
		if err != nil || size > k.c.o.Buffer {
			return nil, errUnproven
		}
		m.covered = time.Time{} // its elder's time is not complete yet
		early = append(early, m)
	}
	return early, nil
}

// start reads the socket, whose slot is complete up to a time, after what was read
// early.
func (k *socket) start(ctx context.Context, complete time.Time, early []message) {
	k.began, k.reached = complete, complete
	ctx, k.cancel = context.WithCancel(ctx)
	go func() {
		defer close(k.ended)
		var pinging sync.WaitGroup
		pinging.Go(func() { k.ping(ctx) })
		for _, m := range early {
			k.c.offer(ctx, m)
		}
		k.read(ctx)
		k.cancel()
		pinging.Wait()
		_ = k.conn.CloseNow() // it is told by how much is complete
	}()
}

// stop ends the socket and waits for that.
func (k *socket) stop() {
	k.cancel()
	<-k.ended
}

// rest waits for d, or until the socket has ended.
func (k *socket) rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-k.ended:
	case <-ctx.Done():
	}
}

// proven reports whether the socket was of use: a ping was answered.
func (k *socket) proven() bool { return k.covered().After(k.began) }

func (k *socket) covered() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.reached
}

// covers waits until all that was sent before at is complete, and reports whether
// it is.
func (k *socket) covers(ctx context.Context, at time.Time) bool {
	timer := time.NewTimer(k.c.o.Timing.Proof)
	defer timer.Stop()
	select {
	case k.hurry <- struct{}{}:
	default:
	}
	for {
		k.mu.Lock()
		reached, moved, broken := k.reached, k.moved, k.broken
		k.mu.Unlock()
		if broken || !reached.Before(at) {
			return !reached.Before(at)
		}
		select {
		case <-moved:
		case <-k.ended:
			return !k.covered().Before(at)
		case <-timer.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

const (
	pingFrame  = `{"message":"ping"}`
	unanswered = 8 // pings, then no more are sent
)

// ping asks for answers until ctx is done.
func (k *socket) ping(ctx context.Context) {
	due := time.NewTicker(k.c.o.Timing.Ping)
	defer due.Stop()
	for first := true; ; first = false {
		if !first {
			select {
			case <-ctx.Done():
				return
			case <-due.C:
			case <-k.hurry:
			}
		}
		k.mu.Lock()
		full := len(k.pings) == unanswered
		if !full {
			k.pings = append(k.pings, k.c.o.Now())
		}
		k.mu.Unlock()
		if full {
			continue
		}
		if err := k.conn.Write(ctx, websocket.MessageText, []byte(pingFrame)); err != nil {
			return // the reader meets it too
		}
	}
}

// read takes frames until the socket ends, the watchdog bites or ctx is done.
func (k *socket) read(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watchdog := time.AfterFunc(k.c.o.Timing.Watchdog, cancel)
	defer watchdog.Stop()
	for {
		watchdog.Reset(k.c.o.Timing.Watchdog)
		m, err := k.message(ctx)
		watchdog.Stop() // waiting for room is no silence
		if err != nil || !k.c.offer(ctx, m) {
			return
		}
	}
}

// message reads what one frame tells.
func (k *socket) message(ctx context.Context) (message, error) {
	m := message{slot: k.slot}
	body, err := k.next(ctx)
	switch {
	case errors.Is(err, errOversized):
		m.gap = &Gap{From: k.covered(), To: k.c.o.Now(), Reason: Oversized}
		k.c.o.Alarm(fmt.Errorf("a frame of a notification is missing: it has more than %d bytes", k.c.o.MaxFrame))
	case err != nil:
		return m, err
	default:
		k.judge(&m, body)
	}
	return m, nil
}

var errOversized = errors.New("frame too large")

// next reads one frame.
func (k *socket) next(ctx context.Context) ([]byte, error) {
	_, r, err := k.conn.Reader(ctx)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(k.c.o.MaxFrame)+1))
	if err != nil || len(body) <= k.c.o.MaxFrame {
		return body, err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		k.c.o.Alarm(fmt.Errorf("a socket was given up at a frame of more than %d bytes", mostRead*k.c.o.MaxFrame))
		return nil, err
	}
	return nil, errOversized
}

// judge says what a frame tells: an event, or something of the channel. What
// cannot be read is an event; it becomes a dead letter.
func (k *socket) judge(m *message, body []byte) {
	var frame struct {
		Topic string          `json:"topicName"`
		Body  json.RawMessage `json:"eventBody"`
	}
	if err := json.Unmarshal(body, &frame); err != nil || !genesys.IsTransport(frame.Topic) {
		m.frame = &Frame{Body: body, At: k.c.o.Now()}
		return
	}
	var about struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(frame.Body, &about) // without a message it is no answer to a ping
	switch {
	case frame.Topic == "channel.metadata" && strings.EqualFold(about.Message, "pong"):
		m.covered = k.answered()
	case frame.Topic == "v2.system.socket_closing":
		k.announce(Disconnected)
	case strings.HasPrefix(frame.Topic, "v2.system.token_revoked"), strings.HasPrefix(frame.Topic, "v2.system.no_longer_subscribed"):
		k.mu.Lock()
		k.broken = true
		k.mu.Unlock()
		k.announce(Unsubscribed)
	}
}

// announce tells the slot that the channel needs a successor.
func (k *socket) announce(r Reason) {
	select {
	case k.closing <- r:
	default:
	}
}

// answered notes the answer to the eldest ping and returns what is complete by
// it, zero where nothing is that was not before.
func (k *socket) answered() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.pings) == 0 || k.broken {
		return time.Time{}
	}
	sent := k.pings[0]
	k.pings = k.pings[1:]
	if !sent.After(k.reached) {
		return time.Time{}
	}
	k.reached = sent
	close(k.moved)
	k.moved = make(chan struct{})
	return sent
}
