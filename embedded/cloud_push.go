package embedded

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"trunkline/topology"
)

// deliveriesAtOnce bounds the requests that a cloud makes at one time.
const deliveriesAtOnce = 8

// retries are the pauses after which the vendors send a delivery again that was
// not answered, or with 429 or 5xx. After the last it is lost.
var retries = map[string][]time.Duration{
	topology.Genesys: {5 * time.Second, 5 * time.Second, 5 * time.Second, 5 * time.Second, 5 * time.Second},
	topology.CXone:   {time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second},
}

// Subscription is to whom a cloud delivers what happens from now on.
type Subscription struct {
	URL   string
	Token string // sent as bearer token; empty: none
}

// subscription is one in force.
type subscription struct {
	Subscription
	id    string
	name  string
	wants func(message) bool
	spec  map[string]any // as it was registered
}

// Subscribe delivers everything to s: beside what can be registered by a call,
// also what an operator of the vendor's console would set up.
func (c *Cloud) Subscribe(s Subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subscriptions = append(c.subscriptions, &subscription{Subscription: s, wants: func(message) bool { return true }})
}

// register adds a subscription made by a call, or replaces the one of its id.
func (c *Cloud) register(s *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.id == "" {
		s.id = uuid.NewSHA1(uuid.Nil, fmt.Appendf(nil, "%d/%d/%s", c.cfg.Seed, len(c.subscriptions), s.URL)).String()
		s.spec["id"] = s.id
	}
	for i, other := range c.subscriptions {
		if other.id == s.id {
			c.subscriptions[i] = s
			return
		}
	}
	c.subscriptions = append(c.subscriptions, s)
}

// unregister removes one; ok is false where there is none.
func (c *Cloud) unregister(id string) (ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.subscriptions {
		if s.id == id {
			c.subscriptions = append(c.subscriptions[:i:i], c.subscriptions[i+1:]...)
			return true
		}
	}
	return false
}

// registered returns the subscriptions that were made by calls.
func (c *Cloud) registered() (all []*subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.subscriptions {
		if s.spec != nil {
			all = append(all, s)
		}
	}
	return all
}

// named returns the registered subscription that a call names by id.
func (c *Cloud) named(r *http.Request) *subscription {
	for _, s := range c.registered() {
		if s.id == r.PathValue("id") {
			return s
		}
	}
	return nil
}

// deliverer sends what happens in one run of a cloud.
type deliverer struct {
	*Cloud
	underWay sync.WaitGroup

	batch []entry // goes out as one array
	size  int     // of the batch
	held  []entry // by the fault that reorders
}

// take delivers e, or keeps it for the array in the making: some deliveries of
// Genesys are batches of EventBridge.
func (d *deliverer) take(ctx context.Context, e entry) error {
	if len(d.batch) == 0 {
		d.size = 1
		if d.cfg.Vendor == topology.Genesys && !d.cfg.Plain && d.chance("array", e.n, arrayShare/100.0) {
			d.size += e.n % maxArray
		}
	}
	if !e.splits {
		if err := d.send(ctx, d.batch); err != nil {
			return err
		}
		d.batch, d.size = nil, 1
	}
	if d.batch = append(d.batch, e); len(d.batch) < d.size {
		return nil
	}
	batch := d.batch
	d.batch = nil
	return d.send(ctx, batch)
}

// flush delivers what was kept.
func (d *deliverer) flush(ctx context.Context) error {
	batch := d.batch
	d.batch = nil
	if err := d.send(ctx, batch); err != nil {
		return err
	}
	return d.deliver(ctx, d.held)
}

// send delivers a batch, unless it is to go out after the next one.
func (d *deliverer) send(ctx context.Context, batch []entry) error {
	if len(batch) == 0 {
		return nil
	}
	held := d.held
	d.held = nil
	if len(held) == 0 && d.chance("reorder", batch[0].n, d.Faults().Reorder) {
		d.held = batch
		return nil
	}
	if err := d.deliver(ctx, batch); err != nil {
		return err
	}
	return d.deliver(ctx, held)
}

