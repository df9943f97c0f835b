package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"trunkline/codecs"
	"trunkline/event"
	"trunkline/ingest"
	"trunkline/stream"
	"trunkline/topology"
)

// LetterFilter says which dead letters are meant; what is zero admits all.
type LetterFilter struct {
	Reason       event.Reason
	Tenant       string
	Vendor       string
	Stage        string
	Since, Until time.Time        // of the letter's append
	At           []event.Position // positions of letters
}

// LetterStages are where letters come from: the stages, and what never verified.
var LetterStages = []string{string(topology.NormaliseGroup), string(topology.EntityGroup), codecs.QuarantineStage}

// Validate names what no letter can fulfil.
func (f LetterFilter) Validate() error {
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return fmt.Errorf("since: %s is not before until, %s", f.Since.Format(time.RFC3339), f.Until.Format(time.RFC3339))
	}
	if f.Reason != "" && !slices.Contains(event.Reasons, f.Reason) {
		return fmt.Errorf("reason: %q is none of %s", f.Reason, event.Reasons)
	}
	if f.Vendor != "" && !slices.Contains(topology.Vendors, f.Vendor) {
		return fmt.Errorf("vendor: %q is none of %s", f.Vendor, topology.Vendors)
	}
	if f.Stage != "" && !slices.Contains(LetterStages, f.Stage) {
		return fmt.Errorf("stage: %q is none of %s", f.Stage, LetterStages)
	}
	for _, at := range f.At {
		if at.Topic != string(topology.DeadLettersTopic) {
			return fmt.Errorf("position: %s is not in %s", at, topology.DeadLettersTopic)
		}
	}
	return nil
}

func (f LetterFilter) admits(l *Letter) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return is(string(f.Reason), string(l.Reason)) && is(f.Tenant, l.Tenant) && is(f.Vendor, l.Vendor) && is(f.Stage, l.Stage) &&
		!l.Time.Before(f.Since) && (f.Until.IsZero() || l.Time.Before(f.Until)) &&
		(len(f.At) == 0 || slices.ContainsFunc(f.At, l.at.Same))
}

// Letter is a dead letter without its bytes.
type Letter struct {
	Position  string       `json:"position"` // of the letter, topic/partition/offset
	Time      time.Time    `json:"time"`
	Reason    event.Reason `json:"reason"`
	Stage     string       `json:"stage"`
	Vendor    string       `json:"vendor"`
	Tenant    string       `json:"tenant"`
	Detail    string       `json:"detail"`  // never payload content (I10)
	Raw       string       `json:"raw"`     // raw position
	Root      string       `json:"root"`    // raw position of the first attempt
	Attempt   int          `json:"attempt"` // 1 for what was never redriven
	FirstSeen time.Time    `json:"first_seen"`
	IngestID  string       `json:"ingest_id"`
	Key       string       `json:"key"` // of the raw record
	Size      int          `json:"size"`
	// Redriven says that its bytes were sent back to the raw topic, and have not
	// become another letter.
	Redriven bool `json:"redriven"`

	at     event.Position
	letter codecs.DeadLetter
	fails  event.Reason // why the mapper of this program refuses it; empty if it reads it
}

// letterOf never fails: what no stage of ours wrote is a letter without a reason,
// and is redriven by nobody.
func letterOf(r stream.Record) Letter {
	l := Letter{
		at:   position(r),
		Time: r.Time.UTC(), Size: len(r.Value), Tenant: string(r.Headers[event.HeaderTenant]),
	}
	l.Position = l.at.String()
	d, err := codecs.ParseDeadLetter(r.Headers)
	if err != nil {
		l.Detail, l.Root, l.FirstSeen = err.Error(), l.Position, l.Time
		return l
	}
	l.letter = d
	l.Reason, l.Stage, l.Detail, l.IngestID, l.Key, l.Attempt = d.Reason, d.Stage, d.Detail, d.IngestID, d.Key, d.Attempt
	l.FirstSeen = time.UnixMilli(d.FirstSeenMs).UTC()
	l.Root = l.Position
	if d.Raw.Topic != "" {
		l.Raw, l.Root = d.Raw.String(), d.Lineage().Root
		l.Vendor, _ = topology.VendorOf(d.Raw.Topic) // no sender can choose it (I9)
	}
	// A working event that could not be read has no headers of the raw record.
	if key, err := event.ParseKey(event.PartitionKey(d.Key)); err == nil && l.Tenant == "" {
		l.Tenant = key.Tenant
	}
	return l
}

