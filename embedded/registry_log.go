package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"trunkline/codecs/avro"
)

// schemaTopic is the compacted topic in which Confluent's registry keeps its
// schemas; ours writes the same records.
const schemaTopic = "_schemas"

// schemaKey is the key of a record: keytype SCHEMA (subject and version) or
// CONFIG (subject, or null for the global level). Others are skipped.
type schemaKey struct {
	Type    string  `json:"keytype"`
	Subject *string `json:"subject"`
	Version int     `json:"version,omitempty"`
	Magic   int     `json:"magic"`
}

const (
	schemaKeyType = "SCHEMA"
	configKeyType = "CONFIG"
)

// schemaValue is the value of a SCHEMA record.
type schemaValue struct {
	Subject string `json:"subject"`
	Version int    `json:"version"`
	ID      int    `json:"id"`
	Schema  string `json:"schema"`
	Deleted bool   `json:"deleted"`
}

// configValue is the value of a CONFIG record; null takes the level back.
type configValue struct {
	Level avro.Level `json:"compatibilityLevel"`
}

// schemaLog reads and writes the topic.
type schemaLog struct{ client *kgo.Client }

func openSchemaLog(ctx context.Context, brokers []string) (*schemaLog, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...),
		kgo.ClientID("trunkline-registry"),
		kgo.DefaultProduceTopic(schemaTopic),
		kgo.ProducerLinger(0),
		kgo.RecordDeliveryTimeout(5*time.Second),
		kgo.FetchMaxWait(100*time.Millisecond),
	)
	if err != nil {
		return nil, fmt.Errorf("connect to broker: %w", err)
	}
	policy := "compact"
	_, err = kadm.NewClient(client).CreateTopic(ctx, 1, -1, map[string]*string{"cleanup.policy": &policy}, schemaTopic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		client.Close()
		return nil, fmt.Errorf("create topic %s: %w", schemaTopic, err)
	}
	return &schemaLog{client: client}, nil
}

// load hands every record that the topic holds now to apply.
func (l *schemaLog) load(ctx context.Context, apply func(key, value []byte) error) error {
	last, err := l.end(ctx)
	if err != nil {
		return fmt.Errorf("find end of %s: %w", schemaTopic, err)
	}
	l.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{schemaTopic: {0: kgo.NewOffset().AtStart()}})
	defer l.client.RemoveConsumePartitions(map[string][]int32{schemaTopic: {0}})
	for next := int64(0); next < last; {
		fetches := l.client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read %s: %w", schemaTopic, err)
		}
		for _, r := range fetches.Records() {
			if err := apply(r.Key, r.Value); err != nil {
				return fmt.Errorf("read %s at %d: %w", schemaTopic, r.Offset, err)
			}
			next = r.Offset + 1
		}
	}
	return nil
}

// end is the offset after the last record. Of a topic just made, the brokers hear
// one by one.
func (l *schemaLog) end(ctx context.Context) (int64, error) {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		ends, err := kadm.NewClient(l.client).ListEndOffsets(ctx, schemaTopic)
		if err != nil {
			return 0, err
		}
		err = ends.Error()
		if err == nil {
			last, _ := ends.Lookup(schemaTopic, 0)
			return last.Offset, nil
		}
		if !kerr.IsRetriable(err) {
			return 0, err
		}
		select {
		case <-ctx.Done():
			return 0, errors.Join(err, ctx.Err())
		case <-again.C:
		}
	}
}

// append writes a record; a nil value is a tombstone.
func (l *schemaLog) append(ctx context.Context, key schemaKey, value any) error {
	var r kgo.Record
	var err error
	if r.Key, err = json.Marshal(key); err != nil {
		return fmt.Errorf("encode schema key: %w", err)
	}
	if value != nil {
		if r.Value, err = json.Marshal(value); err != nil {
			return fmt.Errorf("encode schema: %w", err)
		}
	}
	if err := l.client.ProduceSync(ctx, &r).FirstErr(); err != nil {
		return fmt.Errorf("write to %s: %w", schemaTopic, err)
	}
	return nil
}

func (l *schemaLog) close() { l.client.Close() }
