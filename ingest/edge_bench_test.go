package ingest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"trunkline/ingest/spool"
)

// BenchmarkEdge measures answers of the edge with its spool on this machine's disk,
// beside those of a handler that reads the body and stores nothing. Senders and
// server share the machine: compare the two, not either with another machine's.
func BenchmarkEdge(b *testing.B) {
	for _, connections := range []int{16, 64, 256} {
		b.Run(fmt.Sprintf("plain/%d", connections), func(b *testing.B) {
			benchHTTP(b, connections, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusOK)
			}))
		})
		b.Run(fmt.Sprintf("spool/%d", connections), func(b *testing.B) {
			var syncs atomic.Int64
			s, err := spool.Open(spool.Options{
				Dir: b.TempDir(), Queues: []string{"disk", "strict", "fresh"},
				Drain:  func(context.Context, string, [][]byte) error { return nil },
				Synced: func(time.Duration) { syncs.Add(1) },
			})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			drained := make(chan struct{})
			go func() { s.Run(ctx, 0); close(drained) }()
			o := spooledOptions(&memoryLog{})
			o.Spool, o.Now, o.NewID = s, nil, nil
			benchHTTP(b, connections, newEdge(b, o).Handler())
			cancel()
			<-drained
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/float64(syncs.Load()), "acks/sync")
		})
	}
}

// benchHTTP posts b.N deliveries of about 600 bytes over so many connections.
func benchHTTP(b *testing.B, connections int, h http.Handler) {
	b.Helper()
	l, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := NewHTTPServer(h)
	go func() { _ = server.Serve(l) }()
	defer func() { _ = server.Close() }() // its connections are idle
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	url := "http://" + l.Addr().String() + "/v1/ingest/genesys/disk/events"
	body := `{"id":"%d","resourceType":"user","eventType":"updated","resourceId":"u","data":{"id":"u","name":"` + strings.Repeat("n", 500) + `"}}`

	var next atomic.Int64
	took := make([]time.Duration, b.N)
	var senders sync.WaitGroup
	b.ResetTimer()
	for range connections {
		senders.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, strings.NewReader(fmt.Sprintf(body, i)))
				if err != nil {
					b.Error(err)
					return
				}
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Authorization", "Bearer disk-token")
				began := time.Now()
				response, err := client.Do(r)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if took[i] = time.Since(began); response.StatusCode != http.StatusOK {
					b.Errorf("answer %d", response.StatusCode)
					return
				}
			}
		})
	}
	senders.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
	b.ReportMetric(took[b.N/2].Seconds()*1000, "p50-ms")
	b.ReportMetric(took[b.N*99/100].Seconds()*1000, "p99-ms")
	b.ReportMetric(0, "ns/op") // says nothing beside the others
}
