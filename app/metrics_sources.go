package app

import (
	"github.com/prometheus/client_golang/prometheus"

	"trunkline/ingest/notifications"
	"trunkline/ingest/oauth"
	"trunkline/ingest/reconcile"
)

// sourceMetrics tell of what is asked of the vendors. Lists are those of the
// configuration.
type sourceMetrics struct {
	registry     prometheus.Registerer
	reconciled   *prometheus.GaugeVec
	found        *prometheus.CounterVec
	unreconciled *prometheus.CounterVec
	uncovered    *prometheus.CounterVec
	gaps         *prometheus.CounterVec
}

func newSourceMetrics(registry prometheus.Registerer) *sourceMetrics {
	list := []string{"vendor", "tenant", "list"}
	m := &sourceMetrics{
		registry: registry,
		reconciled: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "trunkline_reconcile_last_success_timestamp_seconds",
			Help: "When a list of a vendor was last read to its end, by this process.",
		}, list),
		found: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_reconcile_records_total",
			Help: "Records that reconciliation put into the raw log, most of which are duplicates.",
		}, list),
		unreconciled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_reconcile_failures_total",
			Help: "Runs over a list that did not reach its end.",
		}, list),
		uncovered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_reconcile_uncovered_seconds_total",
			Help: "Time that no run covers, for it lies before the dedup window.",
		}, list),
		gaps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_notification_gaps_total",
			Help: "Stretches of time of which notifications may be missing, by reason.",
		}, []string{"vendor", "tenant", "reason"}),
	}
	registry.MustRegister(m.reconciled, m.found, m.unreconciled, m.uncovered, m.gaps)
	return m
}

// read tells of one run over a list.
func (m *sourceMetrics) read(vendor, tenant, list string, r reconcile.Result) {
	m.found.WithLabelValues(vendor, tenant, list).Add(float64(r.Records))
	m.uncovered.WithLabelValues(vendor, tenant, list).Add(r.Uncovered.Seconds())
	failures := m.unreconciled.WithLabelValues(vendor, tenant, list)
	if r.Err != nil {
		failures.Inc()
		return
	}
	m.reconciled.WithLabelValues(vendor, tenant, list).SetToCurrentTime()
}

func (m *sourceMetrics) missed(vendor, tenant string, why notifications.Reason) {
	m.gaps.WithLabelValues(vendor, tenant, string(why)).Inc()
}

// watchTokens adds how long the token of a credential is good to the figures.
func (m *sourceMetrics) watchTokens(vendor, tenant string, tokens *oauth.Source) {
	if tokens == nil {
		return
	}
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "trunkline_token_left_seconds",
		Help:        "How long the token for a vendor's API is good; 0 when there is none.",
		ConstLabels: prometheus.Labels{"vendor": vendor, "tenant": tenant},
	}, func() float64 { return tokens.Left().Seconds() }))
}
