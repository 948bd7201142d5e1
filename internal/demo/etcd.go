package demo

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/freeport"
)

// With etcd there are two name servers, which probe and share what they see, and the
// nodes are in etcd alone. The first name server reaches etcd by a link that can be cut:
//
//	CoreDNS 1 ──── link ────► etcd ◄──── CoreDNS 2
//	   └────────► lon   sea   bei ◄────────┘
type sharing struct {
	etcd      *process
	second    *process // the name server
	client    netip.AddrPort
	peer      netip.AddrPort
	hub       netip.AddrPort // of the second
	dns       netip.AddrPort
	ready     netip.AddrPort
	link      *link
	endpoints [2]string // of the two name servers
}

// share starts etcd, waits for it and puts the nodes there.
func (s *stage) share(ctx context.Context, program string, inventory []byte) error {
	e := &sharing{}
	for _, into := range []*netip.AddrPort{&e.client, &e.peer, &e.hub, &e.dns, &e.ready} {
		port, err := freeport.On(localhost)
		if err != nil {
			return err
		}
		*into = netip.AddrPortFrom(localhost, port)
	}
	client, peer := "http://"+e.client.String(), "http://"+e.peer.String()
	e.etcd = &process{name: "etcd", program: program, dir: s.dir, args: []string{
		"--name", "demo", "--data-dir", s.path("etcd"), "--initial-cluster", "demo=" + peer,
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
	}}
	s.sharing = e
	if err := e.etcd.start(); err != nil {
		return err
	}
	if err := eventually(ctx, 30*time.Second, func() error {
		if err := e.etcd.alive(); err != nil {
			return fatal{err}
		}
		return e.put(ctx, "/tandem/inventory", inventory)
	}); err != nil {
		return err
	}
	var err error
	if e.link, err = newLink(e.client); err != nil {
		return err
	}
	e.endpoints = [2]string{"http://" + e.link.listener.Addr().String(), client}
	return nil
}

// etcdEndpoint is where the first name server finds etcd, "" for nowhere.
func (s *stage) etcdEndpoint() string {
	if s.sharing == nil {
		return ""
	}
	return s.sharing.endpoints[0]
}

// put puts a value by the JSON of etcd's gateway, as etcdctl would by gRPC.
func (e *sharing) put(ctx context.Context, key string, value []byte) error {
	encode := base64.StdEncoding.EncodeToString
	body, err := json.Marshal(map[string]string{"key": encode([]byte(key)), "value": encode(value)})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+e.client.String()+"/v3/kv/put", bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("etcd answers %s: %s", resp.Status, text)
	}
	return nil
}

// reasons returns why a name server has the edges in their states, by edge, of those that
// are up.
func reasons(hub netip.AddrPort) (map[string]string, error) {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + hub.String() + "/v1/nodes?format=json")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var page struct {
		Nodes []struct{ ID, State, Reason string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return nil, err
	}
	up := make(map[string]string)
	for _, n := range page.Nodes {
		if n.State == healthfeed.Up.String() {
			up[n.ID] = n.Reason
		}
	}
	return up, nil
}

// voters returns an error unless a name server judges every edge up, by the votes of
// that many probers.
func voters(hub netip.AddrPort, n int) error {
	up, err := reasons(hub)
	if err != nil {
		return err
	}
	want := fmt.Sprintf("%d of %d probers", n, n)
	for _, e := range edges {
		if up[e.id] != want {
			return fmt.Errorf("%s does not say that %s is up by %s: %v", hub, e.id, want, up)
		}
	}
	return nil
}

// votes says by whose votes each of the two name servers goes, as far as London is up.
func (s *stage) votes() string {
	if s.sharing == nil {
		return ""
	}
	var words []string
	for i, hub := range []netip.AddrPort{s.addresses.hub, s.sharing.hub} {
		up, _ := reasons(hub) // nothing is said of one that does not answer
		if votes, ok := strings.CutSuffix(up[edges[0].id], " probers"); ok {
			words = append(words, fmt.Sprintf("dns-%d: %s", i+1, votes))
		}
	}
	return strings.Join(words, ", ")
}

// stop ends what shares.
func (e *sharing) stop() error {
	if e == nil {
		return nil
	}
	if e.link != nil {
		e.link.close()
	}
	return e.etcd.stop()
}

// secondCorefile is that of the second name server, made of the first one's.
func (s *stage) secondCorefile() error {
	first, err := os.ReadFile(s.path("Corefile"))
	if err != nil {
		return err
	}
	a, e := s.addresses, s.sharing
	text := strings.NewReplacer(
		"cdn.example:"+fmt.Sprint(a.dns.Port()), "cdn.example:"+fmt.Sprint(e.dns.Port()),
		a.ready.String(), e.ready.String(), a.hub.String(), e.hub.String(),
		"feed.json", "feed-2.json", e.endpoints[0], e.endpoints[1], "prober dns-1", "prober dns-2",
	).Replace(string(first))
	return os.WriteFile(s.path("Corefile-2"), []byte(text), 0o644)
}

// A link carries connections to an address, until it is cut: then those that are open
// end, and new ones are closed at once.
type link struct {
	listener net.Listener
	to       netip.AddrPort

	mu   sync.Mutex
	cut  bool
	open map[net.Conn]bool
}

func newLink(to netip.AddrPort) (*link, error) {
	l, err := net.Listen("tcp", netip.AddrPortFrom(localhost, 0).String())
	if err != nil {
		return nil, err
	}
	k := &link{listener: l, to: to, open: make(map[net.Conn]bool)}
	go k.accept()
	return k, nil
}

func (k *link) accept() {
	for {
		conn, err := k.listener.Accept()
		if err != nil {
			return
		}
		go k.carry(conn)
	}
}

func (k *link) carry(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", k.to.String())
	if err != nil {
		return
	}
	defer out.Close()
	if !k.keep(in, out) {
		return
	}
	defer k.forget(in, out)
	go func() { io.Copy(out, in); out.Close() }()
	io.Copy(in, out)
}

// keep remembers connections unless the link is cut.
func (k *link) keep(conns ...net.Conn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cut {
		return false
	}
	for _, c := range conns {
		k.open[c] = true
	}
	return true
}

func (k *link) forget(conns ...net.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range conns {
		delete(k.open, c)
	}
}

// setCut cuts the link, or heals it.
func (k *link) setCut(cut bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut = cut
	if cut {
		for c := range k.open {
			c.Close()
		}
	}
}

func (k *link) close() {
	k.setCut(true)
	k.listener.Close()
}
