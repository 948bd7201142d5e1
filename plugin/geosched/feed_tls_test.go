package geosched

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/healthfeed/identity"
	"github.com/tandem-cdn/tandem/healthfeed/identity/identitytest"
)

// Two name servers meet by their certificates, and what the one measures is signed;
// nobody without a certificate reads the feed.
func TestFeedTLS(t *testing.T) {
	a := identitytest.New(t)
	tls := func(id string) string {
		cert, key, ca := a.Issue(t.TempDir(), "spiffe://cdn.example/"+id, time.Now().Add(time.Hour))
		return "feed tls " + cert + " " + key + " " + ca
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	first := run(t, "\tgeosched {\n\t\tnode lon 127.0.0.1 51.5 -0.12\n\t\tnode sea ::1 47.6 -122.3\n\t\tsteer www\n\t\tcheck tcp :"+port+" interval 200ms\n\t\tfeed listen 127.0.0.1:0\n\t\t"+tls("dns/ns1")+"\n\t}")
	defer stop(t, first)
	addr := hubAddr(t)
	g := serving(t, "feed from https://"+addr+"/\nsteer www\n"+tls("dns/ns2"))
	wait(t, g, inState("sea", healthfeed.Down)) // nobody listens on ::1
	records := g.feed.Snapshot().Records
	if len(records) != 1 || records[0].Prober != "dns-ns1" || records[0].Signed == nil {
		t.Errorf("it heard %+v", records)
	}

	for _, url := range []string{"http://" + addr, "https://" + addr} {
		if r, err := http.Get(url + "/v1/feed"); err == nil && r.StatusCode < 400 {
			t.Errorf("%s answers %d to everybody", url, r.StatusCode)
		}
	}
}

// A certificate that does not fit what it is for is an error at its line, at start.
func TestFeedTLSRefuses(t *testing.T) {
	a := identitytest.New(t)
	dir := t.TempDir()
	tls := func(id string) string {
		cert, key, ca := a.Issue(filepath.Join(dir, id), "spiffe://cdn.example/"+id, time.Now().Add(time.Hour))
		return "feed tls " + cert + " " + key + " " + ca
	}
	const good = "\tgeosched {\n\t\tnode lon 192.0.2.1 51.5 -0.12\n\t\tsteer www\n\t\t"
	for _, test := range []struct{ name, body, want string }{
		{"edge-listens", "feed listen 127.0.0.1:0\n" + tls("edge/a"), "Corefile:7 - nobody reads a feed from spiffe://cdn.example/edge/a"},
		{"two-words", "feed listen 127.0.0.1:0\n" + tls("dns/eu/ns1"), "Corefile:7 - nobody reads a feed from spiffe://cdn.example/dns/eu/ns1"},
		{"other-prober", "feed listen 127.0.0.1:0\n" + tls("dns/ns1") + "\nfeed etcd http://127.0.0.1:1 prober dns-9", `Corefile:8 - prober "dns-9": the certificate of "feed tls" is for "dns-ns1"`},
		{"no-file", "feed listen 127.0.0.1:0\nfeed tls " + dir + "/none " + dir + "/none " + dir + "/none", "Corefile:7 - certificate"},
	} {
		inst, err := caddy.Start(corefile(good + test.body + "\n}"))
		if err == nil {
			stop(t, inst)
			t.Errorf("%s: it starts", test.name)
			continue
		}
		if !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		shared.sweep()
	}
}

// A reload adds feed tls to an address, changes it and takes it away; connections from
// before are of no use, and a reload that fails leaves all as it was.
func TestFeedTLSReloads(t *testing.T) {
	a, other := identitytest.New(t), identitytest.New(t)
	dir := t.TempDir()
	issue := func(a *identitytest.Authority, id string) []string {
		cert, key, ca := a.Issue(filepath.Join(dir, id), "spiffe://cdn.example/"+id, time.Now().Add(time.Hour))
		return []string{cert, key, ca}
	}
	first, second := issue(a, "dns/ns1"), issue(other, "dns/ns2")
	client := func(a *identitytest.Authority, name string) *http.Client {
		f := issue(a, "edge/"+name)
		files, err := identity.Load(f[0], f[1], f[2], nil)
		if err != nil {
			t.Fatal(err)
		}
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: files.Client(), ForceAttemptHTTP2: true}}
		t.Cleanup(c.CloseIdleConnections)
		return c
	}
	plain := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(plain.CloseIdleConnections)
	clients := map[string]*http.Client{"none": plain, "first": client(a, "a"), "second": client(other, "b")}
	inst := run(t, listening+"}")
	addr := hubAddr(t)
	expect := func(want string) {
		t.Helper()
		for name, c := range clients {
			scheme := "https"
			if name == "none" {
				scheme = "http"
			}
			status := 0
			r, err := c.Get(scheme + "://" + addr + "/v1/nodes") // over the connection of the last time, if it can
			if err == nil {
				io.Copy(io.Discard, r.Body)
				r.Body.Close()
				status = r.StatusCode
			}
			if (name == want) != (status == 200) {
				t.Errorf("%s is served, and %s gets %d, %v", want, name, status, err)
			}
		}
	}
	tls := func(files []string) string { return listening + "feed tls " + strings.Join(files, " ") + "\n}" }
	expect("none")
	inst = restart(t, inst, tls(first))
	expect("first")
	inst = restart(t, inst, tls(first)+"\n# the same")
	expect("first")
	for _, bad := range []string{listening + "}\nbind 192.0.2.99", tls(second) + "\nbind 192.0.2.99"} {
		if _, err := inst.Restart(corefile(bad)); err == nil {
			t.Fatal("it reloads")
		}
		expect("first")
	}
	inst = restart(t, inst, tls(second))
	expect("second")
	inst = restart(t, inst, listening+"}")
	expect("none")
	if hubAddr(t) != addr {
		t.Errorf("the hub moved from %s to %s", addr, hubAddr(t))
	}
	stop(t, inst)
}

// Two blocks with one address have one certificate.
func TestTwoCertificatesOnOneAddress(t *testing.T) {
	a := identitytest.New(t)
	block := func(zone, id string) string {
		cert, key, ca := a.Issue(t.TempDir(), "spiffe://cdn.example/"+id, time.Now().Add(time.Hour))
		return zone + ":0 {\n\tbind 127.0.0.1\n\tgeosched {\n\t\tnode lon 192.0.2.1 51.5 -0.12\n\t\tsteer www\n\t\tfeed listen 127.0.0.1:0\n\t\tfeed tls " +
			cert + " " + key + " " + ca + "\n\t}\n}\n"
	}
	inst, err := caddy.Start(caddy.CaddyfileInput{
		Filepath: "Corefile", ServerTypeName: "dns", Contents: []byte(block("a.example", "dns/ns1") + block("b.example", "dns/ns2")),
	})
	if err == nil {
		stop(t, inst)
		t.Fatal("it starts")
	}
	if !strings.Contains(err.Error(), "Corefile:15") || !strings.Contains(err.Error(), "another certificate") {
		t.Errorf("got %v", err)
	}
	shared.sweep()
}
