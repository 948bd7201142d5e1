package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/miekg/dns"
)

// The name that all servers steer, and its zone.
const (
	zone  = "cdn.example."
	qname = "www.cdn.example."
)

// site is where nodes are. It serves the clients of its country.
type site struct {
	country, continent string
	lat, lon           float64
	addr               netip.Addr
}

var sites = []site{
	{"GB", "EU", 51.5, -0.1, netip.MustParseAddr("192.0.2.1")},
	{"US", "NA", 39.1, -94.6, netip.MustParseAddr("192.0.2.2")},
	{"JP", "AS", 35.7, 139.7, netip.MustParseAddr("192.0.2.3")},
	{"BR", "SA", -15.8, -47.9, netip.MustParseAddr("192.0.2.4")},
}

// world is what all servers know, and what they are asked.
type world struct {
	database string // file
	networks int    // in the database

	questions []question
	load      string // file of all questions for dnsperf
}

// question asks for the clients of a prefix.
type question struct {
	prefix netip.Prefix
	want   *site
}

const (
	questions   = 4096
	networkBits = 19
)

// newWorld writes the database and the questions into dir. They are the same
// every time.
func newWorld(dir string) (*world, error) {
	rng := rand.New(rand.NewPCG(1, 2))
	w := &world{database: filepath.Join(dir, "city.mmdb"), load: filepath.Join(dir, "queries")}
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoIP2-City", RecordSize: 28})
	if err != nil {
		return nil, err
	}
	var all []question
	for first := range 224 {
		if !ordinary(first) {
			continue
		}
		for i := range 1 << (networkBits - 8) {
			var a [4]byte
			binary.BigEndian.PutUint32(a[:], uint32(first)<<24|uint32(i)<<(32-networkBits))
			s := &sites[rng.IntN(len(sites))]
			// Clients live all over the country, so neighbours differ.
			lat, lon := s.lat+6*rng.Float64()-3, s.lon+6*rng.Float64()-3
			if err := tree.Insert(&net.IPNet{IP: a[:], Mask: net.CIDRMask(networkBits, 32)}, mmdbtype.Map{
				"continent": mmdbtype.Map{"code": mmdbtype.String(s.continent)},
				"country":   mmdbtype.Map{"iso_code": mmdbtype.String(s.country)},
				"location":  mmdbtype.Map{"latitude": mmdbtype.Float64(lat), "longitude": mmdbtype.Float64(lon)},
			}); err != nil {
				return nil, err
			}
			a[2] |= byte(rng.IntN(1 << (24 - networkBits)))
			all = append(all, question{netip.PrefixFrom(netip.AddrFrom4(a), 24), s})
		}
	}
	w.networks = len(all)
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	w.questions = all[:questions]

	f, err := os.Create(w.database)
	if err != nil {
		return nil, err
	}
	if _, err := tree.WriteTo(f); err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	return w, w.writeLoad()
}

// ordinary reports whether no part of the /8 is set apart for special use.
func ordinary(first int) bool {
	switch first {
	case 0, 10, 100, 127, 169, 172, 192, 198, 203:
		return false
	}
	return true
}

// msg is the question as a message.
func (q question) msg() *dns.Msg {
	m := new(dns.Msg).SetQuestion(qname, dns.TypeA)
	m.RecursionDesired = false
	m.SetEdns0(1232, false)
	opt := m.IsEdns0()
	opt.Option = append(opt.Option, &dns.EDNS0_SUBNET{
		Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(q.prefix.Bits()), Address: q.prefix.Addr().AsSlice(),
	})
	return m
}

// writeLoad writes the questions as dnsperf reads them with -B: each message behind
// its length.
func (w *world) writeLoad() error {
	var out []byte
	for _, q := range w.questions {
		wire, err := q.msg().Pack()
		if err != nil {
			return err
		}
		out = binary.BigEndian.AppendUint16(out, uint16(len(wire)))
		out = append(out, wire...)
	}
	return os.WriteFile(w.load, out, 0o644)
}

// check asks the server at a port and compares. A server that does not steer gives
// everybody the first site.
func (w *world) check(port int, steers bool) error {
	conn, err := dns.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer conn.Close()
	c := new(dns.Client)
	for _, q := range w.questions[:512] {
		r, _, err := c.ExchangeWithConn(q.msg(), conn)
		if err != nil {
			return err
		}
		want := q.want
		if !steers {
			want = &sites[0]
		}
		if len(r.Answer) != 1 {
			return fmt.Errorf("%v: want one address, got\n%v", q.prefix, r)
		}
		if a, ok := r.Answer[0].(*dns.A); !ok || a.A.String() != want.addr.String() {
			return fmt.Errorf("%v: got %v, want %v", q.prefix, r.Answer[0], want.addr)
		}
		if scope := scopeOf(r); steers && (scope < 1 || scope > 24) {
			return fmt.Errorf("%v: the scope is %d\n%v", q.prefix, scope, r)
		}
	}
	return nil
}

// scopeOf returns the scope of an answer, -1 for none.
func scopeOf(m *dns.Msg) int {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_SUBNET); ok {
				return int(e.SourceScope)
			}
		}
	}
	return -1
}
