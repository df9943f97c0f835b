package notifications

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"trunkline/ingest/outbound"
)

// Options are what a [Client] needs. Zero values of the optional ones stand for
// the default named beside them.
type Options struct {
	URL string // required: of the API, as https://api.mypurecloud.de
	// Topics are subscribed; {id} stands for every user, queue or flow, see
	// [CheckTopic]. What does not fit is left out from the end. Required.
	Topics []string
	HTTP   *http.Client // calls the API and carries the token. Default: [outbound.NewClient]
	// Sockets opens them. They carry no token: who knows its address may read a
	// channel. Default: [outbound.NewClient]
	Sockets *http.Client
	// Limiter is shared by the clients of a process. Default: there is no limit.
	Limiter *outbound.Limiter

	// Covered is what was committed last. Default: now.
	Covered time.Time
	// Handle makes the frames durable and, together with them, covered: what the
	// vendor sent until then was handled, or its gap was told. There may be no
	// frames, when only covered moved. After an error the client ends. Required.
	Handle func(ctx context.Context, frames []Frame, covered time.Time) error
	// Gap is told of each stretch of time of which events may be missing, when it
	// is over. Default: nobody is.
	Gap func(Gap)
	// Alarm is told of what does not mend itself, by several goroutines. Default:
	// nobody is.
	Alarm func(error)

	MaxFrame  int   // bytes of a frame; what is larger is a gap. Default: 1 MiB
	MaxFrames int   // of a batch. Default: 500
	MaxBatch  int   // bytes of frames after which a batch is given no more. Default: 1 MiB
	Buffer    int64 // bytes of frames read ahead of Handle; then sockets are not read. Default: 16 MiB
	Timing    Timing

	Now    func() time.Time // default: time.Now
	Random func() float64   // from [0,1), spreads the delays; default: rand.Float64
}

// Timing holds the times of a client.
type Timing struct {
	Expand       time.Duration // between two looks for new users, queues and flows. Default: 15 min
	ExpandMin    time.Duration // the same where a channel was lost. Default: 1 min
	Ping         time.Duration // between pings; the answer shows that nothing sent before is missing. Default: 15 s
	Watchdog     time.Duration // without a frame, then a socket is given up. Default: 75 s, 2.5 heartbeats
	Proof        time.Duration // a successor waits for its elder to show that nothing is missing. Default: 10 s
	Linger       time.Duration // a frame waits for others of its batch. Default: 100 ms
	Commit       time.Duration // between commits without a frame. Default: 30 s
	Call         time.Duration // one call may take. Default: 1 min, of which the budget may take a part
	ReconnectMin time.Duration // after a disconnect, uniform up to ReconnectMax. Default: 1 s
	ReconnectMax time.Duration // default: 5 s
	Backoff      time.Duration // base of the exponential delays of what fails. Default: 2 s
	BackoffMax   time.Duration // default: 60 s
	Refused      time.Duration // after a 4xx or an address that may not be called. Default: 5 min
}

func (t Timing) withDefaults() Timing {
	t.Expand = cmp.Or(t.Expand, 15*time.Minute)
	t.ExpandMin = cmp.Or(t.ExpandMin, time.Minute)
	t.Ping = cmp.Or(t.Ping, 15*time.Second)
	t.Watchdog = cmp.Or(t.Watchdog, 75*time.Second)
	t.Proof = cmp.Or(t.Proof, 10*time.Second)
	t.Linger = cmp.Or(t.Linger, 100*time.Millisecond)
	t.Commit = cmp.Or(t.Commit, 30*time.Second)
	t.Call = cmp.Or(t.Call, time.Minute)
	t.ReconnectMin = cmp.Or(t.ReconnectMin, time.Second)
	t.ReconnectMax = cmp.Or(t.ReconnectMax, 5*time.Second)
	t.Backoff = cmp.Or(t.Backoff, 2*time.Second)
	t.BackoffMax = cmp.Or(t.BackoffMax, time.Minute)
	t.Refused = cmp.Or(t.Refused, 5*time.Minute)
	return t
}

func (o Options) withDefaults() Options {
	if o.HTTP == nil {
		o.HTTP = outbound.NewClient()
	}
	if o.Sockets == nil {
		o.Sockets = outbound.NewClient()
	}
	if o.Gap == nil {
		o.Gap = func(Gap) {}
	}
	if o.Alarm == nil {
		o.Alarm = func(error) {}
	}
	o.MaxFrame = cmp.Or(o.MaxFrame, 1<<20)
	o.MaxFrames = cmp.Or(o.MaxFrames, 500)
	o.MaxBatch = cmp.Or(o.MaxBatch, 1<<20)
	o.Buffer = cmp.Or(o.Buffer, 16<<20)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	o.Timing = o.Timing.withDefaults()
	return o
}

// check finds all that is wrong with the options, and returns the URL.
func (o Options) check() (*url.URL, error) {
	u, err := outbound.ParseURL(o.URL)
	if o.Handle == nil {
		err = errors.Join(err, errors.New("handle: is missing"))
	}
	if len(o.Topics) == 0 {
		err = errors.Join(err, errors.New("topics: there are none; name one at least"))
	}
	for i, t := range o.Topics {
		if bad := CheckTopic(t); bad != nil {
			err = errors.Join(err, fmt.Errorf("topics[%d]: %w", i, bad))
		}
	}
	if int64(o.MaxFrame)+frameSize > o.Buffer {
		err = errors.Join(err, fmt.Errorf("buffer: %d bytes hold no frame of %d", o.Buffer, o.MaxFrame))
	}
	if err != nil {
		return nil, fmt.Errorf("configure notifications: %w", err)
	}
	return u, nil
}
