package embedded

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"trunkline/topology"
)

// SimulatorConfig configures a [Simulator].
type SimulatorConfig struct {
	Vendor  string // topology.Genesys or topology.CXone
	Tenant  string
	EdgeURL string // base URL of the edge, such as http://127.0.0.1:8080

	// Token is sent as bearer token, SigningSecret makes X-CXone-Signature; each
	// is left out when empty.
	Token         string
	SigningSecret string

	Seed      int64
	Events    int     // deliveries in all; 0 = until the context ends
	Rate      float64 // deliveries per second; 0 = as fast as the edge answers
	Entities  int     // as in [GeneratorConfig]
	LateAfter int     // as in [GeneratorConfig]
	Workers   int     // requests in flight; default 8

	Client *http.Client     // default: a time-out of 10 s, as Genesys has
	Now    func() time.Time // default time.Now

	// Accepted is called for each request that the edge took, one call at a
	// time. What it is given can be joined with the raw records: element i of
	// the request has ingest id `{IngestID}/{i}`.
	Accepted func(Acceptance)
}

// Acceptance is a request that was answered 200. The bytes of an earlier attempt
// whose answer was lost may stand in the raw topic as well, under an ingest id
// that nobody was told.
type Acceptance struct {
	IngestID   string // as the edge answered it; empty if it did not
	Status     string // "accepted" or "dead-lettered"
	Deliveries []Delivery
}

// SimulatorReport counts what a simulator did.
type SimulatorReport struct {
	Vendor   string               `json:"vendor"`
	Sent     int                  `json:"sent"`     // deliveries handed to the network at least once
	Accepted int                  `json:"accepted"` // deliveries answered 200
	Kinds    map[DeliveryKind]int `json:"kinds"`    // accepted deliveries by kind

	Requests RequestOutcomes `json:"requests"`
}

// RequestOutcomes counts attempts, not deliveries.
type RequestOutcomes struct {
	OK      int `json:"ok"`      // answered 200
	Failed  int `json:"failed"`  // answered otherwise: the edge promised nothing
	Unknown int `json:"unknown"` // not answered: the edge may hold it
	Resent  int `json:"resent"`  // attempts after the first, part of the above
}

// arrayShare is how many of a hundred requests carry an array, maxArray how many
// events at most.
const (
	arrayShare = 10
	maxArray   = 20
)

// Vendors back off between these when the edge names no time.
const (
	firstBackoff = 200 * time.Millisecond
	maxBackoff   = 30 * time.Second
)

// Simulator plays one vendor against a real edge: it posts what a [Generator]
// makes and keeps posting the same bytes until they are accepted, as vendors do.
type Simulator struct {
	cfg      SimulatorConfig
	endpoint string
	wait     func(context.Context, time.Duration) error

	mu     sync.Mutex
	report SimulatorReport
}

// NewSimulator returns a simulator that has not sent anything. An error names
// the configuration field that is wrong.
func NewSimulator(cfg SimulatorConfig) (*Simulator, error) {
	if !slices.Contains(topology.Vendors, cfg.Vendor) {
		return nil, fmt.Errorf("configure simulator: vendor %q: want one of %v", cfg.Vendor, topology.Vendors)
	}
	if _, err := url.ParseRequestURI(cfg.EdgeURL); err != nil {
		return nil, fmt.Errorf("configure simulator: edge url: %w", err)
	}
	if cfg.Tenant == "" {
		return nil, fmt.Errorf("configure simulator: tenant: want a tenant id")
	}
	if cfg.Rate < 0 || cfg.Events < 0 {
		return nil, fmt.Errorf("configure simulator: rate %v and events %d: want no negative number", cfg.Rate, cfg.Events)
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 8
	}
	if cfg.Client == nil {
		cfg.Client = newSender(cfg.Workers)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Simulator{
		cfg:      cfg,
		endpoint: strings.TrimRight(cfg.EdgeURL, "/") + EdgePath(cfg.Vendor, cfg.Tenant),
		wait:     wait,
		report:   SimulatorReport{Vendor: cfg.Vendor, Kinds: map[DeliveryKind]int{}},
	}, nil
}

// EdgePath is where an edge takes the deliveries of a vendor for a tenant.
func EdgePath(vendor, tenant string) string {
	last := map[string]string{topology.Genesys: "events", topology.CXone: "webhook"}[vendor]
	return "/v1/ingest/" + vendor + "/" + url.PathEscape(tenant) + "/" + last
}

// Report returns the counts so far. It is safe for concurrent use.
func (s *Simulator) Report() SimulatorReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.report
	r.Kinds = make(map[DeliveryKind]int, len(DeliveryKinds))
	for _, k := range DeliveryKinds {
		r.Kinds[k] = s.report.Kinds[k]
	}
	return r
}

// request is what one POST carries.
type request struct {
	body       []byte
	deliveries []Delivery
}

