package geosched

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// Who streams, what is refused and why, and what could not be written are counted.
func TestHubMetrics(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	inst := run(t, listening+"feed state "+dir+"/feed.json\n}")
	defer stop(t, inst)
	g := only(t)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(feedCollector{})
	value := func(name, reason string) float64 {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == "coredns_geosched_feed_"+name && (reason == "" || m.GetLabel()[0].GetValue() == reason) {
					return m.GetCounter().GetValue() + m.GetGauge().GetValue() // of which it is one
				}
			}
		}
		return -1
	}
	eventually := func(name, reason string, want float64) {
		t.Helper()
		for end := time.Now().Add(time.Minute); value(name, reason) != want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s %s is %v, want %v", name, reason, value(name, reason), want)
			}
		}
	}
	eventually("streams", "", 0)
	r, err := http.Get("http://" + hubAddr(t) + "/v1/watch")
	if err != nil {
		t.Fatal(err)
	}
	eventually("streams", "", 1)
	r.Body.Close()
	eventually("streams", "", 0)

	if g.feed.Receive([]byte("rubbish"), 0) == nil {
		t.Error("rubbish is taken")
	}
	eventually("refused_total", "invalid", 1)
	eventually("refused_total", "forged", 0)

	vote(t, g, 1, map[string]healthfeed.State{"lon": healthfeed.Down})
	eventually("unwritten_total", "", 0)
	for _, err := os.Stat(dir + "/feed.json"); err != nil; _, err = os.Stat(dir + "/feed.json") {
		time.Sleep(10 * time.Millisecond)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	vote(t, g, 2, map[string]healthfeed.State{"lon": healthfeed.Up})
	eventually("unwritten_total", "", 1)
}
