package edgecache

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// ourMetrics are those of this package in the registry of the running
// configuration.
func ourMetrics(t *testing.T) (ours []*dto.MetricFamily) {
	t.Helper()
	ctx := caddy.ActiveContext()
	families, err := ctx.GetMetricsRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "cdn_cache_") || strings.HasPrefix(f.GetName(), "cdn_upstream_") {
			ours = append(ours, f)
		}
	}
	return ours
}

// The README's table has every metric that is registered, with its labels, and
// no other.
func TestMetricsAreDocumented(t *testing.T) {
	newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {})
	ours := ourMetrics(t)
	problems, err := promlint.NewWithMetricFamilies(ours).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	var registered []string
	for _, f := range ours {
		name := f.GetName()
		var labels []string
		for _, l := range f.Metric[0].Label {
			labels = append(labels, l.GetName())
		}
		if len(labels) > 0 {
			name += "{" + strings.Join(labels, ",") + "}"
		}
		registered = append(registered, name)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile(`(?m)^\| .cdn_.*?\|`).FindAllString(string(readme), -1) {
		documented = append(documented, regexp.MustCompile(`cdn_[a-z_]+({[a-z,]+})?`).FindAllString(row, -1)...)
	}
	slices.Sort(registered)
	slices.Sort(documented)
	if !slices.Equal(registered, documented) {
		t.Errorf("registered %v\ndocumented %v", registered, documented)
	}
	for _, label := range append([]httpcache.Refusal{refusedBroken, refusedSuperseded}, httpcache.Refusals...) {
		if !strings.Contains(string(readme), "`"+string(label)+"`") {
			t.Errorf("the reason %s is not in the README", label)
		}
	}
}

// Each number moves with what it counts.
func TestMetricsCount(t *testing.T) {
	release := make(chan struct{})
	e := newEdge(t, `
http://%s {
	edgecache {
		max_object 4KiB
		coalesce on {
			max_waiters 1
		}
	}
	reverse_proxy %s
}`, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/secret":
			w.Header().Set("Cache-Control", "private")
		case "/validated":
			w.Header().Set("Etag", `"x"`)
			w.Header().Set("Cache-Control", "max-age=0")
			if r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(http.StatusNotModified)
			}
		case "/broken":
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write(make([]byte, 50))
		case "/long":
			w.Header().Set("Cache-Control", "max-age=60")
			_ = http.NewResponseController(w).Flush() // so that its length is not known
			_, _ = w.Write(make([]byte, 8<<10))
		case "/slow":
			<-release
			cacheable(w, "x")
		default:
			cacheable(w, "x")
		}
	})
	m := processMetrics()
	refused := func(reason httpcache.Refusal) func() float64 {
		return func() float64 { return testutil.ToFloat64(m.refused.WithLabelValues(string(reason))) }
	}
	count := func(m prometheus.Metric) func() float64 {
		return func() float64 {
			var v dto.Metric
			if err := m.Write(&v); err != nil {
				t.Fatal(err)
			}
			if v.Histogram != nil {
				return float64(v.Histogram.GetSampleCount())
			}
			return v.Counter.GetValue()
		}
	}
	// moved expects that doing it moves the numbers by so much.
	moved := func(what string, do func(), by float64, numbers ...func() float64) {
		t.Helper()
		before := make([]float64, len(numbers))
		for i, n := range numbers {
			before[i] = n()
		}
		do()
		for i, n := range numbers {
			eventually(t, what, func() bool { return n() >= before[i]+by })
			if got := n() - before[i]; got != by {
				t.Errorf("%s: number %d moved by %v, want %v", what, i, got, by)
			}
		}
	}
	moved("a miss", func() { e.get("/") }, 1, count(m.byResult["uri-miss"]), count(m.fetched), count(m.upstream), count(m.exchange))
	moved("a hit", func() { e.get("/") }, 1, count(m.byResult["hit"]), count(m.hits))
	moved("a private response", func() { e.get("/secret") }, 1, refused("private"))
	moved("a private response again", func() { e.get("/secret") }, 1, refused("private"), count(m.upstream), count(m.exchange))
	moved("a POST", func() { e.send("POST", "/other") }, 1, count(m.byResult["method"]), count(m.upstream), count(m.exchange))
	moved("something to validate", func() { e.get("/validated") }, 1, count(m.fetched))
	moved("a validation", func() { e.get("/validated") }, 1, count(m.freshened), count(m.byResult["stale"]))
	moved("a broken response", func() {
		once := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // does not try again
		if res, err := once.Do(e.request("GET", "/broken")); err == nil {
			res.Body.Close()
		}
	}, 1, refused(refusedBroken))
	moved("a long response", func() { e.get("/long") }, 1, refused("too-large"))

	done := make(chan int, 3)
	ask := func() { go func() { r, _ := e.do(e.request("GET", "/slow")); done <- r.status }() }
	gauge := func(name string) float64 {
		for _, f := range ourMetrics(t) {
			if f.GetName() == name {
				return f.Metric[0].GetGauge().GetValue()
			}
		}
		t.Fatalf("no %s", name)
		return 0
	}
	ask()
	eventually(t, "a flight", func() bool { return gauge("cdn_cache_flights") == 1 })
	ask()
	eventually(t, "a waiter", func() bool { return gauge("cdn_cache_waiters") == 1 })
	if n := gauge("cdn_cache_memos"); n != 2 { // /secret and /long
		t.Errorf("%v keys remembered", n)
	}
	moved("one too many", func() { e.get("/slow") }, 1, count(m.turnedAway))
	moved("sharing", func() { close(release); <-done; <-done }, 1, count(m.waited[0]), count(m.byResult["collapsed"]))
	eventually(t, "over", func() bool { return gauge("cdn_cache_flights") == 0 && gauge("cdn_cache_buffered_bytes") == 0 })
}
