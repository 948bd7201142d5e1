package zerocopy

import (
	"context"
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestRequestsByPath asserts which label a request counts under.
func TestRequestsByPath(t *testing.T) {
	root := t.TempDir()
	writeFile(t, root, "big.bin", pattern(1<<20))
	writeFile(t, root, "small.bin", pattern(1<<10))
	writeFile(t, root, "dir/index.html", nil)
	server := startCaddy(t, map[string]object{"srv": handle(handler("zerocopy", object{"root": root}))}, nil)["srv"]
	etag := server.get(t, "/small.bin").Header.Get("Etag")

	tests := []struct {
		name, method, path string
		fields             http.Header
		want               string
	}{
		{"large", "GET", "/big.bin", nil, "sendfile"},
		{"large-part", "GET", "/big.bin", http.Header{"Range": {"bytes=1-600000"}}, "sendfile"},
		{"small-part", "GET", "/big.bin", http.Header{"Range": {"bytes=1-600"}}, "copy"},
		{"several-parts", "GET", "/big.bin", http.Header{"Range": {"bytes=1-6,9-12"}}, "copy"},
		{"small", "GET", "/small.bin", nil, "copy"},
		{"head", "HEAD", "/big.bin", nil, "no_body"},
		{"not-modified", "GET", "/small.bin", http.Header{"If-None-Match": {etag}}, "no_body"},
		{"not-satisfiable", "GET", "/small.bin", http.Header{"Range": {"bytes=5000-"}}, "no_body"},
		{"missing", "GET", "/missing", nil, "not_found"},
		{"index", "GET", "/dir/", nil, "delegated"},
		{"redirect", "GET", "/dir", nil, "delegated"},
		{"method", "POST", "/small.bin", nil, "delegated"},
	}
	labels := []string{"sendfile", "copy", "no_body", "not_found", "delegated"}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := map[string]float64{}
			for _, label := range labels {
				before[label] = testutil.ToFloat64(processMetrics().requests.WithLabelValues(label))
			}
			server.do(t, tt.method, tt.path, tt.fields)
			// The handler may return just after the client has read everything.
			server.do(t, http.MethodPut, "/", nil)
			for _, label := range labels {
				want := 0.0
				if label == tt.want {
					want++
				}
				if label == "delegated" {
					want++ // the PUT
				}
				if got := testutil.ToFloat64(processMetrics().requests.WithLabelValues(label)) - before[label]; got != want {
					t.Errorf("%s grew by %v, want %v", label, got, want)
				}
			}
		})
	}
	if n := testutil.CollectAndCount(processMetrics().requests); n > len(labels) {
		t.Errorf("%d series, want at most %d", n, len(labels))
	}
}

// TestMetricsAcrossConfigs provisions several handlers in each of several
// configurations: each registry must offer the counters, and they must go on.
func TestMetricsAcrossConfigs(t *testing.T) {
	var last float64
	for config := range 3 {
		ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
		for range 2 {
			if err := new(Handler).Provision(ctx); err != nil {
				t.Fatal(err)
			}
		}
		processMetrics().truncated.Inc()
		families, err := ctx.GetMetricsRegistry().Gather()
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, family := range families {
			if family.GetName() != "caddy_zerocopy_truncated_total" {
				continue
			}
			found = true
			if got := family.GetMetric()[0].GetCounter().GetValue(); got <= last {
				t.Errorf("configuration %d: counter at %v after %v", config, got, last)
			} else {
				last = got
			}
		}
		if !found {
			t.Errorf("configuration %d: its registry has no caddy_zerocopy_truncated_total", config)
		}
		cancel()
	}
}
