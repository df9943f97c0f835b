package topology_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"

	"trunkline/topology"
)

func layout() topology.Layout {
	return topology.Layout{
		Partitions: 6, Replication: 3, MinISR: 2, RawRetention: 7 * 24 * time.Hour, DedupWindow: 30 * time.Hour,
		Tenants: []topology.Tenant{
			{ID: "acme", Vendors: topology.Vendors, Class: topology.HighValue, Partitions: 4},
			{ID: "globex", Vendors: []string{topology.CXone}, Partitions: 2},
		},
	}
}

func input(s goka.Stream) goka.Edge  { return goka.Input(s, new(codec.Bytes), nil) }
func output(s goka.Stream) goka.Edge { return goka.Output(s, new(codec.Bytes)) }

// graphs are wired like the stages; each test may add edges to them.
func graphs(normalise, entity []goka.Edge) []*goka.GroupGraph {
	normalise = append([]goka.Edge{
		input(topology.Ticks), input(topology.RawTopic(topology.Genesys)), input(topology.RawTopic(topology.CXone)),
		goka.Loop(new(codec.Bytes), nil), goka.Persist(new(codec.Bytes)),
		output(topology.EventsTopic), output(topology.CanonicalEvents),
		output(topology.FatesTopic), output(topology.DeadLettersTopic),
	}, normalise...)
	entity = append([]goka.Edge{
		input(topology.EventsTopic), goka.Persist(new(codec.Bytes)),
		output(topology.Changes), output(topology.LateEventsTopic),
	}, entity...)
	return []*goka.GroupGraph{
		goka.DefineGroup(topology.NormaliseGroup, normalise...),
		goka.DefineGroup(topology.EntityGroup, entity...),
	}
}

func TestDescribe(t *testing.T) {
	got := topology.Describe(graphs(nil, nil), layout())
	const want = `
normalise
  ◀─ __tick                           timers
  ◀─ raw.genesys                      edges, dlq
  ◀─ raw.cxone                        edges, dlq
  ◀▶ normalise-loop
  ▣  normalise-table
  ─▶ events                           entity
  ─▶ ccaaus.events.{vendor}.{tenant}  bus consumers
  ─▶ fates                            ledger
  ─▶ dead-letters                     ledger, dlq

entity
  ◀─ events                                 normalise
  ▣  entity-table                           views
  ─▶ {vendor}.{config|interaction}.changes  ledger, sinks
  ─▶ late-events                            ledger

topic                        partitions  cleanup         deleted after  compacted after  written by  read by
ccaaus.events.cxone.acme     4           delete          7d             -                normalise   bus consumers
ccaaus.events.cxone.globex   2           delete          3d             -                normalise   bus consumers
ccaaus.events.genesys.acme   4           delete          7d             -                normalise   bus consumers
cxone.config.changes         6           compact         -              7d               entity      ledger, sinks
cxone.interaction.changes    6           compact         -              7d               entity      ledger, sinks
dead-letters                 6           delete          30d            -                normalise   ledger, dlq
drift                        6           compact,delete  180d           -                normalise   schema drift
entity-table                 6           compact         -              -                entity      entity, views
events                       6           delete          7d             -                normalise   entity
fates                        6           delete          7d             -                normalise   ledger
genesys.config.changes       6           compact         -              7d               entity      ledger, sinks
genesys.interaction.changes  6           compact         -              7d               entity      ledger, sinks
late-events                  6           delete          30d            -                entity      ledger
normalise-loop               6           delete          7d             -                normalise   normalise
normalise-table              6           compact,delete  60h0m0s        -                normalise   normalise
positions                    6           compact         -              -                edges       edges
quarantine                   6           compact,delete  30h0m0s        -                edges       edges
raw.cxone                    6           delete          7d             -                edges, dlq  normalise, ledger
raw.genesys                  6           delete          7d             -                edges, dlq  normalise, ledger
redrives                     6           delete          60d            -                dlq         dlq
`
	if diff := cmp.Diff(want[1:], got); diff != "" {
		t.Errorf("drawing (-want +got):\n%s", diff)
	}
}

func TestCheck(t *testing.T) {
	lookup := goka.Lookup("tenants", new(codec.Bytes))
	tests := map[string]struct {
		normalise, entity []goka.Edge
		layout            func(*topology.Layout)
		want              string // "" is no error
	}{
		"the topology": {},
		"no tenant yet": {
			layout: func(l *topology.Layout) { l.Tenants = nil },
		},
		"input that nobody makes": {
			entity: []goka.Edge{input("rumours")},
			want:   "check group entity: the layout has no topic rumours",
		},
		"output that nobody makes": {
			entity: []goka.Edge{output("gossip")},
			want:   "check group entity: the layout has no topic gossip",
		},
		"table that nobody makes": {
			entity: []goka.Edge{lookup},
			want:   "check group entity: the layout has no topic tenants",
		},
		"input partitioned otherwise": {
			normalise: []goka.Edge{input(goka.Stream(topology.CanonicalTopic(topology.CXone, "acme")))},
			want: "check group normalise: its inputs, loop and table need one partition count, they have: " +
				"raw.genesys 6, raw.cxone 6, ccaaus.events.cxone.acme 4, normalise-loop 6, normalise-table 6",
		},
		"two tables": {
			entity: []goka.Edge{goka.Persist(new(codec.Bytes))},
			want:   "check group entity: more than one group table in group graph",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := layout()
			if tt.layout != nil {
				tt.layout(&l)
			}
			var got string
			if err := topology.Check(graphs(tt.normalise, tt.entity), l); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckMissesNoStage(t *testing.T) {
	const want = `check topic ccaaus.events.cxone.globex: nobody writes it
check topic dead-letters: nobody writes it
check topic events: nobody writes it
check topic fates: nobody writes it
check topic normalise-loop: nobody writes it
check topic normalise-loop: nobody reads it
check topic normalise-table: nobody writes it
check topic normalise-table: nobody reads it`
	l := layout()
	l.Tenants = l.Tenants[1:]
	err := topology.Check(graphs(nil, nil)[1:], l)
	if err == nil {
		t.Fatal("a topology without normalise passes")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}
