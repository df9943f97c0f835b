package sse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"trunkline/ingest/outbound"
)

// Tokens are where a client gets the bearer token of each connection from.
type Tokens interface {
	Token(ctx context.Context) (string, error)
	// Drop says that the vendor refused the token: it is not given again.
	Drop(token string)
}

// Options are what a [Client] needs. Zero values of the optional ones stand for
// the default named beside them.
type Options struct {
	URL    string      // required, with its query
	Header http.Header // sent besides. Default: none
	Tokens Tokens      // default: no Authorization is sent
	// HTTP makes the requests; its Timeout would end streams. Default:
	// [outbound.NewClient].
	HTTP *http.Client
	// Limiter is shared by the clients of a process. Default: there is no limit.
	Limiter *outbound.Limiter

	// Position is the last id that was committed before. Default: none, the
	// vendor decides where the stream begins.
	Position string
	// Handle makes the events durable and, together with them, the position
	// after which a stream resumes. Nil means that both are committed; after an
	// error the connection ends and what was not committed comes again. The
	// events are those read since the last call, in order; there may be none,
	// when only the position moved. While a poll is owed the position does not
	// move, and nor may a time that the caller keeps with it. Required.
	Handle func(ctx context.Context, events []Event, position string) error
	// Poll fetches by other means what follows the event with the id after,
	// makes it durable together with the position reached, and returns that, or
	// nothing where this way knows no ids. Where after is empty, the stream gave
	// none or no longer resumes after it: what follows the time of the last
	// committed event, less an overlap, is meant. Poll is called while the stream
	// is given up, and once more when it is back, before the first of its events
	// is handled: so poll and stream overlap, and duplicates are possible where
	// gaps are not. Default: nothing is polled.
	Poll func(ctx context.Context, after string) (position string, err error)

	// Alarm is told of what does not mend itself: refusals, expired positions,
	// polls that fail. Ended is told of the end of every connection, Polling of
	// the stream being given up for polling (true) and of its being back. All
	// are called by Run. Default: nobody is.
	Alarm   func(error)
	Ended   func(End)
	Polling func(bool)

	MaxEvent int // bytes of data kept of one event. Default: 1 MiB
	MaxBatch int // bytes of events after which Handle is not given more. Default: 1 MiB
	Failures int // connections of no use, in a row, after which the stream is given up. Default: 3
	Timing   Timing

	Now    func() time.Time // default: time.Now
	Random func() float64   // from [0,1), spreads the delays; default: rand.Float64
}

// Timing holds the times of a client.
type Timing struct {
	Watchdog     time.Duration // without a byte, then the connection is given up. Default: 45 s
	Stable       time.Duration // connected, then it was of use even without an event. Default: 30 s
	ReconnectMin time.Duration // after a disconnect, uniform up to ReconnectMax. Default: 1 s
	ReconnectMax time.Duration // default: 5 s
	Backoff      time.Duration // base of the exponential delays, unless the stream sets it by retry. Default: 2 s
	BackoffMax   time.Duration // default: 60 s
	Probe        time.Duration // until a stream that was given up is tried again, doubling. Default: 30 s
	ProbeMax     time.Duration // default: 5 min
	Refused      time.Duration // the same after a 4xx. Default: 5 min
	Stopped      time.Duration // the same after a 204. Default: 10 min
	PollEvery    time.Duration // default: 15 s
}

func (t Timing) withDefaults() Timing {
	t.Watchdog = cmp.Or(t.Watchdog, 45*time.Second)
	t.Stable = cmp.Or(t.Stable, 30*time.Second)
	t.ReconnectMin = cmp.Or(t.ReconnectMin, time.Second)
	t.ReconnectMax = cmp.Or(t.ReconnectMax, 5*time.Second)
	t.Backoff = cmp.Or(t.Backoff, 2*time.Second)
	t.BackoffMax = cmp.Or(t.BackoffMax, time.Minute)
	t.Probe = cmp.Or(t.Probe, 30*time.Second)
	t.ProbeMax = cmp.Or(t.ProbeMax, 5*time.Minute)
	t.Refused = cmp.Or(t.Refused, 5*time.Minute)
	t.Stopped = cmp.Or(t.Stopped, 10*time.Minute)
	t.PollEvery = cmp.Or(t.PollEvery, 15*time.Second)
	return t
}

func (o Options) withDefaults() Options {
	if o.HTTP == nil {
		o.HTTP = outbound.NewClient()
	}
	if o.Poll == nil {
		o.Poll = func(_ context.Context, after string) (string, error) { return after, nil }
	}
	if o.Alarm == nil {
		o.Alarm = func(error) {}
	}
	if o.Ended == nil {
		o.Ended = func(End) {}
	}
	if o.Polling == nil {
		o.Polling = func(bool) {}
	}
	o.MaxEvent = cmp.Or(o.MaxEvent, 1<<20)
	o.MaxBatch = cmp.Or(o.MaxBatch, 1<<20)
	o.Failures = cmp.Or(o.Failures, 3)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	o.Timing = o.Timing.withDefaults()
	return o
}

// host checks the options and returns the host of the URL.
func (o Options) host() (string, error) {
	u, err := outbound.ParseURL(o.URL)
	if o.Handle == nil {
		err = errors.Join(err, errors.New("handle: is missing"))
	}
	if !sendable(o.Position) {
		err = errors.Join(err, errors.New("position: is nothing that a header can carry"))
	}
	if o.Timing.ReconnectMin > o.Timing.ReconnectMax {
		err = errors.Join(err, fmt.Errorf("reconnect min: is %v, want at most %v", o.Timing.ReconnectMin, o.Timing.ReconnectMax))
	}
	if err != nil {
		return "", fmt.Errorf("configure stream: %w", err)
	}
	return u.Host, nil
}
