package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"trunkline/codecs"
	"trunkline/event"
	"trunkline/topology"
)

// history is what a run leaves behind, before it is written: tests damage it.
type history struct {
	raws    []Record
	outputs []output // in the order in which they were produced
	rows    map[event.Key]*row
}

type row struct {
	image   *event.Image
	deleted bool
}

// output is a record of an output topic. One of change, tombstone, fate is set
// for those topics; late events and dead letters are told by their topic.
type output struct {
	topic     string
	partition int32
	raw       event.Position
	ingestID  string
	run       string
	cause     string
	stage     string
	change    *event.Change
	tombstone bool
	key       event.Key // of a change or tombstone
	fate      event.FateKind
}

const (
	partitions = 3
	baseMs     = 1_795_312_200_000
)

// correctHistory makes the history of n raw records by the rules of the design:
// a small pipeline on paper.
func correctHistory(seed uint64, n int) *history {
	random := rand.New(rand.NewPCG(seed, 1))
	h := &history{rows: map[event.Key]*row{}}
	var keys []event.Key
	for i := range 12 {
		vendor := topology.Vendors[i%2]
		typ := []string{"user", "queue", event.TypeConversation}[i%3]
		// The same ids from both vendors, and one that a change cannot carry.
		keys = append(keys, event.Key{Vendor: vendor, Tenant: "acme", Type: typ, ID: fmt.Sprintf("id/%d\x00", i/2)})
	}
	count := map[event.Key]int64{}
	next := map[partition]int64{}
	for i := range n {
		if random.IntN(20) == 0 {
			h.expire(keys[random.IntN(len(keys))], count, i)
		}
		k := keys[random.IntN(len(keys))]
		p := partition{string(topology.RawTopic(k.Vendor)), topology.Partition(k.String(), partitions)}
		next[p] += 1 + random.Int64N(2) // transaction markers leave gaps
		raw := event.Position{Topic: p.topic, Partition: p.number, Offset: next[p], AppendMs: baseMs + int64(i)}
		ingestID := fmt.Sprintf("01890a5d-ac96-774b-bcce-%012d/0", i)
		h.raws = append(h.raws, Record{
			Topic: p.topic, Partition: p.number, Offset: raw.Offset, Key: []byte(k.String()), Value: []byte("{}"),
			Headers: map[string][]byte{event.HeaderIngestID: []byte(ingestID)},
		})
		out := output{partition: p.number, raw: raw, ingestID: ingestID, run: "1", key: k}
		fate := fateKinds[0]
		if random.IntN(3) == 0 {
			fate = fateKinds[random.IntN(len(fateKinds))]
		}
		switch fate {
		case event.FateChange:
			count[k]++
			out.topic = topology.ChangeTopic(k)
			out.change = h.nextChange(random, k, raw, count[k], i)
			h.outputs = append(h.outputs, out)
			if out.change.Op == event.Delete {
				out.change, out.tombstone = nil, true
				h.outputs = append(h.outputs, out)
			}
			continue
		case event.FateLate:
			out.topic = string(topology.LateEventsTopic)
		case event.FateDeadLetter:
			out.topic = string(topology.DeadLettersTopic)
		default:
			out.topic, out.fate = string(topology.FatesTopic), fate
		}
		h.outputs = append(h.outputs, out)
	}
	return h
}

// expire ends k for no raw record, if it is a conversation that lives. Its time is
// when nothing was heard for long: the next event of k can be older than that.
func (h *history) expire(k event.Key, count map[event.Key]int64, i int) {
	old := h.rows[k]
	if !k.Interaction() || old == nil || old.deleted {
		return
	}
	count[k]++
	d := output{
		topic: topology.ChangeTopic(k), partition: topology.Partition(k.String(), partitions), run: "1", key: k, cause: string(event.CauseIdle),
	}
	tombstone := d
	tombstone.tombstone = true
	ts := baseMs + 10*int64(i)
	d.change = &event.Change{
		Key: k, Op: event.Delete, Before: old.image, TsMs: ts + 1000, SequenceUs: ts * 1e3, SequenceN: count[k],
		EventID: fmt.Sprintf("idle-%d", i), EventType: "conversation.expired",
	}
	h.outputs = append(h.outputs, d, tombstone)
	h.rows[k] = &row{deleted: true}
}

