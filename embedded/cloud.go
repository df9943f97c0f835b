package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"trunkline/topology"
)

// CloudConfig configures a [Cloud].
type CloudConfig struct {
	Vendor string // topology.Genesys or topology.CXone
	Tenant string

	// What happens is that of a [Generator]: the same seed and base, the same bytes.
	Seed     int64
	Events   int       // in all; 0 = until Run is ended, and then only the newest are kept
	Rate     float64   // events per second; 0 = as fast as they are taken
	Entities int       // as in [GeneratorConfig]
	Plain    bool      // as in [GeneratorConfig]
	Base     time.Time // event time of the first; default: near the wall clock

	// ClientID and ClientSecret are the customer's credential: of OAuth at Genesys,
	// an access key at CXone. Default: "trunkline" and "secret".
	ClientID     string
	ClientSecret string
	TokenLife    time.Duration // default: an hour

	// PushToken is what deliveries of Genesys to registered subscriptions carry;
	// those of CXone carry what was registered.
	PushToken string

	Remembered int             // events that streams resume after; default: 10,000
	Heartbeat  time.Duration   // between two of a silent connection; default: 15 s
	Retries    []time.Duration // pauses before a delivery is sent again; default: the vendor's policy
	Client     *http.Client    // of deliveries; default: a time-out of 10 s, as Genesys has
}

// keptEvents bounds the log of an endless cloud.
const keptEvents = 50_000

// Cloud plays the whole of one vendor's cloud. It keeps one log of what happened
// there, and tells each event by the ways that the vendor has for it: deliveries
// to who subscribed, a stream, pages and lists to who asks. An event has the same
// identity by each of its ways. What goes wrong is for [Cloud.SetFaults] to say.
// Its methods may be called concurrently.
type Cloud struct {
	cfg       CloudConfig
	generator *Generator
	log       *cloudLog
	tokens    *cloudTokens
	keys      *cloudKeys
	mux       *http.ServeMux
	sending   chan struct{} // holds a place for each delivery under way

	mu            sync.Mutex
	faults        Faults
	random        *rand.Rand // of connections
	connections   chan struct{}
	calls         int
	subscriptions []*subscription
	audits        map[string]*auditQuery
	channels      []*channel
	report        CloudReport

	server *http.Server
	served chan struct{}
}

// CloudReport counts what a cloud did.
type CloudReport struct {
	Told     int // events in the log
	Streamed int // of them, those that are on the stream

	Deliveries DeliveryOutcomes

	Streams  int // connections that were given the stream
	Reading  int // of them, those that stand
	Cut      int // of them, those that were cut by [Faults.Cuts]
	Channels int // for notifications, opened
}

// DeliveryOutcomes counts events that were to be delivered, once for each
// subscription.
type DeliveryOutcomes struct {
	Accepted int // answered 200
	Deferred int // answered 200, to be processed when it can be verified
	Refused  int // answered for good: 4xx
	Lost     int // given up after the last retry
	Dropped  int // by [Faults.Drop]
	Forged   int // accepted although [Faults.Forge] made them
}

