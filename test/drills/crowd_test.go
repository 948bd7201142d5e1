//go:build linux

package drills

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// patience is how long clients and watchers wait for an answer. A machine with much to do is
// slow with it, and that is no mistake of the server's.
const patience = 15 * time.Second

// ask returns the address that a name server answers to clients in a subnet.
func ask(server, subnet string) (addr string, err error) {
	p := netip.MustParsePrefix(subnet)
	m := new(dns.Msg).SetQuestion("www.cdn.example.", dns.TypeA)
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()}}
	client := dns.Client{Timeout: patience}
	r, _, err := client.Exchange(m, server)
	switch {
	case err != nil:
		return "", err
	case r.Rcode != dns.RcodeSuccess || len(r.Answer) != 1:
		return "", fmt.Errorf("%s with %d records", dns.RcodeToString[r.Rcode], len(r.Answer))
	}
	a, ok := r.Answer[0].(*dns.A)
	if !ok {
		return "", fmt.Errorf("%v is no address", r.Answer[0])
	}
	return a.A.String(), nil
}

// A node is what a hub says of one.
type node struct {
	ID, State, Reason string
}

// table returns what a name server's hub says, by node.
func (v *server) table() (freshness string, nodes map[string]node) {
	client := http.Client{Timeout: patience}
	r, err := client.Get("http://" + v.hub + "/v1/nodes?format=json")
	if err != nil {
		return "", nil
	}
	defer r.Body.Close()
	var page struct {
		Freshness string
		Nodes     []node
	}
	if err := json.NewDecoder(r.Body).Decode(&page); err != nil {
		return "", nil
	}
	nodes = make(map[string]node)
	for _, n := range page.Nodes {
		nodes[n.ID] = n
	}
	return page.Freshness, nodes
}

// says reports whether the hub gives every node that state and reason, a prefix each.
func (v *server) says(state, reason string) bool {
	_, nodes := v.table()
	for _, n := range nodes {
		if !strings.HasPrefix(n.State, state) || !strings.HasPrefix(n.Reason, reason) {
			return false
		}
	}
	return len(nodes) == len(places)
}

// A crowd asks name servers all the time, and watches their hubs.
type crowd struct {
	t      *testing.T
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	queries  int
	looks    int
	mistakes []string // the first few
	total    int      // of mistakes
}

// gather sends clients of every place to each of the servers, who are to be answered with
// the edge of their place, and somebody to each hub, where no node is to be down.
func gather(t *testing.T, servers ...*server) *crowd {
	t.Helper()
	return gatherFor(t, func(place) bool { return true }, servers...)
}

// gatherFor is gather when nothing holds of edges that are not expected to be well.
func gatherFor(t *testing.T, well func(place) bool, servers ...*server) *crowd {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c := &crowd{t: t, cancel: cancel}
	for _, v := range servers {
		for _, p := range places {
			c.wg.Go(func() {
				c.every(ctx, v, 100*time.Millisecond, &c.queries, func() error {
					addr, err := ask(v.dns, p.subnet)
					if err == nil && addr != p.addr && well(p) {
						err = fmt.Errorf("the answer is %s, not %s", addr, p.addr)
					}
					if err != nil {
						return fmt.Errorf("%s for %s: %w", v.name, p.id, err)
					}
					return nil
				})
			})
		}
		c.wg.Go(func() {
			c.every(ctx, v, 100*time.Millisecond, &c.looks, func() error {
				_, nodes := v.table()
				for _, p := range places {
					if n := nodes[p.id]; n.State == "down" && well(p) {
						return fmt.Errorf("%s says that %s is down: %s", v.name, p.id, n.Reason)
					}
				}
				return nil
			})
		})
	}
	t.Cleanup(c.leave)
	return c
}

// every does something again and again, unless the server is asleep.
func (c *crowd) every(ctx context.Context, v *server, interval time.Duration, count *int, do func() error) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if v.asleep.Load() {
			continue
		}
		began := time.Now()
		err := do()
		if v.asleep.Load() {
			continue // it fell asleep meanwhile
		}
		c.mu.Lock()
		*count++
		if err != nil {
			if c.total++; len(c.mistakes) < 5 {
				c.mistakes = append(c.mistakes, began.Format("15:04:05.000 ")+err.Error())
			}
		}
		c.mu.Unlock()
	}
}

func (c *crowd) leave() { c.cancel(); c.wg.Wait() }

// content ends the asking, when enough have asked, and fails the test unless everybody was
// content.
func (c *crowd) content() {
	c.t.Helper()
	eventually(c.t, "hardly anybody asks", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.queries >= 10 && c.looks >= 3
	})
	c.leave()
	if c.total > 0 {
		c.t.Errorf("%d mistakes in %d queries and %d looks:\n%s", c.total, c.queries, c.looks, strings.Join(c.mistakes, "\n"))
	}
	c.t.Logf("%d queries answered, %d looks", c.queries, c.looks)
}
