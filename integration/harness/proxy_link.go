package harness

import (
	"bufio"
	"net"
	"sync"
	"time"
)

// link is the way to one broker.
type link struct {
	proxy  *Proxy
	id     int
	broker string
	ln     net.Listener

	mu    sync.Mutex
	isCut bool
	delay time.Duration
	open  map[*connection]bool
}

// serve takes connections until the listener is closed.
func (l *link) serve() {
	for {
		client, err := l.ln.Accept()
		if err != nil {
			return
		}
		l.proxy.running.Go(func() { l.carry(client) })
	}
}

// carry connects a client with the broker until one of them ends it.
func (l *link) carry(client net.Conn) {
	c := &connection{link: l, client: client, closed: make(chan struct{}), asked: map[int32]Exchange{}}
	if !l.add(c) {
		c.close()
		return
	}
	defer l.remove(c)
	defer c.close()
	broker, err := dial(l.broker)
	if err != nil || !c.connect(broker) {
		return
	}
	l.proxy.running.Go(func() {
		defer c.close()
		c.answers()
	})
	c.requests()
}

// add says whether the link is whole.
func (l *link) add(c *connection) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.isCut {
		l.open[c] = true
	}
	return !l.isCut
}

func (l *link) remove(c *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
}

func (l *link) cut(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = yes
	if yes {
		for c := range l.open {
			c.close()
		}
	}
}

func (l *link) slow(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = d
}

func (l *link) slowness() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.delay
}

// connection is one client's connection and its counterpart to the broker.
type connection struct {
	link   *link
	client net.Conn
	closed chan struct{}

	mu     sync.Mutex
	broker net.Conn
	done   bool
	asked  map[int32]Exchange // by correlation id, until answered
}

// connect says whether the client is still there.
func (c *connection) connect(broker net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		_ = broker.Close() // nothing was sent
		return false
	}
	c.broker = broker
	return true
}

func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return
	}
	c.done = true
	close(c.closed)
	_ = c.client.Close() // either side may have closed it
	if c.broker != nil {
		_ = c.broker.Close()
	}
}

// requests passes requests on to the broker.
func (c *connection) requests() {
	in := bufio.NewReaderSize(c.client, 64<<10)
	for {
		frame, err := readFrame(in)
		if err != nil {
			return
		}
		e, correlation, err := parseRequest(frame)
		if err != nil {
			return
		}
		e.Broker = c.link.id
		switch c.link.proxy.judge(onRequest, e) {
		case Forward:
		case Drop:
			return
		case Hold:
			c.link.proxy.hold(c.link, frame)
			return
		}
		if !c.wait(c.link.slowness()) {
			return
		}
		c.ask(correlation, e)
		if _, err := c.broker.Write(frame); err != nil {
			return
		}
	}
}

// wait says whether the connection is still there after d.
func (c *connection) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.closed:
		return false
	case <-timer.C:
		return true
	}
}

// answers passes answers on to the client.
func (c *connection) answers() {
	in := bufio.NewReaderSize(c.broker, 64<<10)
	for {
		frame, err := readFrame(in)
		if err != nil {
			return
		}
		e := c.answered(correlationOf(frame))
		e.Response = frame[8:]
		if c.link.proxy.judge(onResponse, e) != Forward {
			return
		}
		if _, err := c.client.Write(frame); err != nil {
			return
		}
	}
}

func (c *connection) ask(correlation int32, e Exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[correlation] = e
}

func (c *connection) answered(correlation int32) Exchange {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.asked[correlation]
	delete(c.asked, correlation)
	return e
}
