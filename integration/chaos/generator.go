package chaos

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"trunkline/app"
	"trunkline/event"
	"trunkline/topology"
)

// The mix, in thousandths of all deliveries; the rest are plain events.
const (
	poisonShare    = 5
	duplicateShare = 50
	conflictShare  = 10 // an event id that was delivered before, another body
	lateShare      = 20
	deleteShare    = 30
)

const (
	entities      = 600
	shuffleWindow = 10
	remembered    = 512             // deliveries that can come again
	lateness      = 3 * time.Second // how long a late event is held back
)

// told is one event as the generator made it: a step in the chain of its entity.
type told struct {
	ID    string
	Key   event.Key
	Op    event.Op
	Seq   int // the number of the event in its entity, from 1
	TsMs  int64
	Chain string // hash over the ids of all events of the entity up to this one
}

// delivery is one event as it is sent. Poison tells no event but has an id, too.
type delivery struct {
	vendor string
	body   []byte
	event  *told
	poison string
}

// subject is an entity that is being told of.
type subject struct {
	key   event.Key
	last  told
	alive bool
}

// generator makes a seeded sequence of deliveries. Event times are the clock's;
// everything else depends on the seed alone.
type generator struct {
	random   *rand.Rand
	ids      *rand.ChaCha8
	now      func() time.Time
	subjects []subject
	burst    []delivery
	late     []heldBack
	recent   []delivery
}

type heldBack struct {
	delivery
	due time.Time
}

func newGenerator(seed int64, now func() time.Time) *generator {
	var key [32]byte
	copy(key[:], fmt.Sprintf("chaos %d", seed))
	g := &generator{ids: rand.NewChaCha8(key), now: now}
	g.random = rand.New(g.ids) //nolint:gosec // a test's randomness is seeded
	for n := range entities {
		g.subjects = append(g.subjects, subject{key: g.newKey(n)})
	}
	return g
}

// newKey gives seven of ten entities to Genesys, three to CXone.
func (g *generator) newKey(n int) event.Key {
	k := event.Key{Vendor: topology.Genesys, Tenant: app.DevTenant, ID: g.id()}
	k.Type = []string{"user", "queue", "flow", "user", "queue", "user", "user", "", "", ""}[n%10]
	if k.Type == "" {
		k.Vendor, k.Type = topology.CXone, event.TypeConversation
	}
	return k
}

func (g *generator) id() string {
	id, err := uuid.NewRandomFromReader(g.ids)
	if err != nil {
		return uuid.Nil.String() // ChaCha8 gives no error
	}
	return id.String()
}

// next returns the next delivery.
func (g *generator) next() delivery {
	for {
		if len(g.late) > 0 && !g.now().Before(g.late[0].due) {
			d := g.late[0].delivery
			g.late = g.late[1:]
			return d
		}
		roll := g.random.IntN(1000)
		below := func(share int) bool { roll -= share; return roll < 0 }
		switch {
		case below(poisonShare):
			return g.poison()
		case below(duplicateShare) && len(g.recent) > 0:
			return g.recent[g.random.IntN(len(g.recent))]
		case below(conflictShare) && len(g.recent) > 0:
			d := g.recent[g.random.IntN(len(g.recent))]
			d.body = render(d.event, "another body of the same id")
			return d
		case below(deleteShare):
			if d, ok := g.remove(); ok {
				return g.remember(d)
			}
		case below(lateShare):
			g.late = append(g.late, heldBack{g.popBurst(), g.now().Add(lateness)})
			continue
		}
		return g.remember(g.popBurst())
	}
}

// rest returns what is still held back or in a burst: nothing that was made is
// left out.
func (g *generator) rest() []delivery {
	rest := g.burst
	for _, h := range g.late {
		rest = append(rest, h.delivery)
	}
	g.burst, g.late = nil, nil
	return rest
}

func (g *generator) remember(d delivery) delivery {
	if len(g.recent) < remembered {
		g.recent = append(g.recent, d)
	} else {
		g.recent[g.random.IntN(remembered)] = d
	}
	return d
}

