package geosched

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// explainingAt runs a block of three nodes that explains over HTTP.
func explainingAt(t testing.TB, more string) (g *Geosched, address string) {
	t.Helper()
	inst := run(t, "\tgeosched {\n"+three+"steer www *.img\nexplain http 127.0.0.1:0\n"+more+"\n}")
	t.Cleanup(func() { stop(t, inst) })
	return only(t), "http://" + webAddr(t, "explain")
}

// blockOf parses a block of one zone.
func blockOf(zone, properties string) (*config, error) {
	return parse(caddy.NewTestController("dns", "geosched "+zone+" {\n"+properties+"\n}"))
}

// fetch gets a URL and reads the answer, of the wanted status, into v.
func fetch(t testing.TB, address string, status int, v any) (header http.Header) {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		t.Fatalf("%s: %s %s, %v", address, resp.Status, body, err)
	}
	if err := json.Unmarshal(body, v); err != nil {
		t.Fatalf("%s: %v in %s", address, err, body)
	}
	return resp.Header
}

func TestExplainHTTP(t *testing.T) {
	g, at := explainingAt(t, "answers 2\nttl 120 30")
	vote(t, g, 1, map[string]healthfeed.State{"lon": healthfeed.Up, "sea": healthfeed.Down, "pek": healthfeed.Up})
	var x explanation
	header := fetch(t, at+"/v1/explain?name=WWW.cdn.example&type=a&client=8.8.8.0/24", 200, &x)
	if header.Get("Content-Type") != "application/json" || header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Cache-Control") != "no-store" {
		t.Errorf("got the header %v", header)
	}
	if x.Name != "www.cdn.example." || x.Type != "A" || x.Zone != "cdn.example." || x.Scope != 7 || !x.Degraded || x.TTL != 30 ||
		x.Client.Prefix != "8.8.8.0/24" || x.Client.Continent != "NA" || *x.Client.Lat != 39 || x.Policy.Answers != 2 || x.Policy.Near != 5 {
		t.Errorf("got %+v", x)
	}
	if len(x.Candidates) != 3 || x.Candidates[0].ID != "lon" || x.Candidates[0].Share != 1 || x.Candidates[2].Fate != "down" || *x.Candidates[0].Distance < 5000 {
		t.Errorf("got %+v", x.Candidates)
	}
	var c choice
	fetch(t, at+"/v1/choose?name=a.img.cdn.example.&client=193.0.6.77", 200, &c)
	if c.Client != "193.0.6.77/32" || c.Scope == 0 || c.TTL != 120 || c.Why != "nearest" || len(c.Nodes) != 1 || c.Nodes[0].ID != "lon" || fmt.Sprint(c.Nodes[0].Addrs) != "[192.0.2.1]" {
		t.Errorf("got %+v", c)
	}
	fetch(t, at+"/v1/choose?name=www.cdn.example&client=193.0.6.77&type=AAAA", 200, &c)
	if fmt.Sprint(c.Nodes[0].Addrs) != "[2001:db8::1]" {
		t.Errorf("got %+v", c)
	}
}