// lineages are the dead letters by what they came of: a letter that was redriven
// and died again is one with its new letter.
type lineages struct {
	newest   map[string]Letter // by root
	redriven map[string]bool   // by the raw position that the letter names
}

func newLineages() *lineages {
	return &lineages{newest: map[string]Letter{}, redriven: map[string]bool{}}
}

// letter takes the next letter of a partition. Of two letters of one raw record,
// which runs of the same log wrote, the later counts.
func (ls *lineages) letter(l Letter) {
	known, ok := ls.newest[l.Root]
	if !ok || cmp.Or(cmp.Compare(l.Attempt, known.Attempt), l.Time.Compare(known.Time)) >= 0 {
		ls.newest[l.Root] = l
	}
}

// letters returns the newest letter of each lineage that the filter admits, in the
// order of their time.
func (ls *lineages) letters(f LetterFilter) []Letter {
	var letters []Letter
	for _, l := range ls.newest {
		if l.Redriven = ls.redriven[l.Raw]; f.admits(&l) {
			letters = append(letters, l)
		}
	}
	slices.SortFunc(letters, func(a, b Letter) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.at.Partition, b.at.Partition), cmp.Compare(a.at.Offset, b.at.Offset))
	})
	return letters
}

// Letters returns the newest dead letter of each lineage that the filter admits, in
// the order of their time.
func Letters(ctx context.Context, c Config, f LetterFilter) ([]Letter, error) {
	return readLetters(ctx, streamConfig(c.withDefaults(), Options{}), f, letterOf)
}

