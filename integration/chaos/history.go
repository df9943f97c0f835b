package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"trunkline/app"
	"trunkline/codecs"
	"trunkline/event"
	"trunkline/topology"
)

// place is where a record stands.
type place struct {
	topic     string
	partition int32
	offset    int64
}

func (p place) String() string { return fmt.Sprintf("%s/%d/%d", p.topic, p.partition, p.offset) }

// rawRecord is what the edge wrote.
type rawRecord struct {
	at       place
	ingestID string
	eventID  string // as the body tells it, also of poison
	appendMs int64
}

// outcome is what became of a raw record.
type outcome struct {
	kind     event.FateKind
	at       place
	appendMs int64
}

// step is one record of a change topic.
type step struct {
	at        place
	raw       place
	key       event.Key
	eventID   string
	op        event.Op
	tsMs      int64
	before    *event.Image
	after     *event.Image
	tombstone bool
}

// history is what a read_committed reader saw, in the order in which it saw it.
// It is safe for concurrent use.
type history struct {
	mu       sync.Mutex
	raws     map[place]rawRecord
	outcomes map[place][]outcome  // by raw record
	steps    map[event.Key][]step // by entity
	seen     map[place]int64      // records by topic and partition (offset 0)
	digest   map[place]uint64     // over all of them, in order
	next     map[place]int64      // the offset after the last
	faults   []string             // records that cannot be read
}

func newHistory() *history {
	return &history{
		raws: map[place]rawRecord{}, outcomes: map[place][]outcome{}, steps: map[event.Key][]step{},
		seen: map[place]int64{}, digest: map[place]uint64{}, next: map[place]int64{},
	}
}

// follow reads on until ctx ends.
func (h *history) follow(ctx context.Context, brokers []string) error {
	client, err := reader(brokers)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		fetches.EachRecord(h.add) // errors of partitions are retried by the client
	}
}

// readAll reads what stands in the topics now.
func (h *history) readAll(ctx context.Context, brokers []string) error {
	client, err := reader(brokers)
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListCommittedOffsets(ctx, app.LedgerTopics()...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("ask for the ends of the topics: %w", err)
	}
	for !h.reached(ends) {
		fetches := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		fetches.EachRecord(h.add)
	}
	return nil
}

func (h *history) reached(ends kadm.ListedOffsets) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	reached := true
	ends.Each(func(o kadm.ListedOffset) {
		if h.next[place{topic: o.Topic, partition: o.Partition}] < o.Offset {
			reached = false
		}
	})
	return reached
}

func reader(brokers []string) (*kgo.Client, error) {
	return kgo.NewClient(
		kgo.SeedBrokers(brokers...), kgo.ClientID("trunkline-chaos"), kgo.ConsumeTopics(app.LedgerTopics()...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // else the last offset, a marker, is never reached
	)
}

func (h *history) add(r *kgo.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	partition, at := place{topic: r.Topic, partition: r.Partition}, place{r.Topic, r.Partition, r.Offset}
	h.next[partition] = r.Offset + 1
	if r.Attrs.IsControl() {
		return
	}
	h.seen[partition]++
	sum := fnv.New64a()
	fmt.Fprintf(sum, "%x %s %q %q", h.digest[partition], at, r.Key, r.Value)
	h.digest[partition] = sum.Sum64()
	if err := h.read(r, at); err != nil {
		h.faults = append(h.faults, fmt.Sprintf("%s: %v", at, err))
	}
}

func (h *history) read(r *kgo.Record, at place) error {
	headers := map[string][]byte{}
	for _, header := range r.Headers {
		headers[header.Key] = header.Value
	}
	raw, known := event.PositionOf(headers)
	from := place{raw.Topic, raw.Partition, raw.Offset}
	fate := func(kind event.FateKind) error {
		if !known {
			return fmt.Errorf("%s without a raw position", kind)
		}
		h.outcomes[from] = append(h.outcomes[from], outcome{kind, at, r.Timestamp.UnixMilli()})
		return nil
	}
	switch {
	case strings.HasPrefix(r.Topic, "raw."):
		h.raws[at] = rawOf(r, at, headers)
		return nil
	case r.Topic == string(topology.LateEventsTopic):
		return fate(event.FateLate)
	case r.Topic == string(topology.DeadLettersTopic):
		return fate(event.FateDeadLetter)
	case r.Topic == string(topology.FatesTopic):
		f, err := codecs.DecodeFate(r.Value)
		if err != nil {
			return err
		}
		from, known = place{f.Raw.Topic, f.Raw.Partition, f.Raw.Offset}, true
		return fate(f.Kind)
	}
	s, err := stepOf(r, at, from)
	if err != nil {
		return err
	}
	h.steps[s.key] = append(h.steps[s.key], s)
	if s.tombstone {
		return nil
	}
	return fate(event.FateChange)
}

// rawOf reads of a body only what tells events apart.
func rawOf(r *kgo.Record, at place, headers map[string][]byte) rawRecord {
	var body struct {
		ID      string `json:"id"`
		EventID string `json:"eventId"`
	}
	raw := rawRecord{at: at, ingestID: string(headers[event.HeaderIngestID]), appendMs: r.Timestamp.UnixMilli()}
	if json.Unmarshal(r.Value, &body) == nil {
		raw.eventID = body.ID + body.EventID
	} else {
		raw.eventID = poisonOf(r.Value)
	}
	return raw
}

func stepOf(r *kgo.Record, at, raw place) (step, error) {
	format := codecs.FormatJSON
	if len(r.Key) > 0 && r.Key[0] == 0 {
		format = codecs.FormatAvro
	}
	if r.Value == nil {
		vendor, _, _ := strings.Cut(r.Topic, ".")
		key, err := codecs.DecodeKey(format, vendor, r.Key)
		return step{at: at, raw: raw, key: key, tombstone: true}, err
	}
	c, err := codecs.DecodeChange(format, r.Key, r.Value)
	return step{
		at: at, raw: raw, key: c.Key, eventID: c.EventID, op: c.Op, tsMs: c.TsMs, before: c.Before, after: c.After,
	}, err
}

// settled reports whether n raw records were seen and each has its fate.
func (h *history) settled(n int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.raws) < n {
		return false
	}
	for at := range h.raws {
		if len(h.outcomes[at]) == 0 {
			return false
		}
	}
	return true
}

// records is the number of records that were seen.
func (h *history) records() (n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, seen := range h.seen {
		n += seen
	}
	return n
}
