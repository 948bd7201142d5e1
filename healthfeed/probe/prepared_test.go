package probe

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// The error says where the check stands.
func TestPreparedPlace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nodes.json")
	data := `{"nodes": [
	{"id": "z", "addrs": ["192.0.2.1"], "checks": [
		{"type": "tcp", "addr": "192.0.2.1:1"},
		{"type": "redis", "addr": "192.0.2.1:2", "password_file": "none"}]},
	{"id": "a", "addrs": ["192.0.2.2"]}]}`
	if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	inv, err := healthfeed.ReadInventory(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := Prepared(inv, file); err == nil || !strings.HasPrefix(err.Error(), file+`:4: node "z": check of type redis: `) {
		t.Errorf("got %v", err)
	}
}

func TestPrepared(t *testing.T) {
	a := newAuthority(t)
	a.issue(t, "prober")
	good := healthfeed.Check{Type: "grpc", Addr: "192.0.2.1:1", TLS: true, CA: a.path("ca.pem"), Cert: a.path("prober.pem"), Key: a.path("prober.key")}
	for _, test := range []struct {
		name   string
		change func(c *healthfeed.Check)
		want   string
	}{
		{"good", func(*healthfeed.Check) {}, ""},
		{"no-ca", func(c *healthfeed.Check) { c.CA += "x" }, `node "a": check of type grpc: stat ` + a.path("ca.pemx")},
		{"bad-ca", func(c *healthfeed.Check) { c.CA = c.Key }, "no certificate in PEM"},
		{"other-key", func(c *healthfeed.Check) { c.Cert = c.CA }, "private key does not match"},
		{"no-variable", func(c *healthfeed.Check) {
			*c = healthfeed.Check{Type: "redis", Addr: c.Addr, PasswordEnv: "NO_REDIS_SECRET"}
		}, "NO_REDIS_SECRET is not set"},
		{"elsewhere", func(c *healthfeed.Check) { c.CA, c.Foreign = "/none", "{}" }, ""},
	} {
		c := good
		test.change(&c)
		err := Prepared(inventory(t, map[string][]healthfeed.Check{"a": {c}}), "")
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v", test.name, err)
		}
	}
}
