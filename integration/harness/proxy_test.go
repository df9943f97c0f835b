package harness_test

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trunkline/embedded"
	"trunkline/integration/harness"
)

// proxied is a broker behind a proxy, and a client that knows of no other way.
func proxied(t *testing.T) (*harness.Proxy, *kgo.Client, *kadm.Client) {
	t.Helper()
	broker, err := embedded.StartBroker(embedded.BrokerConfig{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := broker.Close(); err != nil {
			t.Error(err)
		}
	})
	proxy, err := harness.NewProxy([]string{broker.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	through := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, proxy.Addrs()[0])
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr()), kgo.Dialer(through), kgo.ClientID("proxied-client"),
		kgo.DefaultProduceTopic("t"), kgo.RecordRetries(1000), kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	direct, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(direct.Close)
	admin := kadm.NewClient(direct)
	if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	return proxy, client, admin
}

func produce(t *testing.T, client *kgo.Client) {
	t.Helper()
	if err := client.ProduceSync(t.Context(), &kgo.Record{Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func length(t *testing.T, admin *kadm.Client) int64 {
	t.Helper()
	ends, err := admin.ListEndOffsets(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup("t", 0)
	return end.Offset
}

// once judges the first request or answer of a kind, and forwards all others.
func once(key kmsg.Key, v harness.Verdict) func(harness.Exchange) harness.Verdict {
	var first sync.Once
	return func(e harness.Exchange) harness.Verdict {
		given := harness.Forward
		if e.Key == int16(key) {
			first.Do(func() { given = v })
		}
		return given
	}
}

// What passes is seen whole, with who asked, and its body can be read.
func TestProxyShowsExchanges(t *testing.T) {
	proxy, client, admin := proxied(t)
	var mu sync.Mutex
	var asked, answered []harness.Exchange
	remove := proxy.Watch(harness.Watcher{
		OnRequest: func(e harness.Exchange) harness.Verdict {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, e)
			return harness.Forward
		},
		OnResponse: func(e harness.Exchange) harness.Verdict {
			mu.Lock()
			defer mu.Unlock()
			answered = append(answered, e)
			return harness.Forward
		},
	})
	produce(t, client)
	remove()
	produce(t, client)
	if got := length(t, admin); got != 2 {
		t.Errorf("got %d records, want 2", got)
	}
	mu.Lock()
	defer mu.Unlock()
	isProduce := func(e harness.Exchange) bool { return e.Key == int16(kmsg.Produce) }
	i, j := slices.IndexFunc(asked, isProduce), slices.IndexFunc(answered, isProduce)
	if i < 0 || j < 0 {
		t.Fatalf("got %d requests and %d answers without the produce request", len(asked), len(answered))
	}
	if asked[i].ClientID != "proxied-client" || asked[i].Response != nil {
		t.Errorf("request of %q with answer %x, want one of proxied-client with none", asked[i].ClientID, asked[i].Response)
	}
	request := kmsg.NewPtrProduceRequest()
	request.SetVersion(asked[i].Version)
	if err := request.ReadFrom(asked[i].Body); err != nil || len(request.Topics) != 1 || request.Acks != -1 {
		t.Errorf("read request: %v, %d topics, acks %d, want one with acks -1", err, len(request.Topics), request.Acks)
	}
	if e := answered[j]; e.ClientID != "proxied-client" || len(e.Response) == 0 || len(e.Body) != len(asked[i].Body) {
		t.Errorf("answer to %q of %d bytes: want the request's own", e.ClientID, len(e.Response))
	}
	for _, seen := range [][]harness.Exchange{asked, answered} {
		if n := len(slices.DeleteFunc(slices.Clone(seen), func(e harness.Exchange) bool { return !isProduce(e) })); n != 1 {
			t.Errorf("seen %d produce exchanges, want the first alone: the watcher was removed", n)
		}
	}
}

// A dropped request never reaches the broker, a dropped answer follows what the
// broker has done: the client sends both again.
func TestProxyDrops(t *testing.T) {
	proxy, client, admin := proxied(t)
	var reached int
	var mu sync.Mutex
	proxy.Watch(harness.Watcher{OnRequest: once(kmsg.Produce, harness.Drop)})
	proxy.Watch(harness.Watcher{OnRequest: func(e harness.Exchange) harness.Verdict {
		mu.Lock()
		defer mu.Unlock()
		if e.Key == int16(kmsg.Produce) {
			reached++
		}
		return harness.Forward
	}})
	produce(t, client)
	remove := proxy.Watch(harness.Watcher{OnResponse: once(kmsg.Produce, harness.Drop)})
	produce(t, client)
	remove()
	mu.Lock()
	defer mu.Unlock()
	// One of the first record, two of the second.
	if got := length(t, admin); got != 2 || reached != 3 {
		t.Errorf("got %d records from %d requests, want 2 from 3", got, reached)
	}
}

// A held request reaches the broker when it is told to, long after the client
// has given up on it (KIP-890's late EndTxn is made of this).
func TestProxyDeliversLate(t *testing.T) {
	proxy, client, admin := proxied(t)
	hold := once(kmsg.CreateTopics, harness.Hold)
	proxy.Watch(harness.Watcher{OnRequest: hold})
	request := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "late", 1, 1
	request.Topics = append(request.Topics, topic)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	asked := make(chan error, 1)
	go func() {
		_, err := client.SeedBrokers()[0].Request(ctx, request) // not tried again
		asked <- err
	}()
	if err := <-asked; err == nil {
		t.Error("the client got an answer to a request that is held")
	}
	exists := func() bool {
		configs, err := admin.DescribeTopicConfigs(t.Context(), "late") // which no client caches
		if err != nil {
			t.Fatal(err)
		}
		config, err := configs.On("late", nil)
		return err == nil && config.Err == nil
	}
	if exists() || proxy.Held() != 1 {
		t.Errorf("topic %t, held %d: want the request held", exists(), proxy.Held())
	}
	if n, err := proxy.Deliver(); n != 1 || err != nil {
		t.Errorf("delivered %d, %v, want 1", n, err)
	}
	if !exists() || proxy.Held() != 0 {
		t.Errorf("topic %t, held %d: want it delivered", exists(), proxy.Held())
	}
}

func TestProxyCutsAndDelays(t *testing.T) {
	proxy, client, admin := proxied(t)
	produce(t, client)
	proxy.Cut(0)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := client.Ping(ctx); err == nil {
		t.Error("a cut link answers")
	}
	proxy.Heal(0)
	produce(t, client)

	const slow = 200 * time.Millisecond
	proxy.Delay(0, slow)
	began := time.Now()
	produce(t, client)
	if took := time.Since(began); took < slow {
		t.Errorf("a slow link took %s, want %s at least", took, slow)
	}
	proxy.Heal(0)
	if got := length(t, admin); got != 3 {
		t.Errorf("got %d records, want 3", got)
	}
}

// Close ends what is under way, also a request that waits on a slow link and a
// client that sends no Kafka.
func TestProxyCloses(t *testing.T) {
	proxy, client, _ := proxied(t)
	produce(t, client)
	stranger, err := net.Dial("tcp", proxy.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Close() }()
	if _, err := stranger.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if n, err := stranger.Read(make([]byte, 1)); err == nil {
		t.Errorf("a stranger read %d bytes, want the connection closed", n)
	}
	idle, err := net.Dial("tcp", proxy.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = idle.Close() }()
	proxy.Delay(0, time.Hour)
	waiting := make(chan error, 1)
	go func() { waiting <- client.Ping(t.Context()) }()
	closed := make(chan error, 1)
	go func() { closed <- proxy.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Close does not return")
	}
	if err := <-waiting; err == nil {
		t.Error("a request went through a closed proxy")
	}
}
