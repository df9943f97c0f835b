package embedded

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"trunkline/event"
	"trunkline/topology"
)

// DeliveryKind says what a generated delivery was made to be. What the pipeline
// makes of it can differ: an update held back too briefly is not late.
type DeliveryKind string

// The kinds of deliveries.
const (
	DeliveryEvent     DeliveryKind = "event"     // created, updated, a step of a conversation
	DeliveryDelete    DeliveryKind = "delete"    // a configuration resource goes
	DeliveryDuplicate DeliveryKind = "duplicate" // bytes that were delivered before
	DeliveryConflict  DeliveryKind = "conflict"  // an event id that was delivered before, another body
	DeliveryLate      DeliveryKind = "late"      // held back while newer events of its entity went out
	DeliveryPoison    DeliveryKind = "poison"    // unreadable, or of no known shape
	DeliveryHeartbeat DeliveryKind = "heartbeat"
	DeliveryUnknown   DeliveryKind = "unknown" // well-formed, of a type that nobody knows
)

// DeliveryKinds lists the kinds in the order in which reports show them.
var DeliveryKinds = []DeliveryKind{
	DeliveryEvent, DeliveryDelete, DeliveryDuplicate, DeliveryConflict,
	DeliveryLate, DeliveryPoison, DeliveryHeartbeat, DeliveryUnknown,
}

// The mix, in thousandths of all deliveries; the rest are plain events. CXone's
// webhooks know no delete, so plain events take its place there.
const (
	poisonShare    = 5
	heartbeatShare = 10
	unknownShare   = 10
	duplicateShare = 50
	conflictShare  = 10
	lateShare      = 20
	deleteShare    = 30
)

// recentDeliveries bounds how long after its first delivery an event can come
// again.
const recentDeliveries = 512

// Delivery is one event as a vendor would send it.
type Delivery struct {
	Vendor  string
	Kind    DeliveryKind
	Body    []byte
	EventID string    // the vendor's own id; empty where the format has none
	Key     event.Key // zero for heartbeats and poison
	TsMs    int64     // event time, epoch ms

	// Splits reports whether the body may be an element of an array: malformed
	// bytes would spoil their neighbours.
	Splits bool
}

// GeneratorConfig configures a [Generator]. Equal configurations give equal
// sequences, byte for byte.
type GeneratorConfig struct {
	Vendor   string // topology.Genesys or topology.CXone
	Tenant   string
	Seed     int64
	Events   int // deliveries in all; 0 = endless
	Entities int // live at one time; default 200

	// Base is the event time of the first event (default 2026-11-22T01:50:00Z),
	// Step the event time between two (default 5 ms).
	Base time.Time
	Step time.Duration

	// Shuffle is the window inside which the events of one entity change places
	// (default 10; 1 keeps their order). LateAfter is how many deliveries a late
	// event waits (default 10 s of event time, 5,000 at most).
	Shuffle   int
	LateAfter int

	// Plain leaves only the plain events: those of the entities in turn, in order,
	// each once.
	Plain bool
}

// Generator makes the traffic of one vendor: a seeded sequence of deliveries
// with the mix of duplicates, disorder, deletes and poison that the pipeline has
// to survive. It is not safe for concurrent use.
type Generator struct {
	cfg    GeneratorConfig
	vendor traffic
	source *rand.ChaCha8
	random *rand.Rand

	subjects []subject
	made     int // deliveries made, whether handed out or waiting
	out      int // deliveries handed out
	burst    []message
	late     []heldBack // in order of due
	recent   []message  // ring of delivered events
	next     int        // the place in recent to overwrite
}

// traffic is what one vendor's messages look like.
type traffic interface {
	// open gives the n-th entity of the simulation.
	open(g *Generator, n int) subject
	// advance moves s to its next state and tells of it.
	advance(g *Generator, s *subject) message
	// remove deletes s and tells of it; ok is false when s cannot be deleted.
	remove(g *Generator, s *subject) (m message, ok bool)
	heartbeat(g *Generator) message
	unknown(g *Generator) message
	poison(g *Generator) message
	// render writes m; it uses no randomness, so one message is one body.
	render(m message) []byte
}

