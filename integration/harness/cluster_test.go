package harness_test

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"trunkline/integration/harness"
)

// A cluster of three serves through its proxies, and goes on serving with a
// broker that is killed, paused or cut off, which comes back into every partition.
func TestClusterOutlivesItsBrokers(t *testing.T) {
	if !harness.Real() {
		t.Skip("real Kafka brokers: make test-real")
	}
	began := time.Now()
	c := harness.StartCluster(t, 3)
	t.Logf("three brokers are ready after %s", time.Since(began).Round(100*time.Millisecond))

	client, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...), kgo.DefaultProduceTopic("numbers"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequestTimeoutOverhead(2*time.Second), kgo.RecordDeliveryTimeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 3, -1, nil, "numbers"); err != nil {
		t.Fatal(err)
	}
	c.UntilHealthy(t)
	written := 0
	write := func() {
		t.Helper()
		for p := range int32(3) {
			if err := client.ProduceSync(t.Context(), &kgo.Record{Partition: p, Value: []byte("n")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			written++
		}
	}
	write()

	victim := c.Leader("numbers", 0)
	if victim < 0 {
		t.Fatal("partition 0 has no leader")
	}
	faults := []struct {
		name       string
		begin, end func(int)
	}{
		{"killed", c.Kill, c.Restart},
		{"paused", c.Pause, c.Resume},
		{"cut off", c.Proxies().Cut, c.Proxies().Heal},
	}
	for _, f := range faults {
		f.begin(victim)
		if f.name != "cut off" { // a client's way, no matter of the cluster
			harness.Until(t, "another broker leads", func() bool {
				l := c.Leader("numbers", 0)
				return l >= 0 && l != victim
			})
			write()
		}
		f.end(victim)
		c.UntilHealthy(t)
		write()
		victim = c.Leader("numbers", 0)
	}
	for _, at := range []int{c.GroupCoordinator("some-group"), c.TransactionCoordinator("some-id")} {
		if at < 0 || at >= c.Size() {
			t.Errorf("got coordinator %d, want one of %d brokers", at, c.Size())
		}
	}

	direct, err := kgo.NewClient(kgo.SeedBrokers(c.DirectAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	harness.Until(t, "everything that was written is there", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		ends, err := kadm.NewClient(direct).ListEndOffsets(ctx, "numbers")
		n := 0
		ends.Each(func(o kadm.ListedOffset) { n += int(o.Offset) })
		return err == nil && n == written
	})
}
