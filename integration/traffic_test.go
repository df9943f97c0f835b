package integration

import (
	"testing"
	"time"

	"trunkline/app"
	"trunkline/embedded"
	"trunkline/integration/harness"
	"trunkline/stream"
	"trunkline/topology"
)

// simulate starts a simulator of each vendor on an edge; c says what they send.
// The returned function waits until all is sent and in the raw log.
func simulate(t *testing.T, edge *harness.Instance, c embedded.SimulatorConfig) (sent func()) {
	t.Helper()
	ended := make(chan error, len(topology.Vendors))
	for i, vendor := range topology.Vendors {
		c := c
		c.Vendor, c.Tenant, c.EdgeURL, c.Token = vendor, app.DevTenant, edge.Addrs["edge"], app.DevToken
		c.Seed += int64(i)
		s, err := embedded.NewSimulator(c)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := s.Run(t.Context())
			ended <- err
		}()
	}
	return func() {
		t.Helper()
		for range topology.Vendors {
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		}
		harness.SpoolDrained(t, edge.Addrs["metrics"])
	}
}

// pause lets traffic flow between two faults.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-t.Context().Done():
	case <-time.After(d):
	}
}

// rawRecords reads the raw topics.
func rawRecords(t *testing.T, c app.Config) []stream.Record {
	t.Helper()
	var topics []string
	for _, v := range topology.Vendors {
		topics = append(topics, string(topology.RawTopic(v)))
	}
	var records []stream.Record
	err := stream.Read(t.Context(), stream.Config{Brokers: c.Kafka.Brokers}, stream.Range{Topics: topics}, func(r stream.Record) error {
		records = append(records, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records
}
