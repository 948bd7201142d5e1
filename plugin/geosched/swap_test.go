package geosched

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// swapped is one of the things that an answer rests on. It has two versions, which
// take turns, and an answer tells which one it rests on.
type swapped struct {
	name    string
	put     func(version int) // offers or writes the version
	file    string            // that it is written to, if any
	current func() any        // changes when the version is in use

	begun, done atomic.Int64 // swaps; the versions in use are from done to begun
}

// swap makes the next version the one in use. Now and then a damaged one comes first.
func (s *swapped) swap(t *testing.T) {
	was := s.current()
	if s.file != "" && s.begun.Load()%3 == 0 {
		refused := testutil.ToFloat64(reloads.WithLabelValues("refused"))
		replace(t, s.file, "damaged")
		for begun := time.Now(); testutil.ToFloat64(reloads.WithLabelValues("refused")) == refused; time.Sleep(time.Millisecond) {
			if time.Since(begun) > time.Minute {
				t.Errorf("a damaged version of %s is not refused", s.name)
				break
			}
		}
		if s.current() != was {
			t.Errorf("a damaged version of %s is in use", s.name)
		}
	}
	s.put(int(s.begun.Add(1) % 2))
	for begun := time.Now(); s.current() == was; time.Sleep(time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Errorf("a new version of %s is not taken", s.name)
			break
		}
	}
	s.done.Store(s.begun.Load())
}

