package genesys

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/event"
)

// fact is one message of the platform, whatever brings it.
type fact struct {
	template string // of its topic
	id       string // stands for {id}
	body     string
	timeless bool // tells no time of its own
	bare     bool // tells its entity without the topic
}

// randomFact is a message of a topic that we know, of any id, or of one we do
// not, of an id that can be told from its name.
func randomFact(g *rand.Rand) fact {
	id := []string{conversation, "a.b", "a/b#c", "ünï", "50%"}[g.IntN(5)] + fmt.Sprint(g.IntN(1000))
	if g.IntN(5) == 0 {
		return fact{template: "v2.unheard.{id}.of", id: conversation, timeless: true, body: fmt.Sprintf(`{"n":%d}`, g.IntN(9))}
	}
	ms := 1795312200000 + g.Int64N(1e9)
	iso := fmt.Sprintf("2026-11-22T01:%02d:%02d.%03dZ", g.IntN(60), g.IntN(60), g.IntN(1000))
	step := func(name string) fact {
		return fact{template: "v2.detail.events.conversation.{id}." + name, bare: true,
			body: fmt.Sprintf(`{"eventTime":%d,"conversationId":%q,"status":"x%d"}`, ms, id, g.IntN(9))}
	}
	f := []func() fact{
		func() fact { return step("customer.start") },
		func() fact { return step("acd.end") },
		func() fact { return step("wrapup") },
		func() fact {
			return fact{template: "v2.users.{id}.presence", body: fmt.Sprintf(`{"presenceDefinition":{"systemPresence":"X%d"},"modifiedDate":%q}`, g.IntN(9), iso)}
		},
		func() fact {
			return fact{template: "v2.users.{id}.routingStatus", body: fmt.Sprintf(`{"routingStatus":{"status":"IDLE","startTime":%q}}`, iso)}
		},
		func() fact {
			return fact{template: "v2.users.{id}.activity", bare: true, body: fmt.Sprintf(`{"id":%q,"presence":{"modifiedDate":%q},"routingStatus":{"startTime":"2020-01-01T00:00:00Z"}}`, id, iso)}
		},
		func() fact {
			return fact{template: "v2.detail.events.agent.{id}.state", bare: true, body: fmt.Sprintf(`{"userId":%q,"currentStateStart":%d}`, id, ms)}
		},
		func() fact {
			return fact{template: "v2.routing.queues.{id}.users", timeless: true, body: fmt.Sprintf(`{"id":"u%d","queueId":%q,"joined":%t}`, g.IntN(9), id, g.IntN(2) == 0)}
		},
		func() fact {
			return fact{template: "v2.routing.queues.{id}.conversations.messages", timeless: true, body: fmt.Sprintf(`{"id":"c%d","participants":[%d]}`, g.IntN(9), g.IntN(9))}
		},
		func() fact {
			return fact{template: "v2.flows.{id}", timeless: true, bare: true, body: fmt.Sprintf(`{"id":%q,"publishedVersion":{"id":"%d.0"},"currentOperation":{"id":"o%d"}}`, id, g.IntN(9), g.IntN(9))}
		},
	}[g.IntN(10)]()
	f.id = id
	return f
}

// delivery is one way by which a fact comes.
type delivery struct {
	way string
	raw *event.Raw
}

// deliveries are both envelopes, again with what is new on every re-send, and
// the bare body as a workflow forwards it.
func (f fact) deliveries(g *rand.Rand) []delivery {
	topic := strings.Replace(f.template, "{id}", f.id, 1)
	const trace = `,"metadata":{"CorrelationId":"c1"}`
	bridged := func() *event.Raw {
		return record(fmt.Sprintf(`{"version":"0","id":"b%d","detail-type":%q,"time":"2026-11-23T00:00:%02dZ","detail":{"topicName":%q,"version":"2","eventBody":%s%s,"timestamp":"2026-11-23T00:00:00.%03dZ"}}`,
			g.Uint64(), f.template, g.IntN(60), topic, f.body, trace, g.IntN(1000)))
	}
	all := []delivery{
		{"notification", record(fmt.Sprintf(`{"eventBody": %s%s,"topicName":%q,"version":"2"}`, f.body, trace, topic))},
		{"EventBridge", bridged()},
		{"EventBridge again", bridged()},
	}
	if f.bare {
		for _, hint := range []string{topic, f.template} {
			raw := record(f.body)
			raw.Format, raw.TopicHint = event.GenesysNotification, hint
			all = append(all, delivery{"workflow on " + hint, raw})
		}
	}
	for _, d := range all {
		d.raw.ReceivedMs += g.Int64N(1e6)
		d.raw.SourceID = fmt.Sprint(g.Uint64())
	}
	return all
}

