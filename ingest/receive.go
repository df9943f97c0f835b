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
		return e.accept(w, r, []*sender{s}, func(*sender, [][]byte) *answer { return nil })
	}
}

// receiveAny answers a delivery to a path that names no tenant: it is that of
// the one sender whose credentials verify, and may name no other (I9).
func (e *Edge) receiveAny(vendor string) handler {
	return func(w http.ResponseWriter, r *http.Request) *answer {
		return e.accept(w, r, e.byVendor[vendor], func(s *sender, events [][]byte) *answer {
			if no := e.ready(s); no != nil {
				return no
			}
			for _, body := range events {
				if !s.admits(body) {
					return e.unauthorized(otherTenant, s)
				}
			}
			return nil
		})
	}
}

func (e *Edge) ready(s *sender) *answer {
	if !e.o.TenantReady(s.vendor, s.tenant) {
		return refuse(NotReady, "the tenant is being set up")
	}
	return nil
}

// accept makes a delivery of one of the candidates durable and says so. Nothing
// but the size of the body is judged before the sender is verified. check may
// refuse the events of a verified sender.
func (e *Edge) accept(w http.ResponseWriter, r *http.Request, candidates []*sender, check func(*sender, [][]byte) *answer) *answer {
	p := proofOf(r.Header)
	var possible []*sender
	for _, s := range candidates {
		if s.mayVerify(p) {
			possible = append(possible, s)
		}
	}
	if len(possible) == 0 {
		return e.unauthorized(p.failure(), candidates...)
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

	if no := e.authenticate(&d, possible, p, r.Header, sent); no != nil {
		return no
	}
	events, no := e.events(&d, r, sent)
	if no != nil {
		return no
	}
	if no := check(d.sender, events); no != nil {
		return no
	}
	return e.store(ctx, &d, events)
}

// authenticate finds the one candidate whose delivery this is. It tries all of
// them: two would be none.
func (e *Edge) authenticate(d *delivery, candidates []*sender, p proof, h http.Header, sent []byte) *answer {
	var why failure
	found := 0
	for _, s := range candidates {
		v, f := s.verify(p, h, sent, d.received)
		if f != "" {
			why = f
			continue
		}
		d.sender, d.verified = s, v
		found++
	}
	switch found {
	case 0:
		return e.unauthorized(why, candidates...)
	case 1:
		return nil
	default:
		return e.unauthorized(otherTenant, candidates...)
	}
}

// events reads what an authenticated request holds.
func (e *Edge) events(d *delivery, r *http.Request, sent []byte) (events [][]byte, no *answer) {
	if d.contentType, no = jsonType(r.Header); no != nil {
		return nil, no
	}
	if d.topicHint = r.URL.Query().Get("topic"); len(d.topicHint) > maxHeaderValue {
		return nil, refuse(Unreadable, "topic: is longer than %d bytes", maxHeaderValue)
	}
	body, no := decodeBody(r.Header, sent, int64(e.o.MaxUnpacked))
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
	switch err := e.appender.append(ctx, records); {
	case errors.Is(err, errOverloaded):
		return refuse(Overloaded, "too many deliveries at once")
	case err != nil:
		return refuse(NotDurable, "not durable in time")
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
