package zerocopy

import (
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the counters of the process. They outlive configurations, so
// that a reload, or a reload that fails, loses no count.
type metrics struct {
	requests  *prometheus.CounterVec
	truncated prometheus.Counter
}

var processMetrics = sync.OnceValue(func() *metrics {
	const namespace, subsystem = "caddy", "zerocopy"
	return &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace,
			Subsystem: subsystem,
			Name:      "requests_total",
			Help: "Requests by how they were answered: body by sendfile or by copy, " +
				"no_body (HEAD, 304, errors), not_found, or delegated to file_server.",
		}, []string{"path"}),
		truncated: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace,
			Subsystem: subsystem,
			Name:      "truncated_total",
			Help:      "Responses broken off because the file became shorter or unreadable while it was sent.",
		}),
	}
})

// register adds the counters to the registry of one configuration. Several
// handlers of a configuration share it.
func (m *metrics) register(registry *prometheus.Registry) error {
	if registry == nil {
		return nil
	}
	for _, collector := range []prometheus.Collector{m.requests, m.truncated} {
		err := registry.Register(collector)
		if _, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); err != nil && !ok {
			return err
		}
	}
	return nil
}
