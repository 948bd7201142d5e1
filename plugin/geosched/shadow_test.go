package geosched

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin/metadata"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// besides returns a block with a shadow of the content.
func besides(t testing.TB, shadow string, more ...string) (g *Geosched, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "shadow.json")
	write(t, file, shadow)
	return serving(t, three+"steer www\nshadow "+file+"\n"+strings.Join(more, "\n")), file
}

const noLondon = `{"policies": {"default": {"rules": [{"exclude": ["lon"]}]}}}`

// What the shadow would do is counted, and nobody is answered by it.
func TestShadow(t *testing.T) {
	g, file := besides(t, noLondon)
	counters := []prometheus.Counter{
		shadowTotal.WithLabelValues("same"), shadowTotal.WithLabelValues("different"), shadowDecisions.WithLabelValues("pek", "nearest"),
		shadowDecisions.WithLabelValues("sea", "nearest"), shadowDecisions.WithLabelValues("lon", "nearest"),
	}
	before := make([]float64, len(counters))
	count := func() string { // since the test began
		var words []string
		for i, c := range counters {
			words = append(words, fmt.Sprint(testutil.ToFloat64(c)-before[i]))
		}
		return strings.Join(words, " ")
	}
	for i, c := range counters {
		before[i] = testutil.ToFloat64(c)
	}
	for _, tt := range []struct{ subnet, want, counted string }{
		{"193.0.6.0/24", "NOERROR 192.0.2.1 ecs 193.0.6.0/24/8", "0 1 1 0 0"},
		{"8.8.8.0/24", "NOERROR 192.0.2.2 ecs 8.8.8.0/24/7", "1 1 1 1 0"},
	} {
		if got := summary(serve(t, g, question("www.cdn.example.", dns.TypeA, tt.subnet), resolver)); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.subnet, got, tt.want)
		}
		if got := count(); got != tt.counted {
			t.Errorf("%s: counted %s, want %s", tt.subnet, got, tt.counted)
		}
	}
	write(t, file, `{"policies": {}}`)
	g.shadow.policies.reload()
	serve(t, g, question("www.cdn.example.", dns.TypeA, "193.0.6.0/24"), resolver)
	if got, want := count(), "2 1 1 1 1"; got != want {
		t.Errorf("after a reload: counted %s, want %s", got, want)
	}
	write(t, file, `{"policies": {"default": {"stratgy": "nearest"}}}`)
	g.shadow.policies.reload()
	serve(t, g, question("www.cdn.example.", dns.TypeA, "193.0.6.0/24"), resolver)
	if got, want := count(), "3 1 1 1 2"; got != want {
		t.Errorf("after a mistake: counted %s, want %s", got, want)
	}
	if n := testutil.CollectAndCount(shadowDecisions); n > 9 {
		t.Errorf("%d counters for three nodes", n)
	}
}

// The same policy chooses the same by the same dice, whatever it is; and an answer
// is the same with any shadow.
func TestShadowHasTheSameDice(t *testing.T) {
	const all = `"answers": 2, "weights": {"near": 99}`
	g, file := besides(t, `{"policies": {"default": {"answers": 2, "weights": {"near": 99}}}}`)
	policy := filepath.Join(t.TempDir(), "policy.json")
	rng := rand.New(rand.NewPCG(7, 8))
	for _, strategy := range []string{"nearest", "least-loaded", "health", "weighted-round-robin"} {
		content := `{"policies": {"default": {"strategy": "` + strategy + `", ` + all + `}}}`
		write(t, policy, content)
		write(t, file, content)
		g.policies.file = policy // as if the block had one
		for _, p := range []*policies{g.policies, g.shadow.policies} {
			if err := p.load(); err != nil {
				t.Fatal(err)
			}
		}
		for range 200 {
			c := g.clientOf(netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(rng.Uint32())}), 8), netip.MustParseAddr(resolver))
			d := g.decide(g.names.find("www.cdn.example.").steered, 0, c, "www.cdn.example.")
			if o := g.inShadow(&d, 0, c, "www.cdn.example."); !o.same(&d) || o.nodeIDs() != d.nodeIDs() || d.Len() == 0 {
				t.Fatalf("%s: chosen %s, in the shadow %s", strategy, d.nodeIDs(), o.nodeIDs())
			}
		}
	}
}

