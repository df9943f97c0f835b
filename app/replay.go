package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"trunkline/codecs"
	"trunkline/event"
	"trunkline/ingest"
	"trunkline/stream"
	"trunkline/topology"
)

// ReplayOptions say which letters are sent back to their raw topics, and how.
type ReplayOptions struct {
	LetterFilter
	Execute bool // otherwise nothing is written
	Rate    int  // letters a second; 0 is as fast as Kafka takes them
	// Progress is called after each transaction; nil is nobody.
	Progress func(done, total int64)
}

// Validate names the option that is wrong.
func (o ReplayOptions) Validate() error {
	if o.Rate < 0 {
		return fmt.Errorf("rate: %d is negative", o.Rate)
	}
	return o.LetterFilter.Validate()
}

// ReplayReport is what a replay did, or would do.
type ReplayReport struct {
	Executed bool `json:"executed"`
	Letters  int  `json:"letters"`  // open and admitted by the filter
	Redriven int  `json:"redriven"` // of them; without execute: that would be
	Earlier  int  `json:"earlier"`  // admitted, redriven earlier, and not dead again
	// Refused are those that would die again of what the mapper of this very program
	// makes of them, by reason. They are redriven none the less: the deployment may
	// run another.
	Refused map[event.Reason]int `json:"refused,omitempty"`
	Left    []LeftLetters        `json:"left,omitempty"` // open letters that cannot be redriven
}

// LeftLetters counts letters that cannot be redriven.
type LeftLetters struct {
	Why    string `json:"why"`
	Count  int    `json:"count"`
	Newest string `json:"newest"` // position of one of them
}

func (r *ReplayReport) leave(l *Letter, why error) {
	for i := range r.Left {
		if r.Left[i].Why == why.Error() {
			r.Left[i].Count++
			r.Left[i].Newest = l.Position
			return
		}
	}
	r.Left = append(r.Left, LeftLetters{Why: why.Error(), Count: 1, Newest: l.Position})
}

// Why a letter is not redriven, whatever its bytes.
var (
	errUnproven   = errors.New("nothing proved its sender in time: mend the keys and ask the vendor to send it again, see docs/credentials.md")
	errNoOriginal = errors.New("it names no raw record of a vendor")
	errNotNewest  = errors.New("no letter stands there, or its lineage has a newer one")
)

// bars returns why the letter can never be redriven.
func (l *Letter) bars() error {
	if l.Stage == codecs.QuarantineStage {
		return errUnproven
	}
	if _, known := reading[l.Vendor]; !known || l.letter.Raw.Topic != string(topology.RawTopic(l.Vendor)) {
		return errNoOriginal
	}
	return nil
}

// Bounds of one transaction of a replay.
const (
	replayBatch      = 100
	replayBatchBytes = 4 << 20
)

// replayID is the transactional id of whoever replays: of two the later wins.
const replayID = "dlq-replay"

// Replay sends the original bytes of open dead letters back to the raw topics that
// they came from. Each goes in one transaction with the note that it was redriven
// (I2): a replay that is interrupted, or killed, and begun again goes on where it
// stopped and doubles nothing, whatever its filter. A redriven letter is a raw record
// with a fate of its own (I3).
func Replay(ctx context.Context, c Config, o ReplayOptions) (report ReplayReport, err error) {
	c = c.withDefaults()
	kafka := streamConfig(c, Options{})
	r := &replay{ReplayOptions: o, report: ReplayReport{Executed: o.Execute}, limit: rate.NewLimiter(rate.Inf, replayBatch), size: replayBatch}
	if o.Rate > 0 {
		r.size = min(o.Rate, replayBatch)
		r.limit = rate.NewLimiter(rate.Limit(o.Rate), r.size)
	}
	if r.finder, err = stream.NewFinder(kafka); err != nil {
		return r.report, err
	}
	defer func() { err = errors.Join(err, r.finder.Close()) }()
	if o.Execute {
		// First: nothing that a killed replay left open counts from here on, so that
		// the notes that are read now are all.
		if r.to, err = stream.NewBatches(kafka, replayID, topology.Partition); err != nil {
			return r.report, err
		}
		defer func() { err = errors.Join(err, r.to.Close()) }()
	}
	if err := r.plan(ctx, c, kafka); err != nil {
		return r.report, err
	}
	if !o.Execute {
		r.report.Redriven = len(r.open)
		return r.report, nil
	}
	if err := r.execute(ctx, kafka); err != nil {
		return r.report, fmt.Errorf("%d of %d letters are redriven; unless another replay took over, the same command goes on: %w", r.report.Redriven, r.report.Letters, err)
	}
	return r.report, nil
}

