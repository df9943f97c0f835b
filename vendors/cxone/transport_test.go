package cxone

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/event"
)

// fact is what happened, as the members of an event or of a polled record.
type fact struct {
	list     string // it is polled from; "" for an event
	members  []string
	timeless bool // tells no time
}

func randomFact(g *rand.Rand) fact {
	id := []string{"427", "a/b#c", "ünï", "50%"}[g.IntN(4)] + fmt.Sprint(g.IntN(1000))
	now := fmt.Sprintf("2026-11-22T01:%02d:%02d.%03dZ", g.IntN(60), g.IntN(60), g.IntN(1000))
	one := func(of ...string) string { return of[g.IntN(len(of))] }
	return []func() fact{
		func() fact { // a webhook
			return fact{members: []string{
				fmt.Sprintf(`"eventId":"e%d"`, g.Uint64()),
				fmt.Sprintf(`"eventType":%q`, one("CALL_STARTED", "CALL_ENDED", "CALL_PARKED", "SURVEY")),
				fmt.Sprintf(`"timestamp":%q`, now), `"data":{"contactId":"2","masterContactId":"` + id + `"}`,
			}}
		},
		func() fact { // a digital event, of which the id is optional
			return fact{members: []string{
				fmt.Sprintf(`"eventType":%q`, one("CaseCreated", "CaseStatusChanged", "MessageCreated", "EventInS3", "CaseHumming")),
				fmt.Sprintf(`"createdAt":%q`, now), `"eventObject":"Case"`,
				fmt.Sprintf(`"data":{"case":{"id":%q,"status":%q},"message":{"n":%d}}`, id, one("new", "open", "closed"), g.IntN(9)),
			}}
		},
		func() fact { // a polled record
			list := one("agents", "skills", "agents/states", "agents/skills", "contacts/completed", "contacts/active")
			return fact{list: list, members: []string{
				fmt.Sprintf(`"agentId":%d`, g.IntN(100)), fmt.Sprintf(`"skillId":%d`, g.IntN(100)), `"contactId":"` + id + `"`,
				fmt.Sprintf(`"isActive":%q`, one("True", "False")), fmt.Sprintf(`"lastUpdateTime":%q`, now),
			}}
		},
		func() fact { // a polled record without a time
			return fact{list: "skills", timeless: true, members: []string{fmt.Sprintf(`"skillId":%d`, g.IntN(100)), fmt.Sprintf(`"n":%d`, g.IntN(9))}}
		},
	}[g.IntN(4)]()
}

// deliver is the raw record of one of the ways by which a fact comes: any
// transport, at any time, under a new delivery id, in any order of its members.
func (f fact) deliver(g *rand.Rand) *event.Raw {
	members := append([]string(nil), f.members...)
	g.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	raw := record("{ "+strings.Join(members, " ,")+"}", f.list)
	raw.Transport = []event.Transport{event.Push, event.Kinesis, event.WebSocket, event.Poll}[g.IntN(4)]
	raw.ReceivedMs += g.Int64N(1e6)
	raw.SourceID = fmt.Sprint(g.Uint64())
	return raw
}

// TestSameFact holds that a fact is one event, with one image, whatever brings
// it and however often. Only a time that the fact does not tell is that of its
// receipt.
func TestSameFact(t *testing.T) {
	g := rand.New(rand.NewPCG(9, 10))
	for range 500 {
		f := randomFact(g)
		var want event.Event
		for i := range 3 {
			raw := f.deliver(g)
			got, err := Map(raw)
			if err != nil {
				t.Fatalf("%s: %v", raw.Body, err)
			}
			if f.timeless {
				got.TsMs, got.TsSource = 0, ""
			}
			if i == 0 {
				want = got
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s by %s (-first +again):\n%s", raw.Body, raw.Transport, diff)
			}
		}
	}
}

// What a later poll finds changed is another event; what it finds as it was,
// the same.
func TestPolledAgain(t *testing.T) {
	id := func(body, list string) string {
		e, err := Map(record(body, list))
		if err != nil {
			t.Fatal(err)
		}
		return e.ID
	}
	const first = `{"agentId":1,"agentStateName":"Available","startDate":"2026-11-22T01:50:00Z"}`
	for name, other := range map[string]string{
		"later":         id(`{"agentId":1,"agentStateName":"Available","startDate":"2026-11-22T01:51:00Z"}`, "agents/states"),
		"another agent": id(`{"agentId":2,"agentStateName":"Available","startDate":"2026-11-22T01:50:00Z"}`, "agents/states"),
		"another list":  id(first, "agents"),
	} {
		if other == id(first, "agents/states") {
			t.Errorf("%s: the same event id", name)
		}
	}
	if id(`{"skillId":1,"skillName":"A"}`, "skills") == id(`{"skillId":1,"skillName":"B"}`, "skills") {
		t.Error("changed, and no time told: the same event id")
	}
	if id(first, "agents/states") != id(strings.Replace(first, "}", `,"seconds":61}`, 1), "agents/states") {
		t.Error("as it was, but for what time alone changes: another event id")
	}
	const leg = `{"contactId":%d,"masterContactId":1,"lastUpdateTime":"2026-11-22T01:50:00Z"}`
	if id(fmt.Sprintf(leg, 1), "contacts/completed") == id(fmt.Sprintf(leg, 2), "contacts/completed") {
		t.Error("two contacts of one conversation: the same event id")
	}
}

// TestPure holds that a mapper asks nothing but its record: the same record is
// the same event at any time, also beside others.
func TestPure(t *testing.T) {
	g := rand.New(rand.NewPCG(11, 12))
	var wait sync.WaitGroup
	for range 200 {
		raw := randomFact(g).deliver(g)
		want, err := Map(raw)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			wait.Go(func() {
				if got, err := Map(raw); err != nil || !cmp.Equal(got, want) {
					t.Errorf("%s: got error %v and (-first +again):\n%s", raw.Body, err, cmp.Diff(want, got))
				}
			})
		}
	}
	wait.Wait()
}