// A rule about an autonomous system divides the classes of the shadow, and leaves
// scopes as they are.
func TestShadowOfASN(t *testing.T) {
	asn := "asn " + asnDB(t, map[string]uint32{"193.0.6.0/24": 64500})
	g, file := besides(t, `{"policies": {"default": {"rules": [{"exclude": ["lon"], "asns": [64500]}]}}}`, asn)
	c := g.clientOf(netip.MustParsePrefix("193.0.6.0/24"), netip.MustParseAddr(resolver))
	d := g.decide(g.names.find("www.cdn.example.").steered, 0, c, "www.cdn.example.")
	o := g.inShadow(&d, 0, c, "www.cdn.example.")
	if d.nodeIDs() != "lon" || d.scope != 8 || d.class.ASN != 0 || o.nodeIDs() != "pek" || o.scope != 24 {
		t.Errorf("chosen %s for /%d, in the shadow %s for /%d", d.nodeIDs(), d.scope, o.nodeIDs(), o.scope)
	}
	if g.shadow.atlas == g.atlas {
		t.Error("the shadow has its way with the geography")
	}
	write(t, file, `{"policies": {}}`)
	g.shadow.policies.reload()
	if o := g.inShadow(&d, 0, c, "www.cdn.example."); o.nodeIDs() != "lon" {
		t.Errorf("in the shadow %s, without a rule", o.nodeIDs())
	}
}

func TestShadowRefuses(t *testing.T) {
	for content, want := range map[string]string{
		"": "the file is empty",
		`{"policies": {"default": {"rules": [{"exclude": ["lon"], "asns": [1]}]}}}`: "AS1 is asked about, and there is no ASN file",
		`{"policies": {"default": {"bias": {"rome": 2}}}}`:                          `there is no node "rome"`,
	} {
		file := filepath.Join(t.TempDir(), "shadow.json")
		write(t, file, content)
		cfg, err := block(three + "steer www\nshadow " + file)
		if err != nil {
			t.Fatal(err)
		}
		p, h := new(pool), new(holder)
		err = newGeosched(cfg).start(p, h)
		p.release(h)
		if err == nil || !strings.HasPrefix(err.Error(), "Testfile:") || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: got %v, want %s", content, err, want)
		}
		if len(p.things) != 0 {
			t.Errorf("%d things are left", len(p.things))
		}
	}
}

// The shadow is seen by whoever asks, and by the log.
func TestShadowShown(t *testing.T) {
	g, _ := besides(t, noLondon, "explain allow 193.0.6.0/24")
	ctx := metadata.ContextWithMetadata(context.Background())
	w, m := &test.ResponseWriter{RemoteIP: resolver}, question("www.cdn.example.", dns.TypeA, "193.0.6.0/24")
	if _, err := g.ServeDNS(ctx, request.NewScrubWriter(m, w), m); err != nil {
		t.Fatal(err)
	}
	for label, want := range map[string]string{"geosched/node": "lon", "geosched/shadow": "pek", "geosched/policy": "default"} {
		if f := metadata.ValueFunc(ctx, label); f == nil || f() != want {
			t.Errorf("%s is not %q", label, want)
		}
	}
	lines := facts(t, serve(t, g, chaos("www.cdn.example.", "193.0.6.0/24"), resolver))
	if got := lines[len(lines)-1]; got != "shadow pek" {
		t.Errorf("got %q", got)
	}
	by := func(policy string) (*explanation, error) {
		q := inquiry{g: g, name: "www.cdn.example.", zone: "cdn.example.", s: g.names.find("www.cdn.example.").steered, qtype: dns.TypeA,
			client: g.clientOf(netip.MustParsePrefix("193.0.6.0/24"), netip.Addr{}), policy: policy}
		return q.explain()
	}
	x, err := by("shadow")
	if err != nil {
		t.Fatal(err)
	}
	if x.Policy.Name != "shadow default" || x.Candidates[0].ID != "pek" || x.Candidates[2].Fate != "excluded" || x.Candidates[2].Rule != 1 || x.Shadow != nil {
		t.Errorf("got %+v", x)
	}
	if x, err = by("default"); err != nil || x.Candidates[0].ID != "lon" {
		t.Errorf("got %+v, %v", x, err)
	}
	if _, err = by("other"); err == nil || !strings.Contains(err.Error(), `policy "other" is unknown, want default, shadow`) {
		t.Errorf("got %v", err)
	}
}

// A block without a shadow pays nothing for it, and one with it allocates nothing.
func TestShadowDoesNotAllocate(t *testing.T) {
	g, _ := besides(t, noLondon)
	c := g.clientOf(netip.MustParsePrefix("193.0.6.0/24"), netip.MustParseAddr(resolver))
	d := g.decide(g.names.find("www.cdn.example.").steered, 0, c, "www.cdn.example.")
	q := &query{g: g, ctx: context.Background(), w: &remote{&net.UDPAddr{IP: net.IP{193, 0, 6, 1}, Port: 53}}, qname: "www.cdn.example.", zone: "cdn.example.", subnet: c.subnet}
	q.compare(&d, 0)
	if n := testing.AllocsPerRun(100, func() { q.compare(&d, 0) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
