package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// An answer is what the name server said to a client.
type answer struct {
	addrs []netip.Addr
	ttl   uint32
	scope uint8
}

// ask sends an A query with an EDNS client subnet, as a resolver near the client
// would.
func (s *stage) ask(ctx context.Context, subnet string) (answer, error) {
	prefix, err := netip.ParsePrefix(subnet)
	if err != nil {
		return answer{}, err
	}
	family := uint16(1)
	if prefix.Addr().Is6() {
		family = 2
	}
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), dns.TypeA)
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{
		Code: dns.EDNS0SUBNET, Family: family,
		SourceNetmask: uint8(prefix.Bits()), Address: prefix.Addr().AsSlice(),
	})
	client := dns.Client{Timeout: 2 * time.Second}
	reply, _, err := client.ExchangeContext(ctx, m, s.addresses.dns.String())
	if err != nil {
		return answer{}, fmt.Errorf("asking for %s from %s: %w", name, subnet, err)
	}
	if reply.Rcode != dns.RcodeSuccess || !reply.Authoritative {
		return answer{}, fmt.Errorf("asking for %s from %s: %s, authoritative %v", name, subnet, dns.RcodeToString[reply.Rcode], reply.Authoritative)
	}
	var a answer
	for _, rr := range reply.Answer {
		if rr, ok := rr.(*dns.A); ok {
			addr, _ := netip.AddrFromSlice(rr.A.To4())
			a.addrs, a.ttl = append(a.addrs, addr), rr.Hdr.Ttl
		}
	}
	if len(a.addrs) == 0 {
		return answer{}, fmt.Errorf("asking for %s from %s: no address in the answer", name, subnet)
	}
	opt := reply.IsEdns0()
	if opt == nil {
		return answer{}, fmt.Errorf("asking for %s from %s: no EDNS in the answer", name, subnet)
	}
	for _, o := range opt.Option {
		if o, ok := o.(*dns.EDNS0_SUBNET); ok {
			a.scope = o.SourceScope
			return a, nil
		}
	}
	return answer{}, fmt.Errorf("asking for %s from %s: no client subnet in the answer", name, subnet)
}

// node returns the id of the edge that an answer names first.
func (s *stage) node(a answer) string {
	for i, e := range s.addresses.edges {
		if e.answer == a.addrs[0] {
			return edges[i].id
		}
	}
	return a.addrs[0].String()
}

// A page is what an edge sent.
type page struct {
	status      int
	cacheStatus string
	age         string
	body        string
}

// get fetches path from the edge with the given id.
func (s *stage) get(ctx context.Context, id, path string) (page, error) {
	for i, e := range edges {
		if e.id != id {
			continue
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addresses.edges[i].http.String()+path, nil)
		if err != nil {
			return page{}, err
		}
		req.Host = fmt.Sprintf("%s:%d", name, s.addresses.edges[i].http.Port())
		client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		if err != nil {
			return page{}, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, 2*staticSize))
		if err != nil {
			return page{}, err
		}
		return page{resp.StatusCode, resp.Header.Get("Cache-Status"), resp.Header.Get("Age"), string(body)}, nil
	}
	return page{}, fmt.Errorf("there is no edge %q", id)
}