// TestSameFact holds that a fact is one event, with one image, whatever brings
// it and however often. Only a time that the fact does not tell is the
// transport's.
func TestSameFact(t *testing.T) {
	g := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		f := randomFact(g)
		var want event.Event
		for i, d := range f.deliveries(g) {
			got, err := Map(d.raw)
			if err != nil {
				t.Fatalf("%s %s by %s: %v", f.template, f.body, d.way, err)
			}
			if f.timeless {
				got.TsMs, got.TsSource = 0, ""
			}
			if i == 0 {
				want = got
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s %s by %s (-notification +%[3]s):\n%s", f.template, f.body, d.way, diff)
			}
		}
	}
}

// An audit of the topic and of a query is one event, though both name its
// fields differently.
func TestSameAudit(t *testing.T) {
	const shared = `"id":"a1","serviceName":"ContactCenter","level":"USER","action":"Update","entityType":"Queue","entity":{"id":"q1","name":"Claims"},"propertyChanges":[{"property":"name","oldValues":["C"],"newValues":["Claims"]}],"context":{}`
	const topic = "v2.audits.entitytype.Queue.entityid.q1"
	told := `{` + shared + `,"userId":"u","username":{"id":"u"},"clientId":{"id":"k"},"eventTime":"2026-11-22T01:52:09.000Z"}`
	asked := `{` + shared + `,"user":{"id":"u"},"client":{"id":"k"},"eventDate":"2026-11-22T01:52:09Z","status":"SUCCESS","application":"","initiatingAction":{},"transactionInitiator":false,"entityChanges":[]}`
	want, err := Map(record(frame(topic, told)))
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{asked, bridge("v2.audits.entitytype.{id}.entityid.{id}", topic, told)} {
		got, err := Map(record(body))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-topic +this):\n%s", body, diff)
		}
	}
}

// Who joins a queue, leaves it and joins again does three things, though the
// first body is the third and none tells a time. One of them that comes again
// is still one.
func TestMembershipsDiffer(t *testing.T) {
	traced := func(joined bool, trace string) *event.Raw {
		return record(fmt.Sprintf(`{"topicName":"v2.routing.queues.q.users","eventBody":{"id":"u","queueId":"q","joined":%t},"metadata":{"CorrelationId":%q}}`, joined, trace))
	}
	ids := map[string]bool{}
	for _, raw := range []*event.Raw{traced(true, "1"), traced(false, "2"), traced(true, "3"), traced(true, "3")} {
		e, err := Map(raw)
		if err != nil {
			t.Fatal(err)
		}
		ids[e.ID] = true
	}
	if len(ids) != 3 {
		t.Errorf("got %d ids, want 3", len(ids))
	}
}

// TestPure holds that a mapper asks nothing but its record: the same record is
// the same event at any time, also beside others.
func TestPure(t *testing.T) {
	g := rand.New(rand.NewPCG(7, 8))
	var wait sync.WaitGroup
	for range 200 {
		d := randomFact(g).deliveries(g)[g.IntN(3)]
		want, err := Map(d.raw)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			wait.Go(func() {
				if got, err := Map(d.raw); err != nil || !cmp.Equal(got, want) {
					t.Errorf("%s: got error %v and (-first +again):\n%s", d.raw.Body, err, cmp.Diff(want, got))
				}
			})
		}
	}
	wait.Wait()
}
