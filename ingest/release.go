package ingest

import (
	"context"
	"errors"
	"fmt"
)

// Verdict is what became of a deferred delivery.
type Verdict string

// The verdicts.
const (
	Released Verdict = "released" // it verifies and is in the raw log
	Held     Verdict = "held"     // it may verify later
	Expired  Verdict = "expired"  // it never will; it is to be given up
)

// Release verifies a deferred delivery again, with the keys that are known now,
// and makes it durable in the raw log if it is its tenant's. Its signature may be
// as much older than its arrival as it may itself wait: what is replayed within
// that time, dedup drops. A delivery may be released twice, under the same ids.
func (e *Edge) Release(ctx context.Context, kept Deferred) (Verdict, error) {
	s := e.senders[tenancy{kept.Vendor, kept.Tenant}]
	if s == nil || s.keys == nil || e.o.Now().Sub(kept.Received) > e.o.DeferFor {
		return Expired, nil
	}
	if !e.o.TenantReady(s.vendor, s.tenant) {
		return Held, nil
	}
	d := delivery{sender: s, requestID: kept.ID, received: kept.Received, sourceID: deliveryID(kept.Header)}
	signed, f := parseSignature(s.conventions, kept.Header)
	if f != "" {
		return Expired, nil
	}
	by, f := signed.verify(kept.Body, s.keys, kept.Received, e.o.DeferFor)
	switch {
	case f == stale || !s.require.met(kept.Bearer, true):
		return Expired, nil
	case f != "":
		return Held, nil
	}
	d.verified = verification{status: sigDeferred, kid: by.ID}
	events, no := e.events(&d, kept.Header, kept.Topic, kept.Body)
	if no != nil {
		return Expired, nil // the limits were changed
	}
	switch a := e.store(ctx, &d, events); a.outcome {
	case Accepted, DeadLettered:
		return Released, nil
	case Overloaded:
		return Held, fmt.Errorf("release delivery %s: %w", kept.ID, errOverloaded)
	default:
		return Held, fmt.Errorf("release delivery %s: %w", kept.ID, errNotDurable)
	}
}

var errNotDurable = errors.New("not durable in time")
