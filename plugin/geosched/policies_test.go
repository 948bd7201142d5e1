package geosched

import (
	"bytes"
	"context"
	"fmt"
	"io"
	golog "log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/policy"
	"github.com/tandem-cdn/tandem/internal/steer"
)

const twoServices = `{"nodes": [
	{"id": "lon", "addrs": ["192.0.2.1"], "location": {"lat": 51.5, "lon": -0.12}, "labels": {"region": "eu"}},
	{"id": "sea", "addrs": ["192.0.2.2"], "location": {"lat": 47.6, "lon": -122.3}}],
	"services": {"web": {}, "video": {"policy": "video"}}}`

// ruled is a started geosched with a policy file.
func ruled(t testing.TB, content, more string) (g *Geosched, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "policy.json")
	write(t, file, content)
	g = serving(t, "nodes "+inventory(t, twoServices)+"\nsteer www service web\nsteer video service video\nttl 300 60\npolicy "+file+"\n"+more)
	return g, file
}

// answer is what a client of a network in Europe gets, or one elsewhere.
func answer(t testing.TB, g *Geosched, name, subnet string) string {
	t.Helper()
	m := serve(t, g, question(name+".cdn.example.", dns.TypeA, subnet), resolver)
	s, _, _ := strings.Cut(strings.TrimPrefix(summary(m), "NOERROR "), " ecs")
	if len(m.Answer) > 0 {
		s += fmt.Sprint(" ", m.Answer[0].Header().Ttl)
	}
	return s
}

// Each service has its policy, and a new file replaces them.
func TestPolicyFile(t *testing.T) {
	g, file := ruled(t, `{"policies": {"video": {"ttl": {"normal": 20}, "rules": [{"exclude": ["region=eu"], "continents": ["EU"]}]}}}`, "")
	check := func(www, video string) {
		t.Helper()
		for name, want := range map[string]string{"www": www, "video": video} {
			if got := answer(t, g, name, ""); got != want {
				t.Errorf("%s: got %s, want %s", name, got, want)
			}
		}
	}
	check("192.0.2.1 300", "192.0.2.2 20")

	write(t, file, `{"policies": {"default": {"bias": {"sea": 100}}, "video": {}}}`)
	g.policies.reload()
	check("192.0.2.2 300", "192.0.2.1 300")

	before := g.policies.book.Load()
	write(t, file, `{"policies": {"default": {"answers": 99}}}`)
	g.policies.reload()
	check("192.0.2.2 300", "192.0.2.1 300")
	if g.policies.book.Load() != before {
		t.Error("a wrong file is in use")
	}

	// A policy that is gone: the default stands in.
	write(t, file, `{"policies": {"default": {"ttl": {"normal": 9}}}}`)
	g.policies.reload()
	check("192.0.2.1 9", "192.0.2.1 9")
	if v := g.newest(); len(v.unruly) != 1 || !strings.Contains(v.unruly[0].Error(), `service "video" wants the policy "video", which is not in `+file) {
		t.Errorf("got %v", v.unruly)
	}
}

// What a new file makes of the others is said when it is taken, once, and nobody has to ask
// for it.
func TestStaleReferencesAreLoggedAtOnce(t *testing.T) {
	looking(t, 20*time.Millisecond)
	nodes := inventory(t, twoServices)
	dir := t.TempDir()
	file, candidate, nets := filepath.Join(dir, "policy.json"), filepath.Join(dir, "candidate.json"), filepath.Join(dir, "nets.txt")
	write(t, file, `{"policies": {"video": {}}}`)
	write(t, candidate, `{"policies": {"video": {}}}`)
	write(t, nets, "8.0.0.0/8 node lon\n")
	var out lockedBuffer
	golog.SetOutput(&out)
	defer golog.SetOutput(io.Discard)
	g := serving(t, "nodes "+nodes+"\nsteer www service web\nsteer video service video\npolicy "+file+"\nshadow "+candidate+"\nnets "+nets)
	for _, step := range []struct{ file, text, want string }{
		{file, `{"policies": {"video": {"bias": {"rome": 2}}}}`, file + `:1: policy "video": there is no node "rome"`},
		{candidate, `{"policies": {"video": {"bias": {"oslo": 2}}}}`, candidate + `:1: policy "video": there is no node "oslo"`},
		{nets, "8.0.0.0/8 node lon\n9.0.0.0/8 node bonn lon\n", nets + `:2: there is no node "bonn"`},
		{nodes, strings.Replace(twoServices, `"video"`, `"videos"`, 1), `service "video" is not in the inventory`},
	} {
		write(t, step.file, step.text)
		for began := time.Now(); !strings.Contains(out.String(), step.want); time.Sleep(5 * time.Millisecond) {
			if time.Since(began) > time.Minute {
				t.Fatalf("the log does not say %s:\n%s", step.want, out.String())
			}
		}
	}
	for range 100 { // which say nothing more
		serve(t, g, question("www.cdn.example.", dns.TypeA, ""), resolver)
	}
	for want, most := range map[string]int{`"rome"`: 2, `"oslo"`: 2, `"bonn"`: 2, "is not in the inventory": 1} { // the last file makes a view, too
		if n := strings.Count(out.String(), want); n > most {
			t.Errorf("%d lines about %s", n, want)
		}
	}
}

