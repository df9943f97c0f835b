package harness

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// Exchange is a request to a broker and, once there is one, its answer.
type Exchange struct {
	Broker   int
	Key      int16 // what is asked for, as in kmsg.Key
	Version  int16
	ClientID string
	// Body is the request after its header: kmsg reads it by Key and Version.
	Body []byte
	// Response is the answer after its correlation id; nil before it is there.
	Response []byte
}

// Verdict is what becomes of a request or of an answer.
type Verdict int

const (
	// Forward passes it on.
	Forward Verdict = iota
	// Drop closes the client's connection and passes nothing on.
	Drop
	// Hold closes the client's connection and keeps the request until
	// [Proxy.Deliver]. An answer that is held is dropped.
	Hold
)

// Watcher sees what passes a [Proxy]. Its functions run in the goroutine of a
// connection, those of several connections at once; they may block and hold up
// that connection alone. A nil function forwards.
type Watcher struct {
	OnRequest  func(Exchange) Verdict // before the request goes to the broker
	OnResponse func(Exchange) Verdict // before the answer goes to the client
}

// Proxy stands between clients and brokers and knows the Kafka protocol's
// frames. Its methods may be called concurrently.
type Proxy struct {
	links   []*link
	running sync.WaitGroup
	stop    func() error // once

	mu       sync.Mutex
	watchers []*Watcher
	held     []heldRequest
}

type heldRequest struct {
	link  *link
	frame []byte
}

// NewProxy listens on a free port for each broker, which need not serve yet.
func NewProxy(brokers []string) (*Proxy, error) {
	p := &Proxy{}
	p.stop = sync.OnceValue(p.close)
	for i, broker := range brokers {
		ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start proxy: %w", err), p.Close())
		}
		l := &link{proxy: p, id: i, broker: broker, ln: ln, open: map[*connection]bool{}}
		p.links = append(p.links, l)
		p.running.Go(l.serve)
	}
	return p, nil
}

// Addrs are the addresses to use instead of the brokers', in their order.
func (p *Proxy) Addrs() []string {
	var addrs []string
	for _, l := range p.links {
		addrs = append(addrs, l.ln.Addr().String())
	}
	return addrs
}

// Close breaks every connection and waits until nothing runs any more. Later
// calls return what the first did.
func (p *Proxy) Close() error { return p.stop() }

func (p *Proxy) close() error {
	var errs []error
	for _, l := range p.links {
		errs = append(errs, l.ln.Close())
		l.cut(true)
	}
	p.running.Wait()
	return errors.Join(errs...)
}

// Watch asks w about everything that passes from now on. Of several watchers the
// first that does not forward decides.
func (p *Proxy) Watch(w Watcher) (remove func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watchers = append(slices.Clone(p.watchers), &w)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.watchers = slices.DeleteFunc(slices.Clone(p.watchers), func(o *Watcher) bool { return o == &w })
	}
}

func (p *Proxy) judge(ask func(*Watcher) func(Exchange) Verdict, e Exchange) Verdict {
	p.mu.Lock()
	watchers := p.watchers
	p.mu.Unlock()
	for _, w := range watchers {
		if f := ask(w); f != nil {
			if v := f(e); v != Forward {
				return v
			}
		}
	}
	return Forward
}

func onRequest(w *Watcher) func(Exchange) Verdict  { return w.OnRequest }
func onResponse(w *Watcher) func(Exchange) Verdict { return w.OnResponse }

// Cut breaks the connections to a broker and refuses new ones until Heal.
func (p *Proxy) Cut(broker int) { p.links[broker].cut(true) }

// Heal ends Cut and Delay of a broker.
func (p *Proxy) Heal(broker int) {
	p.links[broker].cut(false)
	p.Delay(broker, 0)
}

// Delay holds up every request to a broker by d; requests of one connection wait
// for each other.
func (p *Proxy) Delay(broker int, d time.Duration) { p.links[broker].slow(d) }

func (p *Proxy) hold(l *link, frame []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = append(p.held, heldRequest{l, frame})
}

// Held is the number of requests that wait for Deliver.
func (p *Proxy) Held() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.held)
}

// Deliver sends the held requests to their brokers, in order, each over a
// connection of its own, and waits for the answers, which nobody gets. It
// returns how many were answered.
func (p *Proxy) Deliver() (int, error) {
	p.mu.Lock()
	held := p.held
	p.held = nil
	p.mu.Unlock()
	for i, h := range held {
		if err := h.deliver(); err != nil {
			return i, fmt.Errorf("deliver a held request to broker %d: %w", h.link.id, err)
		}
	}
	return len(held), nil
}

func (h heldRequest) deliver() error {
	conn, err := dial(h.link.broker)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it was answered
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := conn.Write(h.frame); err != nil {
		return err
	}
	_, err = readFrame(bufio.NewReader(conn))
	return err
}

func dial(addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	return d.DialContext(context.Background(), "tcp", addr)
}

// correlationOf is the first field of an answer: which request it is for.
func correlationOf(frame []byte) int32 {
	return int32(binary.BigEndian.Uint32(frame[4:])) //nolint:gosec // signed in the protocol
}
