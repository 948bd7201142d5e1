package healthfeed

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseInventoryRefuses(t *testing.T) {
	for _, test := range []struct {
		name, in, want string
	}{
		{"empty", "", "n:1: the file is empty"},
		{"blank", " \n\n", "n:1: the file is empty"},
		{"brace", "{", "n:1: unexpected end of the file"},
		{"cut", "{\"nodes\": [\n{\"id\": \"a\",\n", "n:2: unexpected end of the file"},
		{"cut-string", "{\"nodes\": [\n{\"id\": \"a", "n:2: unexpected end of the file"},
		{"list", "[]", "n:1: a list is not an object {…}"},
		{"null", "null", "n:1: null is not an object {…}"},
		{"word", "nodes", "n:1: invalid character 'o' in literal null (expecting 'u')"},
		{"bom", "\ufeff{}", "n:1: the file begins with a byte-order mark; write it without one (RFC 8259, section 8.1)"},
		{"no-nodes", "{}", "n:1: there are no nodes"},
		{"empty-nodes", "{\"nodes\":\n[]}", "n:1: there are no nodes"},
		{"nodes-object", "{\n\"nodes\": {}}", "n:2: an object is not a list […]"},
		{"node-string", "{\"nodes\": [\n\"lon1\"]}", "n:2: \"lon1\" is not an object {…}"},
		{"comma-list", "{\"nodes\": [\n{\"id\": \"a\", \"addrs\": [\"192.0.2.1\",\n]}]}", "n:2: a comma is followed by ']'"},
		{"comma-object", "{\"nodes\": [\n{\"id\": \"a\",\n}]}", "n:2: a comma is followed by '}'"},
		{"no-comma", "{\"nodes\": []\n\n\"services\": {}}", "n:3: invalid character '\"' after object key:value pair"},
		{"trailing", "{\"nodes\": []}\n{}", "n:2: invalid character '{' after top-level value"},
		{"comment", "{\n# no\n}", "n:2: invalid character '#' looking for beginning of object key string"},
		{"unknown-top", "{\"nodes\": [],\n\"node\": []}", "n:2: unknown field \"node\""},
		{"case", "{\"nodes\": [\n{\"ID\": \"a\"}]}", "n:2: unknown field \"ID\""},
		{"twice", "{\"nodes\": [],\n\"nodes\": []}", "n:2: field \"nodes\" is written twice"},
		{"twice-in-node", one("\"id\": \"a\",\n\"id\": \"b\""), "n:2: field \"id\" is written twice"},
		{"no-id", "{\"nodes\": [\n{}]}", "n:2: a node has no id"},
		{"id-number", one("\"id\":\n7"), "n:2: 7 is not a string"},
		{"id-character", one("\n\"id\": \"lon 1\""), "n:2: node id \"lon 1\" has the character ' '; letters, digits, '.', '_' and '-' are allowed"},
		{"id-long", one("\n\"id\": \"" + strings.Repeat("a", 65) + "\""), "n:2: node id \"" + strings.Repeat("a", 65) + "\" is not 1 to 64 characters long"},
		{"duplicate", "{\"nodes\": [\n{\"id\": \"b\", \"addrs\": [\"192.0.2.1\"]},\n{\"id\": \"a\", \"addrs\": [\"192.0.2.2\"]},\n{\"id\": \"b\", \"addrs\": [\"192.0.2.3\"]}]}", "n:4: duplicate node id \"b\""},
		{"no-addrs", one("\n\"id\": \"a\""), "n:1: node \"a\": no address"},
		{"empty-addrs", one("\"id\": \"a\",\n\"addrs\": []"), "n:2: node \"a\": no address"},
		{"cname-and-addr", node("\"cname\": \"edge.example.\""), "n:2: node \"a\": addresses and the cname \"edge.example.\" exclude each other"},
		{"cname-bad", one("\"id\": \"a\",\n\"cname\": \"edge..example\""), "n:2: node \"a\": cname \"edge..example\" is not the name of a host"},
		{"cname-root", one("\"id\": \"a\",\n\"cname\": \".\""), "n:2: node \"a\": cname \".\" is not the name of a host"},
		{"cname-address", one("\"id\": \"a\",\n\"cname\": \"192.0.2.1\""), "n:2: node \"a\": cname \"192.0.2.1\" is not the name of a host"},
		{"cname-long", one("\"id\": \"a\",\n\"cname\": \"" + strings.Repeat("a.", 127) + "example\""), "n:2: node \"a\": cname \"" + strings.Repeat("a.", 127) + "example\" is not the name of a host"},
		{"cname-taken", "{\"nodes\": [\n{\"id\": \"z\", \"cname\": \"e.example\"},\n{\"id\": \"a\", \"cname\": \"E.example.\"}]}", "n:3: node \"a\": cname e.example. belongs to node \"z\" already"},
		{"cname-params", one("\"id\": \"a\", \"cname\": \"e.example\",\n\"svcparams\": \"alpn=h2\""), "n:2: node \"a\": service parameters stand beside a cname, whose own name has them"},
		{"svcparams", node("\"svcparams\": \"alpn=h2 port=http\""), "n:2: node \"a\": service parameter \"port=http\": want KEY or KEY=VALUE such as alpn=h3,h2, with a key of RFC 9460"},
		{"service-svcparams", "{\"nodes\": [" + good + "],\n\"services\": {\"web\":\n{\"svcparams\": \"alpn=\"}}}", "n:3: service \"web\": service parameter \"alpn=\": its value is empty"},
		{"addr-bad", one("\"id\": \"a\",\n\"addrs\": [\"192.0.2.1\",\n\"1.2.3\"]"), "n:3: addrs: \"1.2.3\" is not an IP address"},
		{"addr-number", one("\"id\": \"a\",\n\"addrs\": [7]"), "n:2: addrs: 7 is not an IP address"},
		{"addr-any", one("\"id\": \"a\",\n\"addrs\": [\"0.0.0.0\"]"), "n:2: node \"a\": \"0.0.0.0\" is not an address for clients"},
		{"addr-zone", one("\"id\": \"a\",\n\"addrs\": [\"fe80::1%eth0\"]"), "n:2: node \"a\": \"fe80::1%eth0\" is not an address for clients"},
		{"addr-taken", "{\"nodes\": [\n{\"id\": \"z\", \"addrs\": [\"192.0.2.1\"]},\n{\"id\": \"a\", \"addrs\": [\"::ffff:192.0.2.1\"]}]}", "n:3: node \"a\": address 192.0.2.1 belongs to node \"z\" already"},
		{"lat", node("\"location\": {\n\"lat\": 91, \"lon\": 0}"), "n:3: node \"a\": latitude 91 is outside -90 to 90"},
		{"lon", node("\"location\": {\"lat\": 1,\n\"lon\": -180.5}"), "n:3: node \"a\": longitude -180.5 is outside -180 to 180"},
		{"half-location", node("\"location\":\n{\"lat\": 1}"), "n:3: a location needs both lat and lon"},
		{"lat-string", node("\"location\": {\n\"lat\": \"51\", \"lon\": 0}"), "n:3: lat: \"51\" is not a number"},
		{"label", node("\"labels\": {\"region\":\n7}"), "n:3: 7 is not a string"},
		{"weight-string", node("\"weight\":\n\"100\""), "n:3: weight: \"100\" is not a whole number"},
		{"weight-fraction", node("\"weight\":\n1.5"), "n:3: weight: 1.5 is not a whole number"},
		{"weight-huge", node("\"weight\":\n99999999999999999999"), "n:3: weight: 99999999999999999999 is not a whole number"},
		{"weight-negative", node("\"weight\":\n-1"), "n:3: node \"a\": weight -1 is outside 0 to 1000000"},
		{"tier", node("\n\"tier\": 256"), "n:3: node \"a\": tier 256 is outside 0 to 255"},
		{"canary", node("\n\"canary\": 1.5"), "n:3: canary: 1.5 is not more than 0 and at most 1"},
		{"canary-zero", node("\"canary\":\n0"), "n:3: canary: 0 is not more than 0 and at most 1"},
		{"release", node("\n\"release\": \"r 7\""), "n:3: node \"a\": release \"r 7\" has the character ' '; letters, digits, '.', '_' and '-' are allowed"},
		{"release-number", node("\n\"release\": 7"), "n:3: 7 is not a string"},
		{"release-and-canary", node("\"canary\": 1,\n\"release\": \"r7\""), "n:3: node \"a\": canary and release exclude each other"},
		{"capacity", node("\"capacity\": {\"rps\": 1,\n\"mbps\": -1}"), "n:3: node \"a\": capacity mbps -1 is not a positive number"},
		{"capacity-field", node("\"capacity\": {\"rps\": 1,\n\"cpu\": 1}"), "n:3: unknown field \"cpu\""},
		{"capacity-huge", node("\"capacity\": {\"rps\":\n1e999}"), "n:3: rps: 1e999 is not a number"},
		{"state", node("\n\"state\": \"maybe\""), "n:3: node \"a\": state \"maybe\" is not auto, up, drain or down"},
		{"spiffe", node("\n\"spiffe\": \"a\""), "n:3: node \"a\": spiffe \"a\" does not begin with spiffe://"},
		{"need", node("\"need\":\n\"most\""), "n:3: need: \"most\" is not all or any, of the critical checks"},
		{"need-null", node("\"need\":\nnull"), "n:3: need: null is not all or any, of the critical checks"},
		{"type", check("\n\"type\": \"quic\""), "n:3: node \"a\": check: type \"quic\" is not http, tcp, grpc, redis or icmp"},
		{"no-type", check("\"url\": \"http://a/\""), "n:2: node \"a\": check: type \"\" is not http, tcp, grpc, redis or icmp"},
		{"url", check("\"type\": \"http\",\n\"url\": \"192.0.2.1\""), "n:3: node \"a\": check: url \"192.0.2.1\": want http://host:port or https://host:port"},
		{"url-no-host", check("\"type\": \"http\",\n\"url\": \"http://:80/\""), "n:3: node \"a\": check: url \"http://:80/\": want http://host:port or https://host:port"},
		{"url-port", check("\"type\": \"http\",\n\"url\": \"http://a:99999/\""), "n:3: node \"a\": check: url \"http://a:99999/\": \"99999\" is not a port"},
		{"url-password", check("\"type\": \"http\",\n\"url\": \"http://me:secret@a/\""), "n:3: node \"a\": check: url \"http://…@a/\": a URL stands in logs; want it without a user and a password"},
		{"url-missing", check("\n\"type\": \"http\""), "n:2: node \"a\": check: url \"\": want http://host:port or https://host:port"},
		{"addr-port", check("\"type\": \"tcp\",\n\"addr\": \"192.0.2.1\""), "n:3: node \"a\": check: addr \"192.0.2.1\" is not host:port"},
		{"addr-port-0", check("\"type\": \"tcp\",\n\"addr\": \"192.0.2.1:0\""), "n:3: node \"a\": check: addr \"192.0.2.1:0\" is not host:port"},
		{"http-addr", httpCheck("\n\"addr\": \"192.0.2.1:80\""), "n:3: node \"a\": check: a check of type http has no addr"},
		{"tcp-body", check("\"type\": \"tcp\", \"addr\": \"a:1\",\n\"body\": \"x\""), "n:3: node \"a\": check: a check of type tcp has no body"},
		{"host", httpCheck("\n\"host\": \"a b\""), "n:3: node \"a\": check: host \"a b\" is not the name of a host, with or without a port"},
		{"status", httpCheck("\n\"status\": \"2xx\""), "n:3: node \"a\": check: status \"2xx\" is not a list such as 200-299,404, within 200 to 599"},
		{"status-span", httpCheck("\n\"status\": \"300-200\""), "n:3: node \"a\": check: status \"300-200\" is not a list such as 200-299,404, within 200 to 599"},
		{"status-gap", httpCheck("\n\"status\": \"200,\""), "n:3: node \"a\": check: status \"200,\" is not a list such as 200-299,404, within 200 to 599"},
		{"http-tls", httpCheck("\n\"tls\": true"), "n:3: node \"a\": check: a check of type http has no tls"},
		{"ca-plain", httpCheck("\n\"ca\": \"/ca.pem\""), "n:3: node \"a\": check: ca \"/ca.pem\" is for TLS"},
		{"cert-plain", check("\"type\": \"grpc\", \"addr\": \"a:1\",\n\"cert\": \"c\", \"key\": \"k\""), "n:3: node \"a\": check: cert \"c\" is for TLS"},
		{"cert-alone", check("\"type\": \"grpc\", \"addr\": \"a:1\", \"tls\": true,\n\"cert\": \"c\""), "n:3: node \"a\": check: cert \"c\" has no key beside it"},
		{"key-alone", check("\"type\": \"grpc\", \"addr\": \"a:1\", \"tls\": true,\n\"key\": \"k\""), "n:3: node \"a\": check: key \"k\" has no cert beside it"},
		{"grpc-addr", check("\"type\": \"grpc\",\n\"addr\": \"a\""), "n:3: node \"a\": check: addr \"a\" is not host:port"},
		{"grpc-user", check("\"type\": \"grpc\", \"addr\": \"a:1\",\n\"user\": \"u\""), "n:3: node \"a\": check: a check of type grpc has no user"},
		{"service-long", check("\"type\": \"grpc\", \"addr\": \"a:1\",\n\"service\": \"" + strings.Repeat("s", 256) + "\""), "n:3: node \"a\": check: service \"" + strings.Repeat("s", 40) + "\"… is longer than 255 bytes"},
		{"redis-user", check("\"type\": \"redis\", \"addr\": \"a:1\",\n\"user\": \"u\""), "n:3: node \"a\": check: user \"u\" has no password_file or password_env beside it"},
		{"redis-host-plain", check("\"type\": \"redis\", \"addr\": \"a:1\",\n\"host\": \"h\""), "n:3: node \"a\": check: host \"h\" is for TLS"},
		{"redis-two-passwords", check("\"type\": \"redis\", \"addr\": \"a:1\", \"password_file\": \"f\",\n\"password_env\": \"E\""), "n:3: node \"a\": check: password_file and password_env exclude each other"},
		{"foreign", httpCheck("\n\"foreign\": \"{}\""), "n:3: unknown field \"foreign\""},
		{"interval", httpCheck("\n\"interval\": \"2x\""), "n:3: interval: \"2x\" is not a duration like 2s or 500ms"},
		{"interval-number", httpCheck("\n\"interval\": 2"), "n:3: interval: 2 is not a duration like 2s or 500ms"},
		{"interval-zero", httpCheck("\n\"interval\": \"0s\""), "n:3: interval: \"0s\" is not more than zero"},
		{"interval-short", httpCheck("\n\"interval\": \"1ms\""), "n:3: node \"a\": check: interval 1ms is outside 10ms to 1h"},
		{"timeout", httpCheck("\n\"timeout\": \"1h\""), "n:3: node \"a\": check: timeout 1h0m0s is outside 1ms to 1m"},
		{"icmp-port", check("\"type\": \"icmp\",\n\"addr\": \"192.0.2.1:7\""), "n:3: node \"a\": check: addr \"192.0.2.1:7\" is not an address or the name of a host, without a port"},
		{"retries-below", httpCheck("\n\"retries\": -1"), "n:3: retries: -1 is not zero or more"},
		{"retries", httpCheck("\n\"retries\": 11"), "n:3: node \"a\": check: retries 11 is outside 0 to 10"},
		{"fall", httpCheck("\n\"fall\": 0"), "n:3: fall: 0 is not more than zero"},
		{"rise", httpCheck("\n\"rise\": 1001"), "n:3: node \"a\": check: rise 1001 is outside 1 to 1000"},
		{"critical", httpCheck("\n\"critical\": \"yes\""), "n:3: critical: \"yes\" is not true or false"},
		{"body", httpCheck("\n\"body\": \"" + strings.Repeat("x", 5121) + "\""), "n:3: node \"a\": check: body of 5121 bytes is longer than the 5120 that are searched"},
		{"service-name", "{\"nodes\": [" + good + "],\n\"services\": {\"a b\":\n{}}}", "n:3: service name \"a b\" has the character ' '; letters, digits, '.', '_' and '-' are allowed"},
		{"service-field", "{\"nodes\": [" + good + "],\n\"services\": {\"a.b\": {\n\"selec\": {}}}}", "n:3: unknown field \"selec\""},
	} {
		t.Run(test.name, func(t *testing.T) {
			inv, err := ParseInventory("n", []byte(test.in))
			if err == nil {
				t.Fatalf("taken: %+v", inv)
			}
			if err.Error() != test.want {
				t.Errorf("got  %s\nwant %s", err, test.want)
			}
		})
	}
}