// A lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// What is wrong at the start is said with its place.
func TestPolicyFileRefused(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]string{
		"{\"policies\": {\n\"video\": {\"answer\": 2}}}": `policy.json:2: policy "video": unknown field "answer"`,
		`{"policies": {}}`: `service "video" wants the policy "video", which is not in`,
		`{"policies": {"video": {"bias": {"lno": 2}}}}`:                                     `:1: policy "video": there is no node "lno"`,
		`{"policies": {"video": {"rules": [{"exclude": ["lon"], "asns": [1]}]}}}`:           "AS1 is asked about, and there is no ASN file",
		`{"policies": {"video": {"alldown": {"do": "cname", "cname": "www.cdn.example"}}}}`: "www.cdn.example. is steered here",
		`{"policies": {"video": {"strategy": "weighted-round-robin", "sticky": "subnet"}}}`: "exclude each other",
	} {
		file := filepath.Join(dir, "policy.json")
		write(t, file, content)
		cfg, err := block("nodes " + inventory(t, twoServices) + "\nsteer www service web\nsteer video service video\npolicy " + file)
		if err != nil {
			t.Fatal(err)
		}
		g, p, h := newGeosched(cfg), new(pool), new(holder)
		err = g.start(p, h)
		p.release(h)
		if err == nil || !strings.HasPrefix(err.Error(), "Testfile:5 - ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", content, err, want)
		}
	}
	cfg, err := block("nodes " + inventory(t, twoServices) + "\nsteer video service video")
	if err != nil {
		t.Fatal(err)
	}
	g, p, h := newGeosched(cfg), new(pool), new(holder)
	defer p.release(h)
	if err := g.start(p, h); err == nil || !strings.Contains(err.Error(), `"video", and there is no policy file`) {
		t.Errorf("got %v", err)
	}
}

// A rule about an autonomous system has its effect with the policy, and not before or
// after: the trie tells it apart when the policy is there.
func TestPolicyOfASN(t *testing.T) {
	asn := asnDB(t, map[string]uint32{"193.0.0.0/16": 64500})
	g, file := ruled(t, `{"policies": {"video": {}}}`, "asn "+asn)
	if got := answer(t, g, "video", "193.0.6.0/24"); got != "192.0.2.1 300" {
		t.Errorf("got %s", got)
	}
	write(t, file, `{"policies": {"video": {"rules": [{"exclude": ["lon"], "asns": [64500]}]}}}`)
	g.policies.reload()
	for subnet, want := range map[string]string{"193.0.6.0/24": "192.0.2.2 300", "193.1.6.0/24": "192.0.2.1 300"} {
		if got := answer(t, g, "video", subnet); got != want {
			t.Errorf("%s: got %s, want %s", subnet, got, want)
		}
	}
}

// A policy that asks about a system while a file of the geography is damaged is
// refused, once, and applied when the file has been mended.
func TestPolicyWaitsForGeography(t *testing.T) {
	asn := asnDB(t, map[string]uint32{"193.0.0.0/16": 64500})
	g, file := ruled(t, `{"policies": {"video": {}}}`, "asn "+asn)
	good, err := os.ReadFile(asn)
	if err != nil {
		t.Fatal(err)
	}
	write(t, asn, "damaged")
	write(t, file, `{"policies": {"video": {"rules": [{"exclude": ["lon"], "asns": [64500]}]}}}`)
	before := testutil.ToFloat64(reloads.WithLabelValues("refused"))
	for range 3 {
		g.policies.reload()
		g.atlas.reload()
	}
	if n := testutil.ToFloat64(reloads.WithLabelValues("refused")) - before; n != 2 {
		t.Errorf("policy and geography were refused %v times", n)
	}
	if got := answer(t, g, "video", "193.0.6.0/24"); got != "192.0.2.1 300" {
		t.Errorf("got %s", got)
	}
	write(t, asn, string(good))
	g.policies.reload()
	if got := answer(t, g, "video", "193.0.6.0/24"); got != "192.0.2.2 300" {
		t.Errorf("when it is mended: got %s", got)
	}
}

