package app

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"trunkline/ingest"
)

// metrics are the process's own figures. Labels are bounded (I10: no payload,
// no ids).
type metrics struct {
	registry *prometheus.Registry
	answers  *prometheus.CounterVec
	events   *prometheus.CounterVec
	accepted *prometheus.HistogramVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_edge_answers_total",
			Help: "Answers of the edge by vendor and outcome.",
		}, []string{"vendor", "outcome"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_edge_events_total",
			Help: "Events that the edge answered 200 for.",
		}, []string{"vendor"}),
		accepted: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "trunkline_accept_to_durable_seconds",
			Help:    "Time from the arrival of a delivery to its acknowledgement by Kafka.",
			Buckets: []float64{.001, .0025, .005, .01, .02, .05, .1, .2, .4, .8},
		}, []string{"vendor"}),
	}
	m.registry.MustRegister(m.answers, m.events, m.accepted, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) answered(vendor string, o ingest.Outcome) {
	m.answers.WithLabelValues(vendor, string(o)).Inc()
}

func (m *metrics) durable(vendor string, events int, took time.Duration) {
	m.events.WithLabelValues(vendor).Add(float64(events))
	m.accepted.WithLabelValues(vendor).Observe(took.Seconds())
}

// observe serves metrics and health of the process.
var observe = component{"metrics", func(a *App) (func(context.Context) error, error) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := a.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	return func(ctx context.Context) error { return serve(ctx, server, a.listeners["metrics"]) }, nil
}}
