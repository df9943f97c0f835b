package app

import (
	"net/http"
	"sync"
	"time"
)

// outages notes when the edge asked a vendor to come again for longer than the vendor
// does: what was to be delivered meanwhile has to be asked for.
type outages struct {
	mu       sync.Mutex
	watchers []*outageWatcher
}

// outageWatcher waits for the end of a long outage of one tenant at a vendor.
type outageWatcher struct {
	vendor, tenant string
	retries        time.Duration // of the vendor
	wake           chan struct{}

	since time.Time // the first refusal of the present outage
}

func newOutages() *outages { return &outages{} }

// watch returns a channel that has an element after an outage of more than retries;
// outages that nobody asked for meanwhile are one.
func (o *outages) watch(vendor, tenant string, retries time.Duration) <-chan struct{} {
	w := &outageWatcher{vendor: vendor, tenant: tenant, retries: retries, wake: make(chan struct{}, 1)}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.watchers = append(o.watchers, w)
	return w.wake
}

// answered is told of every answer of the edge; the tenant is empty where it is not
// known, and may be any of the vendor's.
func (o *outages) answered(vendor, tenant string, status int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, w := range o.watchers {
		if w.vendor == vendor && (tenant == "" || w.tenant == tenant) {
			w.answered(status)
		}
	}
}

// over is told that something of a tenant's events may be missing for another reason.
func (o *outages) over(vendor, tenant string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, w := range o.watchers {
		if w.vendor == vendor && w.tenant == tenant {
			w.ask()
		}
	}
}

// ask has the lists read.
func (w *outageWatcher) ask() {
	select {
	case w.wake <- struct{}{}:
	default: // they will be
	}
}

func (w *outageWatcher) answered(status int) {
	switch status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		if w.since.IsZero() {
			w.since = time.Now()
		}
	case http.StatusOK:
		if !w.since.IsZero() && time.Since(w.since) > w.retries {
			w.ask()
		}
		w.since = time.Time{}
	}
}
