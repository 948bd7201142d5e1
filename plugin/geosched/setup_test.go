package geosched

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/healthfeed/identity/identitytest"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// block parses the properties as a geosched block of the zones cdn.example and
// cdn.test. The first property is on line 2 of Testfile.
func block(properties string) (*config, error) {
	c := caddy.NewTestController("dns", "geosched cdn.example cdn.test {\n"+properties+"\n}")
	return parse(c)
}

func TestParse(t *testing.T) {
	c, err := block(`node lon 192.0.2.1 2001:db8::1 51.5 -0.12
		node sea 192.0.2.2 47.6 -122.3 50
		check http :8080/healthz interval 1s timeout 300ms
		check tcp :443
		check https :443 host www.cdn.example status 200-299,404 body fine ca /etc/ca.pem
		check grpc :50051 service cdn.Edge tls cert /etc/me.pem key /etc/me.key timeout 1s
		check redis :6379 user probe password_env SECRET
		check icmp interval 5s
		steer www *.img
		steer @ deep.er.cdn.test.
		ns ns1 ns2.other.test. ns3.cdn.example.
		geoip a.mmdb /b.mmdb
		asn asn.mmdb
		nets nets.txt
		resolvers resolvers.txt
		ttl 300 60
		negttl 5
		answers 3
		ecs on max 20 48 trust 192.0.2.0/24 2001:db8::53
		alldown all
		feed listen 127.0.0.1:8053
		feed from http://hub.example state.json
		feed state /var/lib/state.json
		fallthrough cdn.test`)
	if err != nil {
		t.Fatal(err)
	}
	lon := c.Inline[0]
	if lon.ID != "lon" || len(lon.Addrs) != 2 || lon.Addrs[1] != netip.MustParseAddr("2001:db8::1") ||
		lon.Location.Lat != 51.5 || lon.Location.Lon != -0.12 || lon.Weight != 100 {
		t.Errorf("got %+v", lon)
	}
	if w := c.Inline[1].Weight; w != 50 {
		t.Errorf("weight %d, want 50", w)
	}
	if ch := lon.Checks[0]; ch.URL != "http://192.0.2.1:8080/healthz" || ch.Interval != time.Second || ch.Timeout != 300*time.Millisecond || !ch.Critical {
		t.Errorf("got %+v", ch)
	}
	if ch := c.Inline[1].Checks[1]; ch.Addr != "192.0.2.2:443" || ch.Type != "tcp" {
		t.Errorf("got %+v", ch)
	}
	const retries = healthfeed.DefaultRetries // until the inventory is made
	for i, want := range []healthfeed.Check{
		{Type: "http", URL: "https://192.0.2.2:443/", Host: "www.cdn.example", Status: "200-299,404", Body: "fine", CA: "/etc/ca.pem"},
		{Type: "grpc", Addr: "192.0.2.2:50051", Service: "cdn.Edge", TLS: true, Cert: "/etc/me.pem", Key: "/etc/me.key", Timeout: time.Second},
		{Type: "redis", Addr: "192.0.2.2:6379", User: "probe", PasswordEnv: "SECRET"},
		{Type: "icmp", Addr: "192.0.2.2", Interval: 5 * time.Second},
	} {
		want.Retries, want.Critical = retries, true
		if got := c.Inline[1].Checks[2+i]; got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	var names []string
	for _, s := range c.Steer {
		names = append(names, s.Name)
	}
	if got, want := strings.Join(names, " "), "www.cdn.example. www.cdn.test. *.img.cdn.example. *.img.cdn.test. cdn.example. cdn.test. deep.er.cdn.test."; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for zone, want := range map[string]string{ // absolute names serve all zones
		"cdn.example.": "ns1.cdn.example. ns2.other.test. ns3.cdn.example.",
		"cdn.test.":    "ns1.cdn.test. ns2.other.test. ns3.cdn.example.",
	} {
		if got := strings.Join(c.NS[zone], " "); got != want {
			t.Errorf("%s: got %s, want %s", zone, got, want)
		}
	}
	if c.Negative != 5 {
		t.Errorf("negttl %d", c.Negative)
	}
	if want := (steer.Policy{Answers: 3, Near: -1, Alpha: 0.4, Beta: 0.6, Epsilon: steer.DefaultEpsilon, TTL: steer.TTL{Normal: 300, Degraded: 60}}); !reflect.DeepEqual(c.Policy, want) {
		t.Errorf("got %+v", c.Policy)
	}
	if !c.ECS || c.GeoIP.MaxV4 != 20 || c.GeoIP.MaxV6 != 48 || strings.Join(c.GeoIP.Files, " ") != "a.mmdb /b.mmdb" || c.GeoIP.Nets != "nets.txt" ||
		c.GeoIP.ASN != "asn.mmdb" || c.GeoIP.Resolvers != "resolvers.txt" {
		t.Errorf("got %+v", c.GeoIP)
	}
	if want := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::53/128")}; !slices.Equal(c.Trust, want) {
		t.Errorf("trusts %v", c.Trust)
	}
	state, err := filepath.Abs("state.json") // without a root, below the working directory
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:8053" || strings.Join(c.From, " ") != "http://hub.example "+state || c.StateFile != "/var/lib/state.json" {
		t.Errorf("got %q %q %q", c.Listen, c.From, c.StateFile)
	}
	if !c.Fall.Through("a.cdn.test.") || c.Fall.Through("a.cdn.example.") {
		t.Errorf("got %+v", c.Fall)
	}
}

