// Command coredns is CoreDNS with all its standard plugins and geosched.
package main

import (
	"fmt"
	"slices"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/core/plugin"

	_ "github.com/tandem-cdn/tandem/plugin/geosched"
)

func main() {
	directives, err := withGeosched(dnsserver.Directives)
	if err == nil {
		err = dnsserver.SetDirectives(directives)
	}
	if err != nil {
		panic(err)
	}
	coremain.Run()
}

// withGeosched returns the order of directives, which is the order in which
// plugins see a query, with geosched in its place: after transfer, so that zone
// transfers are refused or served before steering is asked, and before hosts,
// file and the other backends, which answer what geosched lets fall through.
func withGeosched(directives []string) ([]string, error) {
	after, before := slices.Index(directives, "transfer"), slices.Index(directives, "hosts")
	if after < 0 || before < 0 || after > before {
		return nil, fmt.Errorf("no place for geosched: this CoreDNS has no transfer followed by hosts")
	}
	return slices.Insert(slices.Clone(directives), before, "geosched"), nil
}