// What cannot be answered is refused by a word.
func TestExplainHTTPRefuses(t *testing.T) {
	_, at := explainingAt(t, "ecs on trust 192.0.2.0/24")
	for _, tt := range []struct {
		path   string
		status int
		want   string
	}{
		{"/v1/explain", 400, `parameter "name" is missing`},
		{"/v1/explain?name=www.cdn.example", 400, `parameter "client" is missing`},
		{"/v1/choose?name=www.cdn.example&resolver=192.0.2.1", 400, `parameter "resolver" is unknown, want name, type, client`},
		{"/v1/explain?name=a..b&client=8.8.8.8", 400, `name "a..b" is not a domain name`},
		{"/v1/explain?name=&client=8.8.8.8", 400, `name "" is not a domain name`},
		{"/v1/explain?name=www.cdn.example&name=x&client=8.8.8.8", 400, `parameter "name" is given 2 times`},
		{"/v1/explain?name=www.cdn.example&client=8.8.8", 400, `client "8.8.8" is not an address or a network`},
		{"/v1/explain?name=www.cdn.example&client=fe80::1%25eth0", 400, `client "fe80::1%eth0" is not an address or a network`},
		{"/v1/explain?name=www.cdn.example&client=::1&resolver=here", 400, `resolver "here" is not an address`},
		{"/v1/explain?name=www.cdn.example&client=::1&type=MX", 400, `type "MX" is not steered, want A`},
		{"/v1/explain?name=www.cdn.example&client=::1&alpha=2", 400, `alpha "2" is not a number from 0 to 1`},
		{"/v1/explain?name=www.cdn.example&client=::1&near=NaN", 400, `near "NaN" is not a number from 0 to 99`},
		{"/v1/explain?name=www.cdn.example&client=::1&alpha=0&beta=0", 400, `alpha and beta cannot both be 0`},
		{"/v1/explain?name=www.cdn.example&client=::1&down=lon,rome", 400, `there is no node "rome"`},
		{"/v1/map?down=rome", 400, `there is no node "rome"`},
		{"/v1/explain?name=www.cdn.example&class=zzz", 404, `there is no class "zzz"`},
		{"/v1/explain?name=cdn.example&client=::1", 404, `name "cdn.example." is not steered here`},
		{"/v1/choose?name=www.other.example&client=::1", 404, `name "www.other.example." is not steered here`},
		{"/v1/explain?name=%3Cscript%3E&client=::1", 404, `name "<script>." is not steered here`},
		{"/v1/explain?name=%zz", 400, `is not a query string`},
		{"/v1/feed", 404, "there are /, /v1/explain, /v1/choose, /v1/names and /v1/map"},
		{"/v1/names?like=w", 400, `parameter "like" is unknown, want none`},
	} {
		var got struct{ Error string }
		fetch(t, at+tt.path, tt.status, &got)
		if !strings.Contains(got.Error, tt.want) {
			t.Errorf("%s: got %s, want %s", tt.path, got.Error, tt.want)
		}
	}
	resp, err := http.Get(at + "/v1/explain?name=%3Cscript%3E&client=::1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); strings.Contains(string(body), "<") {
		t.Errorf("%s could mean something to a browser", body)
	}

	// A resolver that is not believed is where the client is, as over DNS.
	var x explanation
	fetch(t, at+"/v1/explain?name=www.cdn.example&client=8.8.8.0/24&resolver=193.0.6.1", 200, &x)
	if x.Client.ECS != "untrusted" || x.Client.Prefix != "193.0.6.1/32" || x.Scope != 0 {
		t.Errorf("got %+v", x.Client)
	}
}

// Who may ask is a matter of the transport address; and of a Host that no name of
// somebody else can resolve to.
func TestExplainHTTPAdmits(t *testing.T) {
	p, h := new(pool), new(holder)
	t.Cleanup(func() { p.release(h) })
	for zone, explain := range map[string]string{"cdn.example": "", "cdn.test": "allow 192.0.2.0/24"} {
		cfg, err := blockOf(zone, three+"steer www\nexplain http 127.0.0.1:0 "+explain)
		if err != nil {
			t.Fatal(err)
		}
		if err := newGeosched(cfg).start(p, h); err != nil {
			t.Fatal(err)
		}
	}
	e := &explainer{pool: p, addr: "127.0.0.1:0"}
	for _, tt := range []struct {
		name, from, method, host, zone string
		status                         int
	}{
		{"loopback", "127.0.0.1:1", "GET", "127.0.0.1:8054", "cdn.example", 200},
		{"loopback-6", "[::1]:1", "GET", "[::1]:8054", "cdn.example", 200},
		{"mapped", "[::ffff:127.0.0.1]:1", "GET", "localhost:8054", "cdn.example", 200},
		{"head", "127.0.0.1:1", "HEAD", "localhost", "cdn.example", 200},
		{"post", "127.0.0.1:1", "POST", "localhost", "cdn.example", 405},
		{"rebound", "127.0.0.1:1", "GET", "evil.example:8054", "cdn.example", 403},
		{"elsewhere", "203.0.113.1:1", "GET", "127.0.0.1:8054", "cdn.example", 403},
		{"allowed", "192.0.2.9:1", "GET", "ns1.example:8054", "cdn.test", 200},
		{"allowed-another-zone", "192.0.2.9:1", "GET", "ns1.example:8054", "cdn.example", 404},
		{"loopback-not-allowed", "127.0.0.1:1", "GET", "localhost", "cdn.test", 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "/v1/choose?client=8.8.8.8&name=www."+tt.zone, nil)
			r.RemoteAddr, r.Host = tt.from, tt.host
			r.Header.Set("X-Forwarded-For", "127.0.0.1")
			w := httptest.NewRecorder()
			e.ServeHTTP(w, r)
			if w.Code != tt.status {
				t.Errorf("got %d %s, want %d", w.Code, w.Body, tt.status)
			}
		})
	}
}

