package geosched

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

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

// writeCityDB writes such a file and renames it into place.
func writeCityDB(t testing.TB, file string, places map[string][2]float64) {
	t.Helper()
	records := make(map[string]mmdbtype.Map)
	for cidr, ll := range places {
		records[cidr] = mmdbtype.Map{"location": mmdbtype.Map{
			"latitude": mmdbtype.Float64(ll[0]), "longitude": mmdbtype.Float64(ll[1]),
		}}
	}
	writeMMDB(t, file, "Test-City", time.Now(), records)
}

// asnDB writes a MaxMind file with the autonomous systems and returns its name.
func asnDB(t testing.TB, systems map[string]uint32) string {
	t.Helper()
	records := make(map[string]mmdbtype.Map)
	for cidr, asn := range systems {
		records[cidr] = mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(asn)}
	}
	file := filepath.Join(t.TempDir(), "asn.mmdb")
	writeMMDB(t, file, "Test-ASN", time.Now(), records)
	return file
}

// writeMMDB writes a MaxMind file and renames it into place.
func writeMMDB(t testing.TB, file, kind string, built time.Time, records map[string]mmdbtype.Map) {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		DatabaseType: kind, BuildEpoch: built.Unix(), RecordSize: 24, IncludeReservedNetworks: true, DisableIPv4Aliasing: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for cidr, record := range records {
		_, n, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(n, record); err != nil {
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
