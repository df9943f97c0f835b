package topology

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/lovoo/goka"
)

// Describe draws the graphs as they are wired and the topics of the layout, as
// text that depends on nothing else: per group what it reads (◀─, tables ◁─),
// sends to itself (◀▶), keeps (▣) and writes (─▶), and who else stands at the
// other end; per topic its shape and both its ends.
func Describe(graphs []*goka.GroupGraph, layout Layout) string {
	w := wiringOf(graphs, layout)
	var b strings.Builder
	out := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, g := range graphs {
		fmt.Fprintf(out, "%s\n", g.Group())
		draw := func(arrow string, ends map[string][]string, edges goka.Edges) {
			for _, e := range edges {
				fmt.Fprintf(out, "  %s %s\t%s\n", arrow, e.Topic(), strings.Join(w.othersAt(e, ends, g), ", "))
			}
		}
		draw("◀─", w.writers, g.InputStreams())
		draw("◁─", w.writers, slices.Concat(g.JointTables(), g.LookupTables()))
		draw("◀▶", w.readers, loop(g))
		draw("▣ ", w.readers, table(g))
		draw("─▶", w.readers, g.OutputStreams())
		fmt.Fprintln(out)
	}

	fmt.Fprintf(out, "topic\tpartitions\tcleanup\tdeleted after\tcompacted after\twritten by\tread by\n")
	for _, t := range w.topics {
		fmt.Fprintf(out, "%s\t%d\t%s\t%s\t%s\t%s\t%s\n", t.Name, t.Partitions, t.Config["cleanup.policy"],
			age(t.Config["retention.ms"]), age(t.Config["min.compaction.lag.ms"]),
			strings.Join(w.writers[t.Name], ", "), strings.Join(w.readers[t.Name], ", "))
	}
	_ = out.Flush() // a Builder takes everything

	lines := strings.Split(b.String(), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

// age writes milliseconds in days where they are whole days.
func age(ms string) string {
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil {
		return "-"
	}
	if d := time.Duration(n) * time.Millisecond; d%(24*time.Hour) != 0 {
		return d.String()
	}
	return strconv.FormatInt(n/(24*time.Hour).Milliseconds(), 10) + "d"
}

// wiring is who stands at the ends of every topic: groups by their graphs, and
// everybody else.
type wiring struct {
	layout  Layout
	topics  []Topic
	writers map[string][]string // by topic
	readers map[string][]string
}

func wiringOf(graphs []*goka.GroupGraph, layout Layout) *wiring {
	w := &wiring{layout, layout.Topics(), map[string][]string{}, map[string][]string{}}
	join := func(ends map[string][]string, who string, streams ...goka.Stream) {
		for _, s := range streams {
			for _, topic := range layout.members(s) {
				ends[topic] = append(ends[topic], who)
			}
		}
	}
	for _, v := range Vendors {
		join(w.writers, "edges", RawTopic(v))
		join(w.writers, "dlq", RawTopic(v))
	}
	for _, s := range []goka.Stream{QuarantineTopic, PositionsTopic} {
		join(w.writers, "edges", s)
		join(w.readers, "edges", s)
	}
	join(w.writers, "dlq", RedrivesTopic)
	join(w.writers, string(NormaliseGroup), DriftTopic)
	join(w.readers, "schema drift", DriftTopic)
	for _, g := range graphs {
		name := string(g.Group())
		for _, e := range read(g) {
			join(w.readers, name, goka.Stream(e.Topic()))
		}
		for _, e := range written(g) {
			join(w.writers, name, goka.Stream(e.Topic()))
		}
	}
	for _, v := range Vendors {
		join(w.readers, "ledger", RawTopic(v))
	}
	join(w.readers, "ledger", FatesTopic, DeadLettersTopic, LateEventsTopic, Changes)
	join(w.readers, "dlq", RedrivesTopic, DeadLettersTopic)
	join(w.readers, "views", goka.Stream(EntityTable))
	join(w.readers, "sinks", Changes, SeedTopic)
	join(w.readers, "bus consumers", CanonicalEvents)
	return w
}

// othersAt returns who stands at the other end of an edge of g; the members of a
// family share theirs.
func (w *wiring) othersAt(e goka.Edge, ends map[string][]string, g *goka.GroupGraph) []string {
	if goka.Stream(e.Topic()) == Ticks {
		return []string{"timers"}
	}
	var who []string
	for _, topic := range w.layout.members(goka.Stream(e.Topic())) {
		for _, name := range ends[topic] {
			if name != string(g.Group()) && !slices.Contains(who, name) {
				who = append(who, name)
			}
		}
	}
	return who
}

// members returns the topics of the layout that a stream of a graph stands for:
// itself, unless it is a family or exists in no broker.
func (l Layout) members(s goka.Stream) []string {
	switch s {
	case Ticks:
		return nil
	case Changes:
		return ChangeTopics()
	case CanonicalEvents:
		return l.BusTopics()
	default:
		return []string{string(s)}
	}
}

// read returns the edges from which a group takes records or rows.
func read(g *goka.GroupGraph) goka.Edges {
	return slices.Concat(g.InputStreams(), g.JointTables(), g.LookupTables(), loop(g), table(g))
}

// written returns the edges to which a group sends records or rows.
func written(g *goka.GroupGraph) goka.Edges {
	return slices.Concat(g.OutputStreams(), loop(g), table(g))
}

// loop returns the loop of a group, none or one.
func loop(g *goka.GroupGraph) goka.Edges {
	if e := g.LoopStream(); e != nil {
		return goka.Edges{e}
	}
	return nil
}

// table returns the group table, none or one.
func table(g *goka.GroupGraph) goka.Edges {
	if e := g.GroupTable(); e != nil {
		return goka.Edges{e}
	}
	return nil
}
