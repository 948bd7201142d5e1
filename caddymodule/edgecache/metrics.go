package edgecache

import (
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cdn/tandem/internal/collapse"
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
	result(httpcache.ForwardRequest), result(httpcache.ForwardStale), result(httpcache.ForwardPartial),
}

// Why a response that the rules allow to store is not stored in the end.
const (
	refusedBroken     httpcache.Refusal = "broken"     // its content broke off
	refusedSuperseded httpcache.Refusal = "superseded" // by an invalidation or a newer response; or there was no room
)

// waits are the outcomes of waiting for another request's fetch, as labels.
var waits = [...]string{
	collapse.Published: "shared",
	collapse.Released:  "released",
	collapse.Failed:    "failed",
	collapse.TimedOut:  "timeout",
	collapse.Gone:      "left",
}

// metrics are the process's collectors. They are created once and registered
// with the registry of every configuration, so that counters go on counting
// across reloads. No label has a value that a client or an origin server made
// up.
type metrics struct {
	hits      prometheus.Counter
	requests  *prometheus.CounterVec
	collapsed *prometheus.CounterVec
	upstream  prometheus.Histogram
	exchange  prometheus.Histogram
	stored    *prometheus.CounterVec
	refused   *prometheus.CounterVec
	sizes     storeCollector

	// Of the vectors, resolved.
	byResult   map[result]prometheus.Counter
	waited     [len(waits)]prometheus.Counter
	turnedAway prometheus.Counter
	fetched    prometheus.Counter
	freshened  prometheus.Counter
}

var latencyBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

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
		collapsed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cdn_cache_collapsed_total",
			Help: "Times that a request waited for the fetch of another, by what came of it.",
		}, []string{"outcome"}),
		upstream: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "cdn_upstream_latency_seconds",
			Help:    "Time from forwarding a request to the header of its response.",
			Buckets: latencyBuckets,
		}),
		exchange: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "cdn_upstream_exchange_seconds",
			Help:    "Time from forwarding a request to the end of its response.",
			Buckets: append(latencyBuckets[:len(latencyBuckets):len(latencyBuckets)], 60, 300),
		}),
		stored: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cdn_cache_stored_total",
			Help: "Responses stored, fetched whole or freshened by a validation.",
		}, []string{"how"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cdn_cache_refused_total",
			Help: "Responses to requests for the cache that were not stored, by why.",
		}, []string{"reason"}),
		byResult: make(map[result]prometheus.Counter),
	}
	for _, r := range allResults {
		m.byResult[r] = m.requests.WithLabelValues(string(r))
	}
	for outcome, word := range waits {
		m.waited[outcome] = m.collapsed.WithLabelValues(word)
	}
	m.turnedAway = m.collapsed.WithLabelValues("refused")
	m.fetched, m.freshened = m.stored.WithLabelValues("fetched"), m.stored.WithLabelValues("freshened")
	for _, reason := range append([]httpcache.Refusal{refusedBroken, refusedSuperseded}, httpcache.Refusals...) {
		m.refused.WithLabelValues(string(reason))
	}
	return m
})

func (m *metrics) refuse(why httpcache.Refusal) { m.refused.WithLabelValues(string(why)).Inc() }

func (m *metrics) register(registry *prometheus.Registry) error {
	if registry == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{m.hits, m.requests, m.collapsed, m.upstream, m.exchange, m.stored, m.refused, m.sizes} {
		var already prometheus.AlreadyRegisteredError
		if err := registry.Register(c); err != nil && !errors.As(err, &already) {
			return err
		}
	}
	return nil
}

// storeCollector reads all stores in use when it is asked.
type storeCollector struct{}

// storeMetric is one number of a store.
type storeMetric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*state) float64
}

var storeMetrics = []storeMetric{
	storeGauge("cdn_cache_bytes", "Bytes of memory that stored responses take.",
		func(s *state) int64 { return s.store.Bytes() }),
	storeGauge("cdn_cache_objects", "Stored responses, every variant counted.",
		func(s *state) int64 { return s.store.Objects() }),
	storeGauge("cdn_cache_flights", "Fetches under way that requests may join.",
		func(s *state) int64 { return int64(s.flights.Len()) }),
	storeGauge("cdn_cache_waiters", "Requests that wait for the fetch of another.",
		func(s *state) int64 { return int64(s.flights.Waiters()) }),
	storeGauge("cdn_cache_memos", "Keys remembered as not worth waiting for.",
		func(s *state) int64 { return int64(s.flights.Memos()) }),
	storeGauge("cdn_cache_buffered_bytes", "Bytes of content that unfinished fills hold beside the store.",
		func(s *state) int64 { return s.flights.Buffered() }),
	storeGauge("cdn_cache_pinned_bytes", "Bytes of cdn_cache_bytes that are no longer stored, but still read by somebody.",
		func(s *state) int64 { return s.store.Pinned() }),
	{
		prometheus.NewDesc("cdn_cache_evictions_total", "Stored responses that had to go for want of room.", []string{"store"}, nil),
		prometheus.CounterValue,
		func(s *state) float64 { return float64(s.store.Evictions()) },
	},
}

func storeGauge(name, help string, of func(*state) int64) storeMetric {
	return storeMetric{
		prometheus.NewDesc(name, help, []string{"store"}, nil),
		prometheus.GaugeValue,
		func(s *state) float64 { return float64(of(s)) },
	}
}

// Describe sends the descriptions of what there is to know of a store.
func (storeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range storeMetrics {
		ch <- m.desc
	}
}

// Collect sends it for every store in use.
func (storeCollector) Collect(ch chan<- prometheus.Metric) {
	states.Range(func(name, value any) bool {
		for _, m := range storeMetrics {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.of(value.(*state)), name.(string))
		}
		return true
	})
}
