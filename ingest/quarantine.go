package ingest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"trunkline/event"
	"trunkline/vendors"
)

// Deferred is a delivery that does not verify and may do so later: after the keys
// were fetched anew, or because it was only late.
type Deferred struct {
	ID       string      `json:"id"` // of the request
	Vendor   string      `json:"vendor"`
	Tenant   string      `json:"tenant"` // from the path, or the default (I9)
	Received time.Time   `json:"received"`
	Reason   string      `json:"reason"`           // the class of its failure
	Bearer   bool        `json:"bearer,omitempty"` // its token was the tenant's
	Header   http.Header `json:"header"`           // what it is verified and decoded by; no token (I10)
	Topic    string      `json:"topic,omitempty"`
	Body     []byte      `json:"body"` // as sent
}

// Records returns what the delivery will be in the raw log if it is released; none
// if it cannot be read.
func (d *Deferred) Records(m vendors.Mapper) []Record {
	limits := Options{}.withDefaults()
	body, no := decodeBody(d.Header, d.Body, int64(limits.MaxUnpacked))
	if no != nil {
		return nil
	}
	events, no := split(body, len(body), limits.MaxEvents)
	if no != nil {
		return nil
	}
	whole := delivery{sender: &sender{vendor: d.Vendor, tenant: d.Tenant}, requestID: d.ID, received: d.Received, topicHint: d.Topic}
	records := make([]Record, len(events))
	for i, e := range events {
		records[i], _ = whole.record(i, e, m)
	}
	return records
}

// Quarantine is where deferred deliveries are kept, apart from the raw log:
// nothing there is known to be a vendor's.
type Quarantine interface {
	// Put keeps a delivery or reports an error. Nil means that it is
	// acknowledged with acks=all. Put returns soon after ctx is done, names no
	// payload in its errors (I10), and is called concurrently.
	Put(ctx context.Context, d Deferred) error
}

// defers reports whether a delivery that failed so is deferred rather than
// refused. complete says that it is JSON in which each event has what its key is
// made of: what is none cannot be a vendor's, whatever the keys.
func (f failure) defers(strict, complete bool) bool {
	switch f {
	case stale, mismatch, unknownKey:
		return !strict && complete
	default:
		return false
	}
}

// quota bounds what an hour adds to the quarantine for one sender.
type quota struct {
	mu         sync.Mutex
	hour       time.Time
	deliveries int
	bytes      int
}

// take counts a delivery unless it would be over the bounds.
func (q *quota) take(now time.Time, size, maxDeliveries, maxBytes int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if hour := now.Truncate(time.Hour); !hour.Equal(q.hour) {
		q.hour, q.deliveries, q.bytes = hour, 0, 0
	}
	if q.deliveries+1 > maxDeliveries || q.bytes+size > maxBytes {
		return false
	}
	q.deliveries++
	q.bytes += size
	return true
}

// unverified answers a delivery that is nobody's as far as the keys tell: it is
// put into quarantine or refused.
func (e *Edge) unverified(ctx context.Context, d *delivery, failures []rejected, to route, r *http.Request, sent []byte) *answer {
	why := failures[0].why
	for _, f := range failures {
		if f.why != mismatch && f.why != unknownKey {
			continue
		}
		f.sender.keys.WantNew()
		if !f.sender.keys.Loaded() {
			return refuse(NotReady, "the keys are being fetched")
		}
	}
	at := slices.IndexFunc(failures, func(f rejected) bool { return f.sender == to.otherwise })
	if at < 0 {
		return e.unauthorized(why, to.candidates...)
	}
	f := failures[at]
	s := f.sender
	d.sender = s
	if e.o.Quarantine == nil || !f.why.defers(s.strict, e.complete(d, to, r, sent)) {
		return e.unauthorized(f.why, s)
	}
	if no := e.ready(s); no != nil {
		return no
	}
	if !s.quota.take(d.received, len(sent), e.o.DeferredPerHour, e.o.DeferredBytesPerHour) {
		return refuse(QuotaSpent, "too many deliveries wait to be verified")
	}
	err := e.appender.bounded(ctx, func() error {
		return e.o.Quarantine.Put(ctx, Deferred{
			ID: d.requestID, Vendor: s.vendor, Tenant: s.tenant, Received: d.received, Reason: string(f.why),
			Bearer: f.bearer, Header: s.evidence(r.Header), Topic: d.topicHint, Body: sent,
		})
	})
	switch {
	case errors.Is(err, errOverloaded):
		return refuse(Overloaded, "too many deliveries at once")
	case err != nil:
		e.o.Logger.Error("delivery cannot be put into quarantine", "vendor", s.vendor, "tenant", s.tenant, "error", err)
		return refuse(NotDurable, "not durable in time")
	}
	e.o.Logger.Info("defer delivery", "vendor", s.vendor, "tenant", s.tenant, "scheme", string(f.signature.scheme), "credentials", string(f.why))
	return &answer{outcome: Quarantined, reason: string(f.why)}
}

// complete reports whether the delivery is one that could be accepted: JSON, each
// event with what its key is made of, none of another tenant.
func (e *Edge) complete(d *delivery, to route, r *http.Request, sent []byte) bool {
	events, no := e.events(d, r.Header, r.URL.Query().Get("topic"), sent)
	if no != nil || !to.admits(d.sender, events) {
		return false
	}
	m := e.o.Mappers[d.sender.vendor]
	for i, body := range events {
		if !hasKey(m, d.raw(i, body)) {
			return false
		}
	}
	return true
}

func hasKey(m vendors.Mapper, raw event.Raw) bool {
	if raw.Format = m.Detect(raw.Body, raw.TopicHint); raw.Format == event.FormatUnknown {
		return false
	}
	_, _, ok := m.Key(&raw)
	return ok
}

// evidence are the headers by which a delivery is verified, decoded and traced.
// The token is not among them: it is a secret (I10).
func (s *sender) evidence(h http.Header) http.Header {
	names := slices.Concat(deliveryIDs, []string{"Content-Type", "Content-Encoding"})
	for _, c := range s.conventions {
		names = append(names, c.header, c.timestamp, c.id)
	}
	kept := http.Header{}
	for _, name := range names {
		if values := h.Values(name); len(values) > 0 {
			kept[http.CanonicalHeaderKey(name)] = values
		}
	}
	return kept
}
