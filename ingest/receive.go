package ingest

import (
	"context"
	"errors"
	"net/http"
)

// receive answers a delivery to a path that names its tenant.
func (e *Edge) receive(vendor string) handler {
	return func(w http.ResponseWriter, r *http.Request) *answer {
		s := e.senders[tenancy{vendor, r.PathValue("tenant")}]
		if s == nil {
			return refuse(UnknownTenant, "no such tenant")
		}
		if no := e.ready(s); no != nil {
			return no
		}
		return e.accept(w, r, route{candidates: []*sender{s}, otherwise: s, admits: func(*sender, [][]byte) bool { return true }})
	}
}

// receiveAny answers a delivery to a path that names no tenant: it is that of
// the one sender whose credentials verify, and may name no other (I9).
func (e *Edge) receiveAny(vendor string) handler {
	to := route{candidates: e.byVendor[vendor], otherwise: e.senders[tenancy{vendor, e.o.DefaultTenants[vendor]}], admits: (*sender).admitsAll}
	return func(w http.ResponseWriter, r *http.Request) *answer {
		return e.accept(w, r, to)
	}
}

// route is whose deliveries a path takes.
type route struct {
	candidates []*sender
	otherwise  *sender // whose a delivery is that nobody's credentials verify; nil: it is refused
	// admits reports whether the events may be the sender's.
	admits func(*sender, [][]byte) bool
}

func (e *Edge) ready(s *sender) *answer {
	if !e.o.TenantReady(s.vendor, s.tenant) {
		return refuse(NotReady, "the tenant is being set up")
	}
	if s.fill() >= 1 {
		return s.full()
	}
	return nil
}

// full refuses until the spool has drained.
func (s *sender) full() *answer {
	return s.unwell(SpoolFull, "too many deliveries wait for Kafka")
}

// unwell refuses what the sender is to send again, the later the fuller its spool.
func (s *sender) unwell(o Outcome, detail string) *answer {
	return &answer{outcome: o, detail: detail, retryWithin: 1 + int(s.fill()*(maxRetryAfter-1))}
}

// accept makes a delivery of one of the route's candidates durable and says so.
// Nothing but the size of the body is judged before the sender is verified.
func (e *Edge) accept(w http.ResponseWriter, r *http.Request, to route) *answer {
	open, no := e.claims(r.Header, to.candidates)
	if no != nil {
		return no
	}
	sent, no := readBody(w, r, int64(e.o.MaxBody))
	if no != nil {
		return no
	}
	// The budget is counted from here and not from the first byte: a sender on
	// a slow line would otherwise never be accepted. A sender that hangs up does
	// not end it: that would tear its batch apart.
	d := delivery{requestID: e.o.NewID(), received: e.o.Now(), sourceID: deliveryID(r.Header)}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), e.o.Budget)
	defer cancel()

	failures, no := e.authenticate(&d, open, sent)
	if no != nil {
		return no
	}
	if d.sender == nil {
		return e.unverified(ctx, &d, failures, to, r, sent)
	}
	events, no := e.events(&d, r.Header, r.URL.Query().Get("topic"), sent)
	if no != nil {
		return no
	}
	if no := e.ready(d.sender); no != nil {
		return no
	}
	if !to.admits(d.sender, events) {
		return e.unauthorized(otherTenant, d.sender)
	}
	if !d.sender.rate.AllowN(d.received, 1) {
		return refuse(RateLimited, "the tenant sends too many deliveries")
	}
	return e.store(ctx, &d, events)
}

// claims returns what the headers show of the candidates whose policy can still
// be met, at least one.
func (e *Edge) claims(h http.Header, candidates []*sender) ([]claim, *answer) {
	b, now := bearerOf(h), e.o.Now()
	var open []claim
	why, loading := missing, false
	for _, s := range candidates {
		c, ok := s.claim(b, h, now)
		switch {
		case ok:
			open = append(open, c)
		case c.failure != missing:
			why = c.failure
			loading = loading || c.failure == wrongToken && s.awaits(b)
		}
	}
	switch {
	case len(open) > 0:
		return open, nil
	case loading:
		return nil, refuse(NotReady, "the keys are being fetched")
	default:
		return nil, e.unauthorized(why, candidates...)
	}
}

// rejected is a claim that did not verify, and why.
type rejected struct {
	claim
	why failure
}

// authenticate finds the one sender whose delivery this is. It tries all of
// them: two would be none. If it finds none, it returns why.
func (e *Edge) authenticate(d *delivery, open []claim, sent []byte) ([]rejected, *answer) {
	var failures []rejected
	for _, c := range open {
		switch v, f := c.verify(sent, d.received, e.o.ReplayWindow); {
		case f != "":
			failures = append(failures, rejected{c, f})
		case d.sender != nil:
			return nil, e.unauthorized(otherTenant)
		default:
			d.sender, d.verified = c.sender, v
		}
	}
	return failures, nil
}

// events reads what a request holds.
func (e *Edge) events(d *delivery, h http.Header, topic string, sent []byte) (events [][]byte, no *answer) {
	if d.contentType, no = jsonType(h); no != nil {
		return nil, no
	}
	if d.topicHint = topic; len(d.topicHint) > maxHeaderValue {
		return nil, refuse(Unreadable, "topic: is longer than %d bytes", maxHeaderValue)
	}
	body, no := decodeBody(h, sent, int64(e.o.MaxUnpacked))
	if no != nil {
		return nil, no
	}
	return split(body, e.o.MaxBody, e.o.MaxEvents)
}

// store appends the events as raw records, all or none of them, within ctx.
func (e *Edge) store(ctx context.Context, d *delivery, events [][]byte) *answer {
	records := make([]Record, len(events))
	outcome := DeadLettered
	for i, body := range events {
		r, readable := d.record(i, body, e.o.Mappers[d.sender.vendor])
		if readable {
			outcome = Accepted
		}
		records[i] = r
	}
	switch err := e.appender.append(ctx, d.sender.log, records); {
	case errors.Is(err, errOverloaded):
		return d.sender.unwell(Overloaded, "too many deliveries at once")
	case isFull(err):
		return d.sender.full()
	case err != nil:
		return d.sender.unwell(NotDurable, "not durable in time")
	}
	// From here on every record is acknowledged (I1).
	e.o.Durable(d.sender.vendor, len(records), e.o.Now().Sub(d.received))
	return &answer{outcome: outcome, events: len(records), ingestID: d.requestID}
}

// unauthorized refuses a delivery in the same words whatever is wrong with its
// credentials; only the log tells the class.
func (e *Edge) unauthorized(f failure, candidates ...*sender) *answer {
	if len(candidates) == 1 {
		e.o.Logger.Info("refuse delivery", "vendor", candidates[0].vendor, "tenant", candidates[0].tenant, "credentials", string(f))
	} else {
		e.o.Logger.Info("refuse delivery to the path without a tenant", "credentials", string(f))
	}
	return refuse(Unauthorized, "credentials are missing or wrong")
}
