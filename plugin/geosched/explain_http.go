package geosched

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/internal/steer"
)

// explainer answers questions about decisions over HTTP, for all blocks that explain
// at its address. It asks the pool for them each time: so in a reload there is no
// moment at which a name is missing.
type explainer struct {
	pool *pool
	addr string // as in the Corefile
	maps mapMaker
}

// holdExplainer listens at addr.
func holdExplainer(p *pool, h *holder, addr string) error {
	_, err := holdWeb(p, h, "explain", addr, nil, func() *explainer { return &explainer{pool: p, addr: addr} })
	return err
}

// A complaint is an answer to a question that cannot be answered.
type complaint struct {
	status int
	text   string
}

// Error implements error.
func (c *complaint) Error() string { return c.text }

func bad(format string, args ...any) error {
	return &complaint{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// ServeHTTP implements http.Handler.
func (e *explainer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")

	blocks, err := e.admit(r)
	if err != nil {
		explained.WithLabelValues("refused").Inc()
		complain(w, err)
		return
	}
	var answer any
	switch what := r.URL.Path; what {
	case "/":
		explained.WithLabelValues("page").Inc()
		servePage(w, r)
		return
	case "/v1/explain":
		explained.WithLabelValues("explain").Inc()
		answer, err = explainOne(blocks, r.URL.RawQuery)
	case "/v1/choose":
		explained.WithLabelValues("choose").Inc()
		answer, err = chooseOne(blocks, r.URL.RawQuery)
	case "/v1/names":
		explained.WithLabelValues("names").Inc()
		answer, err = listNames(blocks, r.URL.RawQuery)
	case "/v1/map":
		explained.WithLabelValues("map").Inc()
		answer, err = e.maps.serve(r.Context(), blocks, r.URL.RawQuery)
	default:
		err = &complaint{http.StatusNotFound, "there are /, /v1/explain, /v1/choose, /v1/names and /v1/map"}
	}
	if err != nil {
		complain(w, err)
		return
	}
	body, done := answer.(encoded)
	if !done {
		if body, err = json.Marshal(answer); err != nil {
			complain(w, err)
			return
		}
		body = append(body, '\n')
	}
	header.Set("Content-Type", "application/json")
	w.Write(body) // an error is the client's; to HEAD the server sends no body
}

// encoded is an answer that is JSON already.
type encoded []byte

// complain answers an error, as JSON in which nothing means anything to a browser.
func complain(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if c, is := err.(*complaint); is {
		status = c.status
	}
	if status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", "GET, HEAD")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}

// admit returns the blocks that whoever sent the request may ask about.
func (e *explainer) admit(r *http.Request) (blocks []*Geosched, err error) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return nil, err
	}
	addr := from.Addr().Unmap().WithZone("")
	open := false
	for _, g := range e.pool.blocks() {
		if x := g.config.Explain; x != nil && x.HTTP == e.addr && x.allows(addr) {
			blocks = append(blocks, g)
			open = open || x.Open
		}
	}
	switch {
	case len(blocks) == 0:
		return nil, &complaint{http.StatusForbidden, fmt.Sprintf("%v may not ask", addr)}
	case !open && !numeric(r.Host):
		// A page from anywhere can have its own name resolve to a loopback
		// address, and then the browser lets it read what it gets from there.
		return nil, &complaint{http.StatusForbidden, fmt.Sprintf("host %.100q is neither an address nor localhost", r.Host)}
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return nil, &complaint{http.StatusMethodNotAllowed, "want GET or HEAD"}
	}
	return blocks, nil
}

// numeric reports whether a Host field names nothing that DNS could resolve.
func numeric(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || host == "localhost"
}

// parameters reads a query string. Each parameter is one of known, and is there at
// most once.
func parameters(raw string, known ...string) (map[string]string, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, bad("%.100q is not a query string", raw)
	}
	given := make(map[string]string)
	for key, all := range values {
		if !slices.Contains(known, key) {
			return nil, bad("parameter %.100q is unknown, want %s", key, cmp.Or(strings.Join(known, ", "), "none"))
		}
		if len(all) > 1 {
			return nil, bad("parameter %q is given %d times", key, len(all))
		}
		given[key] = all[0]
	}
	return given, nil
}

