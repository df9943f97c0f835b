// Package reconcile asks the vendors for what their deliveries may have missed, and
// puts it into the raw log like any event. What was there before, dedup removes: ids
// come from content.
package reconcile

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"trunkline/event"
	"trunkline/ingest"
	"trunkline/ingest/outbound"
	"trunkline/topology"
	"trunkline/vendors"
)

// DefaultEvery is the time between two runs over a list.
const DefaultEvery = 5 * time.Minute

// Options are what a [Reconciler] needs. Zero values of the optional ones stand for
// the default named beside them.
type Options struct {
	Vendor, Tenant string
	Mapper         vendors.Mapper
	// URL stands before the paths of the vendor's documentation.
	URL  string
	HTTP *http.Client // carries the token, stays in the budget. Default: [outbound.NewClient]
	// Lists are asked one after the other: they share the budget. Genesys: services
	// whose audits are queried; CXone: lists, see [CXoneLists].
	Lists []string
	// Async queries the audits of Genesys by execution also where they are young
	// enough for the answer at once.
	Async bool
	// Every is the time between two runs, give or take a tenth. Default: [DefaultEvery].
	Every time.Duration
	// Window is for how long dedup knows what it has seen. A run begins no earlier,
	// for it would double what it finds; required.
	Window time.Duration
	// Wake asks for a run over all lists at once. Default: nobody does.
	Wake <-chan struct{}

	// Tell is told of each run over a list, for metrics. Default: nobody is.
	Tell   func(list string, r Result)
	Logger *slog.Logger     // default: none
	Now    func() time.Time // default: time.Now
	NewID  func() string    // of pages; default: UUIDv7
	Random func() float64   // from [0,1), spreads runs; default: rand.Float64
}

// Result is what became of one run over a list.
type Result struct {
	Records int // appended, also by a run that failed
	// Uncovered is how much time before the run nobody asks for any more.
	Uncovered time.Duration
	Err       error
}