// readLetters makes letters of the records with of.
func readLetters(ctx context.Context, kafka stream.Config, f LetterFilter, of func(stream.Record) Letter) ([]Letter, error) {
	r := stream.Range{Topics: []string{string(topology.DeadLettersTopic), string(topology.RedrivesTopic)}}
	var err error
	if !f.Since.IsZero() { // a redrive follows its letter
		if r.From, err = stream.Offsets(ctx, kafka, r.Topics, f.Since.Add(-clockSlack)); err != nil {
			return nil, err
		}
	}
	ls := newLineages()
	err = stream.Read(ctx, kafka, r, func(r stream.Record) error {
		if r.Topic == string(topology.RedrivesTopic) {
			ls.redriven[string(r.Key)] = true
		} else {
			ls.letter(of(r))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the dead letters: %w", err)
	}
	return ls.letters(f), nil
}

// LetterGroup counts the lineages of dead letters that died of the same.
type LetterGroup struct {
	Reason   event.Reason `json:"reason"`
	Stage    string       `json:"stage"`
	Vendor   string       `json:"vendor"`
	Tenant   string       `json:"tenant"`
	Open     int          `json:"open"`     // wait to be redriven
	Redriven int          `json:"redriven"` // were, and have not died again
	Attempts int          `json:"attempts"` // of the lineage that has most
	First    time.Time    `json:"first"`    // append of the first letter
	Last     time.Time    `json:"last"`
	Newest   string       `json:"newest"` // position of a letter, an open one if there is one
}

// GroupLetters groups letters in the order of their time; the group with most open
// letters comes first.
func GroupLetters(letters []Letter) []LetterGroup {
	type cause struct {
		reason                event.Reason
		stage, vendor, tenant string
	}
	groups := map[cause]*LetterGroup{}
	for _, l := range letters {
		by := cause{l.Reason, l.Stage, l.Vendor, l.Tenant}
		g := groups[by]
		if g == nil {
			g = &LetterGroup{Reason: l.Reason, Stage: l.Stage, Vendor: l.Vendor, Tenant: l.Tenant, First: l.Time}
			groups[by] = g
		}
		g.Last, g.Attempts = l.Time, max(g.Attempts, l.Attempt)
		if !l.Redriven || g.Open == 0 {
			g.Newest = l.Position
		}
		if l.Redriven {
			g.Redriven++
		} else {
			g.Open++
		}
	}
	sorted := make([]LetterGroup, 0, len(groups))
	for _, g := range groups {
		sorted = append(sorted, *g)
	}
	slices.SortFunc(sorted, func(a, b LetterGroup) int {
		return cmp.Or(cmp.Compare(b.Open, a.Open), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Stage, b.Stage),
			cmp.Compare(a.Vendor, b.Vendor), cmp.Compare(a.Tenant, b.Tenant))
	})
	return sorted
}

// LetterView is one letter with its headers and, if asked for, its original bytes.
type LetterView struct {
	Letter
	Headers map[string]string
	Body    []byte
}

// What a letter cannot give.
var (
	ErrNoLetter     = errors.New("no dead letter stands there; `trunkline dlq list --each` shows where they stand")
	ErrOriginalGone = errors.New("retention has removed its original bytes from the raw topic")
)

// ShowLetter reads one letter. Its bytes are payload (I10): they are returned only
// if body asks for them, as they were received.
func ShowLetter(ctx context.Context, c Config, at event.Position, body bool) (view LetterView, err error) {
	if err := (LetterFilter{At: []event.Position{at}}).Validate(); err != nil {
		return LetterView{}, err
	}
	kafka := streamConfig(c.withDefaults(), Options{})
	finder, err := stream.NewFinder(kafka)
	if err != nil {
		return LetterView{}, err
	}
	defer func() { err = errors.Join(err, finder.Close()) }()
	r, ok, err := finder.At(at.Topic, at.Partition, at.Offset)
	if err != nil {
		return LetterView{}, err
	}
	if !ok {
		return LetterView{}, fmt.Errorf("%s: %w", at, ErrNoLetter)
	}
	view = LetterView{Letter: letterOf(r), Headers: map[string]string{}}
	for name, value := range r.Headers {
		view.Headers[name] = string(value)
	}
	letters, err := readLetters(ctx, kafka, LetterFilter{Since: r.Time}, letterOf)
	if err != nil {
		return LetterView{}, err
	}
	// A letter that another of its lineage followed was redriven, too.
	view.Redriven = !slices.ContainsFunc(letters, func(l Letter) bool { return l.at.Same(at) && !l.Redriven })
	if body {
		raw, err := original(finder, &view.Letter, r)
		if err != nil {
			return LetterView{}, fmt.Errorf("%s: %w", at, err)
		}
		view.Body = raw.Body
	}
	return view, nil
}

// original returns the record that a letter was made of, as its edge received it.
// The letter of a stage behind the first holds something that was derived: its
// original stands at the raw position.
func original(finder *stream.Finder, l *Letter, r stream.Record) (event.Raw, error) {
	raw := event.RawOf(r.Headers, r.Value)
	if l.Stage != string(topology.NormaliseGroup) && l.Raw != "" {
		of := l.letter.Raw
		first, ok, err := finder.At(of.Topic, of.Partition, of.Offset)
		if err != nil {
			return event.Raw{}, err
		}
		if !ok {
			return event.Raw{}, ErrOriginalGone
		}
		raw = event.RawOf(first.Headers, first.Value)
	}
	if l.Reason == event.NullValue {
		raw.Body = nil // a letter without a value would be a tombstone
	}
	raw.Vendor = l.Vendor
	return raw, nil
}

// redriveOf is the raw record of a letter that is sent back: the same bytes and
// ingest id, keyed as the mapper keys it now, and whose lineage it continues. With
// it goes the note that the letter was redriven.
func redriveOf(l *Letter, raw event.Raw) []ingest.Record {
	r, _ := ingest.RecordOf(&raw, reading[raw.Vendor])
	r.Headers = append(r.Headers, event.Header{Key: event.HeaderRedriveOf, Value: []byte(l.Raw)})
	r.Headers = append(r.Headers, codecs.LineageHeaders(l.letter.Lineage())...)
	return []ingest.Record{r, {Topic: string(topology.RedrivesTopic), Key: l.Raw, Value: []byte(l.Position)}}
}
