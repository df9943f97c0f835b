package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"trunkline/app"
	"trunkline/topology"
)

// traffic sends what a generator makes to an edge, and keeps account of what the
// edge promised.
type traffic struct {
	seed   int64
	events int
	rate   float64       // deliveries per second
	edge   func() string // base URL at the moment
	client *http.Client

	mu       sync.Mutex
	accepted []accepted
	told     map[string]*told // by event id
	outcomes HTTPOutcomes
}

// accepted is a delivery that was answered 200.
type accepted struct {
	ingestID string // empty for poison: the answer does not tell it
	eventID  string // or the id of poison
}

// HTTPOutcomes counts attempts. An unknown one was not answered: the edge may
// have it, and it is sent again.
type HTTPOutcomes struct {
	OK      int `json:"ok"`
	Failed  int `json:"failed"`
	Unknown int `json:"unknown"`
}

// senders is the number of requests in flight.
const senders = 24

func newTraffic(seed int64, events int, rate float64, edge func() string) *traffic {
	return &traffic{
		seed: seed, events: events, rate: rate, edge: edge, told: map[string]*told{},
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: senders}},
	}
}

// run sends everything and returns when all of it is accepted.
func (t *traffic) run(ctx context.Context) error {
	requests := make(chan []delivery)
	var running sync.WaitGroup
	faults := make(chan error, senders)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range senders {
		running.Go(func() {
			for r := range requests {
				if err := t.deliver(ctx, r); err != nil {
					faults <- err
					cancel()
					return
				}
			}
		})
	}
	t.feed(ctx, requests)
	close(requests)
	running.Wait()
	select {
	case err := <-faults:
		return err
	default:
		return ctx.Err()
	}
}

// feed groups deliveries into requests, one of ten an array.
func (t *traffic) feed(ctx context.Context, requests chan<- []delivery) {
	g := newGenerator(t.seed, time.Now)
	arrays := rand.New(rand.NewPCG(uint64(t.seed), 'a')) //nolint:gosec // a test's randomness is seeded
	began, sent := time.Now(), 0
	send := func(ds []delivery) bool {
		due := began.Add(time.Duration(float64(sent) / t.rate * float64(time.Second)))
		sent += len(ds)
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			return false
		}
		select {
		case requests <- ds:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for sent < t.events {
		ds := []delivery{g.next()}
		if arrays.IntN(10) == 0 {
			for range arrays.IntN(20) {
				d := g.next()
				if last := ds[len(ds)-1]; d.event == nil || last.event == nil || d.vendor != last.vendor {
					// Malformed bytes would spoil their neighbours.
					if !send(ds) {
						return
					}
					ds = nil
				}
				ds = append(ds, d)
			}
		}
		if !send(ds) {
			return
		}
	}
	for _, d := range g.rest() {
		if !send([]delivery{d}) {
			return
		}
	}
}

// deliver posts until the edge accepts, as vendors do.
func (t *traffic) deliver(ctx context.Context, ds []delivery) error {
	for {
		done, err := t.post(ctx, ds)
		if done || err != nil {
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (t *traffic) post(ctx context.Context, ds []delivery) (done bool, err error) {
	path := map[string]string{topology.Genesys: "events", topology.CXone: "webhook"}[ds[0].vendor]
	url := fmt.Sprintf("%s/v1/ingest/%s/%s/%s", t.edge(), ds[0].vendor, app.DevTenant, path)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(bodyOf(ds)))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+app.DevToken)
	var answer struct {
		IngestID string `json:"ingest_id"`
	}
	res, err := t.client.Do(req)
	if err == nil {
		defer res.Body.Close()
		err = json.NewDecoder(res.Body).Decode(&answer)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err != nil:
		t.outcomes.Unknown++
		return false, ctx.Err()
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500:
		t.outcomes.Failed++
		return false, nil
	case res.StatusCode != http.StatusOK:
		return false, fmt.Errorf("the edge refused a delivery with %d: %.200s", res.StatusCode, bodyOf(ds))
	}
	t.outcomes.OK++
	for i, d := range ds {
		if d.event == nil {
			t.accepted = append(t.accepted, accepted{eventID: d.poison})
			continue
		}
		t.accepted = append(t.accepted, accepted{fmt.Sprintf("%s/%d", answer.IngestID, i), d.event.ID})
		t.told[d.event.ID] = d.event
	}
	return true, nil
}

func bodyOf(ds []delivery) []byte {
	if len(ds) == 1 {
		return ds[0].body
	}
	var bodies [][]byte
	for _, d := range ds {
		bodies = append(bodies, d.body)
	}
	return append(append([]byte{'['}, bytes.Join(bodies, []byte{','})...), ']')
}
