package app

import (
	"context"
	"fmt"

	"trunkline/event"
	"trunkline/ledger"
	"trunkline/state"
	"trunkline/stream"
	"trunkline/topology"
)

// LedgerTopics are the topics whose join is the ledger.
func LedgerTopics() []string {
	topics := []string{
		string(topology.LateEventsTopic), string(topology.DeadLettersTopic), string(topology.FatesTopic),
	}
	topics = append(topics, topology.ChangeTopics()...)
	for _, v := range topology.Vendors {
		topics = append(topics, string(topology.RawTopic(v)))
	}
	return topics
}

// Balance reads everything that a drained deployment holds, and says whether
// each raw record has exactly one fate (I3), every before equals the previous
// after (I5) and the entity table equals the fold of the change topics.
func Balance(ctx context.Context, c Config) (ledger.Report, error) {
	c = c.withDefaults()
	kafka := streamConfig(c, Options{})
	l := ledger.New(ledger.Config{Run: c.Run, Rows: true})
	err := stream.Read(ctx, kafka, stream.Range{Topics: LedgerTopics()}, func(r stream.Record) error {
		return l.Add(ledgerRecord(r))
	})
	if err != nil {
		return ledger.Report{}, fmt.Errorf("read the ledger's topics: %w", err)
	}
	rows := map[string][]byte{}
	err = stream.Read(ctx, kafka, stream.Range{Topics: []string{string(topology.EntityTable)}}, func(r stream.Record) error {
		if rows[string(r.Key)] = r.Value; r.Value == nil {
			delete(rows, string(r.Key))
		}
		return nil
	})
	if err != nil {
		return ledger.Report{}, fmt.Errorf("read the entity table: %w", err)
	}
	for name, b := range rows {
		key, err := event.ParseKey(name)
		if err != nil {
			return ledger.Report{}, fmt.Errorf("read the entity table: %w", err)
		}
		row, err := state.DecodeEntity(b)
		if err != nil {
			return ledger.Report{}, fmt.Errorf("read row %s: %w", name, err)
		}
		if row.Known() {
			l.AddRow(key, row.Side(), !row.Live)
		}
	}
	return l.Report(), nil
}

func ledgerRecord(r stream.Record) ledger.Record {
	return ledger.Record{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
		Key: r.Key, Value: r.Value, Headers: r.Headers, AppendMs: r.Time.UnixMilli(),
	}
}