// subject is one simulated entity.
type subject struct {
	key      event.Key
	n        int    // its number: names derive from it
	revision int    // vendor version, changes told so far
	stage    int    // of a conversation: the next step
	alive    bool   // created and neither deleted nor ended
	peer     string // a second id: the agent, the queue
}

// message is an event before it is written: rendering it with another text
// gives another body of the same event id.
type message struct {
	kind    DeliveryKind
	shape   string
	action  string
	id      string // event id, or of the envelope where the event has none
	hasID   bool   // id is the event's own
	subject subject
	tsMs    int64
	text    string // what a body of the same id can differ in; empty for deletes
	raw     []byte // the body of what no shape describes
	splits  bool
}

type heldBack struct {
	due int
	message
}

// NewGenerator returns a generator at its first delivery. An error names the
// configuration field that is wrong.
func NewGenerator(cfg GeneratorConfig) (*Generator, error) {
	var vendor traffic
	switch cfg.Vendor {
	case topology.Genesys:
		vendor = genesysTraffic{}
	case topology.CXone:
		vendor = cxoneTraffic{}
	default:
		return nil, fmt.Errorf("configure generator: vendor %q: want one of %v", cfg.Vendor, topology.Vendors)
	}
	if cfg.Entities <= 0 {
		cfg.Entities = 200
	}
	if cfg.Base.IsZero() {
		cfg.Base = time.Date(2026, time.November, 22, 1, 50, 0, 0, time.UTC)
	}
	if cfg.Step <= 0 {
		cfg.Step = 5 * time.Millisecond
	}
	if cfg.Shuffle <= 0 {
		cfg.Shuffle = 10
	}
	if cfg.LateAfter <= 0 {
		cfg.LateAfter = min(int(10*time.Second/cfg.Step), 5000)
	}
	source := rand.NewChaCha8(seedOf(cfg.Vendor, cfg.Seed))
	g := &Generator{cfg: cfg, vendor: vendor, source: source, random: rand.New(source)}
	for n := range cfg.Entities {
		g.subjects = append(g.subjects, vendor.open(g, n))
	}
	return g, nil
}

// seedOf gives the vendors different traffic for one seed.
func seedOf(name string, seed int64) (b [32]byte) {
	h := fnv.New64a()
	h.Write([]byte(name))
	binary.LittleEndian.PutUint64(b[:], uint64(seed))
	binary.LittleEndian.PutUint64(b[8:], h.Sum64())
	return b
}

// Next returns the next delivery; ok is false after the last.
func (g *Generator) Next() (d Delivery, ok bool) {
	m, ok := g.nextMessage()
	if !ok {
		return Delivery{}, false
	}
	return g.delivery(m), true
}

// nextMessage returns the next delivery before it is written.
func (g *Generator) nextMessage() (m message, ok bool) {
	for g.cfg.Events == 0 || g.out < g.cfg.Events {
		if m, ok := g.pick(); ok {
			g.out++
			g.remember(m)
			return m, true
		}
	}
	return message{}, false
}

// pick chooses what goes out now; ok is false when it held an event back
// instead.
func (g *Generator) pick() (m message, ok bool) {
	if g.cfg.Plain {
		s := &g.subjects[g.made%len(g.subjects)]
		return g.make(func(g *Generator) message { return g.vendor.advance(g, s) }), true
	}
	if len(g.late) > 0 && g.late[0].due <= g.out {
		return g.releaseLate(), true
	}
	if g.cfg.Events > 0 && g.out+len(g.burst)+len(g.late) >= g.cfg.Events {
		if len(g.burst) > 0 {
			return g.popBurst(), true
		}
		return g.releaseLate(), true
	}
	roll := g.random.IntN(1000)
	below := func(share int) bool { roll -= share; return roll < 0 }
	switch {
	case below(poisonShare):
		return g.make(g.vendor.poison), true
	case below(heartbeatShare):
		return g.make(g.vendor.heartbeat), true
	case below(unknownShare):
		return g.make(g.vendor.unknown), true
	case below(duplicateShare):
		if m, ok := g.again(func(message) bool { return true }); ok {
			m.kind = DeliveryDuplicate
			return m, true
		}
	case below(conflictShare):
		if m, ok := g.again(func(m message) bool { return m.hasID && m.text != "" }); ok {
			m.kind, m.text = DeliveryConflict, m.text+" (altered)"
			return m, true
		}
	case below(deleteShare):
		if m, ok := g.remove(); ok {
			return m, true
		}
	case below(lateShare):
		m := g.popBurst()
		m.kind = DeliveryLate
		g.late = append(g.late, heldBack{due: g.out + g.cfg.LateAfter, message: m})
		return message{}, false
	}
	return g.popBurst(), true
}

