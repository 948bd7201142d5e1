package geosched

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/steer"
)

func TestParseWeights(t *testing.T) {
	policy := func(alpha, beta, near float64, km float64, rtt time.Duration) steer.Policy {
		p := steer.Policy{Answers: 1, Near: near, Alpha: alpha, Beta: beta, Epsilon: steer.DefaultEpsilon, EpsilonRTT: rtt,
			TTL: steer.TTL{Normal: 300, Degraded: 60}}
		if km > 0 {
			p.Epsilon = steer.DefaultEpsilon / 50 * 2 // 2 km
		}
		return p
	}
	tests := []struct {
		name, text string
		want       steer.Policy
	}{
		{"nothing", "", policy(0.4, 0.6, -1, 0, 0)},
		{"shares", "weights 0.4 0.6", policy(0.4, 0.6, -1, 0, 0)},
		{"shares-of-half", "weights 0.1 0.1", policy(0.5, 0.5, -1, 0, 0)},
		{"distance-alone", "weights 1 0 near 20", policy(1, 0, 0.2, 0, 0)},
		{"percent-sign", "weights 1 0 near 12.5%", policy(1, 0, 0.125, 0, 0)},
		{"all", "weights 0.4 0.6 near 0 eps 2 7.5", policy(0.4, 0.6, 0, 2, 7500*time.Microsecond)},
		{"options-in-any-order", "weights 0.4 0.6 eps 2 7.5 near 0", policy(0.4, 0.6, 0, 2, 7500*time.Microsecond)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := block("nodes nodes.json\nsteer www\n" + tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(c.Policy, tt.want) {
				t.Errorf("got %+v, want %+v", c.Policy, tt.want)
			}
		})
	}
}

func TestParseWeightsRefuses(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"nothing", "weights", `weights wants ALPHA BETA, got ""`},
		{"one", "weights 0.4", `weights wants ALPHA BETA, got "0.4"`},
		{"word", "weights near 0.6", `"near" is not a number from 0 to 1`},
		{"negative", "weights 0.4 -0.6", `"-0.6" is not a number from 0 to 1`},
		{"percentages", "weights 40 60", `"40" is not a number from 0 to 1`},
		{"nan", "weights NaN 1", `"NaN" is not a number from 0 to 1`},
		{"infinity", "weights 0 inf", `"inf" is not a number from 0 to 1`},
		{"both-zero", "weights 0 0.0", `weights "0" and "0.0" cannot both be 0`},
		{"unknown-option", "weights 0.4 0.6 far 5", `weights option "far" is unknown, want near, eps or ewma`},
		{"ewma-alone", "weights 0.4 0.6 ewma", `weights option "ewma" wants the weight of history`},
		{"ewma-1", "weights 0.4 0.6 ewma 1", `"1" is not a number from 0 to 0.999`},
		{"ewma-negative", "weights 0.4 0.6 ewma -0.1", `"-0.1" is not a number from 0 to 0.999`},
		{"ewma-twice", "weights 0.4 0.6 ewma 0 near 5 ewma 0", `weights option "ewma" is given twice`},
		{"near-alone", "weights 0.4 0.6 near", `weights option "near" wants a percentage`},
		{"near-100", "weights 0.4 0.6 near 100", `"100" is not a number from 0 to 99`},
		{"near-word", "weights 0.4 0.6 near here", `"here" is not a number from 0 to 99`},
		{"near-twice", "weights 0.4 0.6 near 5 near 6", `weights option "near" is given twice`},
		{"eps-one", "weights 0.4 0.6 eps 50", `weights option "eps" wants kilometres and milliseconds, got "50"`},
		{"eps-zero", "weights 0.4 0.6 eps 50 0", `"0" is not a number from 0.1 to 10000`},
		{"eps-unit", "weights 0.4 0.6 eps 50 5ms", `"5ms" is not a number from 0.1 to 10000`},
		{"eps-km", "weights 0.4 0.6 eps 50km 5", `"50km" is not a number from 0.1 to 20000`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := block("nodes nodes.json\nsteer www\n" + tt.text)
			if want := "Testfile:4 - Error during parsing: " + tt.want; err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
	_, err := block("nodes nodes.json\nweights 1 0\nsteer www\nweights 1 0")
	if err == nil || err.Error() != `Testfile:5 - Error during parsing: "weights" is on line 3 already` {
		t.Errorf("twice: %v", err)
	}
	_, err = block("node lon 192.0.2.1 51.5 -0.12\nsteer www\nweights 0.4 0.6")
	if err == nil || !strings.HasPrefix(err.Error(), `Testfile:4 - latency counts and nobody measures it`) {
		t.Errorf("nobody measures: %v", err)
	}
	for _, measured := range []string{"", "weights 0.4 0.6\ncheck tcp :80", "weights 0.4 0.6\nfeed from http://hub.example", "weights 1 0"} {
		if _, err := block("node lon 192.0.2.1 51.5 -0.12\nsteer www\n" + measured); err != nil {
			t.Errorf("%q: %v", measured, err)
		}
	}
}

