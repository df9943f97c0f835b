// Package ledger proves a run from the topics it left behind. It joins raw
// records with changes, late events, dead letters and fates by raw position
// (I3), follows the before-images and the order of every entity through its
// change topic (I4, I5), and compares the entity table with the fold of that
// topic. It reads nothing by itself: feed it records from any read_committed
// reader, then ask for the [Report].
package ledger

import (
	"fmt"
	"strings"

	"trunkline/codecs"
	"trunkline/event"
	"trunkline/topology"
)

// Record is one record of a topic as a reader returns it.
type Record struct {
	Topic      string
	Partition  int32
	Offset     int64
	Key, Value []byte // a nil Value is a tombstone
	Headers    map[string][]byte
	AppendMs   int64 // LogAppendTime, epoch ms
}

func (r *Record) position() event.Position {
	return event.Position{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, AppendMs: r.AppendMs}
}

// Config configures a [Ledger]. The zero value checks everything that the
// topics hold, but no rows.
type Config struct {
	// Run is the pass to balance: outputs with another header `run` are not
	// counted as fates. Empty counts all, which balances as long as nothing was
	// replayed.
	Run string

	// From is the start of the range, by raw topic and partition: normally the
	// start of the raw log, which retention moves. Outputs of earlier records
	// are no part of the join, and their changes only set up the state that
	// later ones are checked against. Partitions that are not named start at 0.
	From map[string]map[int32]int64

	// To is the end of the range, the first offset that is no part of it. What
	// follows is not balanced, and its changes are not checked. Partitions that are
	// not named have no end.
	To map[string]map[int32]int64

	// Rows says that the rows of the entity table will be added. The change
	// topics must then be read from their start.
	Rows bool

	// Examples bounds the examples of each finding; default 10.
	Examples int
}

// Ledger collects what a run left behind. It is not safe for concurrent use.
//
// It keeps one byte for each raw record and about 20 bytes for each event id of
// a change. The ingest id of a raw record is kept until its fate is known: read
// the topics side by side, or the outputs first.
type Ledger struct {
	cfg      Config
	next     map[partition]int64 // the lowest offset that may follow
	logs     map[partition]*rawLog
	entities map[string]*entity // by entity key
	owed     map[string]debt    // tombstones that deletes still lack
	eventIDs map[eventID]struct{}
	report   Report
}

type partition struct {
	topic  string
	number int32
}

// New returns an empty ledger.
func New(cfg Config) *Ledger {
	if cfg.Examples <= 0 {
		cfg.Examples = 10
	}
	l := &Ledger{
		cfg:      cfg,
		next:     map[partition]int64{},
		logs:     map[partition]*rawLog{},
		entities: map[string]*entity{},
		owed:     map[string]debt{},
		eventIDs: map[eventID]struct{}{},
	}
	l.report.Run = cfg.Run
	l.report.Fates = make(map[event.FateKind]int64, len(fateKinds))
	for _, k := range fateKinds {
		l.report.Fates[k] = 0
	}
	return l
}

// Add takes a record of a raw topic, a change topic, late-events, dead-letters
// or fates; records of other topics are ignored. Topics may come in any order
// and mixed, the records of one partition in the order of their offsets. An
// error names the record, which then is not part of the ledger: it cannot be
// decoded, or its partition went back.
func (l *Ledger) Add(r Record) error {
	add := l.adder(r.Topic)
	if add == nil {
		return nil
	}
	p := partition{r.Topic, r.Partition}
	if r.Offset < l.next[p] {
		return fmt.Errorf("add %s to the ledger: offset %d was added before", r.position(), l.next[p]-1)
	}
	if err := add(r); err != nil {
		return fmt.Errorf("add %s to the ledger: %w", r.position(), err)
	}
	l.next[p] = r.Offset + 1
	return nil
}

// Next returns, for each topic and partition of which records were added, the
// offset after the last.
func (l *Ledger) Next() map[string]map[int32]int64 {
	next := map[string]map[int32]int64{}
	for p, offset := range l.next {
		if next[p.topic] == nil {
			next[p.topic] = map[int32]int64{}
		}
		next[p.topic][p.number] = offset
	}
	return next
}

func (l *Ledger) adder(topic string) func(Record) error {
	_, raw := topology.VendorOf(topic)
	switch {
	case raw:
		return l.addRaw
	case strings.HasSuffix(topic, ".config.changes"), strings.HasSuffix(topic, ".interaction.changes"):
		return l.addChange
	}
	switch topic {
	case string(topology.LateEventsTopic):
		return func(r Record) error { l.addOutput(r, event.FateLate); return nil }
	case string(topology.DeadLettersTopic):
		return l.addDeadLetter
	case string(topology.FatesTopic):
		return l.addFate
	}
	return nil
}

func (l *Ledger) addRaw(r Record) error {
	l.arrive(r.position(), string(r.Headers[event.HeaderIngestID]))
	return nil
}

func (l *Ledger) addDeadLetter(r Record) error {
	if string(r.Headers[codecs.HeaderDLQStage]) == codecs.QuarantineStage {
		return nil
	}
	l.addOutput(r, event.FateDeadLetter)
	return nil
}

// addOutput counts a record that tells a fate by being there.
func (l *Ledger) addOutput(r Record, kind event.FateKind) {
	raw, _ := event.PositionOf(r.Headers)
	l.settle(outcome{
		kind: kind, raw: raw, at: r.position(),
		run: string(r.Headers[event.HeaderRun]), ingestID: string(r.Headers[event.HeaderIngestID]),
	})
}

func (l *Ledger) addFate(r Record) error {
	f, err := codecs.DecodeFate(r.Value)
	if err != nil {
		return err
	}
	l.settle(outcome{kind: f.Kind, raw: f.Raw, at: r.position(), run: f.Run, ingestID: f.IngestID})
	return nil
}

func (l *Ledger) addChange(r Record) error {
	format := formatOf(r.Key)
	if r.Value == nil {
		vendor, _, _ := strings.Cut(r.Topic, ".")
		k, err := codecs.DecodeKey(format, vendor, r.Key)
		if err != nil {
			return err
		}
		l.bury(r, k)
		return nil
	}
	c, err := codecs.DecodeChange(format, r.Key, r.Value)
	if err != nil {
		return err
	}
	l.follow(r, &c)
	return nil
}

// formatOf tells the formats of change topics apart: registry framing begins
// with 0x00, JSON never does.
func formatOf(key []byte) codecs.Format {
	if len(key) > 0 && key[0] == 0 {
		return codecs.FormatAvro
	}
	return codecs.FormatJSON
}