func TestParseDefaults(t *testing.T) {
	c, err := block("nodes nodes.json\nsteer www service web")
	if err != nil {
		t.Fatal(err)
	}
	if c.Policy.TTL.Normal != 300 || c.Policy.TTL.Degraded != 60 || c.Negative != 60 || !c.ECS || c.Policy.Answers != 1 {
		t.Errorf("got %+v", c)
	}
	if c.Steer[0].Service != "web" || c.Nodes != "nodes.json" {
		t.Errorf("got %+v", c)
	}
	if c, err = block("nodes nodes.json\nsteer www\nttl 5"); err != nil || c.Policy.TTL.Degraded != 5 {
		t.Errorf("degraded ttl %d is not cut to the normal one: %v", c.Policy.TTL.Degraded, err)
	}
	if c, err = block("nodes nodes.json\nsteer www\nttl 60 0"); err != nil || c.Policy.TTL.Degraded != 0 {
		t.Errorf("degraded ttl 0 became %d: %v", c.Policy.TTL.Degraded, err)
	}
}

// An inline check is one of nodes.json with the same defaults.
func TestParseCheckDefaults(t *testing.T) {
	c, err := block("node lon 192.0.2.1 51.5 -0.12\nsteer www\ncheck http :80")
	if err != nil {
		t.Fatal(err)
	}
	got, err := healthfeed.NewInventory(c.Inline, nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := healthfeed.ParseInventory("nodes.json", []byte(`{"nodes": [{"id": "lon", "addrs": ["192.0.2.1"],
		"location": {"lat": 51.5, "lon": -0.12}, "checks": [{"type": "http", "url": "http://192.0.2.1:80/"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Nodes, want.Nodes) {
		t.Errorf("got %+v\nwant %+v", got.Nodes, want.Nodes)
	}
}

func TestParseRefuses(t *testing.T) {
	const good = "node lon 192.0.2.1 51.5 -0.12\nsteer www\n" // lines 2 and 3
	tests := []struct {
		name, text, want string
	}{
		{"unknown-property", good + "colour blue", `Testfile:4 - Error during parsing: unknown property "colour"`},
		{"block-in-block", good + "ecs {\non\n}", `Testfile:4 - Error during parsing: "ecs" wants no block`},
		{"node-nothing", "node", `Testfile:2 - Error during parsing: node wants ID ADDRESS... LAT LON [WEIGHT]`},
		{"node-without-address", "node lon 51.5 -0.12", `Testfile:2 - Error during parsing: node "lon" has no address`},
		{"node-bad-address", "node lon 192.0.2.256 51.5 -0.12", `Testfile:2 - Error during parsing: node "lon" has no address: "192.0.2.256" is none`},
		{"node-bad-second-address", "node lon 192.0.2.1 192.0.2.x 51.5", `Testfile:2 - Error during parsing: node "lon": "192.0.2.x" is neither`},
		{"node-without-place", "node lon 192.0.2.1", `Testfile:2 - Error during parsing: node "lon" wants LAT LON`},
		{"node-too-much", "node lon 192.0.2.1 1 2 3 4", `Testfile:2 - Error during parsing: node "lon" wants LAT LON`},
		{"latitude-91", "node lon 192.0.2.1 91 0", `latitude 91`},
		{"longitude-nan", "node lon 192.0.2.1 9 nan", `longitude NaN`},
		{"weight-word", "node lon 192.0.2.1 1 2 heavy", `Testfile:2 - Error during parsing: "heavy" is not a number`},
		{"weight-negative", "node lon 192.0.2.1 1 2 -1", `Testfile:2 - Error during parsing: "-1" is not a number`},
		{"node-bad-id", "node lo/n 192.0.2.1 1 2", `"lo/n"`},
		{"node-twice", good + "node lon 192.0.2.9 1 2", `Testfile:4 - Error during parsing: node "lon" is on line 2 already`},
		{"address-twice", good + "node sea 192.0.2.1 1 2", `Testfile:4 - Error during parsing: address "192.0.2.1" belongs to the node on line 2 already`},
		{"node-and-nodes", good + "nodes nodes.json", `Testfile:2 - "node" and "nodes" exclude each other`},
		{"no-nodes", "steer www", `Testfile:1 - no nodes`},
		{"no-name", "node lon 192.0.2.1 51.5 -0.12", `Testfile:1 - no name`},
		{"nodes-twice", "nodes a\nnodes b", `Testfile:3 - Error during parsing: "nodes" is on line 2 already`},
		{"nodes-two", "nodes a b", `Testfile:2 - Error during parsing: nodes wants one argument, got "a b"`},
		{"check-type", good + "check quic :1", `Testfile:4 - Error during parsing: check type "quic" is unknown`},
		{"check-icmp-port", good + "check icmp :1", `Testfile:4 - Error during parsing: check target ":1": icmp has no port`},
		{"check-icmp-option", good + "check icmp host a", `Testfile:4 - Error during parsing: check "icmp": a check of type icmp has no host`},
		{"check-no-target", good + "check http", `Testfile:4 - Error during parsing: check wants TYPE TARGET`},
		{"check-host", good + "check http example.org:80/", `Testfile:4 - Error during parsing: check target "example.org:80/"`},
		{"check-port", good + "check tcp :70000", `Testfile:4 - Error during parsing: check target ":70000"`},
		{"check-tcp-path", good + "check tcp :80/x", `Testfile:4 - Error during parsing: check target ":80/x": tcp has no path`},
		{"check-duration", good + "check tcp :80 interval 2", `Testfile:4 - Error during parsing: "2" is not a duration`},
		{"check-duration-negative", good + "check tcp :80 timeout -2s", `Testfile:4 - Error during parsing: "-2s" is not a duration`},
		{"check-option", good + "check tcp :80 every 2s", `Testfile:4 - Error during parsing: check option "every" is unknown`},
		{"check-option-twice", good + "check tcp :80 interval 2s interval 3s", `Testfile:4 - Error during parsing: check option "interval" is given twice`},
		{"check-interval", good + "check tcp :80 interval 2h", `Testfile:4 - Error during parsing: check ":80": interval 2h0m0s is outside`},
		{"check-option-alone", good + "check tcp :80 interval", `Testfile:4 - Error during parsing: check option "interval" wants`},
		{"check-option-empty", good + "check http :80 host", `Testfile:4 - Error during parsing: check option "host" wants a value`},
		{"check-tls-twice", good + "check grpc :80 tls tls", `Testfile:4 - Error during parsing: check option "tls" is given twice`},
		{"check-tcp-host", good + "check tcp :80 host a", `Testfile:4 - Error during parsing: check ":80": a check of type tcp has no host`},
		{"check-status", good + "check http :80 status 99", `Testfile:4 - Error during parsing: check ":80/": status "99" is not a list`},
		{"check-ca", good + "check http :80 ca a.pem", `Testfile:4 - Error during parsing: check ":80/": ca "`},
		{"check-grpc-path", good + "check grpc :80/x", `Testfile:4 - Error during parsing: check target ":80/x": grpc has no path`},
		{"check-with-nodes-file", "nodes a\nsteer www\ncheck tcp :80", `Testfile:4 - "check" is for inline nodes`},
		{"steer-nothing", "steer", `Testfile:2 - Error during parsing: steer wants NAME... [service SERVICE]`},
		{"steer-without-service", good + "steer img service", `Testfile:4 - Error during parsing: steer "service" wants the name of a service`},
		{"steer-outside", good + "steer www.example.org.", `Testfile:4 - Error during parsing: name "www.example.org." is not in the zone`},
		{"steer-zone-repeated", good + "steer img.cdn.example", `Testfile:4 - Error during parsing: name "img.cdn.example" is relative`},
		{"steer-twice", good + "steer WWW", `Testfile:4 - Error during parsing: name "www.cdn.example." is steered on line 3 already`},
		{"steer-inner-wildcard", good + "steer a.*.b", `Testfile:4 - Error during parsing: name "a.*.b" has a wildcard that is not the first label`},
		{"records-nothing", good + "records", `Testfile:4 - Error during parsing: records wants FILE [shrink PCT]`},
		{"records-twice", good + "records a\nrecords b", `Testfile:5 - Error during parsing: "records" is on line 4 already`},
		{"records-option", good + "records a mmap", `Testfile:4 - Error during parsing: records option "mmap" is unknown, want shrink`},
		{"records-two-files", good + "records a b", `records option "b" is unknown`},
		{"records-shrink", good + "records a shrink", `Testfile:4 - Error during parsing: records shrink wants a percentage, got ""`},
		{"records-shrink-101", good + "records a shrink 101", `"101" is not a number from 0 to 100`},
		{"steer-not-ascii", good + "steer bücher", `Testfile:4 - Error during parsing: name "bücher" has an octet that is not printable ASCII`},
		{"steer-not-a-name", good + "steer a..b", `Testfile:4 - Error during parsing: name "a..b" has an empty label`},
		{"service-of-inline-nodes", "node lon 192.0.2.1 1 2\nsteer www service web", `Testfile:3 - service "web": inline nodes have no services`},
		{"ns-nothing", good + "ns", `Testfile:4 - Error during parsing: ns wants NAME...`},
		{"ns-wildcard", good + "ns *.x", `Testfile:4 - Error during parsing: "*.x" is not the name of a name server`},
		{"ns-twice", good + "ns a a", `Testfile:4 - Error during parsing: name server "a.cdn.example." is on line 4 already`},
		{"ns-twice-spelt-differently", good + "ns a\nns a.cdn.test.", `Testfile:5 - Error during parsing: name server "a.cdn.test." is on line 4 already`},
		{"ttl-word", good + "ttl long", `Testfile:4 - Error during parsing: "long" is not a number`},
		{"ttl-negative", good + "ttl -1", `Testfile:4 - Error during parsing: "-1" is not a number`},
		{"ttl-order", good + "ttl 60 300", `Testfile:4 - Error during parsing: degraded ttl "300" is longer`},
		{"ttl-three", good + "ttl 1 2 3", `Testfile:4 - Error during parsing: ttl wants NORMAL [DEGRADED] [adaptive], got "1 2 3"`},
		{"negttl", good + "negttl x", `Testfile:4 - Error during parsing: "x" is not a number`},
		{"answers-zero", good + "answers 0", `Testfile:4 - Error during parsing: "0" is not a number from 1 to 8`},
		{"answers-nine", good + "answers 9", `Testfile:4 - Error during parsing: "9" is not a number from 1 to 8`},
		{"cookies-twice", good + "cookies\ncookies a", `Testfile:5 - Error during parsing: "cookies" is on line 4 already`},
		{"types-nothing", good + "types", `Testfile:4 - Error during parsing: types wants TYPE...`},
		{"types-unknown", good + "types A MX", `Testfile:4 - Error during parsing: type "MX" is not one of A, AAAA, HTTPS and SVCB`},
		{"types-twice", good + "types A a", `Testfile:4 - Error during parsing: type "a" is given twice`},
		{"types-again", good + "types A\ntypes AAAA", `Testfile:5 - Error during parsing: "types" is on line 4 already`},
		{"svcparams", good + "svcparams alpn=h2 port=", `Testfile:4 - Error during parsing: service parameter "port=": want KEY`},
		{"svcparams-for-no-type", good + "svcparams alpn=h2", `Testfile:4 - "svcparams" is for HTTPS and SVCB records, and neither is among the "types"`},
		{"svcparams-nothing", good + "svcparams", `Testfile:4 - Error during parsing: svcparams wants PARAMETER...`},
		{"apex-two", good + "apex www img", `Testfile:4 - Error during parsing: apex wants one argument, got "www img"`},
		{"apex-elsewhere", good + "apex www.other.", `Testfile:4 - Error during parsing: name "www.other." is not in the zone`},
		{"apex-itself", good + "apex @", `Testfile:4 - Error during parsing: apex "@": want the name of a host`},
		{"apex-wildcard", good + "apex *", `Testfile:4 - Error during parsing: apex "*": want the name of a host`},
		{"node-cname-twice", good + "node x e.example. 0 0\nnode y E.example. 0 0", `Testfile:5 - Error during parsing: cname "E.example." belongs to the node on line 4 already`},
		{"node-cname-and-address", good + "node x 192.0.2.77 e.example. 0 0", `Testfile:4 - Error during parsing: node "x": "e.example." is neither an address nor a number of degrees`},
		{"node-cname-bad", good + "node x e..example. 0 0", `Testfile:4 - Error during parsing: node "x": cname "e..example." is not the name of a host`},
		{"ecs-nothing", good + "ecs", `Testfile:4 - Error during parsing: ecs wants on or off`},
		{"ecs-maybe", good + "ecs maybe", `Testfile:4 - Error during parsing: ecs "maybe" is unknown`},
		{"ecs-option", good + "ecs on min 10.0.0.0/8", `Testfile:4 - Error during parsing: ecs option "min" is unknown, want max or trust`},
		{"ecs-trust-nobody", good + "ecs on trust max 24 56", `Testfile:4 - Error during parsing: ecs trust wants networks`},
		{"ecs-trust-whom", good + "ecs on trust 10.0.0.1/8", `Testfile:4 - Error during parsing: "10.0.0.1/8" has bits set beyond its length, want "10.0.0.0/8"`},
		{"ecs-trust-off", good + "ecs off trust 10.0.0.0/8", `Testfile:4 - Error during parsing: ecs trust: nobody is to be believed when ecs is off`},
		{"ecs-trust-twice", good + "ecs on trust 10.0.0.0/8 trust ::1", `Testfile:4 - Error during parsing: ecs "trust" is given twice`},
		{"ecs-max-one", good + "ecs on max 24", `Testfile:4 - Error during parsing: ecs max wants two numbers`},
		{"ecs-max-33", good + "ecs on max 33 56", `Testfile:4 - Error during parsing: "33" is not a number from 1 to 32`},
		{"ecs-max-129", good + "ecs on max 24 129", `Testfile:4 - Error during parsing: "129" is not a number from 1 to 128`},
		{"fallthrough-not-a-zone", good + "fallthrough a..b", `Testfile:4 - Error during parsing: "a..b" is not a zone`},
		{"fallthrough-elsewhere", good + "fallthrough cdn.test x.cdn.tset", `Testfile:4 - Error during parsing: fallthrough "x.cdn.tset" is not in the zone cdn.example. or cdn.test.`},
		{"fallthrough-not-quite", good + "fallthrough acdn.test", `Testfile:4 - Error during parsing: fallthrough "acdn.test" is not in the zone cdn.example. or cdn.test.`},
		{"alldown", good + "alldown none", `Testfile:4 - Error during parsing: alldown "none" is unknown`},
		{"feed-tls-two", good + "feed tls a b", `Testfile:4 - Error during parsing: feed tls wants CERT KEY CA, got "a b"`},
		{"feed-tls-alone", good + "feed tls a b c", `Testfile:4 - "feed tls" is for "feed listen" and for an https URL of "feed from" or "feed etcd", and there is none of them`},
		{"feed-nothing", good + "feed", `Testfile:4 - Error during parsing: feed wants listen ADDRESS [insecure], from FILE|URL..., etcd URL..., state FILE, control TARGET... or tls CERT KEY CA`},
		{"feed-control-nothing", good + "feed control", `Testfile:4 - Error during parsing: feed control wants TARGET...`},
		{"feed-control-target", good + "feed control 192.0.2.1:53 gateway", `Testfile:4 - Error during parsing: feed control: control target "gateway": addr "gateway" is not host:port`},
		{"feed-control-target-twice", good + "feed control 192.0.2.1 192.0.2.1", `Testfile:4 - Error during parsing: feed control: "192.0.2.1" stands there twice`},
		{"feed-control-twice", good + "feed control 192.0.2.1\nfeed control 192.0.2.2", `Testfile:5 - Error during parsing: "feed control" is on line 4 already`},
		{"feed-control-from", "steer www\nfeed from http://hub.example\nfeed control 192.0.2.1", `Testfile:4 - "feed control" is about the probes of this process`},
		{"feed-unknown", good + "feed consul http://x", `Testfile:4 - Error during parsing: feed "consul" is unknown`},
		{"feed-etcd-nothing", good + "feed etcd", `Testfile:4 - Error during parsing: feed etcd wants URL...`},
		{"feed-etcd-no-url", good + "feed etcd prefix /cdn", `Testfile:4 - Error during parsing: feed etcd wants URL...`},
		{"feed-etcd-no-scheme", good + "feed etcd localhost:2379", `Testfile:4 - Error during parsing: bad etcd url "localhost:2379"`},
		{"feed-etcd-address", good + "feed etcd 127.0.0.1:2379", `Testfile:4 - Error during parsing: bad etcd url "127.0.0.1:2379": want http://host:port or https://host:port`},
		{"feed-etcd-port", good + "feed etcd http://localhost:99999", `"http://localhost:99999": "99999" is not a port`},
		{"feed-etcd-password", good + "feed etcd http://me:secret@localhost:1", `Testfile:4 - Error during parsing: bad etcd url "http://…@localhost:1": a URL stands in logs`},
		{"feed-etcd-read-prober", good + "feed etcd http://localhost:1 read prober x", `Testfile:4 - Error during parsing: feed etcd: prober "x" is for a server that measures, and with read this one does not`},
		{"feed-etcd-no-region", good + "feed etcd http://localhost:1 region", `feed etcd: "region" wants one more word`},
		{"feed-etcd-no-port", good + "feed etcd http://localhost", `"http://localhost": it has no port`},
		{"feed-etcd-word", good + "feed etcd http://localhost:1 lease 5s", `feed etcd: "lease" is unknown, want prefix, region, prober, user or read`},
		{"feed-etcd-user", good + "feed etcd http://localhost:1 user dns", `feed etcd: "user" wants NAME FILE`},
		{"feed-etcd-prefix", good + "feed etcd http://localhost:1 prefix /a//b", `feed etcd: prefix: etcd prefix "/a//b"`},
		{"feed-etcd-prober", good + "feed etcd http://localhost:1 prober a/b", `feed etcd: prober: "a/b" has the character`},
		{"feed-etcd-twice", good + "feed etcd http://localhost:1 region eu region us", `feed etcd: "region" stands there twice`},
		{"feed-listen-open", good + "feed listen :8053", `Testfile:4 - ":8053" is for everybody who reaches it: want a loopback address, "feed tls", or "insecure" behind it`},
		{"feed-listen-open-address", good + "feed listen 192.0.2.9:8053", `Testfile:4 - "192.0.2.9:8053" is for everybody`},
		{"feed-listen-insecure-tls", good + "feed tls a b c\nfeed listen :8053 insecure", `Testfile:5 - "insecure" and "feed tls" exclude each other`},
		{"feed-listen-nothing", good + "feed listen", `Testfile:4 - Error during parsing: feed listen wants one argument, and there is none`},
		{"feed-listen-unsafe", good + "feed listen :8053 unsafe", `Testfile:4 - Error during parsing: feed listen wants one argument, got ":8053 unsafe"`},
		{"feed-listen-word", good + "feed listen here", `Testfile:4 - Error during parsing: "here" is not an address`},
		{"feed-listen-port", good + "feed listen 127.0.0.1:http", `Testfile:4 - Error during parsing: "http" is not a port`},
		{"feed-listen-host", good + "feed listen edge:80", `Testfile:4 - Error during parsing: "edge" is not an IP address`},
		{"feed-listen-twice", good + "feed listen :1 insecure\nfeed listen :2", `Testfile:5 - Error during parsing: "feed listen" is on line 4 already`},
		{"feed-from-nothing", good + "feed from", `Testfile:4 - Error during parsing: feed from wants FILE|URL...`},
		{"feed-from-no-scheme", good + "feed from localhost:8053", `"localhost:8053"`},
		{"feed-from-port", good + "feed from http://x:99999", `Testfile:4 - Error during parsing: bad feed url "http://x:99999": "99999" is not a port`},
		{"feed-from-password", good + "feed from http://me:secret@x", `Testfile:4 - Error during parsing: bad feed url "http://…@x": a URL stands in logs`},
		{"feed-from-scheme", good + "feed from ftp://x/", `"ftp://x/"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := block(tt.text)
			if err == nil {
				t.Fatalf("got %+v, want an error", c)
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "Testfile:") {
				t.Errorf("got  %s\nwant Testfile:… %s", err, tt.want)
			}
		})
	}
}

func TestParseTwoBlocks(t *testing.T) {
	c := caddy.NewTestController("dns", "geosched a.example {\nnodes x\nsteer www\n}\ngeosched b.example {\nnodes x\nsteer www\n}")
	if _, err := parse(c); err == nil || !strings.Contains(err.Error(), "Testfile:5") {
		t.Errorf("got %v, want an error on line 5", err)
	}
}

// The keys of a server block may name a zone on several ports and transports.
func TestParseZones(t *testing.T) {
	tests := []struct{ zones, keys, want string }{
		{"", "cdn.example.:53 cdn.example.:1053 tls://cdn.example.:853", "[cdn.example.]"},
		{"CDN.example cdn.test.", "", "[cdn.example. cdn.test.]"},
		{"10.0.0.0/7", "", "[10.in-addr.arpa. 11.in-addr.arpa.]"},
		{"cdn.example a..b", "", `Testfile:1 - Error during parsing: "a..b" is not a zone`},
	}
	for _, tt := range tests {
		c := caddy.NewTestController("dns", "geosched "+tt.zones+" {\nnodes x\nsteer www\n}")
		c.ServerBlockKeys = strings.Fields(tt.keys)
		got := ""
		if cfg, err := parse(c); err != nil {
			got = err.Error()
		} else {
			got = fmt.Sprint(cfg.Zones)
		}
		if got != tt.want {
			t.Errorf("zones %q of %q: got %s, want %s", tt.zones, tt.keys, got, tt.want)
		}
	}
}

// What only starting can find has its place in the Corefile too.
func TestStartRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	db, err := os.ReadFile(cityDB(t, map[string][2]float64{"81.2.69.0/24": {51.5, -0.1}}))
	if err != nil {
		t.Fatal(err)
	}
	issue := func(id string) []string {
		cert, key, ca := identitytest.New(t).Issue(t.TempDir(), "spiffe://cdn.example/"+id, time.Now().Add(time.Hour))
		return []string{cert, key, ca}
	}
	const geosched = "\tgeosched {\n\t\tnode lon 192.0.2.1 51.5 -0.12\n\t\tsteer www\n" // lines 3 to 5
	tests := []struct {
		name, body string
		want       []string
	}{
		{"geoip-missing", geosched + "geoip /nonexistent.mmdb\n}", []string{"Corefile:6", "/nonexistent.mmdb"}},
		{"geoip-truncated", geosched + "geoip " + file("cut.mmdb", string(db[:len(db)-20])) + "\n}", []string{"Corefile:6", "cut.mmdb"}},
		{"nets-missing", geosched + "nets /nonexistent\n}", []string{"Corefile:6", "/nonexistent"}},
		{"nets-bad", geosched + "nets " + file("nets", "# first\n10.0.0.0/8 up\n") + "\n}", []string{"Corefile:6", "nets:2", `"up"`}},
		{"nets-bad-geoip-good", geosched + "geoip " + file("good.mmdb", string(db)) + "\nnets " + file("nets3", "up\n") + "\n}", []string{"Corefile:7", "nets3:1", `"up"`}},
		{"geoip-bad-nets-good", geosched + "geoip " + file("bad.mmdb", "up") + "\nnets " + file("nets4", "") + "\n}", []string{"Corefile:6", "bad.mmdb"}},
		{"etcd-without-password", geosched + "feed etcd http://127.0.0.1:1 user dns /nonexistent/password\n}", []string{"Corefile:6", "/nonexistent/password"}},
		{"etcd-without-certificate", geosched + "feed etcd https://127.0.0.1:1\nfeed tls /nonexistent/cert /nonexistent/key /nonexistent/ca\n}", []string{"Corefile:6", "/nonexistent/cert"}},
		{"state-in-no-directory", geosched + "feed state /nonexistent/feed.json\n}", []string{"Corefile:6", "/nonexistent"}},
		{"state-is-a-directory", geosched + "feed state " + t.TempDir() + "\n}", []string{"Corefile:6", "is not a regular file"}},
		{"check-without-its-file", "\tgeosched {\nnodes " + file("grpc.json", "{\"nodes\": [{\"id\": \"a\", \"addrs\": [\"192.0.2.1\"], \"checks\": [\n{\"type\": \"grpc\", \"addr\": \"192.0.2.1:1\", \"tls\": true, \"ca\": \"none.pem\"}]}]}") + "\nsteer www\n}",
			[]string{"Corefile:4", "grpc.json:2: node \"a\": check of type grpc: ", "none.pem"}},
		{"tls-missing", geosched + "feed listen 127.0.0.1:0\nfeed tls /nonexistent.pem b c\n}", []string{"Corefile:7", "/nonexistent.pem"}},
		{"tls-of-another-role", geosched + "feed listen 127.0.0.1:0\nfeed tls " + strings.Join(issue("king/ns1"), " ") + "\n}", []string{"Corefile:7", "no prober, dns, edge or operator"}},
		{"asn-missing", geosched + "asn /nonexistent\n}", []string{"Corefile:6", "/nonexistent"}},
		{"asn-without-systems", geosched + "asn " + file("places.mmdb", string(db)) + "\n}", []string{"Corefile:6", "places.mmdb", "want an ASN file"}},
		{"resolvers-missing", geosched + "resolvers /nonexistent\n}", []string{"Corefile:6", "/nonexistent"}},
		{"resolvers-bad", geosched + "nets " + file("nets5", "") + "\nresolvers " + file("res", "10.0.0.0/8 up\n") + "\n}", []string{"Corefile:7", "res:1", `"up"`}},
		{"resolvers-unknown-node", geosched + "nets " + file("nets6", "10.0.0.0/8 node lon\n") + "\nresolvers " + file("res2", "\n10.0.0.0/8 node lon2\n") + "\n}", []string{"Corefile:7", "res2:2", `"lon2"`}},
		{"nets-unknown-node", geosched + "nets " + file("nets2", "10.0.0.0/8 node lon\n\n11.0.0.0/8 node lon1\n") + "\n}", []string{"Corefile:6", "nets2:3", `"lon1"`}},
		{"nodes-missing", "\tgeosched {\nnodes /nonexistent.json\nsteer www\n}", []string{"Corefile:4", "/nonexistent.json"}},
		{"nodes-bad", "\tgeosched {\nnodes " + file("nodes.json", `{"nodes": [{"id": "a", "addr": []}]}`) + "\nsteer www\n}", []string{"Corefile:4", "nodes.json", "addr"}},
		{"service-missing", "\tgeosched {\nnodes " + file("ok.json", `{"nodes": [{"id": "a", "addrs": ["192.0.2.1"]}]}`) + "\nsteer www\nsteer img service web\n}",
			[]string{"Corefile:6", `service "web"`, "ok.json"}},
		{"listen-on-a-foreign-address", geosched + "feed listen 192.0.2.99:0 insecure\n}", []string{"Corefile:6", "192.0.2.99"}},
		{"cache-before", geosched + "}\ncache", []string{"Corefile:3", "cache stands before geosched", "RFC 7871"}},
		{"minimal-before", geosched + "}\nminimal", []string{"Corefile:3", "minimal stands before geosched", "RFC 7871"}},
		{"parse-error", geosched + "}\ngeosched", []string{"plugin/geosched: Corefile:7"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inst, err := caddy.Start(corefile(tt.body))
			if err == nil {
				stop(t, inst)
				t.Fatal("it starts")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			shared.sweep()
			if n := len(shared.things); n != 0 {
				t.Errorf("%d things are left in the pool", n)
			}
		})
	}
}

// FuzzParse: whatever a Corefile says, it is understood or refused with its
// place, and what is understood can be served.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		three + "steer www *.img @ service\nns a b.\nfallthrough x",
		"nodes f\nsteer a service b\ngeoip a b\nnets c\nttl 1 0\nnegttl 0\nanswers 8",
		"node a ::1 0 0 0\ncheck http :1/x interval 1s timeout 1ms\nsteer *\necs on max 1 128",
		three + "steer www\napex www\ntypes A HTTPS svcb\nsvcparams alpn=h3,h2 port=1 mandatory=port\ncookies a b",
		"node a e.example. 0 0 1\ncheck tcp :1\nsteer @\necs on trust 10.0.0.0/8 ::1 max 1 1\ncookies\napex x.cdn.test.",
		"feed from http://a\nfeed listen :0 insecure\nfeed state s\nsteer www.cdn.test.\nalldown all",
		"node a 1.1.1.1 90 180\nsteer \\046.x ex\\032ample\nns cdn.example.",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := block(text)
		if err != nil {
			return
		}
		names, err := newNames(c)
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.Steer {
			if f := names.find(c.Steer[i].Name); f.steered == nil || f.steered.Service != c.Steer[i].Service || !f.exists {
				t.Errorf("%q is not found", c.Steer[i].Name)
			}
		}
		for _, z := range c.Zones {
			if !names.find(z).exists || len(c.NS[z]) == 0 {
				t.Errorf("no apex or name server of %q", z)
			}
		}
	})
}

// Relative paths are below *root*.
func TestRoot(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "nodes.json"), []byte(`{"nodes": [{"id": "a", "addrs": ["192.0.2.1"]}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	start(t, "\troot "+dir+"\n\tgeosched {\n\t\tnodes nodes.json\n\t\tsteer www\n\t}")
}