// The weight of history is about the probes, so it is part of what blocks share them by,
// and where nobody probes it is a mistake.
func TestParseEWMA(t *testing.T) {
	var keys []feedKey
	for text, want := range map[string]float64{"": 0.85, "weights 1 0": 0.85, "weights 0.4 0.6 ewma 0.5": 0.5, "weights 0.4 0.6 near 5 ewma 0": 0} {
		c, err := block("nodes nodes.json\nsteer www\n" + text)
		if err != nil {
			t.Fatal(err)
		}
		if c.EWMA != want {
			t.Errorf("%q: got %v, want %v", text, c.EWMA, want)
		}
		if !slices.ContainsFunc(keys, func(k feedKey) bool { return reflect.DeepEqual(k, c.feedKey()) }) {
			keys = append(keys, c.feedKey())
		}
	}
	if len(keys) != 3 {
		t.Errorf("%d feeds, want one for each weight: %+v", len(keys), keys)
	}
	_, err := block("feed from http://hub.example\nsteer www\nweights 0.4 0.6 ewma 0.85")
	if want := `Testfile:4 - "ewma" is about the probes of this process`; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestParseCache(t *testing.T) {
	for text, want := range map[string]config{
		"":               {Cache: 10_000, CacheLife: 30 * time.Second},
		"cache 500":      {Cache: 500, CacheLife: 30 * time.Second},
		"cache 1 1500ms": {Cache: 1, CacheLife: 1500 * time.Millisecond},
		"cache off":      {CacheLife: 30 * time.Second},
	} {
		c, err := block("nodes nodes.json\nsteer www\n" + text)
		if err != nil {
			t.Fatal(err)
		}
		if c.Cache != want.Cache || c.CacheLife != want.CacheLife {
			t.Errorf("%q: got %d for %v", text, c.Cache, c.CacheLife)
		}
	}
}

func TestParseResort(t *testing.T) {
	tests := []struct {
		name, text string
		want       steer.Policy // AllDown, Sticky and TTL of it
	}{
		{"nothing", "", steer.Policy{TTL: steer.TTL{Normal: 300, Degraded: 60}}},
		{"all", "alldown all", steer.Policy{TTL: steer.TTL{Normal: 300, Degraded: 60}}},
		{"best-below", "alldown best below 30%", steer.Policy{AllDown: steer.LastResort{Do: steer.Best, Below: 0.3}, TTL: steer.TTL{Normal: 300, Degraded: 60}}},
		{"cname", "alldown cname Sorry.example.net", steer.Policy{AllDown: steer.LastResort{Do: steer.CName, Name: "sorry.example.net."}, TTL: steer.TTL{Normal: 300, Degraded: 60}}},
		{"cname-below", "alldown cname a.b. below 7.5", steer.Policy{AllDown: steer.LastResort{Do: steer.CName, Name: "a.b.", Below: 0.075}, TTL: steer.TTL{Normal: 300, Degraded: 60}}},
		{"sticky", "sticky subnet", steer.Policy{Sticky: true, TTL: steer.TTL{Normal: 300, Degraded: 60}}},
		{"not-sticky", "sticky off", steer.Policy{TTL: steer.TTL{Normal: 300, Degraded: 60}}},
		{"adaptive", "ttl 30 adaptive", steer.Policy{TTL: steer.TTL{Normal: 30, Degraded: 30, Adaptive: true}}},
		{"adaptive-degraded", "ttl 90 5 adaptive", steer.Policy{TTL: steer.TTL{Normal: 90, Degraded: 5, Adaptive: true}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := block("nodes nodes.json\nsteer www\n" + tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := (steer.Policy{AllDown: c.Policy.AllDown, Sticky: c.Policy.Sticky, TTL: c.Policy.TTL}); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
	for text, want := range map[string]string{
		"alldown":                      "alldown wants all, best, static, empty or cname NAME",
		"alldown none":                 `alldown "none" is unknown, want all, best, static, empty or cname`,
		"alldown all below":            `alldown option "below" wants a percentage, got ""`,
		"alldown all below 0":          `alldown option "below" is never with "0"`,
		"alldown best below 0%":        `alldown option "below" is never with "0%"`,
		"alldown all below 101":        `"101" is not a number from 0 to 100`,
		"alldown all above 5":          `alldown option "above" is unknown, want below`,
		"alldown cname":                `alldown "cname" wants a name`,
		"alldown cname sorry":          `alldown cname: "sorry" is not a whole domain name`,
		"alldown all\nalldown all":     `"alldown" is on line 4 already`,
		"sticky yes":                   `sticky "yes" is unknown, want off or subnet`,
		"sticky":                       "sticky wants one argument, and there is none",
		"cache":                        `cache wants ENTRIES [DURATION] or off, got ""`,
		"cache off 30s":                `cache wants ENTRIES [DURATION] or off, got "off 30s"`,
		"cache 10 1s 1s":               `cache wants ENTRIES [DURATION] or off, got "10 1s 1s"`,
		"cache 10 30":                  `"30" is not a duration such as 2s or 500ms`,
		"cache 10 0s":                  `"0s" is not a duration`,
		"cache 0":                      `cache "0" is unknown, want off or a number from 1 to 1048576`,
		"cache on":                     `cache "on" is unknown`,
		"policy":                       "policy wants one argument, and there is none",
		"ttl adaptive":                 `"adaptive" is not a number`,
		"ttl 60 adaptive 30":           `ttl wants NORMAL [DEGRADED] [adaptive], got "60 adaptive 30"`,
		"policy a.json\npolicy b.json": `"policy" is on line 4 already`,
	} {
		if _, err := block("nodes nodes.json\nsteer www\n" + text); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "Testfile:") {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// FuzzWeights: whatever the words, they are refused with their place or make a
// policy that can be chosen by.
func FuzzWeights(f *testing.F) {
	for _, words := range []string{"0.4 0.6", "1 0 near 99", "0 5e-324 eps 0.1 0.1 near 0%", "1e-300 1e-300 eps 20000 10000", "0x1p-3 .5 near 1_0", "0.4 0.6 ewma 0.85", "NaN inf", "near near near"} {
		f.Add(words)
	}
	f.Fuzz(func(t *testing.T, words string) {
		if strings.ContainsAny(words, "\n\r{}\"\\#") { // the words of another line
			return
		}
		c, err := block("nodes nodes.json\nsteer www\nweights " + words)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "Testfile:4 - ") {
				t.Errorf("%q: %v does not say where", words, err)
			}
			return
		}
		p := c.Policy
		if !(p.Alpha >= 0 && p.Beta >= 0 && math.Abs(p.Alpha+p.Beta-1) < 1e-9) || !(p.Near == -1 || p.Near >= 0 && p.Near <= 0.99) ||
			!(p.Epsilon >= 0.1 && p.Epsilon <= 20_000) || p.EpsilonRTT < 0 || p.EpsilonRTT > 10*time.Second {
			t.Errorf("%q makes %+v", words, p)
		}
	})
}

// A prober in Seattle sees a slow node in London. Londoners go to its fast
// neighbour, but not to Seattle, which answers the prober at once.
func TestWeights(t *testing.T) {
	state := filepath.Join(t.TempDir(), "feed.json")
	if err := os.WriteFile(state, []byte(`{
		"inventory": {"nodes": [
			{"id": "lon1", "addrs": ["192.0.2.1"], "location": {"lat": 51.5, "lon": -0.12}},
			{"id": "lon2", "addrs": ["192.0.2.2"], "location": {"lat": 51.52, "lon": -0.1}},
			{"id": "sea1", "addrs": ["192.0.2.3"], "location": {"lat": 47.6, "lon": -122.3}}]},
		"records": [{"age_ms": 0, "prober": "sea", "epoch": 1, "seq": 1, "interval_ms": 60000, "ttl_ms": 600000, "nodes": {
			"lon1": {"state": "up", "health": 100, "rtt_us": {"p50": 140000, "p95": 200000, "ewma": 190000}},
			"lon2": {"state": "up", "health": 100, "rtt_us": {"p50": 140000, "p95": 150000}},
			"sea1": {"state": "up", "health": 100, "rtt_us": {"p50": 500, "p95": 600}}}}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, weights, want string }{
		{"latency-counts-by-default", "", "192.0.2.2"},
		{"by-distance-in-words", "weights 1 0", "192.0.2.1 192.0.2.2"},
		{"latency-counts", "weights 0.4 0.6", "192.0.2.2"},
		{"latency-alone", "weights 0 1", "192.0.2.2"},
		{"near-enough", "weights 0.4 0.6 near 60", "192.0.2.1 192.0.2.2"},
		{"time-hardly-counts", "weights 0.4 0.6 eps 50 10000", "192.0.2.1 192.0.2.2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := serving(t, "feed from "+state+"\nsteer www\nanswers 3\n"+tt.weights+"\ngeoip "+
				cityDB(t, map[string][2]float64{"81.2.69.0/24": {51.5, -0.1}}))
			wait(t, g, func(table *healthfeed.Table) bool {
				s, ok := table.Lookup("lon1")
				return ok && s.RTT.P50 > 0
			})
			r := serve(t, g, question("www.cdn.example.", dns.TypeA, "81.2.69.0/24"), resolver)
			var got []string
			for _, rr := range r.Answer {
				got = append(got, rr.(*dns.A).A.String())
			}
			slices.Sort(got)
			if got := strings.Join(got, " "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// What this process measures itself counts: of two nodes in one city, clients get
// the one that answers sooner.
func TestWeightsOfOwnProbes(t *testing.T) {
	target := func(after time.Duration) string {
		s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(after) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	nodes := filepath.Join(t.TempDir(), "nodes.json")
	node := `{"id": %q, "addrs": [%q], "location": {"lat": 51.5, "lon": -0.12}, "checks": [{"type": "http", "url": %q, "interval": "200ms"}]}`
	if err := os.WriteFile(nodes, fmt.Appendf(nil, `{"nodes": [`+node+", "+node+"]}",
		"fast", "192.0.2.1", target(0), "slow", "192.0.2.2", target(150*time.Millisecond)), 0o644); err != nil {
		t.Fatal(err)
	}
	g := serving(t, "nodes "+nodes+"\nsteer www\nanswers 2\nweights 0.4 0.6")
	wait(t, g, func(table *healthfeed.Table) bool {
		fast, _ := table.Lookup("fast")
		slow, _ := table.Lookup("slow")
		return fast.RTT.EWMA > 0 && slow.RTT.EWMA > fast.RTT.EWMA+100_000 // or the machine is busy
	})
	if got := summary(serve(t, g, question("www.cdn.example.", dns.TypeA, ""), resolver)); got != "NOERROR 192.0.2.1" {
		t.Errorf("got %s, want the fast one", got)
	}
}
