package integration

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"trunkline/app"
	"trunkline/embedded"
	"trunkline/ingest/oauth"
	"trunkline/ingest/outbound"
	"trunkline/ingest/sse"
	"trunkline/topology"
)

// pipes connects clients to a server in this process.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{accept: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.accept <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements [net.Listener].
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr implements [net.Listener].
func (*pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

// attempts counts the connections to a stream where they arrive.
type attempts struct {
	http.RoundTripper

	mu sync.Mutex
	at []time.Time
}

func (a *attempts) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/stream" {
		a.mu.Lock()
		a.at = append(a.at, time.Now())
		a.mu.Unlock()
	}
	return a.RoundTripper.RoundTrip(r)
}

// consumer has what one stream gave: committed with its position, as a transaction
// does.
type consumer struct {
	mu    sync.Mutex
	times map[string]int
	bad   error
}

func (c *consumer) handle(_ context.Context, events []sse.Event, _ string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range events {
		var told struct{ ID string }
		if err := json.Unmarshal(e.Data, &told); err != nil {
			c.bad = err
		}
		c.times[told.ID]++
	}
	return nil
}

// TestThunderingHerd lets a vendor restart the connections of 1,000 streams of one
// process, twice, while there is traffic. Never do more of them connect within any
// second than the limiter lets pass; all come back; and each has every event once.
//
// Seen failing with a limiter of its own for each stream, and with positions that
// are not sent.
func TestThunderingHerd(t *testing.T) {
	const streams, restarts = 1000, 2
	synctest.Test(t, func(t *testing.T) {
		cloud, err := embedded.NewCloud(embedded.CloudConfig{
			Vendor: topology.Genesys, Tenant: app.DevTenant, Seed: 11, Events: 160, Rate: 0.2, Entities: 16, Plain: true,
			Heartbeat: 40 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		listener := newPipes()
		cloud.Serve(listener)
		arrivals := &attempts{RoundTripper: &http.Transport{DialContext: listener.dial, MaxIdleConnsPerHost: 16}}
		client := &http.Client{Transport: arrivals}
		ctx, stop := context.WithCancel(t.Context())
		limiter := outbound.NewLimiter(app.StreamsPerSecond)
		random := rand.New(rand.NewPCG(3, 3))
		consumers := make([]*consumer, streams)
		var running sync.WaitGroup
		for i := range consumers {
			consumers[i] = &consumer{times: map[string]int{}}
			tokens, err := oauth.NewSource(oauth.Options{
				HTTP:  client,
				Grant: oauth.Genesys{URL: "http://genesys", ClientID: "trunkline", ClientSecret: "secret"},
			})
			if err != nil {
				t.Fatal(err)
			}
			seed := random.Uint64()
			stream, err := sse.NewClient(sse.Options{
				URL: "http://genesys/stream", HTTP: client, Tokens: tokens, Limiter: limiter,
				Random: rand.New(rand.NewPCG(seed, 0)).Float64, Handle: consumers[i].handle,
			})
			if err != nil {
				t.Fatal(err)
			}
			running.Go(func() { stream.Run(ctx) })
		}
		var traffic sync.WaitGroup
		traffic.Go(func() {
			if err := cloud.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		const allBack = streams/app.StreamsPerSecond + 10 // seconds
		for range restarts {
			time.Sleep(allBack * time.Second)
			cloud.Sever()
		}
		traffic.Wait() // a quarter of an hour in all
		time.Sleep(allBack * time.Second)
		stop()
		running.Wait()
		client.CloseIdleConnections()
		if err := cloud.Close(); err != nil {
			t.Error(err)
		}

		want := cloud.Model(true).Events
		for i, c := range consumers {
			if c.bad != nil || len(c.times) != len(want) || len(want) == 0 {
				t.Errorf("stream %d has %d events, want %d; damaged: %v", i, len(c.times), len(want), c.bad)
			}
			for id, n := range c.times {
				if _, told := want[id]; !told || n != 1 {
					t.Fatalf("stream %d has event %s %d times", i, id, n)
				}
			}
		}
		at := arrivals.at
		if len(at) != (1+restarts)*streams {
			t.Errorf("%d connections, want %d: each stream to come, and to come back %d times", len(at), (1+restarts)*streams, restarts)
		}
		// The limiter lets the first pass at once: one more than its rate.
		for i := app.StreamsPerSecond + 1; i < len(at); i++ {
			if within := at[i].Sub(at[i-app.StreamsPerSecond-1]); within < time.Second {
				t.Fatalf("%d connections within %v", app.StreamsPerSecond+2, within)
			}
		}
		t.Logf("%d connections in %v", len(at), at[len(at)-1].Sub(at[0]).Round(time.Second))
	})
}
