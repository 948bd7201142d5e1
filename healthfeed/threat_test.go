package healthfeed

import (
	"bytes"
	"crypto/tls"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed/identity"
	"github.com/tandem-cdn/tandem/healthfeed/identity/identitytest"
)

// These are the rows of the table in doc/design/0026-signed-records.md: who has stolen
// what, and all that comes of it. In each the CDN has the nodes a and b, edge/a is the
// node a, and dns-ns1 says that both are up.

// A cdn is what there is to attack.
type cdn struct {
	*identitytest.Authority
	hub    *Feed  // that of dns/ns1
	url    string // of its Hub
	server *httptest.Server
}

func newCDN(t *testing.T) *cdn {
	c := &cdn{Authority: identitytest.New(t)}
	files := as(t, c.Authority, "dns/ns1")
	var err error
	c.hub, err = Open(Config{Inventory: c.inventory(t), Identity: files, StateFile: filepath.Join(t.TempDir(), "f"), Log: quiet, Hasten: func(string) {}})
	do(t, err)
	t.Cleanup(run(t, c.hub))
	offer(t, c.hub, says("dns-ns1", 1, map[string]State{"a": Up, "b": Up}))
	c.url, c.server = serveAs(t, files, NewHub(c.hub))
	return c
}

func (c *cdn) inventory(t *testing.T) *Inventory {
	inv := watched(t, "a", "b")
	inv.Nodes[0].SPIFFE = "spiffe://cdn.example/edge/a"
	return inv
}

// serveAs serves with somebody's certificate.
func serveAs(t *testing.T, who *identity.Files, h http.Handler) (url string, server *httptest.Server) {
	server = httptest.NewUnstartedServer(h)
	server.Listener = tls.NewListener(server.Listener, who.Server())
	server.Config.ErrorLog = log.New(&bytes.Buffer{}, "", 0) // of those who are turned away
	server.Start()
	t.Cleanup(server.Close)
	if hub, ok := h.(*Hub); ok {
		t.Cleanup(hub.Close)
	}
	return "https://" + server.Listener.Addr().String(), server
}

// reader follows hubs as somebody.
func (c *cdn) reader(t *testing.T, inv *Inventory, urls ...string) *Feed {
	who := as(t, c.Authority, "edge/b")
	config := Config{Inventory: inv, Identity: who}
	for _, url := range urls {
		config.Sources = append(config.Sources, FromTLS(url, who.Client()))
	}
	return open(t, config)
}

func clientOf(config *tls.Config) *http.Client {
	client := directClient()
	client.Transport.(*http.Transport).TLSClientConfig = config
	return client
}

// ask asks the hub with somebody's certificate.
func (c *cdn) ask(t *testing.T, id, method, path string) int {
	t.Helper()
	client := clientOf(as(t, c.Authority, id).Client())
	defer client.CloseIdleConnections()
	r, err := http.NewRequest(method, c.url+path, nil)
	do(t, err)
	response, err := client.Do(r)
	do(t, err)
	response.Body.Close()
	return response.StatusCode
}

// forged is what somebody signs as a prober.
func forged(t *testing.T, who *identity.Files, r Record) []byte {
	t.Helper()
	f := known(t, nil, nil, quiet)
	offer(t, f, r)
	s := f.Snapshot()
	if who != nil {
		record := s.Records[0]
		data, err := (&Snapshot{Records: []Aged{record}}).encode()
		do(t, err)
		data = bytes.TrimSuffix(bytes.SplitN(data, []byte(`"records":[{"age_ms":0,`), 2)[1], []byte("]}"))
		data = append([]byte("{"), data...)
		signature, err := who.Sign(recordPurpose, data)
		do(t, err)
		s.Records[0].Signed = &Signed{data, signature}
	}
	data, err := s.encode()
	do(t, err)
	return data
}

var allDown = map[string]State{"a": Down, "b": Down}

// An edge serves no feed, votes for nobody, and drains itself.
func TestThreatEdgeKey(t *testing.T) {
	c := newCDN(t)
	thief := as(t, c.Authority, "edge/a")
	for role, names := range map[string][]string{"edge": {"edge-a", "dns-ns1", "dns-a"}} {
		for _, name := range names {
			reader := c.reader(t, c.inventory(t))
			do(t, reader.Receive(forged(t, thief, says(name, 9, allDown)), 0))
			if len(reader.Snapshot().Records) != 0 {
				t.Errorf("an %s votes as %s", role, name)
			}
		}
	}
	rogue := known(t, nil, c.inventory(t), quiet)
	offer(t, rogue, says("dns-ns1", 9, allDown))
	url, _ := serveAs(t, thief, NewHub(rogue))
	var log logbook
	who := as(t, c.Authority, "edge/b")
	reader := open(t, Config{Identity: who, Sources: []Source{FromTLS(url, who.Client())}, Log: log.logger()})
	eventually(t, "the hub is not believed", func() bool { return log.count("the role of") > 0 })
	if len(reader.Table().Nodes) != 0 {
		t.Error("an edge is believed as a hub")
	}
	for path, want := range map[string]int{"/v1/drain/b": 403, "/v1/undrain/b": 403, "/v1/drain/a": 200, "/v1/feed": 405, "/v1/nodes": 405} {
		if got := c.ask(t, "edge/a", "POST", path); got != want {
			t.Errorf("POST %s: %d, want %d", path, got, want)
		}
	}
	eventually(t, "it is drained", func() bool { return state(c.hub, "a") == Draining })
	if got := state(c.hub, "b"); got != Up {
		t.Errorf("the other node is %v", got)
	}
}

