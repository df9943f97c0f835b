package ledger

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"trunkline/event"
)

// Report is what a [Ledger] found. As JSON:
//
//	{"ok":false,"balanced":false,"run":"1","raw_records":20000,
//	 "fates":{"change":16000,"duplicate":1200,…all kinds…},
//	 "changes":16000,"tombstones":590,"caused":0,"other_runs":0,"entities":200,"rows":180,
//	 "no_fate":{"count":1,"examples":[{"raw":"raw.genesys/3/41","ingest_id":"…/0"}]},
//	 "many_fates":{"count":0},…}
//
// Every count of a finding is 0 for a correct run.
type Report struct {
	OK       bool   `json:"ok"`       // nothing below was found
	Balanced bool   `json:"balanced"` // each raw record has exactly one fate, each fate a raw record (I3)
	Run      string `json:"run,omitempty"`

	RawRecords int64                    `json:"raw_records"`
	Fates      map[event.FateKind]int64 `json:"fates"` // records by kind, of the run

	Changes    int64 `json:"changes"`    // without tombstones, any run
	Tombstones int64 `json:"tombstones"` // of the change topics
	Caused     int64 `json:"caused"`     // changes that follow from no raw record
	OtherRuns  int64 `json:"other_runs"` // outputs of runs that are not balanced here
	Entities   int64 `json:"entities"`   // that ever had a change
	Rows       int64 `json:"rows"`       // rows with an image; 0 when rows are not compared

	NoFate    Finding `json:"no_fate"`    // raw records without a fate: lost
	ManyFates Finding `json:"many_fates"` // raw records with more than one
	NoRaw     Finding `json:"no_raw"`     // fates without a raw record

	BeforeMismatches  Finding `json:"before_mismatches"`  // before is not the previous after (I5)
	OutOfOrder        Finding `json:"out_of_order"`       // event time went back in an entity (I4)
	SequenceBack      Finding `json:"sequence_back"`      // source.sequence went back in an entity
	DuplicateChanges  Finding `json:"duplicate_changes"`  // one event or raw record, two changes
	MissingTombstones Finding `json:"missing_tombstones"` // deletes that none follows
	GhostTombstones   Finding `json:"ghost_tombstones"`   // tombstones that follow no delete
	TableMismatches   Finding `json:"table_mismatches"`   // rows that are not the fold of the changes
}

// Finding counts one kind of defect and shows the first few.
type Finding struct {
	Count    int64     `json:"count"`
	Examples []Example `json:"examples,omitempty"`
}

// Example is where a defect shows; what is not known is left out.
type Example struct {
	Raw      string `json:"raw,omitempty"`       // raw position, topic/partition/offset
	IngestID string `json:"ingest_id,omitempty"` // of the raw record
	Entity   string `json:"entity,omitempty"`    // entity key
	Record   string `json:"record,omitempty"`    // position of the output
	Detail   string `json:"detail,omitempty"`    // never payload content (I10)
}

// Report returns what was found up to now. It changes nothing, so that it can be
// asked while records are still being added; what is still on its way is then
// found missing.
func (l *Ledger) Report() Report {
	r := l.report
	r.Fates = maps.Clone(r.Fates)
	for _, c := range r.checks() {
		c.Examples = slices.Clone(c.Examples)
	}
	l.unsettled(&r)
	for _, key := range slices.Sorted(maps.Keys(l.owed)) {
		l.note(&r.MissingTombstones, l.owed[key].example(key))
	}
	for _, e := range l.entities {
		if e.known {
			r.Entities++
		}
	}
	if l.cfg.Rows {
		l.compareRows(&r)
	}
	r.Balanced = r.NoFate.Count+r.ManyFates.Count+r.NoRaw.Count == 0
	r.OK = !slices.ContainsFunc(r.checks(), func(c check) bool { return c.Count > 0 })
	return r
}

// note counts a defect and keeps the first examples.
func (l *Ledger) note(f *Finding, x Example) {
	f.Count++
	if len(f.Examples) < l.cfg.Examples {
		f.Examples = append(f.Examples, x)
	}
}

type check struct {
	name string
	*Finding
}

// checks lists the findings of r in the order in which they are shown.
func (r *Report) checks() []check {
	return []check{
		{"raw records without a fate", &r.NoFate},
		{"raw records with several fates", &r.ManyFates},
		{"fates without a raw record", &r.NoRaw},
		{"before is not the previous after", &r.BeforeMismatches},
		{"event time goes back", &r.OutOfOrder},
		{"sequence goes back", &r.SequenceBack},
		{"duplicate changes", &r.DuplicateChanges},
		{"deletes without a tombstone", &r.MissingTombstones},
		{"tombstones without a delete", &r.GhostTombstones},
		{"rows unlike their changes", &r.TableMismatches},
	}
}

// WriteText writes r as an aligned table: the fates, then the checks, examples
// below the check that found them.
func (r *Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%d\t raw records\n", r.RawRecords)
	for _, k := range fateKinds {
		fmt.Fprintf(t, "%d\t %s\n", r.Fates[k], k)
	}
	fmt.Fprintf(t, "%d\t changes for no raw record: idle\n", r.Caused)
	verdict := "the ledger balances"
	if !r.Balanced {
		verdict = "THE LEDGER DOES NOT BALANCE"
	}
	fmt.Fprintf(t, "\t %s\n", verdict)
	for _, c := range r.checks() {
		fmt.Fprintf(t, "%d\t %s\n", c.Count, c.name)
		for _, x := range c.Examples {
			fmt.Fprintf(t, "\t   %s\n", x)
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write ledger report: %w", err)
	}
	return nil
}

func (x Example) String() string {
	var parts []string
	for _, p := range []struct{ name, value string }{
		{"raw ", x.Raw}, {"ingest_id ", x.IngestID}, {"entity ", x.Entity}, {"record ", x.Record}, {"", x.Detail},
	} {
		if p.value != "" {
			parts = append(parts, p.name+p.value)
		}
	}
	return strings.Join(parts, " · ")
}