// Blocks that explain at one address are found in one place, and a reload closes
// nothing.
func TestExplainHTTPReload(t *testing.T) {
	inst := run(t, "\tgeosched cdn.example img.example {\n"+three+"steer www\nexplain http 127.0.0.1:0\n}")
	at := "http://" + webAddr(t, "explain")
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	status := func(query string) int {
		t.Helper()
		resp, err := client.Get(at + query)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	for range 3 {
		for _, zone := range []string{"cdn.example", "img.example"} {
			if got := status("/v1/choose?client=8.8.8.8&name=www." + zone); got != 200 {
				t.Errorf("www.%s: got %d", zone, got)
			}
		}
		inst = restart(t, inst, "\tgeosched cdn.example img.example {\n"+three+"steer www more\nexplain http 127.0.0.1:0\n}")
	}
	if got := status("/v1/choose?client=8.8.8.8&name=more.cdn.example"); got != 200 {
		t.Errorf("a name of the new block: got %d", got)
	}
	inst = restart(t, inst, "\tgeosched {\n"+three+"steer www\n}")
	if _, err := client.Get(at + "/"); err == nil {
		t.Error("it explains though it should not")
	}
	stop(t, inst)
	if n := poolSize(); n != 0 {
		t.Errorf("%d things are left", n)
	}
}

// However often a server is reloaded, and whether that succeeds, what explains and
// the shadow is there once.
func TestExplainReloadsLeakNothing(t *testing.T) {
	shadow := filepath.Join(t.TempDir(), "shadow.json")
	write(t, shadow, noLondon)
	body := "\tgeosched {\n" + three + "steer www\nexplain chaos http 127.0.0.1:0\nshadow " + shadow + "\nasn " + asnDB(t, map[string]uint32{"193.0.0.0/16": 64500}) + "\n"
	inst := run(t, body+"}")
	defer func() { stop(t, inst) }()
	at, things := webAddr(t, "explain"), poolSize()
	var goroutines int
	for i := range 40 {
		if i == 5 {
			goroutines = runtime.NumGoroutine()
		}
		if i%2 == 0 {
			inst = restart(t, inst, body+"ttl "+fmt.Sprint(i)+"\n}")
		} else if _, err := inst.Restart(corefile(body + "}\nbind 192.0.2.99")); err == nil {
			t.Fatal("it listens where it cannot")
		}
		if n := poolSize(); n != things || webAddr(t, "explain") != at {
			t.Fatalf("%d things in the pool after %d reloads, want %d", n, i+1, things)
		}
	}
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > goroutines+10 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > goroutines+10 {
		t.Errorf("%d goroutines, and %d before", n, goroutines)
	}
}

// Whatever is asked, there is an answer in JSON.
func FuzzExplainHTTP(f *testing.F) {
	for _, query := range []string{"name=www.cdn.example&client=8.8.8.0/24", "name=www.cdn.example&client=::/0&down=lon,sea&near=3", "name=%00&type=*&class=x"} {
		f.Add("/v1/explain", query)
		f.Add("/v1/choose", query)
		f.Add("/v1/map", query)
	}
	p, h := new(pool), new(holder)
	cfg, err := blockOf("cdn.example", three+"steer www\nexplain http 127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	if err := newGeosched(cfg).start(p, h); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { p.release(h) })
	e := &explainer{pool: p, addr: "127.0.0.1:0"}
	f.Fuzz(func(t *testing.T, path, query string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL, r.RemoteAddr, r.Host = &url.URL{Path: path, RawQuery: query}, "127.0.0.1:1", "localhost"
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		if path != "/" && !json.Valid(w.Body.Bytes()) || w.Code == http.StatusInternalServerError {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	})
}
