package geosched

import (
	"math/rand/v2"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Two readings of the clock and three observations take longer than the decision
// that they are about, so only some decisions are measured, drawn by lot. What a
// histogram says of shares and quantiles is true all the same; how many there
// were is for the counters to say.

// sampleEvery is how many decisions there are for one that is measured.
const sampleEvery = 16

var (
	decisionDuration = promauto.NewHistogram(prometheus.HistogramOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: "decision_duration_seconds",
		Help:                        "How long it takes to locate a client and choose its nodes, of one decision in 16.",
		Buckets:                     prometheus.ExponentialBuckets(100e-9, 2, 14), // 100 ns to 0.8 ms
		NativeHistogramBucketFactor: plugin.NativeHistogramBucketFactor,
	})

	ecsScope = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: "ecs_scope_prefix_length",
		Help:    "Scope prefix lengths of decisions by client subnet, of one in 16.",
		Buckets: []float64{0, 8, 12, 16, 18, 20, 22, 24, 28, 32, 40, 48, 56, 64},
	}, []string{"family"})

	scopeIPv4, scopeIPv6 = ecsScope.WithLabelValues("ipv4"), ecsScope.WithLabelValues("ipv6")

	ttlSeconds = promauto.NewHistogram(prometheus.HistogramOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: "ttl_seconds",
		Help:    "TTLs of steered answers, of one in 16.",
		Buckets: []float64{1, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600},
	})
)

// sample measures one decision, or none if it is zero.
type sample struct{ begun time.Time }

// draw begins a sample for one decision in sampleEvery.
func draw() (s sample) {
	if rand.Uint32()%sampleEvery == 0 {
		s.begun = time.Now()
	}
	return s
}

// decided ends the sample.
func (s sample) decided(d *decision, ttl uint32) {
	if s.begun.IsZero() {
		return
	}
	decisionDuration.Observe(time.Since(s.begun).Seconds())
	ttlSeconds.Observe(float64(ttl))
	if d.by != byECS {
		return
	}
	scope := scopeIPv6
	if d.client.Addr().Is4() {
		scope = scopeIPv4
	}
	scope.Observe(float64(d.scope))
}
