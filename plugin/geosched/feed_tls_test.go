package geosched

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"

	"github.com/tandem-cdn/tandem/healthfeed"
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
