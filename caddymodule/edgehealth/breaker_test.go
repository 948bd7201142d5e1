package edgehealth

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed/probe"
)

// TestBreaker: the circuits that a configuration has are found wherever they are, and
// the worst of them is told to probers.
func TestBreaker(t *testing.T) {
	s := newServer(t)
	alive := upstream(t, "127.0.0.1", "origin")
	origins := 0
	dead := func() string { // one of its own, since Caddy remembers failures by address
		origins++
		return fmt.Sprintf("127.0.0.%d:1", 100+origins)
	}
	const passive = " fail_duration 1h\n max_fails 1\n"
	for _, tt := range []struct {
		name, site string
		ask        int // requests to /
		want       string
	}{
		{"no-proxy", "respond hello", 1, ""},
		{"judges-nobody", "reverse_proxy " + dead(), 1, ""},
		{"counts-requests-only", "reverse_proxy " + dead() + " {\n unhealthy_request_count 5\n }", 1, ""},
		{"dynamic", "reverse_proxy " + dead() + " {\n dynamic a 127.0.0.1 1\n" + passive + "}", 1, ""},
		{"not-tried", "reverse_proxy " + dead() + " {\n" + passive + "}", 0, "closed"},
		{"well", "reverse_proxy " + alive + " {\n" + passive + "}", 1, "closed"},
		{"fails", "reverse_proxy " + dead() + " {\n" + passive + "}", 1, "open"},
		{"one-of-two-fails", "reverse_proxy " + dead() + " " + alive + " {\n lb_policy first\n" + passive + "}", 2, "half"},
		{"other-proxy-well", "reverse_proxy /x " + alive + " {\n" + passive + "}\n reverse_proxy " + dead() + " {\n" + passive + "}", 1, "open"},
		{"in-a-route", "route {\n handle_path /* {\n reverse_proxy " + dead() + " {\n" + passive + "}\n }\n }", 1, "open"},
		{"active", "reverse_proxy " + dead() + " {\n health_uri /\n health_interval 10ms\n }", 0, "open"},
		{"error-page", "respond hello\n handle_errors {\n reverse_proxy " + dead() + " {\n" + passive + "}\n }", 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.mustLoad("", "edgehealth\n"+tt.site)
			for range tt.ask {
				s.get("/")
			}
			eventually(t, fmt.Sprintf("breaker %q", tt.want), func() bool {
				return here().breaker() == tt.want
			})
			at := time.Now()
			said, err := probe.ParseReport(newNode(at).report(at.Add(reportAge)).header)
			if err != nil || said.Breaker != tt.want {
				t.Errorf("a prober hears %q, %v", said.Breaker, err)
			}
			_, body := s.metrics()
			for _, state := range []string{"closed", "half", "open"} {
				line, is := fmt.Sprintf("caddy_edgehealth_breaker{state=%q} ", state), 0
				if state == tt.want {
					is = 1
				}
				if tt.want == "" && strings.Contains(body, line) || tt.want != "" && !strings.Contains(body, fmt.Sprint(line, is)) {
					t.Errorf("breaker is %q; metrics:\n%s", tt.want, body)
				}
			}
		})
	}
}

// Sites without the directive are not this node's.
func TestBreakerOfOtherSites(t *testing.T) {
	s := newServer(t)
	s.mustLoad("", fmt.Sprintf("edgehealth\n respond hello\n }\n http:// {\n bind unix/%s\n reverse_proxy 127.0.0.1:1 {\n fail_duration 1h\n }", s.path("other")))
	if got := here().breaker(); got != "" {
		t.Errorf("got %q", got)
	}
}
