package geosched

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/miekg/dns"
)

// What the resolvers file says is for those of whom nothing is known but their
// resolver.
func TestResolvers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolvers")
	if err := os.WriteFile(file, []byte("193.0.6.0/24 at 39.9 116.4\n193.0.7.0/24 node sea\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	g := serving(t, three+"steer www\nresolvers "+file)
	for _, tt := range []struct{ name, from, subnet, want string }{
		{"no-subnet", "193.0.6.1", "", "NOERROR 192.0.2.3"},
		{"no-subnet-node", "193.0.7.1", "", "NOERROR 192.0.2.2"},
		{"no-subnet-not-named", "193.0.8.1", "", "NOERROR 192.0.2.1"},
		{"subnet-of-the-resolver-itself", "193.0.6.1", "193.0.6.0/24", "NOERROR 192.0.2.1 ecs 193.0.6.0/24/8"},
		{"opted-out", "193.0.6.1", "0.0.0.0/0", "NOERROR 192.0.2.3 ecs 0.0.0.0/0/0"},
		{"not-routed", "193.0.6.1", "10.1.2.0/24", "NOERROR 192.0.2.3 ecs 10.1.2.0/24/8"},
		{"not-routed-nat64", "193.0.6.1", "64:ff9b:1::/48", "NOERROR 192.0.2.3 ecs [64:ff9b:1::]/48/48"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := summary(serve(t, g, question("www.cdn.example.", dns.TypeA, tt.subnet), tt.from)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