// inquire finds what the parameters name, type, client and resolver are about. The
// client may be absent if who asks needs none.
func inquire(blocks []*Geosched, given map[string]string) (q inquiry, err error) {
	word, ok := given["name"]
	if !ok {
		return q, bad("parameter %q is missing", "name")
	}
	if _, ok := dns.IsDomainName(word); !ok || word == "" {
		return q, bad("name %.100q is not a domain name", word)
	}
	q.name = strings.ToLower(dns.Fqdn(word))
	for _, g := range blocks {
		found := g.names.find(q.name)
		if to := g.config.Apex[q.name]; to != "" && found.steered == nil {
			found.steered = g.names.find(to).steered
		}
		if found.steered != nil {
			q.g, q.zone, q.s = g, found.zone, found.steered
			break
		}
	}
	if q.g == nil {
		return q, &complaint{http.StatusNotFound, fmt.Sprintf("name %.100q is not steered here", q.name)}
	}
	q.qtype = dns.TypeA
	if word, ok := given["type"]; ok {
		if q.qtype = dns.StringToType[strings.ToUpper(word)]; !slices.Contains(q.g.config.Types, q.qtype) {
			return q, bad("type %.100q is not steered, want %s", word, typeNames(q.g.config.Types))
		}
	}
	var prefix netip.Prefix
	if word, ok := given["client"]; ok {
		if prefix, ok = networkOf(word); !ok {
			return q, bad("client %.100q is not an address or a network", word)
		}
	}
	var resolver netip.Addr
	if word, ok := given["resolver"]; ok {
		if resolver, err = netip.ParseAddr(word); err != nil || resolver.Zone() != "" {
			return q, bad("resolver %.100q is not an address", word)
		}
		resolver = resolver.Unmap()
	}
	q.client = q.g.clientOf(prefix, resolver)
	q.policy = given["policy"]
	if key, ok := given["class"]; ok {
		if q.class = classOf(q.world().atlas.Trie().Classes(), key); q.class == nil {
			return q, &complaint{http.StatusNotFound, fmt.Sprintf("there is no class %.100q", key)}
		}
	}
	q.whatIf, err = whatIfOf(given)
	return q, err
}

func typeNames(types []uint16) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = dns.TypeToString[t]
	}
	return strings.Join(names, ", ")
}

// networkOf parses a network or an address.
func networkOf(word string) (netip.Prefix, bool) {
	if addr, err := netip.ParseAddr(word); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	prefix, err := netip.ParsePrefix(word)
	return prefix.Masked(), err == nil && !prefix.Addr().Is4In6()
}

// explainOne answers /v1/explain?name=&type=&client=&resolver=&policy=, and what if.
func explainOne(blocks []*Geosched, raw string) (any, error) {
	given, err := parameters(raw, append([]string{"name", "type", "client", "resolver", "class", "policy"}, whatIfWords...)...)
	if err != nil {
		return nil, err
	}
	q, err := inquire(blocks, given)
	if err != nil {
		return nil, err
	}
	if given["client"] == "" && given["resolver"] == "" && given["class"] == "" {
		return nil, bad("parameter %q is missing", "client")
	}
	return q.explain()
}

// choice is what GET /v1/choose answers: a decision, for whoever routes by HTTP.
type choice struct {
	Name       string       `json:"name"`
	Type       string       `json:"type"`
	Client     string       `json:"client"` // that located the client
	Class      string       `json:"class"`
	Scope      uint8        `json:"scope"` // bits of Client for which it is true
	TTL        uint32       `json:"ttl_s"` // seconds for which it is good
	Why        string       `json:"why"`
	Generation uint64       `json:"generation"`       // of the health table
	Nodes      []chosenNode `json:"nodes"`            // best first
	Target     string       `json:"target,omitempty"` // a name to answer with, in the place of nodes
}

type chosenNode struct {
	ID    string       `json:"id"`
	Addrs []netip.Addr `json:"addrs,omitempty"` // of the type
	CNAME string       `json:"cname,omitempty"` // in the place of addresses
}

// chooseOne answers /v1/choose?name=&client=&type=.
func chooseOne(blocks []*Geosched, raw string) (any, error) {
	given, err := parameters(raw, "name", "type", "client")
	if err != nil {
		return nil, err
	}
	q, err := inquire(blocks, given)
	if err != nil {
		return nil, err
	}
	if given["client"] == "" {
		return nil, bad("parameter %q is missing", "client")
	}
	d := q.g.decide(q.s, q.family(), q.client, q.aliasName())
	c := choice{
		Name: q.name, Type: dns.TypeToString[q.qtype], Client: d.client.String(), Class: d.class.String(),
		Scope: d.scope, TTL: q.g.ttl(&d), Why: d.Why.String(), Generation: d.table.Generation,
		Nodes: make([]chosenNode, d.Len()), Target: d.target(),
	}
	for i := range c.Nodes {
		node := &d.table.Inventory.Nodes[d.Node(i)]
		c.Nodes[i] = chosenNode{ID: node.ID, CNAME: node.CNAME}
		for _, a := range node.Addrs {
			if addressType[q.family()] == q.qtype && a.Unmap().Is4() != (q.family() == steer.IPv4) {
				continue
			}
			c.Nodes[i].Addrs = append(c.Nodes[i].Addrs, a)
		}
	}
	return c, nil
}
