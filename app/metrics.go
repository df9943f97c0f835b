package app

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"trunkline/drift"
	"trunkline/ingest"
	"trunkline/ingest/spool"
)

// metrics are the process's own figures. Labels are bounded (I10: no payload,
// no ids).
type metrics struct {
	registry *prometheus.Registry
	answers  *prometheus.CounterVec
	events   *prometheus.CounterVec
	accepted *prometheus.HistogramVec
	fsyncs   prometheus.Histogram
	lost     *prometheus.CounterVec

	keyFetches  *prometheus.CounterVec
	quarantined prometheus.Gauge
	sources     *sourceMetrics
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
			Help:    "Time from the arrival of a delivery to its being durable: on the spool's disk, or acknowledged by Kafka.",
			Buckets: []float64{.001, .0025, .005, .01, .02, .05, .1, .2, .4, .8},
		}, []string{"vendor"}),
		fsyncs: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "trunkline_fsync_seconds",
			Help:    "Time that the spool's disk took to sync.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .02, .05, .1, .2, .4, .8},
		}),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_spool_lost_total",
			Help: "Accepted deliveries that the spool's disk lost.",
		}, []string{"tenant"}),
		keyFetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_key_fetches_total",
			Help: "Fetches of the keys that vendors publish, by result: ok or failed.",
		}, []string{"vendor", "tenant", "result"}),
		quarantined: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "trunkline_quarantine_deliveries",
			Help: "Deliveries that wait to be verified, as this edge saw them last.",
		}),
	}
	m.sources = newSourceMetrics(m.registry)
	m.registry.MustRegister(m.answers, m.events, m.accepted, m.fsyncs, m.lost, m.keyFetches, m.quarantined,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) answered(vendor string, o ingest.Outcome) {
	m.answers.WithLabelValues(vendor, string(o)).Inc()
}

func (m *metrics) durable(vendor string, events int, took time.Duration) {
	m.events.WithLabelValues(vendor).Add(float64(events))
	m.accepted.WithLabelValues(vendor).Observe(took.Seconds())
}

func (m *metrics) synced(took time.Duration) { m.fsyncs.Observe(took.Seconds()) }

func (m *metrics) spoolLost(tenant string, deliveries uint64) {
	m.lost.WithLabelValues(tenant).Add(float64(deliveries))
}

func (m *metrics) keysFetched(vendor, tenant string, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.keyFetches.WithLabelValues(vendor, tenant, result).Inc()
}

// watchDrift adds what the table of unknown fields had no room for.
func (m *metrics) watchDrift(t *drift.Table) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "trunkline_drift_uncounted_total",
		Help: "Sights of unknown fields that the table had no room for.",
	}, func() float64 { return float64(t.Uncounted()) }))
}

// watch adds what waits in a spool to the figures.
func (m *metrics) watch(s *spool.Spool) { m.registry.MustRegister(spoolCollector{s}) }

// spoolCollector tells of the tenants' queues of a spool.
type spoolCollector struct{ spool *spool.Spool }

var (
	spoolBytes   = prometheus.NewDesc("trunkline_spool_bytes", "Bytes that wait on the edge's disk for Kafka.", []string{"tenant"}, nil)
	spoolEntries = prometheus.NewDesc("trunkline_spool_deliveries", "Deliveries that wait on the edge's disk for Kafka.", []string{"tenant"}, nil)
	spoolOldest  = prometheus.NewDesc("trunkline_spool_oldest_seconds", "Age of the oldest of them.", []string{"tenant"}, nil)
	spoolFill    = prometheus.NewDesc("trunkline_spool_fill_ratio", "Used part of what a tenant's queue may hold, by bytes or by age.", []string{"tenant"}, nil)
)

// Describe implements [prometheus.Collector].
func (spoolCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{spoolBytes, spoolEntries, spoolOldest, spoolFill} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c spoolCollector) Collect(ch chan<- prometheus.Metric) {
	for tenant, s := range c.spool.Stats() {
		for d, v := range map[*prometheus.Desc]float64{
			spoolBytes: float64(s.Bytes), spoolEntries: float64(s.Entries),
			spoolOldest: s.Age.Seconds(), spoolFill: c.spool.Fill(tenant),
		} {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, tenant)
		}
	}
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
