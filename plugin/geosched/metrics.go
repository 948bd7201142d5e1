package geosched

import (
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/healthfeed/probe"
)

// No label holds anything that a client can choose freely: types are the few
// of typeLabels, nodes come from the inventory.
var (
	requests = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: "requests_total",
		Help: "Queries for names in zones of geosched, by what came of them.",
	}, []string{"server", "zone", "type", "outcome"})

	decisions = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: "decisions_total",
		Help: "Nodes answered with, by what they were chosen for.",
	}, []string{"node", "reason"})

	ecs = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: "ecs_total",
		Help: "Queries for addresses, by what became of EDNS Client Subnet.",
	}, []string{"result"})

	ratelimited = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: "ratelimited_total",
		Help: "Queries beyond a limit, by what became of them.",
	}, []string{"action"})

	cookiesSeen = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: "cookies_total",
		Help: "Queries, by what became of their DNS cookie.",
	}, []string{"result"})

	explained = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: "explained_total",
		Help: "Questions about decisions, by what was asked.",
	}, []string{"what"})
	spans = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: "spans_total",
		Help: "Spans of tracing that were sent or lost.",
	}, []string{"result"})

	shadowTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: "shadow_total",
		Help: "Decisions, by whether the shadow policies choose the same nodes.",
	}, []string{"result"})

	shadowDecisions = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: "shadow_decisions_total",
		Help: "Nodes that the shadow policies would answer with, by what for.",
	}, []string{"node", "reason"})

	reloads = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: "reloads_total",
		Help: "Changes of geoip, asn, nets, resolvers, policy, shadow, records and cookies files that were loaded or refused.",
	}, []string{"result"})

	handshakesFailed = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: "feed_handshakes_failed_total",
		Help: "Connections to feed listen that TLS turned away, by why.",
	}, []string{"reason"})

	recordsApplied = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: "records_apply_seconds",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		Help:    "How long it took to read a records file and to answer with it.",
	}, []string{"kind"})
)

func init() { prometheus.MustRegister(feedCollector{}) }

// feedCollector reads the tables of all blocks when it is asked.
type feedCollector struct{}

var (
	nodeState = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "node_state"),
		"1 for the state that a node is in.", []string{"zone", "node", "state"}, nil)
	tableGeneration = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "table_generation"),
		"How many times the health table has changed.", []string{"zone"}, nil)
	tableAge = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "table_age_seconds"),
		"Seconds since a prober was heard; absent if none ever was.", []string{"zone"}, nil)
	tableFreshness = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "table_freshness"),
		"1 for what the health table rests on.", []string{"zone", "freshness"}, nil)
	feedRefused = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "feed_refused_total"),
		"Inventories and records that the feed refused, by why.", []string{"zone", "reason"}, nil)
	feedUnwritten = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "feed_unwritten_total"),
		"Writes of the state file that failed.", []string{"zone"}, nil)
	feedStreams = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "feed_streams"),
		"Readers that stream from feed listen.", []string{"zone"}, nil)
	feedStreamsDropped = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "feed_streams_dropped_total"),
		"Streams that ended because the reader was too slow, or gone.", []string{"zone"}, nil)
	etcdFollowing = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "etcd_following"),
		"1 while etcd is followed, 0 since there was a doubt.", []string{"zone"}, nil)
	etcdDoubts = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "etcd_doubts_total"),
		"How often following etcd had to begin anew, silence and compaction included.", []string{"zone"}, nil)
	etcdUnwritten = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "etcd_unwritten_total"),
		"Records that could not be written to etcd.", []string{"zone"}, nil)
	probeRounds = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "probe_rounds_total"),
		"Rounds of checks that were made, and those that this process was too late for.", []string{"result"}, nil)
	probeLag = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "probe_lag_seconds"),
		"By how much a round was late at most, within ten seconds.", nil, nil)
	noticePending = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "notice_pending"),
		"1 while the file that a notice in etcd announces is not the one that is here.", []string{"zone", "kind"}, nil)
	geographyClasses = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "geography_classes"),
		"Classes that clients are divided into.", []string{"zone"}, nil)
	geoipBuilt = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "geoip_build_timestamp_seconds"),
		"When the MaxMind file in use was built, the oldest one of its type.", []string{"zone", "database"}, nil)
	recordsNames = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "records"),
		"Names of the records file.", []string{"zone"}, nil)
	recordsGeneration = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "records_generation"),
		"How many times the names of the records file have changed.", []string{"zone"}, nil)
	limiterCrowded = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "ratelimit_crowded_total"),
		"How often one began with the debt of another, because the table of ratelimit is too small.", []string{"zone"}, nil)
)

