package sse

import (
	"fmt"
	"mime"
	"net/http"
	"time"

	"trunkline/ingest/outbound"
)

// Outcome is how a connection ended. The set is closed: it is a metric label.
type Outcome string

// The outcomes.
const (
	Disconnected Outcome = "disconnected" // at the end of the stream, by a fault of the network, or never connected
	Silent       Outcome = "silent"       // no byte came for as long as the watchdog waits
	Unavailable  Outcome = "unavailable"  // 5xx, an answer that is no event stream, no token
	RateLimited  Outcome = "rate_limited" // 429
	Unauthorized Outcome = "unauthorized" // 401
	Refused      Outcome = "refused"      // another 4xx, or a redirect that may not be followed
	Stopped      Outcome = "stopped"      // 204: the vendor has no stream to give
	Expired      Outcome = "expired"      // 410, 412: the position is too old to resume after
	Unhandled    Outcome = "unhandled"    // the handler did not commit
)

// End tells of the end of a connection, or of why there was none.
type End struct {
	Outcome Outcome
	Err     error
	// Proven says that the connection was of use: an event of it was committed,
	// or it stood for as long as [Timing.Stable].
	Proven bool

	retryAfter time.Duration
}

// judge returns what an answer says, nil for a stream. resumed says that the
// request named a position.
func judge(resp *http.Response, resumed bool, now time.Time) *End {
	end := &End{Err: fmt.Errorf("open stream: answered %d", resp.StatusCode)}
	end.retryAfter, _ = outbound.RetryAfter(resp.Header, now)
	switch code := resp.StatusCode; {
	case code == http.StatusOK && isStream(resp.Header):
		return nil
	case code == http.StatusOK:
		end.Outcome = Unavailable
		end.Err = fmt.Errorf("open stream: content type %.80q, encoding %.80q: is no event stream",
			resp.Header.Get("Content-Type"), resp.Header.Get("Content-Encoding"))
	case code == http.StatusNoContent:
		end.Outcome = Stopped
	case code == http.StatusUnauthorized:
		end.Outcome = Unauthorized
	case code == http.StatusTooManyRequests:
		end.Outcome = RateLimited
	case resumed && (code == http.StatusGone || code == http.StatusPreconditionFailed):
		end.Outcome = Expired
	case code/100 == 4:
		end.Outcome = Refused
	default:
		end.Outcome = Unavailable
	}
	return end
}

func isStream(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	encoding := h.Get("Content-Encoding")
	return err == nil && kind == "text/event-stream" && (encoding == "" || encoding == "identity")
}