// What is answered when both are down, and whatever type is asked for.
func TestAllDownAnswers(t *testing.T) {
	for _, tt := range []struct{ alldown, a, aaaa string }{
		{"all", "NOERROR 192.0.2.1 192.0.2.2", "NOERROR auth SOA"},
		{"best", "NOERROR 192.0.2.1", "NOERROR auth SOA"},
		{"empty", "NOERROR auth SOA", "NOERROR auth SOA"},
		{"cname sorry.example.net", "NOERROR CNAME sorry.example.net.", "NOERROR CNAME sorry.example.net."},
	} {
		t.Run(tt.alldown, func(t *testing.T) {
			g := serving(t, "node lon 192.0.2.1 51.5 -0.12\nnode sea 192.0.2.2 47.6 -122.3\nsteer www @\nttl 300 60\nalldown "+tt.alldown)
			ask := func(name string, qtype uint16) string {
				return summary(serve(t, g, question(name, qtype, ""), resolver))
			}
			if got := ask("www.cdn.example.", dns.TypeA); got != "NOERROR 192.0.2.1" {
				t.Errorf("while all are up: %s", got)
			}
			vote(t, g, 1, map[string]healthfeed.State{"lon": healthfeed.Down, "sea": healthfeed.Down})
			if got := ask("www.cdn.example.", dns.TypeA); got != tt.a {
				t.Errorf("got %s, want %s", got, tt.a)
			}
			if got := ask("www.cdn.example.", dns.TypeAAAA); got != tt.aaaa {
				t.Errorf("AAAA: got %s, want %s", got, tt.aaaa)
			}
			if got := ask("cdn.example.", dns.TypeA); strings.Contains(got, "CNAME") || tt.alldown != "empty" && !strings.Contains(got, "192.0.2.1") {
				t.Errorf("apex: got %s", got)
			}
		})
	}
}

// Of classes that are far from both nodes, each stays where it is.
func TestStickyAnswers(t *testing.T) {
	g := serving(t, "node a 192.0.2.1 0 0\nnode b 192.0.2.2 0 0\nsteer www\nsticky subnet")
	nodes := make(map[string]bool)
	for _, subnet := range []string{"8.8.8.0/24", "193.0.6.0/24", "1.1.1.0/24", "41.0.0.0/24", "200.1.0.0/24"} {
		was := answer(t, g, "www", subnet)
		for range 20 {
			if is := answer(t, g, "www", subnet); is != was {
				t.Fatalf("%s: %s and then %s", subnet, was, is)
			}
		}
		nodes[was] = true
	}
	if len(nodes) != 2 {
		t.Errorf("all classes are with %v", nodes)
	}
}

// Turns are taken one after the other, so both nodes have the half of any two.
func TestTurns(t *testing.T) {
	g, _ := ruled(t, `{"policies": {"video": {"strategy": "weighted-round-robin"}}}`, "")
	got := make(map[string]int)
	for range 100 {
		got[answer(t, g, "video", "")]++
	}
	if n := got["192.0.2.1 300"]; n < 48 || n > 52 {
		t.Errorf("got %v", got)
	}
}

// The TTL is the time until a node that begins to fail is down.
func TestAdaptiveTTL(t *testing.T) {
	g := serving(t, "node lon 192.0.2.1 51.5 -0.12\nnode sea 192.0.2.2 47.6 -122.3\nsteer www\nttl 300 60 adaptive")
	if got := answer(t, g, "www", ""); got != "192.0.2.1 300" {
		t.Errorf("nothing under way: got %s", got)
	}
	r := healthfeed.Record{Prober: "test", Epoch: 1, Seq: 1, IntervalMS: 1000, TTLMS: 60_000, Nodes: map[string]healthfeed.Observation{
		"lon": {State: healthfeed.Up, Health: 100, DueMS: 200_000},
		"sea": {State: healthfeed.Up, Health: 100, DueMS: 100_000},
	}}
	if err := g.feed.Offer(&healthfeed.Snapshot{Records: []healthfeed.Aged{{Record: r}}}); err != nil {
		t.Fatal(err)
	}
	wait(t, g, func(table *healthfeed.Table) bool { return !table.Nodes[0].Due.IsZero() })
	var ttl int
	got := answer(t, g, "www", "")
	if _, err := fmt.Sscanf(got, "192.0.2.1 %d", &ttl); err != nil || ttl < 150 || ttl > 200 {
		t.Errorf("down in 200 s: got %s", got)
	}
}

