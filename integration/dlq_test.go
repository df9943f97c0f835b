package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"trunkline/app"
	"trunkline/codecs"
	"trunkline/event"
	"trunkline/ingest"
	"trunkline/integration/harness"
	"trunkline/stream"
	"trunkline/topology"
	"trunkline/vendors"
	"trunkline/vendors/cxone"
	"trunkline/vendors/genesys"
)

// newcomer is a tenant that the edges know before the stages do.
const newcomer = "newco"

// received are raw records as an edge writes them.
func received(vendor, tenant string, bodies ...string) []stream.Outgoing {
	m := map[string]vendors.Mapper{topology.Genesys: genesys.Mapper(), topology.CXone: cxone.Mapper()}[vendor]
	var records []stream.Outgoing
	for i, body := range bodies {
		raw := event.Raw{
			Vendor: vendor, Tenant: tenant, Transport: event.Push, IngestID: fmt.Sprintf("%s-%s-%d/0", vendor, tenant, i),
			ReceivedMs: time.Now().UnixMilli(), SigStatus: "bearer", Body: []byte(body),
		}
		r, _ := ingest.RecordOf(&raw, m)
		o := stream.Outgoing{Topic: r.Topic, Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			o.Headers = append(o.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
		records = append(records, o)
	}
	return records
}

func appendRaw(t *testing.T, c app.Config, records []stream.Outgoing) {
	t.Helper()
	a := stream.NewAppender(stream.Config{Brokers: c.Kafka.Brokers, Instance: "test"}, topology.Partition)
	for batch := range slices.Chunk(records, 1000) {
		if err := a.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

// command runs trunkline to its end and returns what it printed.
func command(t *testing.T, d *harness.Deployment, code int, args ...string) []string {
	t.Helper()
	p := harness.Start(t, append(args, "--config", d.File)...)
	lines := p.Lines()
	if got := p.Wait(); got != code {
		t.Fatalf("trunkline %s: exit code %d, want %d: %s\n%s", strings.Join(args, " "), got, code, p.Stderr(), strings.Join(lines, "\n"))
	}
	return lines
}

func decode[T any](t *testing.T, line string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(line), &v); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return v
}

func replayed(t *testing.T, d *harness.Deployment, code int, args ...string) app.ReplayReport {
	t.Helper()
	return decode[app.ReplayReport](t, command(t, d, code, append([]string{"dlq", "replay", "--json"}, args...)...)[0])
}

func letters(t *testing.T, d *harness.Deployment, args ...string) []app.Letter {
	t.Helper()
	var all []app.Letter
	for _, line := range command(t, d, 0, append([]string{"dlq", "list", "--each", "--json"}, args...)...) {
		all = append(all, decode[app.Letter](t, line))
	}
	return all
}

// I2, I3, I6: 10,000 letters of a tenant that the stages did not know are sent back
// once it is set up. The replay is killed at random moments, or another is begun beside
// it, and given again: each letter is redriven once, unaltered, and ends as a change,
// or late where newer state was applied meanwhile. The ledger balances.
//
// Seen failing with the notes of what was redriven in transactions of their own, after
// and before the records, and with the producer opened after they were read.
func TestKilledReplayRedrivesEachLetterOnce(t *testing.T) {
	const n, rounds = 10_000, 9
	d := harness.StartDeployment(t)
	worker := d.Run("p1", app.RoleProcess)
	now := time.Now().UnixMilli()
	user := func(i int, ts int64) string {
		return fmt.Sprintf(`{"id":"e-%d-%d","resourceType":"user","eventType":"updated","resourceId":"u-%d","ts_ms":%d,"data":{"id":"u-%d","name":"n-%d"}}`, i, ts, i, ts, i, i)
	}
	bodies := make([]string, n)
	for i := range bodies {
		bodies[i] = user(i, now-int64(n)+int64(i))
	}
	appendRaw(t, d.Config, received(topology.Genesys, newcomer, bodies...))
	harness.Drained(t, d.Config)
	dead, err := app.Letters(t.Context(), d.Config, app.LetterFilter{})
	if err != nil {
		t.Fatal(err)
	}
	if len(dead) != n || dead[0].Reason != event.UnknownTenant || dead[0].Redriven {
		t.Fatalf("got %d letters, the first %+v; want %d of reason unknown_tenant", len(dead), dead[:1], n)
	}
	if r := replayed(t, d, 0); r.Executed || r.Redriven != n || r.Refused[event.UnknownTenant] != n {
		t.Errorf("dry run: got %+v, want %d that would be redriven and die again", r, n)
	}
	if got := len(rawRecords(t, d.Config)); got != n {
		t.Fatalf("a dry run made %d raw records of %d", got, n)
	}

	// The tenant is set up, and of some entities newer state comes first.
	c := d.Config
	c.Tenants = append(slices.Clone(c.Tenants), app.Tenant{ID: newcomer, Vendors: map[string]app.Credentials{topology.Genesys: c.Tenants[0].Vendors[topology.Genesys]}, Class: topology.Standard, Partitions: 2})
	if err := app.WriteConfig(d.File, c); err != nil {
		t.Fatal(err)
	}
	worker.Stop()
	worker.Start()
	worker.UntilReady()
	const overtaken = 100
	newer := make([]string, overtaken)
	for i := range newer {
		newer[i] = user(i, now+1000)
	}
	appendRaw(t, c, received(topology.Genesys, newcomer, newer...))
	harness.Drained(t, c)

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	var rival *harness.Process // is left alive when the next begins
	for round := range rounds {
		leave, rate := round%3 == 2, "0" // always in a transaction or between two
		if leave {
			rate = "300" // not done before the next begins
		}
		begun := rawEnd(t, c)
		p := harness.Start(t, "dlq", "replay", "--json", "--execute", "--rate", rate, "--config", d.File)
		if rival != nil {
			if code := rival.Wait(); code == 0 {
				t.Errorf("round %d: the replay that another took over from ends with 0", round)
			}
			rival = nil
			begun = rawEnd(t, c)
		}
		target := begun + random.Int64N(n/rounds/2)
		harness.Until(t, "the replay is under way", func() bool { return rawEnd(t, c) > target })
		pause(t, time.Duration(random.IntN(40))*time.Millisecond)
		if !p.Running() {
			t.Fatalf("round %d: the replay ended by itself: %s", round, p.Stderr())
		}
		if leave {
			rival = p
		} else {
			p.Kill()
		}
	}
	r := replayed(t, d, 0, "--execute", "--rate", "0")
	if r.Redriven == 0 || r.Redriven+r.Earlier != n || r.Letters != r.Redriven {
		t.Errorf("the last replay: got %+v, want the rest of %d", r, n)
	}
	if code := rival.Wait(); code == 0 {
		t.Error("the replay that the last took over from ends with 0")
	}
	if r = replayed(t, d, 0, "--execute"); r.Redriven != 0 || r.Earlier != n {
		t.Errorf("one more replay: got %+v, want nothing to do", r)
	}
	harness.Drained(t, c)

	// Each letter once, its bytes unaltered.
	sent := map[string]stream.Record{}
	redriven := map[string]int{}
	for _, r := range rawRecords(t, c) {
		sent[event.Position{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}.String()] = r
	}
	for at, r := range sent {
		of := string(r.Headers[event.HeaderRedriveOf])
		if of == "" {
			continue
		}
		redriven[of]++
		if first := sent[of]; !bytes.Equal(first.Value, r.Value) || string(r.Headers[event.HeaderIngestID]) != string(first.Headers[event.HeaderIngestID]) {
			t.Fatalf("%s is no redrive of %s", at, of)
		}
	}
	for _, l := range dead {
		if redriven[l.Raw] != 1 {
			t.Errorf("%s is redriven %d times", l.Raw, redriven[l.Raw])
		}
	}
	if len(redriven) != n {
		t.Errorf("%d letters are redriven, want %d", len(redriven), n)
	}
	balance(t, c)
	report := ledgerOf(t, c)
	if report.Fates[event.FateChange] != n || report.Fates[event.FateLate] != overtaken || report.Fates[event.FateDeadLetter] != n {
		t.Errorf("fates %v, want %d changes, %d late and %d dead letters", report.Fates, n, overtaken, n)
	}
	late := decode[app.TailLine](t, command(t, d, 0, "tail", "late")[0])
	if late.Headers[codecs.HeaderLateOrder] == "" || late.Headers[codecs.HeaderLateRowOrder] == "" {
		t.Errorf("tail late shows headers %v, want both orders", late.Headers)
	}
	command(t, d, 0, "verify")
}

// rawEnd is how far the raw topic of genesys reaches, transactions under way included.
func rawEnd(t *testing.T, c app.Config) (sum int64) {
	t.Helper()
	topic := string(topology.RawTopic(topology.Genesys))
	offsets, err := stream.Offsets(t.Context(), stream.Config{Brokers: c.Kafka.Brokers}, []string{topic}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, offset := range offsets[topic] {
		sum += offset
	}
	return sum
}

// Letters of either stage that die again are one lineage with the next attempt; what
// is sent back is always what the vendor sent. Once retention has taken that, the
// letter is left and the report says so.
//
// Seen failing with the value of an entity letter sent back, and without the lineage
// in its working event.
func TestLettersDieAgain(t *testing.T) {
	d := harness.StartDeployment(t)
	d.Run("p1", app.RoleProcess)
	big := func(id, field string, ts int) string {
		return fmt.Sprintf(`{"id":%q,"eventType":"conversation.message","conversationId":"c-1","timestamp":%q,%q:%q}`,
			id, time.UnixMilli(1795312200000+int64(ts)).UTC().Format("2006-01-02T15:04:05.000Z"), field, strings.Repeat("x", 700<<10))
	}
	bodies := []string{`{"id":"cut off`, big("big-1", "a", 1), big("big-2", "b", 2)}
	appendRaw(t, d.Config, received(topology.Genesys, app.DevTenant, bodies...))
	harness.Drained(t, d.Config)

	roots := map[string]string{}
	for attempt := 1; attempt <= 3; attempt++ {
		dead := letters(t, d)
		if len(dead) != 2 {
			t.Fatalf("attempt %d: got %d lineages, want 2: %+v", attempt, len(dead), dead)
		}
		for _, l := range dead {
			body := map[string]string{"normalise": bodies[0], "entity": bodies[2]}[l.Stage]
			if attempt == 1 {
				roots[l.Stage] = l.Raw
			}
			if l.Attempt != attempt || l.Root != roots[l.Stage] || l.Redriven || l.FirstSeen.After(l.Time) || l.Tenant != app.DevTenant {
				t.Errorf("attempt %d: got %+v, want the root %s", attempt, l, roots[l.Stage])
			}
			shown := strings.Join(command(t, d, 0, "dlq", "show", l.Position, "--body"), "\n")
			if shown != body {
				t.Errorf("%s %s: shown are %d bytes, want the %d that were sent", l.Stage, l.Position, len(shown), len(body))
			}
			if head := strings.Join(command(t, d, 0, "dlq", "show", l.Position), "\n"); strings.Contains(head, "xxx") || strings.Contains(head, "cut off") || !strings.Contains(head, string(l.Reason)) {
				t.Errorf("%s: the head is %.2000q, want the reason and no payload", l.Position, head) // I10
			}
		}
		if attempt == 3 {
			break
		}
		if r := replayed(t, d, 0, "--execute"); r.Redriven != 2 || r.Refused[event.MalformedJSON] != 1 {
			t.Errorf("attempt %d: got %+v", attempt, r)
		}
		harness.Drained(t, d.Config)
		balance(t, d.Config)
	}

	truncate(t, d.Config, string(topology.RawTopic(topology.Genesys)))
	r := replayed(t, d, 1, "--execute", "--stage", "entity")
	if r.Redriven != 0 || len(r.Left) != 1 || r.Left[0].Why != app.ErrOriginalGone.Error() {
		t.Errorf("without the original: got %+v", r)
	}
	if r = replayed(t, d, 0, "--execute", letters(t, d, "--stage", "normalise")[0].Position); r.Redriven != 1 {
		t.Errorf("a letter of normalise holds its original: got %+v", r)
	}
	command(t, d, 1, "dlq", "show", "dead-letters/0/999999")
	command(t, d, 2, "dlq", "replay", "raw.genesys/0/0")
}

// truncate takes what a topic holds, as retention does.
func truncate(t *testing.T, c app.Config, topic string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Kafka.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ends, err := admin.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.DeleteRecords(t.Context(), ends.Offsets()); err != nil {
		t.Fatal(err)
	}
}