func (g *Generator) make(what func(*Generator) message) message {
	m := what(g)
	g.made++
	return m
}

// popBurst takes the next plain event. They are made in bursts: one entity
// changes a few times in a row, and its events go out in another order.
func (g *Generator) popBurst() message {
	if len(g.burst) == 0 {
		s := &g.subjects[g.random.IntN(len(g.subjects))]
		size := 1
		if g.random.IntN(4) == 0 {
			size += g.random.IntN(g.cfg.Shuffle)
		}
		if g.cfg.Events > 0 {
			size = min(size, g.cfg.Events-g.out-len(g.late))
		}
		for range size {
			g.burst = append(g.burst, g.make(func(g *Generator) message { return g.vendor.advance(g, s) }))
		}
		g.random.Shuffle(len(g.burst), func(i, j int) { g.burst[i], g.burst[j] = g.burst[j], g.burst[i] })
	}
	m := g.burst[0]
	g.burst = g.burst[1:]
	return m
}

func (g *Generator) releaseLate() message {
	m := g.late[0].message
	g.late = g.late[1:]
	return m
}

func (g *Generator) remove() (message, bool) {
	// A few tries: conversations end by themselves, and some are gone already.
	for range 16 {
		s := &g.subjects[g.random.IntN(len(g.subjects))]
		if m, ok := g.vendor.remove(g, s); ok {
			g.made++
			return m, true
		}
	}
	return message{}, false
}

// again returns an event that went out before and fits.
func (g *Generator) again(fits func(message) bool) (message, bool) {
	for range 16 {
		if len(g.recent) == 0 {
			break
		}
		if m := g.recent[g.random.IntN(len(g.recent))]; fits(m) {
			g.made++
			return m, true
		}
	}
	return message{}, false
}

// remember keeps what can be delivered again.
func (g *Generator) remember(m message) {
	switch m.kind {
	case DeliveryEvent, DeliveryDelete, DeliveryLate:
		if len(g.recent) < recentDeliveries {
			g.recent = append(g.recent, m)
		} else {
			g.recent[g.next] = m
			g.next = (g.next + 1) % recentDeliveries
		}
	}
}

func (g *Generator) delivery(m message) Delivery {
	d := Delivery{
		Vendor: g.cfg.Vendor, Kind: m.kind, Body: m.raw,
		Key: m.subject.key, TsMs: m.tsMs, Splits: m.splits,
	}
	if m.hasID {
		d.EventID = m.id
	}
	if d.Body == nil {
		d.Body = g.vendor.render(m)
	}
	return d
}

// near returns cfg with event times near the wall clock and never ahead of it,
// for events that are sent at a rate (0: as fast as they are taken): the pipeline
// clamps what lies far ahead.
func (cfg GeneratorConfig) near(now time.Time, rate float64) GeneratorConfig {
	cfg.Base, cfg.Step = now.Truncate(time.Millisecond), 5*time.Millisecond
	switch {
	case rate > 0:
		cfg.Step = time.Duration(float64(time.Second) / rate)
		// Interactions wait 100 ms for each other: a wider burst would be late.
		cfg.Shuffle = max(1, min(10, int(rate*0.08)))
	case cfg.Events > 0:
		cfg.Base = cfg.Base.Add(-time.Duration(cfg.Events) * cfg.Step)
	default:
		cfg.Step = 50 * time.Microsecond // no edge is faster than that
	}
	return cfg
}

// now is the event time of the delivery in the making. One delivery is one step,
// so event time keeps pace with sending.
func (g *Generator) now() int64 {
	return g.cfg.Base.Add(time.Duration(g.made) * g.cfg.Step).UnixMilli()
}

func (g *Generator) uuid() string {
	id, err := uuid.NewRandomFromReader(g.source)
	if err != nil {
		return uuid.Nil.String() // ChaCha8 gives no error
	}
	return id.String()
}

// of returns an element of list, by number.
func of(list []string, n int) string { return list[n%len(list)] }