const good = `{"id": "a", "addrs": ["192.0.2.1"]}`

// one is an inventory with one node of the given fields.
func one(fields string) string { return `{"nodes": [{` + fields + `}]}` }

// node adds fields to a good node, on line 2.
func node(fields string) string {
	return one("\"id\": \"a\", \"addrs\": [\"192.0.2.1\"],\n" + fields)
}

// check has a node with a check of the given fields, on line 2.
func check(fields string) string { return node(`"checks": [{` + fields + `}]`) }

func httpCheck(fields string) string { return check(`"type": "http", "url": "http://a/", ` + fields) }

func TestParseInventory(t *testing.T) {
	inv, err := ParseInventory("n", []byte(`{"nodes": [
		{"id": "lon1", "addrs": ["203.0.113.10", "2001:db8::10"], "location": {"lat": 51.5, "lon": -0.12},
		 "labels": {"region": "eu"}, "weight": 0, "tier": 1, "capacity": {"rps": 20000},
		 "state": "drain", "need": "any", "svcparams": "alpn=h3,h2 port=8443", "spiffe": "spiffe://cdn.example/edge/lon1",
		 "checks": [{"type": "http", "url": "http://203.0.113.10:8080/healthz", "retries": 0, "critical": false},
		            {"type": "tcp", "addr": "[2001:db8::10]:443", "interval": "1m", "timeout": "1s", "fall": 1, "rise": 2},
		            {"type": "http", "url": "https://203.0.113.10/", "host": "www.cdn.example:443", "status": "200,404"},
		            {"type": "grpc", "addr": "203.0.113.10:50051", "tls": true, "service": "cdn.Edge", "host": "grpc.cdn.example"},
		            {"type": "redis", "addr": "203.0.113.10:6379"}]},
		{"id": "other", "cname": "Edge.Other-CDN.example"},
		{"id": "ams1", "addrs": ["::ffff:203.0.113.20"]}],
		"services": {"web": {"select": {"region": "eu"}, "svcparams": "alpn=h2"}, "all": {}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := inv.Nodes[0]; got.ID != "ams1" || got.Weight != DefaultWeight || got.State != AdminAuto ||
		got.Addrs[0] != netip.MustParseAddr("203.0.113.20") || got.Location != nil {
		t.Errorf("defaults: %+v", got)
	}
	lon := inv.Nodes[1]
	if lon.Weight != 0 || lon.Tier != 1 || lon.State != AdminDrain || lon.Location.Lon != -0.12 || lon.Capacity.RPS != 20000 {
		t.Errorf("written: %+v", lon)
	}
	if !lon.Any || inv.Nodes[0].Any {
		t.Error("need")
	}
	if lon.SvcParams != "alpn=h3,h2 port=8443" || inv.Services["web"].SvcParams != "alpn=h2" {
		t.Errorf("service parameters: %q, %q", lon.SvcParams, inv.Services["web"].SvcParams)
	}
	if other := inv.Nodes[2]; other.CNAME != "edge.other-cdn.example." || len(other.Addrs) != 0 {
		t.Errorf("cname: %+v", other)
	}
	want := []Check{
		{Type: "http", URL: "http://203.0.113.10:8080/healthz", Interval: 2 * time.Second, Timeout: 500 * time.Millisecond, Fall: 3, Rise: 10},
		{Type: "tcp", Addr: "[2001:db8::10]:443", Interval: time.Minute, Timeout: time.Second, Retries: 2, Fall: 1, Rise: 2, Critical: true},
		{Type: "http", URL: "https://203.0.113.10/", Host: "www.cdn.example:443", Status: "200,404", Interval: 2 * time.Second, Timeout: 500 * time.Millisecond, Retries: 2, Fall: 3, Rise: 10, Critical: true},
		{Type: "grpc", Addr: "203.0.113.10:50051", TLS: true, Service: "cdn.Edge", Host: "grpc.cdn.example", Interval: 2 * time.Second, Timeout: 1500 * time.Millisecond, Fall: 3, Rise: 10, Critical: true},
		{Type: "redis", Addr: "203.0.113.10:6379", Interval: 2 * time.Second, Timeout: 500 * time.Millisecond, Retries: 2, Fall: 3, Rise: 10, Critical: true},
	}
	for i := range want {
		if lon.Checks[i] != want[i] {
			t.Errorf("check %d: got %+v, want %+v", i, lon.Checks[i], want[i])
		}
	}
	for _, test := range []struct {
		service string
		want    []int
		known   bool
	}{{"web", []int{1}, true}, {"all", []int{0, 1, 2}, true}, {"", []int{0, 1, 2}, true}, {"other", nil, false}} {
		got, known := inv.Members(test.service)
		if known != test.known || len(got) != len(test.want) {
			t.Errorf("members of %q: %v, %v", test.service, got, known)
		}
	}
	if inv.Lookup("lon1") != 1 || inv.Lookup("lon2") != -1 {
		t.Error("lookup")
	}

	// What is written is what was read, for the operator's parser and for peers.
	written, err := json.Marshal(inv)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseInventory("n", written)
	if err != nil {
		t.Fatal(err)
	}
	var peer Inventory
	if err := json.Unmarshal(written, &peer); err != nil {
		t.Fatal(err)
	}
	if !inv.Equal(again) || !inv.Equal(&peer) {
		t.Errorf("got %+v and %+v, want %+v", again, peer, inv)
	}
	peer.Nodes[1].Checks[0].Retries++
	if inv.Equal(&peer) || inv.Equal(nil) {
		t.Error("a different inventory is equal")
	}
}

// A newer peer may say more than we know.
func TestInventoryFromPeer(t *testing.T) {
	var inv Inventory
	err := json.Unmarshal([]byte(`{"new": 1, "nodes": [{"id": "a", "addrs": ["192.0.2.1"], "colour": "red", "labels": null}], "services": null}`), &inv)
	if err != nil || len(inv.Nodes) != 1 {
		t.Errorf("got %+v, %v", inv, err)
	}
	if err := json.Unmarshal([]byte(`{"nodes": [{"id": "a"}]}`), &inv); err == nil {
		t.Error("a node without an address is taken from a peer")
	}
}

func TestNewInventory(t *testing.T) {
	nodes := []Node{{ID: "b", Addrs: []netip.Addr{netip.MustParseAddr("::ffff:192.0.2.1")}}, {ID: "a", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.2")}}}
	inv, err := NewInventory(nodes, nil)
	if err != nil {
		t.Fatal(err)
	}
	if nodes[0].ID != "b" || nodes[0].Addrs[0].Is4() {
		t.Error("the arguments were changed")
	}
	if inv.Nodes[0].ID != "a" || !inv.Nodes[1].Addrs[0].Is4() {
		t.Errorf("got %+v", inv.Nodes)
	}
	if _, err := NewInventory(append(nodes, nodes[0]), nil); err == nil || !strings.Contains(err.Error(), `duplicate node id "b"`) {
		t.Errorf("got %v", err)
	}
}

func TestReadInventoryNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "nodes.json")
	if _, err := ReadInventory(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("missing: %v", err)
	}
	if _, err := ReadInventory(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("directory: %v", err)
	}
	if err := os.WriteFile(path, []byte("{\n\"x\": 1}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadInventory(path); err == nil || err.Error() != path+`:2: unknown field "x"` {
		t.Errorf("bad: %v", err)
	}
}

func FuzzParseInventory(f *testing.F) {
	for _, seed := range []string{
		"", "{", "{}", "[]", "null", one(""), node(`"tier": 1`), httpCheck(`"interval": "3s"`), "{\"nodes\": [" + good + ",]}",
		`{"nodes": [` + good + `], "services": {"web": {"select": {"a": "b"}, "policy": "p"}}}`,
		node(`"location": {"lat": 1, "lon": 2}`), node(`"labels": {}`), "\xff", `{"nodes": [{"id": "a", "addrs": ["::1"], "weight": 1e2}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		inv, err := ParseInventory("n", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "n:") {
				t.Fatalf("error without a line: %v", err)
			}
			return
		}
		written, err := json.Marshal(inv)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseInventory("n", written)
		if err != nil {
			t.Fatalf("what was written is refused: %v\n%s", err, written)
		}
		if !inv.Equal(again) {
			t.Fatalf("got %+v, want %+v", again, inv)
		}
	})
}
