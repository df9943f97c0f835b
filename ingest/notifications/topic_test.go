package notifications

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// TestAddress shows which addresses a channel of an API may have.
func TestAddress(t *testing.T) {
	const plain, german, newer = "http://127.0.0.1:8080", "https://api.mypurecloud.de", "https://api.usw2.pure.cloud"
	tests := []struct {
		api, address string
		want         string // part of the error; empty: it may
	}{
		{german, "wss://streaming.mypurecloud.de/channels/x", ""},
		{german, "wss://Streaming.MyPurecloud.DE/channels/x", ""},
		{german, "wss://a.b.mypurecloud.de/x", ""},
		{newer, "wss://streaming.usw2.pure.cloud/x", ""},
		{"https://api.mypurecloud.com.au", "wss://streaming.mypurecloud.com.au/x", ""},
		{"https://genesys.example/prefix", "wss://streaming.genesys.example/x", ""},
		{plain, "ws://127.0.0.1:8080/x", ""},
		{plain, "wss://127.0.0.1:8080/x", ""},
		{"http://localhost:1", "ws://localhost:1/x", ""},

		{german, "ws://streaming.mypurecloud.de/x", "is not wss"},
		{german, "https://streaming.mypurecloud.de/x", "is not wss"},
		{german, "wss://streaming.mypurecloud.com/x", "not of the domain"},
		{german, "wss://mypurecloud.de.example/x", "not of the domain"},
		{german, "wss://evilmypurecloud.de/x", "not of the domain"},
		{german, "wss://169.254.169.254/x", "not of the domain"},
		{german, "wss://streaming.mypurecloud.de:8443/x", "not of the domain"},
		{german, "wss://user@streaming.mypurecloud.de/x", "holds a user"},
		{german, "wss://api.mypurecloud.de@evil.example/x", "holds a user"},
		{newer, "wss://streaming.pure.cloud/x", "not of the domain"},
		{"https://api.com", "wss://evil.com/x", "not of the domain"},
		{"https://10.0.0.1", "wss://1.10.0.0.1/x", "not of the domain"},
		{plain, "ws://127.0.0.1:9090/x", "not of the domain"},
		{plain, "ws://169.254.169.254:8080/x", "not of the domain"},
		{"http://localhost:1", "ws://a.localhost:1/x", "not of the domain"},
		{german, "", "is not wss"},
		{german, "wss://%zz", "no URL"},
	}
	for _, tt := range tests {
		api, err := url.Parse(tt.api)
		if err != nil {
			t.Fatal(err)
		}
		err = checkAddress(api, tt.address)
		if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s at %s: got error %v, want part %q", tt.address, tt.api, err, tt.want)
		}
	}
}

// TestOptions shows that each fault names its field and the cure.
func TestOptions(t *testing.T) {
	for topic, want := range map[string]string{
		"v2.users.{id}.presence":                  "",
		"v2.users.{id}.conversations.calls":       "",
		"v2.routing.queues.{id}.users":            "",
		"v2.analytics.queues.{id}.observations":   "",
		"v2.detail.events.agent.{id}.state":       "",
		"v2.flows.{id}":                           "",
		"v2.flows.6f0c":                           "",
		"v2.detail.events.conversation.{id}.acw":  "is no template whose ids can be listed; it may begin with one of",
		"v2.users.{id}.x.{id}":                    "is no template",
		"v2.users.*.presence":                     "is no template",
		"v2.users.{userId}.presence":              "is no template",
		"v2.audits.entitytype.{id}.entityid.{id}": `"v2.users.{id}." "v2.detail.events.agent.{id}." "v2.routing.queues.{id}." "v2.analytics.queues.{id}." "v2.flows.{id}"`,
		"users": "is no topic; it must begin with v2. and name one",
	} {
		err := CheckTopic(topic)
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want part %q", topic, err, want)
		}
	}
	_, err := NewClient(Options{URL: "ftp://x", Buffer: 5})
	for _, part := range []string{`url: is "ftp://x", want http or https and a host`, "handle: is missing", "topics: there are none; name one at least", "buffer: 5 bytes hold no frame"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got error %v, want part %q", err, part)
		}
	}
}

// TestShare checks by seed that topics keep their channel while they exist, that
// no channel has more than it may, that nothing has two or none while there is
// room, and that what is left out is the end of the list.
func TestShare(t *testing.T) {
	for seed := range uint64(4) {
		random := rand.New(rand.NewPCG(seed, 0))
		var shared [][]topic
		next := 0
		var topics []topic
		for range 8 {
			topics = slices.DeleteFunc(topics, func(topic) bool { return random.IntN(5) == 0 })
			for range random.IntN(6000) {
				topics = append(topics, topic{fmt.Sprint(next), "x"})
				next++
			}
			before := map[topic]int{}
			for i, of := range shared {
				for _, t := range of {
					before[t] = i
				}
			}
			var left []topic
			shared, left = share(shared, topics)
			after, have := map[topic]int{}, 0
			for i, of := range shared {
				if len(of) > 1000 || i > 18 {
					t.Fatalf("seed %d: channel %d has %d topics", seed, i, len(of))
				}
				for _, t := range of {
					after[t] = i
				}
				have += len(of)
			}
			if len(after) != have || have != min(len(topics), 19_000) || have+len(left) != len(topics) {
				t.Fatalf("seed %d: of %d topics %d have a channel, %d of them one, %d are left", seed, len(topics), have, len(after), len(left))
			}
			for _, of := range topics {
				now, has := after[of]
				if was, had := before[of]; had && (!has || was != now) {
					t.Fatalf("seed %d: a topic moved from channel %d to %d, %v", seed, was, now, has)
				}
			}
		}
	}
}