// popBurst takes the next plain event. One entity changes a few times in a row,
// and its events go out in another order.
func (g *generator) popBurst() delivery {
	if len(g.burst) == 0 {
		n := g.random.IntN(len(g.subjects))
		size := 1
		if g.random.IntN(4) == 0 {
			size += g.random.IntN(shuffleWindow)
		}
		for range size {
			g.burst = append(g.burst, g.advance(&g.subjects[n], event.Update))
		}
		g.random.Shuffle(size, func(i, j int) { g.burst[i], g.burst[j] = g.burst[j], g.burst[i] })
	}
	d := g.burst[0]
	g.burst = g.burst[1:]
	return d
}

// remove deletes an entity; half of them come back under their id.
func (g *generator) remove() (delivery, bool) {
	n := g.random.IntN(len(g.subjects))
	s := &g.subjects[n]
	if !s.alive || s.key.Vendor != topology.Genesys { // CXone's webhooks know no delete
		return delivery{}, false
	}
	d := g.advance(s, event.Delete)
	if g.random.IntN(2) == 0 {
		*s = subject{key: g.newKey(n)}
	}
	return d, true
}

// advance tells the next event of s.
func (g *generator) advance(s *subject, op event.Op) delivery {
	if op == event.Update && !s.alive {
		op = event.Create
	}
	e := told{ID: g.id(), Key: s.key, Op: op, Seq: s.last.Seq + 1, TsMs: max(g.now().UnixMilli(), s.last.TsMs+1)}
	e.Chain = link(s.last.Chain, e.ID)
	s.last, s.alive = e, op != event.Delete
	return delivery{vendor: e.Key.Vendor, body: render(&e, ""), event: &e}
}

func link(chain, id string) string {
	sum := sha256.Sum256([]byte(chain + id))
	return hex.EncodeToString(sum[:8])
}

// state is what the resources of the generator carry.
type state struct {
	ID     string `json:"id,omitempty"`
	Name   string `json:"name,omitempty"`
	Seq    int    `json:"seq"`
	Chain  string `json:"chain"`
	Note   string `json:"note"`
	Filler string `json:"filler"`

	ContactID string `json:"contactId,omitempty"`
	MasterID  string `json:"masterContactId,omitempty"`
}

const filler = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco laboris nisi."

// render writes the event as its vendor would.
func render(e *told, note string) []byte {
	data := &state{Seq: e.Seq, Chain: e.Chain, Note: note, Filler: filler}
	if e.Key.Vendor == topology.CXone {
		data.ContactID, data.MasterID = e.Key.ID, e.Key.ID
		return encode(map[string]any{
			"eventId": e.ID, "eventType": cxoneStep(e), "data": data,
			"timestamp": time.UnixMilli(e.TsMs).UTC().Format("2006-01-02T15:04:05.000Z"),
		})
	}
	verb := map[event.Op]string{event.Create: "created", event.Update: "updated", event.Delete: "deleted"}[e.Op]
	m := map[string]any{
		"id": e.ID, "resourceType": e.Key.Type, "eventType": verb, "resourceId": e.Key.ID, "ts_ms": e.TsMs,
	}
	if e.Op != event.Delete {
		data.ID, data.Name = e.Key.ID, fmt.Sprintf("%s %d", e.Key.Type, e.Seq)
		m["data"] = data
		if e.Key.Type == "user" {
			m["version"] = e.Seq
		}
	}
	return encode(m)
}

func cxoneStep(e *told) string {
	if e.Seq == 1 {
		return "CALL_STARTED"
	}
	return []string{"QUEUE_ENTERED", "AGENT_ASSIGNED"}[e.Seq%2]
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return b
}

// poison is a body that nobody can read.
func (g *generator) poison() delivery {
	d := delivery{vendor: topology.Vendors[g.random.IntN(len(topology.Vendors))], poison: poisonMark + g.id()}
	d.body = []byte(`{"id":"` + d.poison + `","resourceType":"user","eventTy`)
	if g.random.IntN(2) == 0 {
		d.body = append([]byte{0xff}, d.body...)
	}
	return d
}

const poisonMark = "poison-"

// poisonOf finds the id in what poison wrote; empty when there is none.
func poisonOf(body []byte) string {
	_, rest, found := bytes.Cut(body, []byte(poisonMark))
	id, _, closed := bytes.Cut(rest, []byte(`"`))
	if !found || !closed {
		return ""
	}
	return poisonMark + string(id)
}
