package processors_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"trunkline/event"
	"trunkline/processors"
	"trunkline/topology"
)

// I3, I6: whatever stands in the raw logs, every record ends in exactly one of
// working event, fate and dead letter, by way of the loop at most once. An event
// passes once, and once more for each redrive of where it passed; readers of the
// bus hear of it whenever it does, and when offsets are reset.
func TestNormaliseOneOutcome(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			c := config(t)
			m := c.Mappers[topology.CXone]
			plain := m.Map
			m.Map = func(raw *event.Raw) (event.Event, error) {
				if strings.Contains(string(raw.Body), "AGENT_ASSIGNED") {
					panic("agents")
				}
				return plain(raw)
			}
			log := rawLog(rand.New(rand.NewPCG(seed, 1)), c)
			c.Mappers[topology.CXone] = m
			s := startNormalise(t, c)
			passed := map[string]string{} // record key: where its event passed last
			for i, r := range append(log, log[len(log)/2:]...) {
				reset := i >= len(log)
				before := firsts(s)
				got := normalised(s, r)
				count := func(prefix string) (n int) {
					for _, text := range got {
						if strings.HasPrefix(text, prefix) {
							n++
						}
					}
					return n
				}
				working, canonical, loops, letters := count("event of "), count("canonical "), count("loop "), count("dead letter ")
				replayed, eventOnly := count("replayed"), count("event_only")
				fates := replayed + eventOnly + count("duplicate ") + count("filtered ")
				if working+fates+letters != 1 || loops > 1 || len(got) != working+fates+letters+loops+canonical {
					t.Fatalf("%v %q: %q", r.at, r.body, got)
				}
				if canonical != working+eventOnly+replayed {
					t.Fatalf("%v %q: the bus heard of it wrongly: %q", r.at, r.body, got)
				}
				after := firsts(s)
				if changed := !slices.Equal(before, after); changed != (working+eventOnly == 1) {
					t.Fatalf("%v %q: row written: %t, outputs %q", r.at, r.body, changed, got)
				}
				if working+eventOnly == 0 {
					continue
				}
				var key string
				for _, row := range after {
					if k, ok := strings.CutSuffix(row, " "+r.at.String()); ok {
						key = k
					}
				}
				if at, known := passed[key]; known && at != string(r.headers[event.HeaderRedriveOf]) || reset && !known {
					t.Fatalf("%v %q passed as %q, which had passed at %q", r.at, r.body, key, at)
				}
				passed[key] = r.at.String()
			}
		})
	}
}

// rawLog is a random log of what vendors and edges do, well and badly.
func rawLog(random *rand.Rand, c processors.Config) []rawRecord {
	var log []rawRecord
	appendMs := int64(t0)
	id := func() string { return fmt.Sprint("e", random.IntN(12)) }
	for offset := range int64(60) {
		appendMs += random.Int64N(2000)
		vendor := topology.Genesys
		var body string
		switch random.IntN(12) {
		case 0:
			body = `{"eventType":"heartbeat"}`
		case 1:
			body = `{"id":"` + id() + `","resourceType":"user"` // cut off
		case 2:
			body = `{"id":"` + id() + `","eventType":"weather.changed"}`
		case 3:
			body = string([]byte{0, 0xff, byte(offset)})
		case 4, 5:
			vendor = topology.CXone
			body = fmt.Sprintf(`{"eventId":%q,"eventType":%q,"timestamp":%d,"data":{"masterContactId":"4270000001"}}`,
				id(), []string{"CALL_STARTED", "AGENT_ASSIGNED", "PONG"}[random.IntN(3)], appendMs)
		default:
			body = user(id(), fmt.Sprint("u/#%", random.IntN(2)), fmt.Sprint("Ann ", random.IntN(2)), appendMs+random.Int64N(2*event.MaxAheadMs))
		}
		r := rawAt(c, vendor, offset, appendMs, body)
		switch random.IntN(10) {
		case 0:
			r.key = "genesys/acme/user/somebody#" + id()
		case 1:
			r.headers[event.HeaderTenant] = []byte("nobody")
		case 2:
			r.body = nil
		case 3, 4:
			if len(log) > 0 {
				r = log[random.IntN(len(log))] // sent again, or taken from the dead letters
				of := r.at
				r.at.Offset, r.at.AppendMs = offset, appendMs
				if random.IntN(2) == 0 {
					r.headers = maps.Clone(r.headers)
					r.headers[event.HeaderRedriveOf] = []byte(of.String())
				}
			}
		}
		log = append(log, r)
	}
	return log
}