// replace writes a file and renames it into place.
func replace(t *testing.T, file, text string) {
	if err := os.WriteFile(file+".new", []byte(text), 0o644); err != nil {
		t.Error(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Error(err)
	}
}

// window tells which versions an answer may rest on that was asked for when from was
// the number of swaps done: the one before, the one after, or, if there were more
// swaps than one, any.
type window [2]bool

func (s *swapped) window(from int64) (w window) {
	for i := from; i <= s.begun.Load() && i < from+2; i++ {
		w[i%2] = true
	}
	return w
}

// Everything that an answer rests on is swapped every 100 ms while clients ask as
// fast as they can, and each answer is right for what there was before the swap,
// or after it. There is an answer to each query. In between come files that are
// damaged, and change nothing.
//
//	GeoIP     where the client is: London, in a /24, or Seattle, in a /23
//	nodes     the addresses of the nodes: 192.0.2.x or 198.51.100.x
//	policy    the TTL: 100 or 200
//	records   the names: img or css
func TestSwapsUnderLoad(t *testing.T) {
	looking(t, 10*time.Millisecond)

	dir := t.TempDir()
	city, policy, records := filepath.Join(dir, "city.mmdb"), filepath.Join(dir, "policy.json"), filepath.Join(dir, "records")
	nets := [2]string{"192.0.2", "198.51.100"}
	places := [2]map[string][2]float64{{"81.2.69.0/24": {51.5, -0.1}}, {"81.2.68.0/23": {47.6, -122.3}}}
	names := [2]string{"img", "css"}
	ttls := [2]uint32{100, 200}

	var g *Geosched
	geo := &swapped{name: "geoip", file: city,
		put:     func(v int) { writeCityDB(t, city, places[v]) },
		current: func() any { return g.atlas.Trie() }}
	nodes := &swapped{name: "nodes",
		put: func(v int) {
			addr := func(n int) []netip.Addr { return []netip.Addr{netip.MustParseAddr(fmt.Sprintf("%s.%d", nets[v], n))} }
			inv, err := healthfeed.NewInventory([]healthfeed.Node{
				{ID: "lon", Addrs: addr(1), Weight: 100, Location: &healthfeed.Location{Lat: 51.5, Lon: -0.12}},
				{ID: "sea", Addrs: addr(2), Weight: 100, Location: &healthfeed.Location{Lat: 47.6, Lon: -122.3}},
			}, map[string]healthfeed.Service{"web": {}})
			if err != nil {
				t.Error(err)
			} else if err := g.feed.Offer(&healthfeed.Snapshot{Inventory: inv}); err != nil {
				t.Error(err)
			}
		},
		current: func() any { return g.feed.Table().Inventory }}
	policies := &swapped{name: "policy", file: policy,
		put: func(v int) {
			replace(t, policy, fmt.Sprintf(`{"policies": {"default": {"ttl": {"normal": %d}}}}`, ttls[v]))
		},
		current: func() any { return g.policies.book.Load() }}
	list := &swapped{name: "records", file: records,
		put:     func(v int) { replace(t, records, names[v]+" STEER web\n") },
		current: func() any { _, n := g.records.size(); return n }}

	for _, s := range []*swapped{geo, policies, list} {
		s.put(0)
	}
	inst := run(t, fmt.Sprintf("\tgeosched {\n\t\tfeed from %s\n\t\tgeoip %s\n\t\tpolicy %s\n\t\trecords %s\n\t\tsteer www service web\n\t}",
		filepath.Join(dir, "nobody"), city, policy, records))
	defer func() { stop(t, inst) }()
	g = only(t)
	before := g.feed.Table().Generation
	nodes.put(0)
	if _, err := g.feed.Next(t.Context(), before); err != nil {
		t.Fatal(err)
	}

	// right returns what is wrong with an answer, given when it was asked for.
	type times struct{ geo, nodes, policies, list int64 }
	now := func() times {
		return times{geo.done.Load(), nodes.done.Load(), policies.done.Load(), list.done.Load()}
	}
	right := func(m *dns.Msg, asked times) error {
		if name := m.Question[0].Name; name != "www.cdn.example." {
			named := list.window(asked.list)
			for v, n := range names {
				if name != n+".cdn.example." {
					continue
				}
				if m.Rcode == dns.RcodeNameError && named[1-v] {
					return nil
				}
				if !named[v] {
					return fmt.Errorf("%s is answered, and not in the records", n)
				}
			}
		}
		if len(m.Answer) != 1 {
			return fmt.Errorf("no answer")
		}
		a, scope := m.Answer[0].(*dns.A).A.String(), m.IsEdns0().Option[0].(*dns.EDNS0_SUBNET).SourceScope
		located, at, lives := geo.window(asked.geo), nodes.window(asked.nodes), policies.window(asked.policies)
		for v := range 2 {
			for n := range 2 {
				for p := range 2 {
					if located[v] && at[n] && lives[p] && a == fmt.Sprintf("%s.%d", nets[n], v+1) &&
						scope == [2]uint8{24, 23}[v] && m.Answer[0].Header().Ttl == ttls[p] {
						return nil
					}
				}
			}
		}
		return fmt.Errorf("want one of %v %v %v", located, at, lives)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var answers atomic.Int64
	var clients, swappers sync.WaitGroup
	client := func(exchange func(*dns.Msg) (*dns.Msg, error)) {
		for i := 0; ctx.Err() == nil; i++ {
			m, asked := question([3]string{"www", names[0], names[1]}[i%3]+".cdn.example.", dns.TypeA, "81.2.69.0/24"), now()
			r, err := exchange(m)
			if err == nil {
				err = right(r, asked)
			}
			if err != nil {
				t.Errorf("%v:\n%v", err, r)
				return
			}
			answers.Add(1)
		}
	}
	for range 4 {
		clients.Go(func() { // over a socket
			conn, err := dns.Dial("udp", inst.Servers()[0].LocalAddr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			c := &dns.Client{Timeout: 20 * time.Second}
			client(func(m *dns.Msg) (*dns.Msg, error) {
				r, _, err := c.ExchangeWithConn(m, conn)
				return r, err
			})
		})
	}
	for range 2 {
		clients.Go(func() { // right away
			client(func(m *dns.Msg) (*dns.Msg, error) { return serve(t, g, m, resolver), nil })
		})
	}

	swaps := 25
	if os.Getenv("TANDEM_LONG") != "" {
		swaps = 600
	}
	for _, s := range []*swapped{geo, nodes, policies, list} {
		swappers.Go(func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for range swaps {
				s.swap(t)
				<-tick.C
			}
		})
	}
	swappers.Wait()
	cancel()
	clients.Wait()
	for _, s := range []*swapped{geo, nodes, policies, list} {
		if n := s.done.Load(); n != int64(swaps) {
			t.Errorf("%s was swapped %d times, want %d", s.name, n, swaps)
		}
	}
	if n := answers.Load(); n < 100 {
		t.Errorf("only %d answers", n)
	}
	t.Logf("%d answers", answers.Load())
}