// A prober or name server has one vote, its own; against two others it decides nothing.
func TestThreatProberKey(t *testing.T) {
	for _, id := range []string{"dns/ns2", "prober/p"} {
		c := newCDN(t)
		thief := as(t, c.Authority, id)
		reader := c.reader(t, c.inventory(t))
		do(t, reader.Receive(told(t, c.hub), 0))
		third := known(t, as(t, c.Authority, "dns/ns3"), nil, quiet)
		offer(t, third, says("dns-ns3", 1, map[string]State{"a": Up, "b": Up}))
		do(t, reader.Receive(told(t, third), 0))
		for _, name := range []string{"dns-ns1", "dns-ns3", "dns-ns9", thief.Self().Prober()} {
			do(t, reader.Receive(forged(t, thief, says(name, 99, allDown)), 0))
		}
		if n := len(reader.Snapshot().Records); n != 3 {
			t.Errorf("%s: %d probers have a vote", id, n)
		}
		time.Sleep(3 * minMergeInterval)
		if state(reader, "a") != Up || state(reader, "b") != Up {
			t.Errorf("%s: its vote makes the nodes %v and %v", id, state(reader, "a"), state(reader, "b"))
		}
		if got := c.ask(t, id, "POST", "/v1/drain/a"); got != 403 {
			t.Errorf("%s drains: %d", id, got)
		}
	}
}

// A hub can hold back, and drain; it can bring back no record that was superseded,
// forge none, and give no address to those who have their own nodes. When it drains all
// they are there all the same.
func TestThreatHub(t *testing.T) {
	c := newCDN(t)
	before := told(t, c.hub)
	offer(t, c.hub, says("dns-ns1", 2, map[string]State{"a": Down, "b": Up}))
	after := told(t, c.hub)
	thief := as(t, c.Authority, "dns/ns2")
	rogue := open(t, Config{Inventory: watched(t, "a", "evil")}) // without an identity it passes on anything
	rogue.config.Inventory.Nodes[0].Addrs[0] = netip.MustParseAddr("203.0.113.66")
	url, _ := serveAs(t, thief, NewHub(rogue))
	reader := c.reader(t, c.inventory(t), url)
	do(t, reader.Receive(after, 0))
	do(t, rogue.Receive(before, 0))
	offer(t, rogue, says("dns-ns3", 1, allDown))
	do(t, rogue.Offer(&Snapshot{Overrides: []Override{{Node: "a", State: AdminDrain, Rev: 1}, {Node: "b", State: AdminDrain, Rev: 1}}}))
	eventually(t, "the drains are there", func() bool { return state(reader, "b") == Draining })
	table := reader.Table()
	if i := table.Inventory.Lookup("evil"); i >= 0 || !table.Inventory.Nodes[0].Addrs[0].Is4() || table.Inventory.Nodes[0].Addrs[0] == rogue.config.Inventory.Nodes[0].Addrs[0] {
		t.Errorf("the hub has given addresses: %v", table.Inventory.Nodes)
	}
	if r := reader.Snapshot().Records; len(r) != 1 || r[0].Seq != 2 {
		t.Errorf("the reader has %+v", r)
	}
	if s, _ := table.Lookup("a"); s.measured != Down {
		t.Errorf("what was measured of a is %v", s.measured)
	}
}

// An operator drains and takes back, and can do nothing else.
func TestThreatOperatorKey(t *testing.T) {
	c := newCDN(t)
	thief := as(t, c.Authority, "operator/jo")
	reader := c.reader(t, c.inventory(t))
	do(t, reader.Receive(forged(t, thief, says("operator-jo", 9, allDown)), 0))
	do(t, reader.Receive(forged(t, thief, says("dns-ns1", 9, allDown)), 0))
	if len(reader.Snapshot().Records) != 0 {
		t.Error("an operator votes")
	}
	for _, path := range []string{"/v1/drain/a", "/v1/undrain/a", "/v1/drain/b"} {
		if got := c.ask(t, "operator/jo", "POST", path); got != 200 {
			t.Errorf("%s: %d", path, got)
		}
	}
	eventually(t, "b is drained", func() bool { return state(c.hub, "b") == Draining })
	for path, want := range map[string]int{"/v1/up/a": 404, "/v1/feed": 405, "/v1/drain/c": 404} {
		if got := c.ask(t, "operator/jo", "POST", path); got != want {
			t.Errorf("POST %s: %d, want %d", path, got, want)
		}
	}
	if o, _ := c.hub.Override("b"); o.By != "spiffe://cdn.example/operator/jo" {
		t.Errorf("it was %q", o.By)
	}
}