func (h *history) nextChange(random *rand.Rand, k event.Key, raw event.Position, n int64, i int) *event.Change {
	ts := baseMs + 10*int64(i)
	c := &event.Change{
		Key: k, Op: event.Update, TsMs: ts, Processed: ts * 1e6, SequenceUs: ts * 1e3, SequenceN: n,
		EventID: fmt.Sprintf("e-%d", i), EventType: "config.updated", Raw: raw,
	}
	name, version := fmt.Sprintf("revision %d\x00", n), n
	c.After = &event.Image{Name: &name, Version: &version, Data: fmt.Appendf(nil, `{"n":%d,"nul":"\u0000"}`, n)}
	old := h.rows[k]
	switch {
	case old == nil && random.IntN(4) == 0: // the delete of what we never saw
		c.Op, c.Before, c.After = event.Delete, &event.Image{}, nil
	case old == nil || old.deleted:
		c.Op = []event.Op{event.Create, event.Read}[random.IntN(2)]
	case random.IntN(6) == 0:
		c.Op, c.Before, c.After = event.Delete, old.image, nil
	default:
		c.Before = old.image
	}
	h.rows[k] = &row{image: c.After, deleted: c.After == nil}
	return c
}

// records writes the outputs, each partition in its order.
func (h *history) records(t *testing.T, format codecs.Format) []Record {
	t.Helper()
	rs := slices.Clone(h.raws)
	encoders := map[string]*codecs.ChangeEncoder{}
	next := map[partition]int64{}
	for _, o := range h.outputs {
		p := partition{o.topic, o.partition}
		r := Record{Topic: o.topic, Partition: o.partition, Offset: next[p], Value: []byte{}, Headers: map[string][]byte{}}
		next[p]++
		if o.raw.Topic != "" {
			for _, hd := range o.raw.Headers() {
				r.Headers[hd.Key] = hd.Value
			}
		}
		r.Headers[event.HeaderRun] = []byte(o.run)
		r.Headers[event.HeaderIngestID] = []byte(o.ingestID)
		if o.cause != "" {
			r.Headers[event.HeaderCause] = []byte(o.cause)
		}
		if o.stage != "" {
			r.Headers[codecs.HeaderDLQStage] = []byte(o.stage)
		}
		var err error
		switch {
		case o.fate != "":
			r.Value, err = codecs.EncodeFate(event.Fate{Kind: o.fate, Run: o.run, Raw: o.raw, IngestID: o.ingestID})
		case o.change != nil || o.tombstone:
			if encoders[o.topic] == nil {
				encoders[o.topic] = encoderOf(t, o, format)
			}
			r.Key, r.Value, err = encodeChange(o, encoders[o.topic])
		}
		if err != nil {
			t.Fatalf("write %s record: %v", o.topic, err)
		}
		rs = append(rs, r)
	}
	return rs
}

func encoderOf(t *testing.T, o output, format codecs.Format) *codecs.ChangeEncoder {
	t.Helper()
	e, err := codecs.NewChangeEncoder(codecs.ChangeOptions{
		Topic: o.topic, Vendor: o.key.Vendor, Format: format, IDs: codecs.SchemaIDs{Key: 1, Value: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func encodeChange(o output, e *codecs.ChangeEncoder) (key, value []byte, err error) {
	if key, err = e.Key(o.key); err != nil || o.tombstone {
		return key, nil, err
	}
	value, _, err = e.Value(o.change)
	return key, value, err
}

// balance adds h to a ledger, partitions mixed at random, and reports.
func (h *history) balance(t *testing.T, cfg Config, format codecs.Format, seed uint64) Report {
	t.Helper()
	l := New(cfg)
	queues := map[partition][]Record{}
	var order []partition
	for _, r := range h.records(t, format) {
		p := partition{r.Topic, r.Partition}
		queues[p] = append(queues[p], r)
		order = append(order, p)
	}
	rand.New(rand.NewPCG(seed, 2)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for _, p := range order {
		r := queues[p][0]
		queues[p] = queues[p][1:]
		if err := l.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	for k, row := range h.rows {
		l.AddRow(k, row.image, row.deleted)
	}
	return l.Report()
}

// find returns the index of the first output that fits.
func (h *history) find(t *testing.T, fits func(output) bool) int {
	t.Helper()
	i := slices.IndexFunc(h.outputs, fits)
	if i < 0 {
		t.Fatal("the history holds no such output: choose another seed")
	}
	return i
}

// updates returns the indexes of n updates of one entity that directly follow
// each other there.
func (h *history) updates(t *testing.T, n int) []int {
	t.Helper()
	runs := map[event.Key][]int{}
	for i, o := range h.outputs {
		switch {
		case o.change == nil:
		case o.change.Op != event.Update:
			delete(runs, o.key)
		default:
			if runs[o.key] = append(runs[o.key], i); len(runs[o.key]) == n {
				return runs[o.key]
			}
		}
	}
	t.Fatalf("the history holds no %d updates in a row: choose another seed", n)
	return nil
}

// own gives o a change of its own, which can be damaged: histories share them.
func (o *output) own() *event.Change {
	c := *o.change
	o.change = &c
	return &c
}
