package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"trunkline/app"
	"trunkline/codecs"
	"trunkline/event"
	"trunkline/integration/harness"
	"trunkline/stream"
	"trunkline/topology"
)

// oddContents are members of a resource, by name, as JSON texts.
var oddContents = map[string]struct {
	members map[string]string
	fill    bool // member `a` is as long as makes the body 1 MiB
	letter  bool // a dead letter, whole
}{
	"1 MiB":             {members: map[string]string{"a": `""`}, fill: true},
	"10,000 keys":       {members: manyMembers(10_000)},
	"NUL, escaped":      {members: map[string]string{"a": `"x\u0000y"`, "b": `["\u0000",{"\u0000":1}]`}},
	"lone surrogate":    {members: map[string]string{"a": `"\ud800"`, "b": `"\ud83d\ude00"`}},
	"beyond 2^53":       {members: map[string]string{"a": "9007199254740993", "b": "9007199254740993.10", "c": "[-0.0,1E400]", "d": strings.Repeat("9", 40)}},
	"NUL, raw":          {members: map[string]string{"a": "\"x\x00y\""}, letter: true},
	"invalid UTF-8":     {members: map[string]string{"a": "\"x\xffy\""}, letter: true},
	"encoded surrogate": {members: map[string]string{"a": "\"\xed\xa0\x80\""}, letter: true},
	"a key twice":       {members: map[string]string{"a": `{"x":1,"x":2}`}, letter: true},
}

func manyMembers(n int) map[string]string {
	members := make(map[string]string, n)
	for i := range n {
		members[fmt.Sprintf("key%05d", i)] = fmt.Sprintf("%d.50", i)
	}
	return members
}

// objectOf is a canonical JSON object: names sorted, no space, values as they are.
func objectOf(members map[string]string) string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		texts = append(texts, fmt.Sprintf("%q:%s", name, members[name]))
	}
	return "{" + strings.Join(texts, ",") + "}"
}

// oddQueue is one queue's history as its vendor tells it.
type oddQueue struct {
	name, id string
	events   int
	sent     map[string]int    // how many dead letters it makes, by body
	want     []string          // changes
	row      map[string]string // members; nil: there is none
	bus      map[string]string // image by event id
}

func (q *oddQueue) eventID() string { return fmt.Sprintf("%s-%d", q.id, q.events) }

// push is an event with the whole queue, or its deletion.
func (q *oddQueue) push(action string, members map[string]string) string {
	return fmt.Sprintf(`{"id":%q,"resourceType":"queue","eventType":%q,"resourceId":%q,"ts_ms":%d,"data":%s}`,
		q.eventID(), action, q.id, 1795312200000+q.events, objectOf(members))
}

// audit is an event with what changed.
func (q *oddQueue) audit(action string, members map[string]string) string {
	var changes []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		changes = append(changes, fmt.Sprintf(`{"property":%q,"newValues":[%s]}`, name, members[name]))
	}
	at := time.UnixMilli(int64(1795312200000 + q.events)).UTC().Format("2006-01-02T15:04:05.000Z")
	return fmt.Sprintf(`{"topicName":"v2.audits.entitytype.Queue.entityid.%[1]s","version":"2","eventBody":{"id":%[2]q,"serviceName":"Routing","eventTime":%[3]q,`+
		`"action":%[4]q,"entityType":"Queue","entity":{"id":%[1]q},"propertyChanges":[%[5]s]}}`, q.id, q.eventID(), at, action, strings.Join(changes, ","))
}

// send delivers an event and notes what must come of it.
func (q *oddQueue) send(t *testing.T, d *harness.Dev, tell func(action string, members map[string]string) string, action string, members map[string]string, fill, letter bool) {
	t.Helper()
	q.events++
	members = maps.Clone(members)
	if fill {
		missing := topology.MaxBodyBytes - len(tell(action, members))
		members["a"] = `"` + strings.Repeat("x", missing) + `"`
	}
	body := tell(action, members)
	sendTo(t, d, topology.Genesys, []byte(body))
	if letter {
		q.sent[body] = 1
		return
	}
	q.sent[body] = 0
	op, before := event.Create, "-"
	if q.row != nil {
		op, before = event.Update, changed(q.row)
	}
	partial := strings.HasPrefix(body, `{"topicName"`)
	image := members
	if partial {
		image = map[string]string{"id": fmt.Sprintf("%q", q.id)}
		maps.Copy(image, members)
	}
	q.bus[q.eventID()] = objectOf(image)
	switch {
	case strings.HasPrefix(strings.ToLower(action), "delete"):
		q.row = nil
		q.want = append(q.want, fmt.Sprintf("%s d %s → -", q.eventID(), before), "tombstone")
		return
	case partial && q.row != nil:
		q.row = maps.Clone(q.row)
		maps.Copy(q.row, image)
	default:
		q.row = image
	}
	q.want = append(q.want, fmt.Sprintf("%s %s %s → %s", q.eventID(), op, before, changed(q.row)))
}

// changed is an image as changes have it: what can be a character is one, what no
// database holds is replaced.
func changed(members map[string]string) string {
	return strings.NewReplacer(`\u0000`, `\ufffd`, `\ud800`, `\ufffd`, `\ud83d\ude00`, "😀").Replace(objectOf(members))
}