// NewCloud returns a cloud in which nothing has happened yet. An error names the
// configuration field that is wrong.
func NewCloud(cfg CloudConfig) (*Cloud, error) {
	if cfg.Tenant == "" {
		return nil, errors.New("configure cloud: tenant: want a tenant id")
	}
	if cfg.Rate < 0 || cfg.Events < 0 || cfg.Rate == 0 && cfg.Events == 0 {
		return nil, fmt.Errorf("configure cloud: rate %v and events %d: want one of them, and no negative number", cfg.Rate, cfg.Events)
	}
	cfg.ClientID = cmp.Or(cfg.ClientID, "trunkline")
	cfg.ClientSecret = cmp.Or(cfg.ClientSecret, "secret")
	cfg.TokenLife = cmp.Or(cfg.TokenLife, time.Hour)
	cfg.Remembered = cmp.Or(cfg.Remembered, 10_000)
	cfg.Heartbeat = cmp.Or(cfg.Heartbeat, 15*time.Second)
	if cfg.Retries == nil {
		cfg.Retries = retries[cfg.Vendor]
	}
	if cfg.Client == nil {
		cfg.Client = newSender(deliveriesAtOnce)
	}
	traffic := GeneratorConfig{
		Vendor: cfg.Vendor, Tenant: cfg.Tenant, Seed: cfg.Seed, Events: cfg.Events, Entities: cfg.Entities, Plain: cfg.Plain, Base: cfg.Base,
	}
	if cfg.Base.IsZero() {
		traffic = traffic.near(time.Now(), cfg.Rate)
	}
	g, err := NewGenerator(traffic)
	if err != nil {
		return nil, err
	}
	kept := 0
	if cfg.Events == 0 {
		kept = keptEvents
	}
	c := &Cloud{
		cfg: cfg, generator: g, log: newCloudLog(g.cfg.Base, kept), sending: make(chan struct{}, deliveriesAtOnce),
		tokens: &cloudTokens{life: cfg.TokenLife, seed: cfg.Seed, valid: map[string]*cloudToken{}, refresh: map[string]bool{}},
		keys:   newCloudKeys(cfg.Vendor, cfg.Seed), mux: http.NewServeMux(),
		random: rand.New(rand.NewPCG(uint64(cfg.Seed), 'c')), connections: make(chan struct{}), audits: map[string]*auditQuery{},
	}
	c.mux.HandleFunc("GET /.well-known/jwks.json", c.publishKeys)
	if cfg.Vendor == topology.Genesys {
		c.routeGenesys()
	} else {
		c.routeCXone()
	}
	return c, nil
}

// Serve answers calls on l until Close.
func (c *Cloud) Serve(l net.Listener) {
	c.server = &http.Server{Handler: c, ReadHeaderTimeout: 10 * time.Second}
	c.served = make(chan struct{})
	go func() {
		defer close(c.served)
		_ = c.server.Serve(l) // it ends with Close alone
	}()
}

// Close ends what Serve began, and every connection.
func (c *Cloud) Close() error {
	c.Sever()
	err := c.server.Close()
	<-c.served
	return err
}

// ServeHTTP answers as the API, the login host and the stream of the vendor.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.calls++
	f, n := c.faults, c.calls
	c.mu.Unlock()
	if c.chance("refuse", n, f.Refuse) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(f.RefuseWith)
		return
	}
	c.mux.ServeHTTP(w, r)
}

// Run lets happen what happens, at the configured rate, and delivers it. With a
// number of events it returns when each was delivered or given up, else when ctx
// ends. A cloud runs once; it answers calls before and after.
func (c *Cloud) Run(ctx context.Context) error {
	d := &deliverer{Cloud: c}
	defer d.underWay.Wait()
	started := time.Now()
	for told := 0; ; told++ {
		m, ok := c.generator.nextMessage()
		if !ok {
			return d.flush(ctx)
		}
		if c.cfg.Rate > 0 {
			due := started.Add(time.Duration(float64(told) / c.cfg.Rate * float64(time.Second)))
			if err := wait(ctx, time.Until(due)); err != nil {
				return err
			}
		}
		if e := c.log.append(c.entry(m)); !e.streamed {
			if err := d.take(ctx, e); err != nil {
				return err
			}
		}
	}
}

// Vendor is the vendor that the cloud plays.
func (c *Cloud) Vendor() string { return c.cfg.Vendor }

// entry is what the log keeps of m.
func (c *Cloud) entry(m message) entry {
	e := entry{message: m}
	if c.cfg.Vendor == topology.Genesys && onStream(m) {
		e.streamed, e.event, e.body, e.hasID = true, streamName(m), streamBody(m), true
	} else {
		e.body = c.generator.delivery(m).Body
	}
	return e
}

// chance is true for a share of the numbers n, always the same ones.
func (c *Cloud) chance(what string, n int, share float64) bool {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%d/%d", what, c.cfg.Seed, n)
	return rand.New(rand.NewPCG(h.Sum64(), 0)).Float64() < share
}

// Report returns the counts so far.
func (c *Cloud) Report() CloudReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.report
	r.Told, r.Streamed = c.log.count()
	return r
}

func (c *Cloud) count(change func(*CloudReport)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.report)
}
