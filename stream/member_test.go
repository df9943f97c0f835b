package stream

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// A heartbeat is answered while a fetch of the same member still waits for
// records, though one broker serves both.
//
// Seen failing with one client for both, as sarama's own NewConsumerGroup makes it.
func TestHeartbeatsDoNotWaitForFetches(t *testing.T) {
	b := startBroker(t)
	cfg := config(t, b.Addr(), "p1").withDefaults()
	createCounterTopics(t, cfg)
	client, err := newMemberClient([]string{b.Addr()}, cfg.group("p1", sarama.NewBalanceStrategyRange()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close() //nolint:errcheck // a test's own
	leader, err := client.Leader(inputTopic, 0)
	if err != nil {
		t.Fatal(err)
	}
	coordinator, err := client.Coordinator(string(counter))
	if err != nil {
		t.Fatal(err)
	}

	var answered []string
	var mu sync.Mutex
	done := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		answered = append(answered, what)
	}
	fetch := &sarama.FetchRequest{Version: 4, MinBytes: 1, MaxWaitTime: int32(2 * time.Second / time.Millisecond)}
	fetch.AddBlock(inputTopic, 0, 0, 1<<20, -1)
	var pending sync.WaitGroup
	fetching := make(chan struct{})
	pending.Go(func() {
		close(fetching)
		if _, err := leader.Fetch(fetch); err != nil {
			t.Error(err)
		}
		done("fetch")
	})
	<-fetching
	time.Sleep(200 * time.Millisecond) // until the fetch is on its way
	if _, err := coordinator.Heartbeat(&sarama.HeartbeatRequest{GroupId: string(counter), MemberId: "p1"}); err != nil {
		t.Error(err)
	}
	done("heartbeat")
	pending.Wait()
	if want := []string{"heartbeat", "fetch"}; !slices.Equal(answered, want) {
		t.Errorf("answers came as %v, want %v", answered, want)
	}
}