// twenty are nodes enough to remember groups of them.
func twenty() string {
	var nodes strings.Builder
	for i := range 20 {
		fmt.Fprintf(&nodes, "node n%d 192.0.2.%d %d %d\n", i, i, i, 9*i-90)
	}
	return nodes.String()
}

// A group that is remembered is that of the table: it is the same answer from the cache
// and without one, before and after a node goes down.
func TestCache(t *testing.T) {
	cached := serving(t, twenty()+"steer www\ncache 100")
	plain := serving(t, twenty()+"steer www\ncache off")
	cached.dice = func() uint64 { return 7 }
	plain.dice = cached.dice
	same := func(when string) {
		t.Helper()
		for _, subnet := range []string{"8.8.8.0/24", "193.0.6.0/24", "1.1.1.0/24", "8.8.8.0/24"} {
			if got, want := answer(t, cached, "www", subnet), answer(t, plain, "www", subnet); got != want {
				t.Errorf("%s: %s: got %s, want %s", when, subnet, got, want)
			}
		}
	}
	same("all up")
	memo := cached.recall.current.Load()
	if memo == nil || memo.Table() != cached.feed.Table() {
		t.Fatalf("the memo is not of the table")
	}
	if plain.recall.current.Load() != nil {
		t.Error("cache off remembers")
	}
	before := answer(t, cached, "www", "8.8.8.0/24")
	down := make(map[string]healthfeed.State)
	for i := range 20 {
		down[fmt.Sprint("n", i)] = healthfeed.Up
		if strings.HasPrefix(before, fmt.Sprintf("192.0.2.%d ", i)) {
			down[fmt.Sprint("n", i)] = healthfeed.Down
		}
	}
	vote(t, cached, 1, down)
	vote(t, plain, 1, down)
	same("one down")
	if after := answer(t, cached, "www", "8.8.8.0/24"); after == before {
		t.Errorf("%s is down and answered", before)
	}
}

// A policy is in use as a whole and with the geography that it needs, or not at all:
// of the two policies here, each has a TTL of its own, and the second is about an
// autonomous system that nobody asked about before.
func TestPolicySwapUnderLoad(t *testing.T) {
	asn := asnDB(t, map[string]uint32{"193.0.0.0/16": 64500})
	for range 10 {
		g, file := ruled(t, `{"policies": {"video": {"ttl": {"normal": 200}}}}`, "asn "+asn)
		var done atomic.Bool
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for !done.Load() {
					if got := answer(t, g, "video", "193.0.6.0/24"); got != "192.0.2.1 200" && got != "192.0.2.2 100" {
						t.Errorf("got %s", got)
						return
					}
				}
			})
		}
		write(t, file, `{"policies": {"video": {"ttl": {"normal": 100}, "rules": [{"exclude": ["lon"], "asns": [64500]}]}}}`)
		g.policies.reload()
		if got := answer(t, g, "video", "193.0.6.0/24"); got != "192.0.2.2 100" {
			t.Errorf("after: got %s", got)
		}
		done.Store(true)
		wg.Wait()
	}
}

// The file is looked at every few seconds, until the block is gone.
func TestPolicyFileIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "policy.json")
		write(t, file, `{}`)
		s := &policies{file: file, base: steer.Policy{Answers: 1}, accept: func(*policy.Book) error { return nil }}
		s.seen = look(file)
		if err := s.load(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go keepLooking(ctx, new(bell), s.reload)
		answers := func() int {
			time.Sleep(2 * lookInterval())
			synctest.Wait()
			p, _ := s.book.Load().Lookup(policy.Default)
			return p.Answers
		}
		for _, step := range []struct {
			content string
			want    int
		}{{`{"policies": {"default": {"answers": 3}}}`, 3}, {`{"policies": {`, 3}, {`{"policies": {"default": {"answers": 4}}}`, 4}} {
			write(t, file, step.content)
			if got := answers(); got != step.want {
				t.Errorf("%s: %d answers, want %d", step.content, got, step.want)
			}
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if got := answers(); got != 4 {
			t.Errorf("without a file: %d answers", got)
		}
		cancel()
	})
}