// deliver sends a batch to all who want it, and returns when the first attempts
// are under way.
func (d *deliverer) deliver(ctx context.Context, batch []entry) error {
	d.mu.Lock()
	f, to := d.faults, append([]*subscription(nil), d.subscriptions...)
	d.mu.Unlock()
	for _, s := range to {
		wanted := slices.DeleteFunc(slices.Clone(batch), func(e entry) bool { return !s.wants(e.message) })
		if len(wanted) == 0 {
			continue
		}
		n := wanted[0].n
		if d.chance("drop", n, f.Drop) {
			d.count(func(r *CloudReport) { r.Deliveries.Dropped += len(wanted) })
			continue
		}
		body := bodyOf(wanted)
		sends := []func(){func() { d.attempts(ctx, s, body, len(wanted)) }}
		if d.chance("duplicate", n, f.Duplicate) {
			sends = append(sends, func() { d.post(ctx, s, body, false) })
		}
		if d.chance("forge", n, f.Forge) {
			sends = append(sends, func() { d.forge(ctx, s, wanted[0]) })
		}
		for _, send := range sends {
			select {
			case d.sending <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			d.underWay.Go(func() {
				defer func() { <-d.sending }()
				send()
			})
		}
	}
	return nil
}

// bodyOf is one event as it is, or an array of several.
func bodyOf(batch []entry) []byte {
	if len(batch) == 1 {
		return batch[0].body
	}
	bodies := make([][]byte, len(batch))
	for i, e := range batch {
		bodies[i] = e.body
	}
	return jsonArray(bodies)
}

// attempts sends body until it is answered for good. It holds a place among those
// who send, but while it waits. events is how many body tells.
func (c *Cloud) attempts(ctx context.Context, s *subscription, body []byte, events int) {
	for _, pause := range append(c.cfg.Retries[:len(c.cfg.Retries):len(c.cfg.Retries)], -1) {
		status, answer := c.post(ctx, s, body, false)
		again := status == 0 || status == http.StatusTooManyRequests || status >= 500
		if ctx.Err() != nil {
			return // what became of it is unknown
		}
		c.count(func(r *CloudReport) {
			switch {
			case status == http.StatusOK && answer == "deferred":
				r.Deliveries.Deferred += events
			case status == http.StatusOK:
				r.Deliveries.Accepted += events
			case !again:
				r.Deliveries.Refused += events
			case pause < 0:
				r.Deliveries.Lost += events
			}
		})
		if !again || pause < 0 {
			return
		}
		<-c.sending
		_ = wait(ctx, pause)
		c.sending <- struct{}{}
	}
}

// forge sends what looks like e and is not the vendor's.
func (c *Cloud) forge(ctx context.Context, s *subscription, e entry) {
	if e.id == "" || !bytes.Contains(e.body, []byte(e.id)) {
		return // nothing would tell it from what is the vendor's
	}
	body := bytes.ReplaceAll(e.body, []byte(e.id), []byte("forged-"+e.id))
	if status, answer := c.post(ctx, s, body, true); status == http.StatusOK && answer != "deferred" {
		c.count(func(r *CloudReport) { r.Deliveries.Forged++ })
	}
}

// post makes one attempt. Status 0 is no answer.
func (c *Cloud) post(ctx context.Context, s *subscription, body []byte, forged bool) (status int, answer string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, bytes.NewReader(body))
	if err != nil {
		return 0, ""
	}
	r.Header.Set("Content-Type", "application/json")
	if s.Token != "" && !forged {
		r.Header.Set("Authorization", "Bearer "+s.Token)
	}
	if c.cfg.Vendor == topology.CXone {
		signature := c.keys.sign(c.keys.current(), time.Now(), body)
		if forged {
			signature = newCloudKeys("nobody", c.cfg.Seed).sign(1, time.Now(), body)
		}
		r.Header.Set("X-CXone-Signature", signature)
	}
	res, err := c.cfg.Client.Do(r)
	if err != nil {
		return 0, ""
	}
	defer res.Body.Close()
	var a struct{ Status string }
	text, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return 0, ""
	}
	_ = json.Unmarshal(text, &a) // the status alone is the promise
	return res.StatusCode, a.Status
}
