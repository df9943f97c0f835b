package stream_test

import (
	"context"
	"fmt"
	"os"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"

	"trunkline/embedded"
	"trunkline/stream"
	"trunkline/topology"
)

// A goka graph of one's own, exactly-once: the offset of a word, its new count in
// the table and the line it emits move in one transaction. The table's store
// shows rows only once they are committed. Seen failing with a row not set.
func Example() {
	broker := must(embedded.StartBroker(embedded.BrokerConfig{Addr: "127.0.0.1:0"}))
	defer broker.Close()
	cfg := stream.Config{Brokers: []string{broker.Addr()}, Instance: "c1", DataDir: must(os.MkdirTemp("", "count-"))}
	defer os.RemoveAll(cfg.DataDir)

	graph := goka.DefineGroup("count",
		goka.Input("words", new(codec.String), func(ctx goka.Context, word any) {
			n, _ := ctx.Value().(int64)
			ctx.SetValue(n + 1)
			ctx.Emit("counts", ctx.Key(), fmt.Sprint(word, " ", n+1))
		}),
		goka.Output("counts", new(codec.String)),
		goka.Persist(new(codec.Int64)),
	)
	ctx, cancel := context.WithCancel(context.Background())
	for _, topic := range []string{"words", "counts", "count-table"} {
		check(stream.CreateTopics(ctx, cfg, []stream.TopicSpec{{Name: topic, Partitions: 2, Replication: 1}}))
	}
	words := stream.NewAppender(cfg, topology.Partition)
	for _, word := range []string{"ring", "hold", "ring"} {
		check(words.Append(ctx, []stream.Outgoing{{Topic: "words", Key: "call", Value: []byte(word)}}))
	}
	lines := 0
	go stream.Read(ctx, cfg, stream.Range{Topics: []string{"counts"}, Follow: true}, func(r stream.Record) error {
		fmt.Printf("%s: %s\n", r.Key, r.Value)
		if lines++; lines == 3 {
			cancel()
		}
		return nil
	})
	p := must(stream.NewProcessor(cfg, stream.Options{Graph: graph, Hasher: topology.Hasher, Partition: topology.Partition}))
	check(p.Run(ctx)) // until ctx ends; what was started is committed
	check(words.Close())
	// Output:
	// call: ring 1
	// call: hold 2
	// call: ring 3
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