func (o Options) withDefaults() Options {
	if o.HTTP == nil {
		o.HTTP = outbound.NewClient()
	}
	o.Every = cmp.Or(o.Every, DefaultEvery)
	if o.Tell == nil {
		o.Tell = func(string, Result) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NewID == nil {
		o.NewID = ingest.NewID
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	return o
}

// Reconciler reads the lists of one tenant at a vendor.
type Reconciler struct {
	o      Options
	vendor vendor
}

// vendor knows how one vendor is asked.
type vendor interface {
	// overlap is how much of what was read before is read again: the vendor may have
	// learnt late of what happened then.
	overlap() time.Duration
	// hint is the topic hint by which the mapper knows records of the list.
	hint(list string) string
	// changes reads what changed in the list since a time, and keeps it page by page.
	changes(ctx context.Context, list string, since time.Time, keep keep) error
}

// keep makes the records of a page durable, with the position reached if it is the
// last: the zero time stands for one that is not, and leaves the position.
type keep func(records [][]byte, reached time.Time) error

// New checks the options and returns a reconciler. Its error joins all faults.
func New(o Options) (*Reconciler, error) {
	o = o.withDefaults()
	r := &Reconciler{o: o}
	var errs []error
	c, err := newCaller(o)
	errs = append(errs, err)
	switch o.Vendor {
	case topology.Genesys:
		c.denied = "the OAuth client lacks the permission audits:audit:view; give it a role that has it"
		r.vendor = &genesys{caller: c, async: o.Async, services: map[string]serviceMapping{}}
	case topology.CXone:
		c.denied = "the user of the access key may not read this list; give it a role with the permission"
		r.vendor = &cxone{c}
		for _, list := range o.Lists {
			if !slices.Contains(CXoneLists, list) {
				errs = append(errs, fmt.Errorf("lists: %q is unknown; use some of %q", list, CXoneLists))
			}
		}
	default:
		errs = append(errs, fmt.Errorf("vendor: %q is unknown", o.Vendor))
	}
	if len(o.Lists) == 0 {
		errs = append(errs, errors.New("lists: is empty"))
	}
	if o.Every < 0 || o.Window <= 0 {
		errs = append(errs, fmt.Errorf("every, window: are %s and %s, want more than 0", o.Every, o.Window))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("configure reconciliation: %w", err)
	}
	return r, nil
}

// Run reads all lists at once and then each when it is due, until ctx ends or an
// append fails.
func (r *Reconciler) Run(ctx context.Context, log ingest.PositionLog) error {
	at := positions{}
	if p := log.Position(); p != nil {
		if err := json.Unmarshal(p, &at); err != nil {
			return fmt.Errorf("read the positions of the lists: %w", err)
		}
	}
	l := &life{Reconciler: r, log: log, at: at, states: make([]state, len(r.o.Lists))}
	for {
		for i, list := range r.o.Lists {
			if r.o.Now().Before(l.states[i].due) {
				continue
			}
			err := l.run(ctx, list, &l.states[i])
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
		}
		next := slices.MinFunc(l.states, func(a, b state) int { return a.due.Compare(b.due) }).due
		select {
		case <-ctx.Done():
			return nil
		case <-r.o.Wake:
			for i := range l.states {
				l.states[i].due = time.Time{}
			}
		case <-time.After(next.Sub(r.o.Now())):
		}
	}
}

// life is the time from which a process reads the lists until it does no more.
type life struct {
	*Reconciler
	log    ingest.PositionLog
	at     positions
	states []state // by list
}

// state is what a life remembers of a list.
type state struct {
	due      time.Time
	failures int
	told     string    // the last failure that stands in the log
	alarmed  time.Time // the uncovered interval that stands in the log begins here
}

// errAppend ends a life: what the log holds is known to the next one only.
var errAppend = errors.New("append to the raw log")

// run reads one list. Its error ends the life.
func (l *life) run(ctx context.Context, list string, s *state) error {
	began := l.o.Now()
	// A run has a tenth of the window, so that also what it appends last is known.
	atMost := l.o.Window / 10
	since, uncovered := l.at[list].since(began, l.vendor.overlap(), l.o.Window-atMost)
	within, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	result := Result{}
	if uncovered > 0 && !s.alarmed.Equal(l.at[list].Covered) {
		s.alarmed, result.Uncovered = l.at[list].Covered, uncovered
		l.o.Logger.Error("reconciliation cannot reach back: what deliveries missed in this interval stays missing; fetch it from the vendor by hand, and give dedup_window more than the longest outage",
			"list", list, "from", l.at[list].Covered.UTC(), "to", since.UTC())
	}
	result.Err = l.vendor.changes(within, list, since, func(records [][]byte, reached time.Time) error {
		if err := l.keep(ctx, list, records, reached, began); err != nil {
			return err
		}
		result.Records += len(records)
		return nil
	})
	if errors.Is(result.Err, errAppend) || ctx.Err() != nil {
		return result.Err
	}
	if result.Err != nil && within.Err() != nil {
		result.Err = fmt.Errorf("the run took longer than %s, a tenth of dedup_window", atMost)
	}
	l.o.Tell(list, result)
	l.schedule(list, s, result.Err)
	return nil
}

// keep appends the records of a page. They and the position are one transaction (I2):
// a life that ends between two pages is followed by one that begins the interval anew.
func (l *life) keep(ctx context.Context, list string, bodies [][]byte, reached, began time.Time) error {
	if len(bodies) == 0 && reached.IsZero() {
		return nil
	}
	at, now, page := l.at, l.o.Now(), l.o.NewID()
	if !reached.IsZero() {
		at = at.with(list, position{At: reached, Covered: began, UpdatedAt: now})
	}
	var records []ingest.Record
	for i, body := range bodies {
		if len(body) > topology.MaxBodyBytes { // the edge refuses it too
			l.o.Logger.Error("reconciliation leaves out a record that is too large", "list", list, "bytes", len(body), "most", topology.MaxBodyBytes)
			continue
		}
		records = append(records, ingest.ReadRecord(event.Raw{
			Vendor: l.o.Vendor, Tenant: l.o.Tenant, Transport: event.Poll, IngestID: fmt.Sprintf("%s/%d", page, i),
			ReceivedMs: now.UnixMilli(), TopicHint: l.vendor.hint(list), Body: body,
		}, l.o.Mapper))
	}
	value, err := json.Marshal(at)
	if err == nil {
		err = l.log.Append(ctx, records, value)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errAppend, err)
	}
	l.at = at
	return nil
}

// firstRetry follows the first failure; the next pauses double until they are Every.
const firstRetry = 10 * time.Second

// schedule says when the list is read next, and tells the operator of a failure once.
func (l *life) schedule(list string, s *state, err error) {
	wait := l.o.Every
	if err == nil {
		if s.told != "" {
			l.o.Logger.Info("reconciliation works again", "list", list)
		}
		s.failures, s.told = 0, ""
	} else {
		wait = outbound.Doubled(firstRetry, wait, s.failures)
		s.failures++
		if text := err.Error(); text != s.told {
			s.told = text
			l.o.Logger.Error("reconciliation fails: it is tried again from the last position", "list", list, "error", err)
		}
	}
	s.due = l.o.Now().Add(outbound.Spread(wait-wait/10, wait+wait/10, l.o.Random))
}
