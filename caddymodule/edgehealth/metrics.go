package edgehealth

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// The metrics of the feed, for as long as the running configuration has one. Nodes come
// from the operator's inventory, never from a client.
var (
	descNodeState = prometheus.NewDesc("caddy_edgehealth_node_state",
		"1 for the state that the node is in, 0 for the others.", []string{"node", "state"}, nil)
	descNodeHealth = prometheus.NewDesc("caddy_edgehealth_node_health",
		"Health of the node, 0 to 1, without regard to load.", []string{"node"}, nil)
	descNodeShare = prometheus.NewDesc("caddy_edgehealth_node_share",
		"Part of its requests, 0 to 1, that lb_policy edgehealth gives the node: by its state, load and return.", []string{"node"}, nil)
	descFreshness = prometheus.NewDesc("caddy_edgehealth_feed_freshness",
		"1 for what the health table rests on, 0 for the others.", []string{"freshness"}, nil)
	descFeedAge = prometheus.NewDesc("caddy_edgehealth_feed_age_seconds",
		"Seconds since any prober was heard; absent until one is.", nil, nil)
	descGeneration = prometheus.NewDesc("caddy_edgehealth_generation",
		"Generation of the health table; it grows with every change.", nil, nil)
	descRefused = prometheus.NewDesc("caddy_edgehealth_refused_total",
		"Inventories and records that the feed refused, by why.", []string{"reason"}, nil)
	descFailOpen = prometheus.NewDesc("caddy_edgehealth_fail_open_total",
		"Choices of an upstream that were made among all, because the feed left no healthy one.", nil, nil)
)

// The metrics of this node, which it has with or without a feed.
var (
	descDraining = prometheus.NewDesc("caddy_edgehealth_draining",
		"1 while this node announces that it wants no new clients.", nil, nil)
	descInFlight = prometheus.NewDesc("caddy_edgehealth_requests_in_flight",
		"Requests that are being served behind the directive edgehealth.", nil, nil)
	descConnections = prometheus.NewDesc("caddy_edgehealth_connections",
		"Connections of clients to the servers that have the directive edgehealth.", nil, nil)
	descBreaker = prometheus.NewDesc("caddy_edgehealth_breaker",
		"1 for the state that this node's circuit to its origins is in, 0 for the others; absent while nothing judges them.", []string{"state"}, nil)
	descProbes = prometheus.NewDesc("caddy_edgehealth_probes_total",
		"Probes answered, by whether the load was told (load) or only the state (plain).", []string{"told"}, nil)
)

// states are the states that a Table can hold.
var states = [...]healthfeed.State{
	healthfeed.Unknown, healthfeed.Up, healthfeed.Degraded, healthfeed.Draining, healthfeed.Down,
}

// freshnesses are the values of a Table's Freshness.
var freshnesses = [...]healthfeed.Freshness{
	healthfeed.Static, healthfeed.LastKnownGood, healthfeed.Frozen, healthfeed.Fresh,
}

// collector reads the feed of the running configuration when it is asked. It
// keeps nothing, so the series of a node go when the node goes, and a registry
// that a failed reload left behind still tells the truth.
type collector struct{}

// registerMetrics adds the metrics to the registry of a configuration, if they
// are not in it yet.
func registerMetrics(ctx caddy.Context) error {
	r := ctx.GetMetricsRegistry()
	if r == nil {
		return nil
	}
	var twice prometheus.AlreadyRegisteredError
	if err := r.Register(collector{}); err != nil && !errors.As(err, &twice) {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return nil
}

// Describe implements [prometheus.Collector].
func (collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descNodeState
	ch <- descNodeHealth
	ch <- descNodeShare
	ch <- descFreshness
	ch <- descFeedAge
	ch <- descGeneration
	ch <- descRefused
	ch <- descFailOpen
	ch <- descDraining
	ch <- descInFlight
	ch <- descConnections
	ch <- descBreaker
	ch <- descProbes
}

// Collect implements [prometheus.Collector].
func (collector) Collect(ch chan<- prometheus.Metric) {
	here().collect(ch)
	app, ok := active()
	if !ok {
		return
	}
	t := app.Table()
	for i := range t.Nodes {
		id, s := t.Inventory.Nodes[i].ID, &t.Nodes[i]
		for _, state := range states {
			ch <- prometheus.MustNewConstMetric(descNodeState, prometheus.GaugeValue, number(state == s.State), id, state.String())
		}
		ch <- prometheus.MustNewConstMetric(descNodeHealth, prometheus.GaugeValue, s.Health, id)
		ch <- prometheus.MustNewConstMetric(descNodeShare, prometheus.GaugeValue, share(s), id)
	}
	for _, f := range freshnesses {
		ch <- prometheus.MustNewConstMetric(descFreshness, prometheus.GaugeValue, number(f == t.Freshness), f.String())
	}
	if heard := t.Heard(); !heard.IsZero() {
		ch <- prometheus.MustNewConstMetric(descFeedAge, prometheus.GaugeValue, time.Since(heard).Seconds())
	}
	ch <- prometheus.MustNewConstMetric(descGeneration, prometheus.GaugeValue, float64(t.Generation))
	for reason, n := range app.feed.RefusedBy() {
		ch <- prometheus.MustNewConstMetric(descRefused, prometheus.CounterValue, float64(n), string(reason))
	}
	ch <- prometheus.MustNewConstMetric(descFailOpen, prometheus.CounterValue, float64(app.feed.failedOpen.Load()))
}

// collect sends the metrics of this node.
func (n *node) collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	c := n.counts()
	gauge(descDraining, number(n.drain.state() != serving))
	gauge(descInFlight, float64(c.inFlight))
	gauge(descConnections, float64(max(0, c.connections)))
	if is := n.breaker(); is != "" {
		for state := range breakers {
			ch <- prometheus.MustNewConstMetric(descBreaker, prometheus.GaugeValue, number(state == is), state)
		}
	}
	for told, count := range map[string]uint64{"load": probes.load.Load(), "plain": probes.plain.Load()} {
		ch <- prometheus.MustNewConstMetric(descProbes, prometheus.CounterValue, float64(count), told)
	}
}

// number is 1 for what is true.
func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
