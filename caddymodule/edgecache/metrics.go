package edgecache

import (
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// result is what the cache did with a request, one word for the metric, the
// placeholder and, as far as RFC 9211 has it, for Cache-Status.
type result string

// The results that are not a reason to forward.
const (
	resultHit       result = "hit"
	resultHitStale  result = "hit-stale"
	resultCollapsed result = "collapsed"
)

var allResults = []result{
	resultHit, resultHitStale, resultCollapsed,
	result(httpcache.ForwardBypass), result(httpcache.ForwardMethod),
	result(httpcache.ForwardURIMiss), result(httpcache.ForwardVaryMiss),
	result(httpcache.ForwardRequest), result(httpcache.ForwardStale),
}

// metrics are the process's collectors. They are created once and registered
// with the registry of every configuration, so that counters go on counting
// across reloads.
type metrics struct {
	hits     prometheus.Counter
	requests *prometheus.CounterVec
	upstream prometheus.Histogram
	sizes    storeCollector

	byResult map[result]counted
}

// counted is a result with all that counting it needs, ready.
type counted struct {
	counter prometheus.Counter
	boxed   any // the word, for the placeholder
}

var processMetrics = sync.OnceValue(func() *metrics {
	m := &metrics{
		hits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cdn_cache_hits_total",
			Help: "Requests answered from the cache, fresh or stale.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cdn_cache_requests_total",
			Help: "Requests by what the cache did with them.",
		}, []string{"result"}),
		upstream: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "cdn_upstream_latency_seconds",
			Help:    "Time from forwarding a request to the header of its response.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
		byResult: make(map[result]counted),
	}
	for _, r := range allResults {
		m.byResult[r] = counted{m.requests.WithLabelValues(string(r)), string(r)}
	}
	return m
})

func (m *metrics) register(registry *prometheus.Registry) error {
	if registry == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{m.hits, m.requests, m.upstream, m.sizes} {
		var already prometheus.AlreadyRegisteredError
		if err := registry.Register(c); err != nil && !errors.As(err, &already) {
			return err
		}
	}
	return nil
}

// storeCollector reads the sizes of all stores in use when it is asked.
type storeCollector struct{}

var (
	bytesDesc = prometheus.NewDesc("cdn_cache_bytes",
		"Bytes of memory that stored responses take.", []string{"store"}, nil)
	objectsDesc = prometheus.NewDesc("cdn_cache_objects",
		"Stored responses, every variant counted.", []string{"store"}, nil)
)

// Describe sends the descriptions of the two gauges.
func (storeCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- bytesDesc
	ch <- objectsDesc
}

// Collect sends two gauges for every store in use.
func (storeCollector) Collect(ch chan<- prometheus.Metric) {
	states.Range(func(name, value any) bool {
		s := value.(*state)
		ch <- prometheus.MustNewConstMetric(bytesDesc, prometheus.GaugeValue, float64(s.store.Bytes()), name.(string))
		ch <- prometheus.MustNewConstMetric(objectsDesc, prometheus.GaugeValue, float64(s.store.Objects()), name.(string))
		return true
	})
}