// I6, I3: each odd content, as a whole image, a part and a deletion, is in the raw log
// as it was sent, and in bus and change stream as documented, or it is a dead letter,
// whole; the next event of its entity comes through every time.
//
// Seen failing with doubled names and invalid UTF-8 let pass, a body of 1 MiB refused,
// parts that are not merged, changes that are not sanitised, numbers by way of float64,
// and a payload of 9,999 entries at most.
func TestOddContents(t *testing.T) {
	d := harness.StartDev(t, t.TempDir())
	queues := map[string]*oddQueue{}
	for name, content := range oddContents {
		q := &oddQueue{
			name: name, id: fmt.Sprint("odd-", len(queues)), sent: map[string]int{}, bus: map[string]string{},
		}
		queues[q.id] = q
		normal := func() {
			q.send(t, d, q.push, "updated", map[string]string{"n": fmt.Sprint(q.events)}, false, false)
		}
		odd := func(tell func(string, map[string]string) string, action string) {
			q.send(t, d, tell, action, content.members, content.fill, content.letter)
		}
		normal()
		odd(q.push, "updated")
		odd(q.push, "deleted")
		normal()
		odd(q.audit, "Update")
		normal()
		odd(q.push, "deleted")
		normal()
		odd(q.audit, "Update")
		odd(q.audit, "Delete")
		normal()
	}
	tooLarge := bytes.Repeat([]byte(" "), topology.MaxBodyBytes+1)
	if status, answer := harness.Post(t, d.Addrs.Edge+"/v1/ingest/genesys/"+app.DevTenant+"/events", "Bearer "+app.DevToken, "application/json", tooLarge); status != 413 {
		t.Errorf("a byte more than 1 MiB: got %d %s, want 413", status, answer)
	}
	harness.Drained(t, d.Config, d.Addrs.Metrics)

	raw, letters := map[string]int{}, map[string]int{} // by body, each of which is sent once
	for _, r := range rawRecords(t, d.Config) {
		raw[string(r.Value)]++
	}
	changes := map[string][]string{}
	readAll(t, d.Config, func(r stream.Record) {
		if r.Topic == string(topology.DeadLettersTopic) {
			letters[string(r.Value)]++
			return
		}
		key, err := codecs.DecodeKey(codecs.FormatAvro, topology.Genesys, r.Key)
		if err != nil {
			t.Fatal(err)
		}
		changes[key.ID] = append(changes[key.ID], changeLine(t, r))
	}, "genesys.config.changes", string(topology.DeadLettersTopic))
	bus := map[string]map[string]string{}
	err := app.Tail(t.Context(), d.Config, app.TailOptions{What: "events"}, func(l app.TailLine) error {
		var e struct {
			ID      string `json:"event_id"`
			Payload map[string]string
		}
		err := json.Unmarshal(l.Value, &e)
		bus[e.ID] = e.Payload
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	for _, q := range queues {
		t.Run(q.name, func(t *testing.T) {
			for body, want := range q.sent {
				if raw[body] != 1 || letters[body] != want {
					t.Errorf("%d raw records and %d dead letters, want 1 and %d, of %.300q", raw[body], letters[body], want, body)
				}
				delete(raw, body)
				delete(letters, body)
			}
			if diff := cmp.Diff(q.want, changes[q.id]); diff != "" {
				t.Errorf("changes (-want +got):\n%.3000s", diff)
			}
			for id, image := range q.bus {
				want := texts(t, []byte(image))
				want["resourceType"], want["resourceId"] = "queue", q.id
				if diff := cmp.Diff(want, bus[id]); diff != "" {
					t.Errorf("payload on the bus of %s (-want +got):\n%.3000s", id, diff)
				}
			}
		})
	}
	if len(raw)+len(letters) > 0 {
		t.Errorf("%d raw records and %d dead letters of what nobody sent", len(raw), len(letters))
	}
	balance(t, d.Config)
}

// readAll reads committed records of topics.
func readAll(t *testing.T, c app.Config, emit func(stream.Record), topics ...string) {
	t.Helper()
	err := stream.Read(t.Context(), stream.Config{Brokers: c.Kafka.Brokers}, stream.Range{Topics: topics}, func(r stream.Record) error {
		emit(r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// changeLine tells one record of a change topic in Avro; what is sanitised says so.
func changeLine(t *testing.T, r stream.Record) string {
	t.Helper()
	if r.Value == nil {
		return "tombstone"
	}
	c, err := codecs.DecodeChange(codecs.FormatAvro, r.Key, r.Value)
	if err != nil {
		t.Fatal(err)
	}
	side := func(i *event.Image) string {
		if i == nil {
			return "-"
		}
		return string(i.Data)
	}
	line := fmt.Sprintf("%s %s %s → %s", c.EventID, c.Op, side(c.Before), side(c.After))
	if got, want := r.Headers[codecs.HeaderSanitised] != nil, strings.Contains(line, `\ufffd`); got != want {
		t.Errorf("sanitised is told: %t, want %t: %.300s", got, want, line)
	}
	return line
}
