package integration

import (
	"net"
	"testing"

	"trunkline/app"
	"trunkline/codecs"
	"trunkline/embedded"
	"trunkline/event"
	"trunkline/stream"
	"trunkline/topology"
)

// startCloud serves a vendor's cloud, in which nothing has happened yet.
func startCloud(t *testing.T, cfg embedded.CloudConfig) (c *embedded.Cloud, url string) {
	t.Helper()
	c, err := embedded.NewCloud(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Serve(l)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, "http://" + l.Addr().String()
}

// streamOf is what a tenant of the cloud at url is configured with.
func streamOf(url string, tokens ...string) app.Credentials {
	return app.Credentials{
		Tokens: tokens,
		Stream: &app.Stream{URL: url + "/stream?topics=conversation,routing,interaction", PollURL: url + "/events"},
		API:    app.API{URL: url, OAuth: &app.OAuth{URL: url, ClientID: "trunkline", ClientSecret: "secret"}},
	}
}

// matches demands of the change stream what the models say: each event is one
// change, nothing else is one, and the newest of an entity is its last.
func matches(t *testing.T, c app.Config, models ...embedded.Model) {
	t.Helper()
	changes, last := map[string]int{}, map[event.Key]event.Change{}
	err := stream.Read(t.Context(), stream.Config{Brokers: c.Kafka.Brokers}, stream.Range{Topics: topology.ChangeTopics()}, func(r stream.Record) error {
		if r.Value == nil {
			return nil
		}
		change, err := codecs.DecodeChange(codecs.FormatAvro, r.Key, r.Value)
		if err != nil {
			return err
		}
		changes[change.EventID]++
		last[change.Key] = change
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	missing, double, events := 0, 0, 0
	for _, m := range models {
		events += len(m.Events)
		for id := range m.Events {
			switch n := changes[id]; {
			case n == 0:
				missing++
			case n > 1:
				double++
			}
		}
		for key, want := range m.Last {
			if got := last[key]; got.EventID != want.ID || got.TsMs != want.TsMs || (got.Op == event.Delete) != want.Deleted {
				t.Errorf("%s ends with event %s of %d, op %s; want %+v", key, got.EventID, got.TsMs, got.Op, want)
			}
		}
	}
	if missing+double > 0 || len(changes) != events || events == 0 {
		t.Errorf("%d events: %d are missing in the change stream, %d are there twice, and it has %d in all", events, missing, double, len(changes))
	}
}
