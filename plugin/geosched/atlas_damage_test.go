package geosched

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tandem-cdn/tandem/internal/geoip"
)

// Whatever becomes of the files, each query has an answer. A file that is cut
// short is refused wherever the cut is, each once, and the last good one stays. Of
// bytes that changed, the trie is a good one of either file.
func TestAtlasDamage(t *testing.T) {
	dir := t.TempDir()
	city, asn := filepath.Join(dir, "city.mmdb"), filepath.Join(dir, "asn.mmdb")
	later := time.Now().Add(time.Hour) // so that age is no reason to refuse a file
	places := make(map[string]mmdbtype.Map)
	for cidr, ll := range map[string][2]float64{"81.2.69.0/24": {51.5, -0.1}, "81.3.0.0/16": {47.6, -122.3}, "2a01:1::/32": {39.9, 116.4}} {
		places[cidr] = mmdbtype.Map{"location": mmdbtype.Map{"latitude": mmdbtype.Float64(ll[0]), "longitude": mmdbtype.Float64(ll[1])}}
	}
	writeMMDB(t, city, "Test-City", later, places)
	systems := make(map[string]mmdbtype.Map)
	for _, cidr := range []string{"81.2.0.0/16", "2a01:1::/32"} {
		systems[cidr] = mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(64500)}
	}
	writeMMDB(t, asn, "Test-ASN", later, systems)
	g := serving(t, three+"steer www")
	a, err := openAtlas(geoip.Config{Files: []string{city}, ASN: asn, ASNs: []uint32{64500}})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.ask(new(holder), g, []uint32{64500}); err != nil {
		t.Fatal(err)
	}
	g.atlas = a
	ask := func(what string) {
		t.Helper()
		for _, subnet := range []string{"81.2.69.0/24", "81.3.1.0/24", "2a01:1::/48", "8.8.8.0/24"} {
			if got := summary(serve(t, g, question("www.cdn.example.", dns.TypeA, subnet), resolver)); !strings.HasPrefix(got, "NOERROR 192.0.2.") {
				t.Fatalf("%s: %s: got %s", what, subnet, got)
			}
		}
	}
	refused := func() float64 { return testutil.ToFloat64(reloads.WithLabelValues("refused")) }
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	for _, file := range []string{city, asn} {
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		overwrite := func(data []byte) { // in place, as a careless copy does
			if err := os.WriteFile(file, data, 0o644); err != nil {
				t.Fatal(err)
			}
			a.seen = nil // the clock of the file system may be too coarse to tell
			a.reload()
		}
		was := a.Trie()
		for cut := 0; cut < len(good); cut += 1 + rng.IntN(40) {
			before := refused()
			overwrite(good[:cut])
			a.reload()
			if a.Trie() != was || refused() != before+1 {
				t.Fatalf("%s: cut at %d of %d: refused %v times, the same trie %v", file, cut, len(good), refused()-before, a.Trie() == was)
			}
			ask("cut")
		}
		for range 300 {
			damaged := slices.Clone(good)
			for range 1 + rng.IntN(3) {
				damaged[rng.IntN(len(damaged))] = byte(rng.IntN(256))
			}
			overwrite(damaged)
			ask("damaged")
		}
		before := refused()
		overwrite(good)
		if refused() != before {
			t.Errorf("%s: the good file was refused", file)
		}
		ask("mended")
		if a.Trie().String() != was.String() {
			t.Errorf("%s: got %v, want %v as before", file, a.Trie(), was)
		}
	}
}

// The age of files is for everybody to see, one for each type.
func TestAtlasAgeMetric(t *testing.T) {
	dir := t.TempDir()
	built := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	put := func(name, kind string, built time.Time, record mmdbtype.Map) string {
		file := filepath.Join(dir, name)
		writeMMDB(t, file, kind, built, map[string]mmdbtype.Map{"81.2.69.0/24": record})
		return file
	}
	place := mmdbtype.Map{"location": mmdbtype.Map{"latitude": mmdbtype.Float64(1), "longitude": mmdbtype.Float64(2)}}
	one := put("one", "A-City", built, place)
	two := put("two", "A-City", built.Add(-time.Hour), place)
	asn := put("asn", "An-ASN\xff", built.Add(time.Hour), mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(1)})
	inst := run(t, "\tgeosched {\n\t\tnode lon 192.0.2.1 51.5 -0.12\n\t\tsteer www\n\t\tgeoip "+one+" "+two+"\n\t\tasn "+asn+"\n\t}")
	defer stop(t, inst)
	want := `
# HELP coredns_geosched_geoip_build_timestamp_seconds When the MaxMind file in use was built, the oldest one of its type.
# TYPE coredns_geosched_geoip_build_timestamp_seconds gauge
coredns_geosched_geoip_build_timestamp_seconds{database="A-City",zone="cdn.example."} 1.7723628e+09
coredns_geosched_geoip_build_timestamp_seconds{database="An-ASN` + "\uFFFD" + `",zone="cdn.example."} 1.77237e+09
`
	if err := testutil.CollectAndCompare(feedCollector{}, strings.NewReader(want), "coredns_geosched_geoip_build_timestamp_seconds"); err != nil {
		t.Error(err)
	}
}
