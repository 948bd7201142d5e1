package geosched

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// cityDB writes a MaxMind file with the places and returns its name.
func cityDB(t testing.TB, places map[string][2]float64) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "city.mmdb")
	writeCityDB(t, file, places)
	return file
}

// writeCityDB writes a MaxMind file and renames it into place.
func writeCityDB(t testing.TB, file string, places map[string][2]float64) {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-City", RecordSize: 24, IncludeReservedNetworks: true, DisableIPv4Aliasing: true})
	if err != nil {
		t.Fatal(err)
	}
	for cidr, ll := range places {
		_, n, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(n, mmdbtype.Map{"location": mmdbtype.Map{
			"latitude": mmdbtype.Float64(ll[0]), "longitude": mmdbtype.Float64(ll[1]),
		}}); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(file + ".new")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}