// Describe implements prometheus.Collector.
func (feedCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{nodeState, tableGeneration, tableAge, tableFreshness, feedRefused, feedUnwritten, feedStreams, feedStreamsDropped, etcdFollowing, etcdDoubts, etcdUnwritten, probeRounds, probeLag, noticePending, geographyClasses, geoipBuilt, recordsNames, recordsGeneration, limiterCrowded} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. While two generations of a block
// answer, the newer one is reported.
func (feedCollector) Collect(ch chan<- prometheus.Metric) {
	if p := probe.KeptPace(); p.Made > 0 {
		ch <- prometheus.MustNewConstMetric(probeRounds, prometheus.CounterValue, p.Made, "made")
		ch <- prometheus.MustNewConstMetric(probeRounds, prometheus.CounterValue, p.Missed, "missed")
		ch <- prometheus.MustNewConstMetric(probeLag, prometheus.GaugeValue, p.Lag.Seconds())
	}
	seen := make(map[string]bool)
	for _, g := range shared.blocks() {
		zone := g.config.Zones[0]
		if !seen[zone] {
			seen[zone] = true
			g.collect(ch, zone)
		}
	}
}

func (g *Geosched) collect(ch chan<- prometheus.Metric, zone string) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{zone}, labels...)...)
	}
	t := g.feed.Table()
	for i, n := range t.Inventory.Nodes {
		gauge(nodeState, 1, n.ID, t.Nodes[i].State.String())
	}
	gauge(tableGeneration, float64(t.Generation))
	if heard := t.Heard(); !heard.IsZero() {
		gauge(tableAge, time.Since(heard).Seconds())
	}
	for _, f := range []healthfeed.Freshness{healthfeed.Static, healthfeed.LastKnownGood, healthfeed.Frozen, healthfeed.Fresh} {
		v := 0.0
		if f == t.Freshness {
			v = 1
		}
		gauge(tableFreshness, v, f.String())
	}
	gauge(geographyClasses, float64(len(g.atlas.Trie().Classes())))
	for database, built := range g.atlas.oldest() {
		gauge(geoipBuilt, float64(built.Unix()), database)
	}
	if g.etcd != nil {
		following := 0.0
		if g.etcd.Following() {
			following = 1
		}
		gauge(etcdFollowing, following)
		ch <- prometheus.MustNewConstMetric(etcdDoubts, prometheus.CounterValue, float64(g.etcd.Doubts()), zone)
		ch <- prometheus.MustNewConstMetric(etcdUnwritten, prometheus.CounterValue, float64(g.etcd.Unwritten()), zone)
		for kind, pending := range g.notices.waiting() {
			v := 0.0
			if pending {
				v = 1
			}
			gauge(noticePending, v, kind)
		}
	}
	if g.records != nil {
		names, generation := g.records.size()
		gauge(recordsNames, float64(names))
		gauge(recordsGeneration, float64(generation))
	}
	if g.limit != nil {
		ch <- prometheus.MustNewConstMetric(limiterCrowded, prometheus.CounterValue, float64(g.limit.crowded()), zone)
	}
	if g.config.StateFile != "" {
		ch <- prometheus.MustNewConstMetric(feedUnwritten, prometheus.CounterValue, float64(g.feed.Unwritten()), zone)
	}
	if g.hub != nil {
		streams, dropped := g.hub.streams()
		gauge(feedStreams, float64(streams))
		ch <- prometheus.MustNewConstMetric(feedStreamsDropped, prometheus.CounterValue, float64(dropped), zone)
	}
	for reason, n := range g.feed.RefusedBy() {
		ch <- prometheus.MustNewConstMetric(feedRefused, prometheus.CounterValue, float64(n), zone, string(reason))
	}
}