// Run sends all events and returns when each is accepted or refused for good, or
// when ctx ends: then with its error, and what was in flight is unknown. A
// simulator runs once.
func (s *Simulator) Run(ctx context.Context) (SimulatorReport, error) {
	g, err := NewGenerator(GeneratorConfig{
		Vendor: s.cfg.Vendor, Tenant: s.cfg.Tenant, Seed: s.cfg.Seed,
		Events: s.cfg.Events, Entities: s.cfg.Entities, LateAfter: s.cfg.LateAfter,
	}.near(s.cfg.Now(), s.cfg.Rate))
	if err != nil {
		return s.Report(), err
	}
	requests := make(chan request)
	var workers sync.WaitGroup
	for n := range s.cfg.Workers {
		workers.Go(func() {
			jitter := rand.New(rand.NewPCG(uint64(s.cfg.Seed), uint64(n)))
			for r := range requests {
				s.deliver(ctx, r, jitter)
			}
		})
	}
	err = s.feed(ctx, g, requests)
	close(requests)
	workers.Wait()
	return s.Report(), cmp.Or(ctx.Err(), err)
}

// feed groups deliveries into requests at the configured rate.
func (s *Simulator) feed(ctx context.Context, g *Generator, requests chan<- request) error {
	arrays := rand.New(rand.NewPCG(uint64(s.cfg.Seed), 'a'))
	started, sent := s.cfg.Now(), 0
	send := func(r request) error {
		if s.cfg.Rate > 0 {
			due := started.Add(time.Duration(float64(sent) / s.cfg.Rate * float64(time.Second)))
			if err := s.wait(ctx, due.Sub(s.cfg.Now())); err != nil {
				return err
			}
		}
		sent += len(r.deliveries)
		select {
		case requests <- r:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var array []Delivery
	size := 0 // of the array in the making, or of the next one
	for {
		d, ok := g.Next()
		if ok && len(array) == 0 && arrays.IntN(100) < arrayShare {
			size = 1 + arrays.IntN(maxArray)
		}
		if ok && d.Splits && len(array) < size {
			array = append(array, d)
			continue
		}
		if len(array) > 0 {
			if err := send(arrayOf(array)); err != nil {
				return err
			}
			array, size = nil, 0
		}
		if !ok {
			return nil
		}
		if err := send(request{body: d.Body, deliveries: []Delivery{d}}); err != nil {
			return err
		}
	}
}

func arrayOf(ds []Delivery) request {
	bodies := make([][]byte, len(ds))
	for i, d := range ds {
		bodies[i] = d.Body
	}
	return request{body: jsonArray(bodies), deliveries: ds}
}

// jsonArray has the bodies as its elements, byte for byte.
func jsonArray(bodies [][]byte) []byte {
	return slices.Concat([]byte{'['}, bytes.Join(bodies, []byte{','}), []byte{']'})
}

// newSender returns a client as patient as Genesys is, for so many requests at once.
func newSender(atOnce int) *http.Client {
	return &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: atOnce, IdleConnTimeout: time.Minute},
	}
}

// deliver posts r until it is accepted or refused for good.
func (s *Simulator) deliver(ctx context.Context, r request, jitter *rand.Rand) {
	backoff := firstBackoff
	for attempt := 0; ctx.Err() == nil; attempt++ {
		a := s.post(ctx, r.body)
		s.count(r, a, attempt)
		if !a.again {
			return
		}
		pause := max(a.retryAfter, time.Duration(float64(backoff)*(0.5+jitter.Float64()/2)))
		if s.wait(ctx, pause) != nil {
			return
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// answer is what became of one attempt.
type answer struct {
	code       int // 0: none came
	again      bool
	retryAfter time.Duration
	Status     string `json:"status"`
	IngestID   string `json:"ingest_id"`
}

func (s *Simulator) post(ctx context.Context, body []byte) answer {
	lost := answer{again: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint, bytes.NewReader(body))
	if err != nil {
		return lost
	}
	req.Header.Set("Content-Type", "application/json")
	if s.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.cfg.Token)
	}
	if s.cfg.SigningSecret != "" {
		req.Header.Set("X-CXone-Signature", Sign(s.cfg.SigningSecret, s.cfg.Now(), body))
	}
	res, err := s.cfg.Client.Do(req)
	if err != nil {
		return lost
	}
	defer res.Body.Close()
	a := answer{code: res.StatusCode}
	text, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if res.StatusCode == http.StatusOK {
		if err != nil {
			return lost
		}
		// The status alone is the promise; a body that tells no ingest id only
		// leaves it unknown.
		_ = json.Unmarshal(text, &a)
		return a
	}
	a.again = res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 {
		a.retryAfter = time.Duration(seconds) * time.Second
	}
	return a
}

// Sign makes the value of X-CXone-Signature: `t=<unix seconds>,v1=<hex>`, the
// HMAC-SHA256 of `t.body`.
func Sign(secret string, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

func (s *Simulator) count(r request, a answer, attempt int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if attempt == 0 {
		s.report.Sent += len(r.deliveries)
	} else {
		s.report.Requests.Resent++
	}
	switch a.code {
	case 0:
		s.report.Requests.Unknown++
	case http.StatusOK:
		s.report.Requests.OK++
		s.report.Accepted += len(r.deliveries)
		for _, d := range r.deliveries {
			s.report.Kinds[d.Kind]++
		}
		if s.cfg.Accepted != nil {
			s.cfg.Accepted(Acceptance{IngestID: a.IngestID, Status: a.Status, Deliveries: r.deliveries})
		}
	default:
		s.report.Requests.Failed++
	}
}

// wait returns after d, or with the error of ctx when that ends first.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
