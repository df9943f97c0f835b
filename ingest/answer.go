package ingest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// Outcome is how the edge answered a request. The set is closed: it is a metric
// label.
type Outcome string

// The outcomes.
const (
	Accepted         Outcome = "accepted"
	DeadLettered     Outcome = "dead_lettered"
	Quarantined      Outcome = "quarantined" // not verified, and may be later
	Empty            Outcome = "empty"
	Unreadable       Outcome = "unreadable" // the request, not its JSON
	Unauthorized     Outcome = "unauthorized"
	UnknownTenant    Outcome = "unknown_tenant"
	NoRoute          Outcome = "no_route"
	MethodNotAllowed Outcome = "method_not_allowed"
	TooLarge         Outcome = "too_large"
	NotJSON          Outcome = "not_json"
	UnknownEncoding  Outcome = "unknown_encoding"
	RateLimited      Outcome = "rate_limited"
	NotReady         Outcome = "not_ready"   // the tenant has no topics or no keys yet
	NotDurable       Outcome = "not_durable" // the spool or Kafka did not acknowledge in time
	SpoolFull        Outcome = "spool_full"
	Overloaded       Outcome = "overloaded"
	QuotaSpent       Outcome = "quota_spent" // of the quarantine
	Interrupted      Outcome = "interrupted" // the body came too slowly
	Panicked         Outcome = "panicked"
)

// answer is one row of the table of answers that both vendors share.
type answer struct {
	outcome  Outcome
	events   int    // of an accepted request
	ingestID string // of an accepted request
	reason   string // of a quarantined request
	detail   string // what is wrong and what would be right; never payload (I10)
	allow    string // of a method that is not allowed

	retryWithin int // seconds in which to come back; zero: maxRetryAfter
}

// refuse is an answer other than 200.
func refuse(o Outcome, format string, args ...any) *answer {
	return &answer{outcome: o, detail: fmt.Sprintf(format, args...)}
}

// Status is the code of the answer. It is never a redirect, which senders do not follow, and of the 5xx only
// 503: all that is not the sender's fault can be sent again.
func (o Outcome) Status() int {
	switch o {
	case Accepted, DeadLettered, Quarantined:
		return http.StatusOK
	case Empty, Unreadable:
		return http.StatusBadRequest
	case Unauthorized:
		return http.StatusUnauthorized
	case UnknownTenant, NoRoute:
		return http.StatusNotFound
	case MethodNotAllowed:
		return http.StatusMethodNotAllowed
	case TooLarge:
		return http.StatusRequestEntityTooLarge
	case NotJSON, UnknownEncoding:
		return http.StatusUnsupportedMediaType
	case RateLimited:
		return http.StatusTooManyRequests
	default:
		return http.StatusServiceUnavailable
	}
}

// body returns the JSON of the answer.
func (a *answer) body() any {
	switch a.outcome {
	case Accepted:
		return struct {
			Status   string `json:"status"`
			Events   int    `json:"events"`
			IngestID string `json:"ingest_id"`
		}{"accepted", a.events, a.ingestID}
	case DeadLettered:
		return struct {
			Status string `json:"status"`
		}{"dead-lettered"}
	case Quarantined:
		return struct {
			Status string `json:"status"`
			Reason string `json:"reason"`
		}{"deferred", a.reason}
	default:
		return struct {
			Status string `json:"status"`
			Error  string `json:"error"`
		}{"refused", a.detail}
	}
}

// maxRetryAfter bounds the seconds after which a refused sender is asked to try
// again.
const maxRetryAfter = 30

// write sends the answer. The seconds of Retry-After come from random, so that
// those refused together do not return together.
func (a *answer) write(w http.ResponseWriter, random func(n int) int) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if a.outcome == Quarantined {
		h.Set("X-Deferred-Processing", "true")
	}
	switch status := a.outcome.Status(); status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case http.StatusMethodNotAllowed:
		h.Set("Allow", a.allow)
	case http.StatusRequestEntityTooLarge:
		h.Set("Connection", "close")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(1+random(cmp.Or(a.retryWithin, maxRetryAfter))))
	}
	w.WriteHeader(a.outcome.Status())
	// The sender may be gone: there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(a.body())
}