// Whoever may write a file that is followed votes as a prober of any name, for the
// process that reads it. Those that read from that one do not believe it.
func TestThreatFile(t *testing.T) {
	c := newCDN(t)
	path := filepath.Join(t.TempDir(), "monitor.json")
	do(t, WriteFile(path, &Snapshot{Records: []Aged{
		{Record: says("monitor", 1, allDown)}, {Record: says("dns-ns2", 99, allDown)},
	}, Inventory: watched(t, "evil")}))
	who := as(t, c.Authority, "dns/ns2")
	hub := open(t, Config{Inventory: c.inventory(t), Identity: who, Sources: []Source{FromFile(path)}})
	eventually(t, "the file is believed", func() bool { return state(hub, "a") == Down })
	if hub.Table().Inventory.Lookup("evil") >= 0 {
		t.Error("the file brings a node beside those of the own inventory")
	}
	url, _ := serveAs(t, who, NewHub(hub))
	reader := c.reader(t, nil, url)
	eventually(t, "the reader has heard of it", func() bool { return reader.Refused() == 2 })
	if state(reader, "a") == Down || len(reader.Snapshot().Records) != 0 {
		t.Error("who reads from the hub believes the file")
	}
}

// Without a certificate of the CDN nothing is read and nothing is said.
func TestThreatNetwork(t *testing.T) {
	c := newCDN(t)
	stranger := identitytest.New(t)
	for name, config := range map[string]*tls.Config{
		"nobody": {InsecureSkipVerify: true}, "another authority": as(t, stranger, "dns/ns1").Client(),
	} {
		config.VerifyConnection = nil
		client := clientOf(config)
		if r, err := client.Get(c.url + "/v1/nodes"); err == nil {
			r.Body.Close()
			t.Errorf("%s: %d", name, r.StatusCode)
		}
		client.CloseIdleConnections()
	}
	reader := c.reader(t, c.inventory(t))
	do(t, reader.Receive(forged(t, as(t, stranger, "dns/ns1"), says("dns-ns1", 9, allDown)), 0))
	if len(reader.Snapshot().Records) != 0 {
		t.Error("another authority's prober votes")
	}
}

// Who may do what at a hub. Without a certificate of the CDN there is not even a connection.
func TestRolesAtTheHub(t *testing.T) {
	c := newCDN(t)
	const ok, soon, no, wrong = 200, 202, 403, 405
	for _, test := range []struct {
		method, path                           string
		prober, dns, edge, otherEdge, operator int
	}{
		{"GET", "/v1/feed", ok, ok, ok, ok, ok},
		{"GET", "/v1/watch", ok, ok, ok, ok, ok},
		{"GET", "/v1/nodes", ok, ok, ok, ok, ok},
		{"GET", "/v1/nodes?format=html", ok, ok, ok, ok, ok},
		{"POST", "/v1/drain/a", no, no, ok, no, ok},
		{"POST", "/v1/undrain/a", no, no, ok, no, ok},
		{"POST", "/v1/drain/b", no, no, no, no, ok},
		{"POST", "/v1/undrain/b", no, no, no, no, ok},
		{"POST", "/v1/probe/a", no, no, soon, no, soon},
		{"POST", "/v1/probe/b", no, no, no, no, soon},
		{"GET", "/v1/probe/a", wrong, wrong, wrong, wrong, wrong},
		{"GET", "/v1/drain/a", wrong, wrong, wrong, wrong, wrong},
		{"PUT", "/v1/feed", wrong, wrong, wrong, wrong, wrong},
		{"POST", "/v1/watch", wrong, wrong, wrong, wrong, wrong},
		{"DELETE", "/v1/nodes", wrong, wrong, wrong, wrong, wrong},
		{"GET", "/v1/other", 404, 404, 404, 404, 404},
	} {
		for id, want := range map[string]int{
			"prober/p": test.prober, "dns/ns2": test.dns, "edge/a": test.edge, "edge/c": test.otherEdge, "operator/jo": test.operator,
		} {
			if got := c.ask(t, id, test.method, test.path); got != want {
				t.Errorf("%s: %s %s: %d, want %d", id, test.method, test.path, got, want)
			}
		}
	}
}

// One key opens a few streams and no more, and nobody else has fewer for that.
func TestThreatStreams(t *testing.T) {
	c := newCDN(t)
	client := clientOf(as(t, c.Authority, "edge/a").Client())
	defer client.CloseIdleConnections()
	for i := range maxOfPeer + 3 {
		r, err := http.NewRequestWithContext(t.Context(), "GET", c.url+watchPath, nil)
		do(t, err)
		response, err := client.Do(r)
		do(t, err)
		defer response.Body.Close()
		if want := map[bool]int{true: 200, false: 503}[i < maxOfPeer]; response.StatusCode != want {
			t.Errorf("stream %d: %d, want %d", i+1, response.StatusCode, want)
		}
	}
	if got := c.ask(t, "edge/b", "GET", watchPath); got != 200 {
		t.Errorf("another edge: %d", got)
	}
}
