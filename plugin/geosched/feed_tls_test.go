package geosched

import (
	"net/http"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/healthfeed/identity/identitytest"
)

// Two name servers meet by their certificates; nobody without one reads the feed.
func TestFeedTLS(t *testing.T) {
	a := identitytest.New(t)
	tls := func(id string) string {
		cert, key, ca := a.Issue(t.TempDir(), "spiffe://cdn.example/"+id, time.Now().Add(time.Hour))
		return "feed tls " + cert + " " + key + " " + ca
	}
	first := run(t, "\tgeosched {\n\t\tnode lon 192.0.2.1 51.5 -0.12\n\t\tnode sea 192.0.2.2 47.6 -122.3\n\t\tsteer www\n\t\tfeed listen 127.0.0.1:0\n\t\t"+tls("dns/ns1")+"\n\t}")
	defer stop(t, first)
	vote(t, only(t), 1, map[string]healthfeed.State{"lon": healthfeed.Down, "sea": healthfeed.Up})
	addr := hubAddr(t)
	g := serving(t, "feed from https://"+addr+"/\nsteer www\n"+tls("dns/ns2"))
	wait(t, g, inState("lon", healthfeed.Down))

	for _, url := range []string{"http://" + addr, "https://" + addr} {
		if r, err := http.Get(url + "/v1/feed"); err == nil && r.StatusCode < 400 {
			t.Errorf("%s answers %d to everybody", url, r.StatusCode)
		}
	}
}
