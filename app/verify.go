package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"trunkline/event"
	"trunkline/ledger"
	"trunkline/state"
	"trunkline/stream"
	"trunkline/topology"
)

// LedgerTopics are the topics whose join is the ledger.
func LedgerTopics() []string { return append(outputTopics(), rawTopics()...) }

func rawTopics() []string {
	var topics []string
	for _, v := range topology.Vendors {
		topics = append(topics, string(topology.RawTopic(v)))
	}
	return topics
}

func outputTopics() []string {
	return append(topology.ChangeTopics(),
		string(topology.LateEventsTopic), string(topology.DeadLettersTopic), string(topology.FatesTopic))
}

// VerifyOptions say what to verify.
type VerifyOptions struct {
	// From and To bound the append time of the raw records that are balanced; zero
	// is the start of the log, and now.
	From, To time.Time
	// Wait is how long fates may take that are still missing.
	Wait time.Duration
	// Rows compares the entity table with the fold of the change topics, too. No
	// event may be under way, and the range must begin with the log.
	Rows bool
}

// Validate names the option that is wrong.
func (o VerifyOptions) Validate() error {
	switch {
	case !o.From.IsZero() && !o.To.IsZero() && !o.From.Before(o.To):
		return fmt.Errorf("from: %s is not before to, %s", o.From.Format(time.RFC3339), o.To.Format(time.RFC3339))
	case o.Rows && !o.From.IsZero():
		return errors.New("rows: the table holds what came before from, too; leave one of them out")
	case o.Wait < 0:
		return fmt.Errorf("wait: %s is negative", o.Wait)
	}
	return nil
}

// clockSlack is how far the clocks of brokers may be apart: outputs are read from
// that long before their raw records.
const clockSlack = time.Minute

// Verify reads what a deployment holds, which may be at work, and says whether
// each raw record of the range has exactly one fate (I3), the changes of every
// entity stand in order (I4) and every before equals the previous after (I5).
func Verify(ctx context.Context, c Config, o VerifyOptions) (ledger.Report, error) {
	c = c.withDefaults()
	kafka := streamConfig(c, Options{})
	config := ledger.Config{Run: c.Run, Rows: o.Rows}
	var outputsFrom map[string]map[int32]int64
	var err error
	if config.To, err = stream.Offsets(ctx, kafka, rawTopics(), o.To); err != nil {
		return ledger.Report{}, err
	}
	if !o.From.IsZero() {
		if config.From, err = stream.Offsets(ctx, kafka, rawTopics(), o.From); err != nil {
			return ledger.Report{}, err
		}
		if outputsFrom, err = stream.Offsets(ctx, kafka, outputTopics(), o.From.Add(-clockSlack)); err != nil {
			return ledger.Report{}, err
		}
	}
	l := ledger.New(config)
	if err := feed(ctx, kafka, stream.Range{Topics: rawTopics(), From: config.From}, l); err != nil {
		return ledger.Report{}, err
	}
	for began := time.Now(); ; {
		if err := feed(ctx, kafka, stream.Range{Topics: outputTopics(), From: outputsFrom}, l); err != nil {
			return ledger.Report{}, err
		}
		r := l.Report()
		// A tombstone follows its delete in the same transaction.
		if r.NoFate.Count+r.MissingTombstones.Count == 0 || time.Since(began) >= o.Wait {
			break
		}
		outputsFrom = l.Next()
		select {
		case <-ctx.Done():
			return ledger.Report{}, ctx.Err()
		case <-time.After(time.Second):
		}
	}
	if o.Rows {
		if err := addRows(ctx, kafka, l); err != nil {
			return ledger.Report{}, err
		}
	}
	return l.Report(), nil
}

func feed(ctx context.Context, kafka stream.Config, r stream.Range, l *ledger.Ledger) error {
	err := stream.Read(ctx, kafka, r, func(r stream.Record) error { return l.Add(ledgerRecord(r)) })
	if err != nil {
		return fmt.Errorf("read the ledger's topics: %w", err)
	}
	return nil
}

func addRows(ctx context.Context, kafka stream.Config, l *ledger.Ledger) error {
	rows := map[string][]byte{}
	err := stream.Read(ctx, kafka, stream.Range{Topics: []string{string(topology.EntityTable)}}, func(r stream.Record) error {
		if rows[string(r.Key)] = r.Value; r.Value == nil {
			delete(rows, string(r.Key))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the entity table: %w", err)
	}
	for name, b := range rows {
		key, err := event.ParseKey(name)
		if err != nil {
			return fmt.Errorf("read the entity table: %w", err)
		}
		row, err := state.DecodeEntity(b)
		if err != nil {
			return fmt.Errorf("read row %s: %w", name, err)
		}
		if row.Known() {
			l.AddRow(key, row.Side(), !row.Live)
		}
	}
	return nil
}

func ledgerRecord(r stream.Record) ledger.Record {
	return ledger.Record{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
		Key: r.Key, Value: r.Value, Headers: r.Headers, AppendMs: r.Time.UnixMilli(),
	}
}