// replay is one run of [Replay].
type replay struct {
	ReplayOptions
	finder *stream.Finder
	to     *stream.Batches
	limit  *rate.Limiter
	size   int // letters in a transaction

	open   map[place]Letter // what is to be redriven
	report ReplayReport

	batch []ingest.Record // two for each letter
	bytes int
}

// place is where a letter stands.
type place struct {
	partition int32
	offset    int64
}

// plan finds the open letters.
func (r *replay) plan(ctx context.Context, c Config, kafka stream.Config) error {
	layout := c.Layout()
	letters, err := readLetters(ctx, kafka, r.LetterFilter, func(rec stream.Record) Letter {
		l := letterOf(rec)
		l.fails = forecast(layout, &l, rec)
		return l
	})
	if err != nil {
		return err
	}
	starts, err := stream.Offsets(ctx, kafka, rawTopics(), time.Unix(0, 0))
	if err != nil {
		return err
	}
	for _, at := range r.At {
		if !slices.ContainsFunc(letters, func(l Letter) bool { return l.at.Same(at) }) {
			r.report.leave(&Letter{Position: at.String()}, errNotNewest)
		}
	}
	r.open = map[place]Letter{}
	for _, l := range letters {
		if l.Redriven {
			r.report.Earlier++
			continue
		}
		r.report.Letters++
		raw := l.letter.Raw
		switch err := l.bars(); {
		case err != nil:
			r.report.leave(&l, err)
		case l.Stage != string(topology.NormaliseGroup) && raw.Offset < starts[raw.Topic][raw.Partition]:
			r.report.leave(&l, ErrOriginalGone)
		default:
			r.open[place{l.at.Partition, l.at.Offset}] = l
			if l.fails != "" {
				if r.report.Refused == nil {
					r.report.Refused = map[event.Reason]int{}
				}
				r.report.Refused[l.fails]++
			}
		}
	}
	return nil
}

// forecast tells why the mapper refuses the bytes of a letter as before; empty if it
// does not, or if they passed it.
func forecast(layout topology.Layout, l *Letter, r stream.Record) event.Reason {
	if l.Stage != string(topology.NormaliseGroup) || l.bars() != nil {
		return ""
	}
	if l.Reason == event.NullValue || l.Reason == event.UnknownTenant && !layout.Serves(l.Vendor, l.Tenant) {
		return l.Reason
	}
	raw := event.RawOf(r.Headers, r.Value)
	raw.Vendor = l.Vendor
	m := reading[l.Vendor]
	raw.Format = m.Detect(raw.Body, raw.TopicHint)
	_, err := m.Map(&raw)
	var rejected *event.Rejected
	if errors.As(err, &rejected) {
		return rejected.Reason
	}
	return ""
}

// execute sends what was planned, in the order of each partition.
func (r *replay) execute(ctx context.Context, kafka stream.Config) error {
	if len(r.open) == 0 {
		return nil
	}
	topic := string(topology.DeadLettersTopic)
	from := map[int32]int64{}
	for p := range r.open {
		if first, ok := from[p.partition]; !ok || p.offset < first {
			from[p.partition] = p.offset
		}
	}
	ends, err := stream.Offsets(ctx, kafka, []string{topic}, time.Time{})
	if err != nil {
		return err
	}
	for partition, end := range ends[topic] {
		if _, some := from[partition]; !some {
			from[partition] = end
		}
	}
	err = stream.Read(ctx, kafka, stream.Range{Topics: []string{topic}, From: map[string]map[int32]int64{topic: from}}, func(rec stream.Record) error {
		l, open := r.open[place{rec.Partition, rec.Offset}]
		if !open {
			return nil
		}
		raw, err := original(r.finder, &l, rec)
		switch {
		case errors.Is(err, ErrOriginalGone):
			r.report.leave(&l, err)
			return nil
		case err != nil:
			return err
		}
		r.batch = append(r.batch, redriveOf(&l, raw)...)
		if r.bytes += len(raw.Body); len(r.batch) < 2*r.size && r.bytes < replayBatchBytes {
			return nil
		}
		return r.send(ctx)
	})
	if err != nil {
		return err
	}
	return r.send(ctx)
}

// send redrives a batch of letters: all or none of them.
func (r *replay) send(ctx context.Context) error {
	n := len(r.batch) / 2
	if n == 0 {
		return nil
	}
	if err := r.limit.WaitN(ctx, n); err != nil {
		return err
	}
	if err := r.to.Append(ctx, outgoing(r.batch)); err != nil {
		return err
	}
	r.report.Redriven += n
	r.batch, r.bytes = r.batch[:0], 0
	if r.Progress != nil {
		r.Progress(int64(r.report.Redriven), int64(len(r.open)))
	}
	return nil
}
