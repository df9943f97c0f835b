package processors_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"
	"github.com/lovoo/goka/tester"

	"trunkline/codecs"
	"trunkline/event"
	"trunkline/processors"
	"trunkline/state"
	"trunkline/stream"
	"trunkline/topology"
	"trunkline/vendors"
	"trunkline/vendors/cxone"
	"trunkline/vendors/genesys"
)

const (
	t0     = 1795312200000 // epoch ms
	window = 30 * time.Hour
	hour   = int64(time.Hour / time.Millisecond)
)

var processed = time.UnixMilli(t0 + hour)

func config(t testing.TB) processors.Config {
	t.Helper()
	canonical, err := codecs.NewCanonicalCodec(codecs.CanonicalSchema())
	if err != nil {
		t.Fatal(err)
	}
	c := processors.Config{
		Layout: topology.Layout{
			Partitions: 6, Replication: 3, MinISR: 2, RawRetention: 7 * 24 * time.Hour, DedupWindow: window,
			Tenants: []topology.Tenant{
				{ID: "acme", Vendors: topology.Vendors, Partitions: 4},
				{ID: "globex", Vendors: []string{topology.CXone}, Partitions: 2},
			},
		},
		Mappers:   map[string]vendors.Mapper{topology.Genesys: genesys.Mapper(), topology.CXone: cxone.Mapper()},
		Canonical: map[string]processors.CanonicalSchema{},
		Changes:   map[string]*codecs.ChangeEncoder{},
		Run:       "run-1", ConfigHold: 500 * time.Millisecond, InteractionHold: 100 * time.Millisecond,
		Grace: 500 * time.Millisecond, ClockMargin: 250 * time.Millisecond,
		InteractionRetention: 7 * 24 * time.Hour,
		Now:                  func() time.Time { return processed },
	}
	for _, topic := range c.Layout.CanonicalTopics() {
		c.Canonical[topic] = processors.CanonicalSchema{Codec: canonical}
	}
	for _, vendor := range topology.Vendors {
		for _, topic := range topology.ChangeTopicsOf(vendor) {
			c.Changes[topic], err = codecs.NewChangeEncoder(codecs.ChangeOptions{Topic: topic, Vendor: vendor, Format: codecs.FormatJSON})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return c
}

// stage runs the graph of one stage in goka's tester, over the store that it has
// in production. The tester knows one partition, its own offsets and no append
// times; a stage is lent those of the record under way.
type stage struct {
	t        testing.TB
	tester   *tester.Tester
	store    *state.Store
	streams  []goka.Stream // that it emits to, in the order of its graph
	trackers map[goka.Stream]*tester.QueueTracker
	at, loop event.Position // of the record under way, and of what it sends through the loop
}

// emission is one record that a stage emitted.
type emission struct {
	Stream  goka.Stream
	Key     string
	Value   []byte // nil is a tombstone
	Headers goka.Headers
}

func startNormalise(t testing.TB, c processors.Config) *stage {
	t.Helper()
	return start(t, processors.Stages(c)[0])
}

func start(t testing.TB, opts stream.Options) *stage {
	t.Helper()
	return startFrom(t, opts, nil)
}

// startFrom starts a stage whose store is filled from the changelog.
func startFrom(t testing.TB, opts stream.Options, rows map[string][]byte) *stage {
	t.Helper()
	store, err := state.OpenStore(t.TempDir(), opts.Store)
	if err != nil {
		t.Fatal(err)
	}
	for key, row := range rows {
		if err := store.Set(key, row); err != nil {
			t.Fatal(err)
		}
	}
	s := &stage{t: t, tester: tester.New(t), store: store, trackers: map[goka.Stream]*tester.QueueTracker{}}
	proc, err := goka.NewProcessor(nil, opts.Graph,
		goka.WithTester(s.tester),
		goka.WithHasher(opts.Hasher),
		goka.WithNilHandling(goka.NilProcess),
		goka.WithLogger(silent{}),
		goka.WithContextWrapper(func(ctx goka.Context) goka.Context { return placed{ctx, s} }),
		goka.WithStorageBuilder(func(string, int32) (storage.Storage, error) { return store, nil }),
	)
	if err != nil {
		t.Fatal(err)
	}
	edges := opts.Graph.OutputStreams()
	if loop := opts.Graph.LoopStream(); loop != nil {
		edges = append(edges, loop)
	}
	for _, e := range edges {
		s.streams = append(s.streams, goka.Stream(e.Topic()))
		s.trackers[goka.Stream(e.Topic())] = s.tester.NewQueueTracker(e.Topic())
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- proc.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the stage failed: %v", err)
		}
	})
	s.tester.Catchup() // until it runs
	return s
}

// deliver hands one record to the stage, returns once it and all it sent
// through the loop are handled, and returns what was emitted, stream by stream.
func (s *stage) deliver(at event.Position, key string, msg any, headers goka.Headers) []emission {
	s.t.Helper()
	s.at = at
	s.tester.Consume(at.Topic, key, msg, tester.WithHeaders(headers))
	if err := s.store.Commit(-1); err != nil {
		s.t.Fatal(err)
	}
	var es []emission
	for _, name := range s.streams {
		for {
			h, key, value, ok := s.trackers[name].NextRawWithHeaders()
			if !ok {
				break
			}
			es = append(es, emission{name, key, value, h})
		}
	}
	return es
}

// tick delivers a tick of the virtual topic.
func (s *stage) tick(key string, tick stream.Tick, partition int32) []emission {
	s.t.Helper()
	return s.deliver(event.Position{
		Topic: string(topology.Ticks), Partition: partition, Offset: -1, AppendMs: tick.NowMs,
	}, key, tick, nil)
}

// rows returns the group table.
func (s *stage) rows() map[string][]byte {
	s.t.Helper()
	it, err := s.store.Iterator()
	if err != nil {
		s.t.Fatal(err)
	}
	defer it.Release()
	rows := map[string][]byte{}
	for it.Next() {
		value, err := it.Value()
		if err != nil {
			s.t.Fatal(err)
		}
		rows[string(it.Key())] = bytes.Clone(value)
	}
	return rows
}

// placed lends goka's context a place in the log.
type placed struct {
	gokaContext
	s *stage
}

type gokaContext = goka.Context // an interface that has a method of its own name

func (p placed) position() event.Position {
	if p.Topic() == topology.NormaliseLoop {
		return p.s.loop
	}
	return p.s.at
}

func (p placed) Partition() int32     { return p.position().Partition }
func (p placed) Offset() int64        { return p.position().Offset }
func (p placed) Timestamp() time.Time { return time.UnixMilli(p.position().AppendMs) }

type silent struct{}

func (silent) Print(...any)          {}
func (silent) Println(...any)        {}
func (silent) Printf(string, ...any) {}
