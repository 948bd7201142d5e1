package test

import (
	"net"
	"os"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/rogpeppe/go-internal/testscript"
)

// mmdb writes a City database with a few networks of London, Milton near Seattle,
// Changchun and Japan, in the form in which MaxMind ships it.
func mmdb(ts *testscript.TestScript, neg bool, args []string) {
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoIP2-City", RecordSize: 24})
	ts.Check(err)
	for _, n := range []struct {
		network, country, continent string
		lat, lon                    float64
	}{
		{"81.2.69.160/27", "GB", "EU", 51.5142, -0.0931},
		{"216.160.83.56/29", "US", "NA", 47.2513, -122.3149},
		{"175.16.199.0/24", "CN", "AS", 43.88, 125.3228},
		{"2001:218::/32", "JP", "AS", 35.68536, 139.75309},
	} {
		_, network, err := net.ParseCIDR(n.network)
		ts.Check(err)
		ts.Check(tree.Insert(network, mmdbtype.Map{
			"continent": mmdbtype.Map{"code": mmdbtype.String(n.continent)},
			"country":   mmdbtype.Map{"iso_code": mmdbtype.String(n.country)},
			"location":  mmdbtype.Map{"latitude": mmdbtype.Float64(n.lat), "longitude": mmdbtype.Float64(n.lon)},
		}))
	}
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = tree.WriteTo(f)
	ts.Check(err)
	ts.Check(f.Close())
}
