package geoip

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// asnDB writes an ASN file.
func asnDB(t testing.TB, systems map[string]uint32) string {
	records := make(map[string]mmdbtype.Map)
	for cidr, asn := range systems {
		records[cidr] = mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(asn)}
	}
	return writeDB(t, "Test-ASN", records)
}

func TestASN(t *testing.T) {
	city := cityDB(t, place{"90.0.0.0/16", "FR", 48.8, 2.3}, place{"91.0.0.0/16", "GB", 51.5, -0.1})
	asn := asnDB(t, map[string]uint32{
		"90.0.0.0/15":     64500, // the other half is coarse
		"91.0.0.0/17":     64501,
		"91.0.128.0/17":   64502,
		"92.0.0.0/25":     64500, // half of a /24, the first half
		"92.0.1.0/26":     64500, // a quarter of one
		"92.1.0.0/25":     64500, // three quarters of one
		"92.1.0.128/26":   64500,
		"93.0.0.0/16":     64500,
		"10.0.0.0/8":      64500, // nonsense in the file
		"2a01:100::/32":   64500,
		"2a01:100:8::/48": 64502,
	})
	nets := write(t, "nets", "93.0.1.0/24 at 47.6 -122.3\n93.0.2.99/32 class probe\n93.0.4.0/23 node lon1\n")
	tests := []struct {
		name, prefix, all, one, none string
	}{
		{"half-geoip", "90.0.1.0/24", "geoip 48.8,2.3 FR AS64500 /16", "geoip 48.8,2.3 FR /16", "geoip 48.8,2.3 FR /16"},
		{"half-coarse", "90.1.1.0/24", "coarse 50,10 EU AS64500 /16", "coarse 50,10 EU /16", "coarse 50,10 EU /16"},
		{"of-two-neighbours", "91.0.1.0/24", "geoip 51.5,-0.1 GB AS64501 /17", "geoip 51.5,-0.1 GB /17", "geoip 51.5,-0.1 GB /16"},
		{"the-one-asked-about", "91.0.129.0/24", "geoip 51.5,-0.1 GB AS64502 /17", "geoip 51.5,-0.1 GB AS64502 /17", "geoip 51.5,-0.1 GB /16"},
		{"half-of-a-24", "92.0.0.0/24", "coarse 50,10 EU /16", "coarse 50,10 EU /8", "coarse 50,10 EU /8"},
		{"quarter-of-a-24", "92.0.1.0/24", "coarse 50,10 EU /16", "coarse 50,10 EU /8", "coarse 50,10 EU /8"},
		{"most-of-a-24", "92.1.0.0/24", "coarse 50,10 EU AS64500 /24", "coarse 50,10 EU /8", "coarse 50,10 EU /8"},
		{"nets-at", "93.0.1.0/24", "nets 47.6,-122.3 AS64500 /24", "nets 47.6,-122.3 /24", "nets 47.6,-122.3 /24"},
		{"nets-deeper-than-max", "93.0.2.99/32", "nets 50,10 EU AS64500 class probe /32", "nets 50,10 EU class probe /32", "nets 50,10 EU class probe /32"},
		{"nets-node", "93.0.4.0/24", "nets 50,10 EU AS64500 node lon1 /23", "nets 50,10 EU node lon1 /23", "nets 50,10 EU node lon1 /23"},
		{"special-has-none", "10.1.1.0/24", "special /8", "special /8", "special /8"},
		{"ipv6", "2a01:100::/56", "coarse 50,10 EU AS64500 /45", "coarse 50,10 EU /45", "coarse 50,10 EU /11"},
		{"ipv6-inner", "2a01:100:8::/56", "coarse 50,10 EU AS64502 /48", "coarse 50,10 EU AS64502 /48", "coarse 50,10 EU /11"},
		{"6to4", "2002:5b00:8100::/48", "geoip 51.5,-0.1 GB AS64502 /33", "geoip 51.5,-0.1 GB AS64502 /33", "geoip 51.5,-0.1 GB /32"},
	}
	for name, asns := range map[string][]uint32{"all": {64502, 64500, 64501, 64500}, "one": {64502}, "none": nil} {
		trie := mustLoad(t, Config{Files: []string{city}, ASN: asn, ASNs: asns, Nets: nets})
		for _, tt := range tests {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				want := map[string]string{"all": tt.all, "one": tt.one, "none": tt.none}[name]
				c, scope := trie.Lookup(netip.MustParsePrefix(tt.prefix))
				if got := c.String() + " /" + strconv.Itoa(int(scope)); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		}
	}
}

func TestASNRefuses(t *testing.T) {
	city := cityDB(t, place{"90.0.0.0/16", "FR", 48.8, 2.3})
	words := writeDB(t, "Test-ASN", map[string]mmdbtype.Map{"90.0.0.0/8": {"autonomous_system_number": mmdbtype.String("AS1")}})
	for _, asns := range [][]uint32{nil, {64500}} {
		for _, tt := range []struct{ name, file, want string }{
			{"missing", "/nonexistent/asn.mmdb", "/nonexistent/asn.mmdb: no such file"},
			{"city-file", city, `no autonomous system in it: its type is "Test-City", want an ASN file`},
			{"wrong-shape", words, words},
		} {
			trie, err := Load(Config{ASN: tt.file, ASNs: asns})
			if err == nil {
				t.Fatalf("%s: got %v", tt.name, trie)
			}
			if !strings.Contains(err.Error(), tt.want) || err.(*Error).Property != "asn" {
				t.Errorf("%s: got %v", tt.name, err)
			}
		}
	}
	if _, err := Load(Config{ASNs: []uint32{64500}}); err == nil || err.Error() != "AS64500 is asked about, and there is no ASN file" {
		t.Errorf("got %v", err)
	}
}

// FuzzLoadASN damages an ASN file. Loading it ends, with a trie or with an error
// that names the file.
func FuzzLoadASN(f *testing.F) {
	data, err := os.ReadFile(asnDB(f, map[string]uint32{"80.1.1.0/24": 64500, "80.1.2.0/25": 64501, "2a01:1:2::/48": 64501}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint16(3), []byte{0, 0, 1}, true)
	f.Add(uint16(3), []byte{0, 0, 0}, false)
	f.Add(uint16(600), []byte{0, 0, 100, 0, 0, 100}, true)
	f.Add(uint16(len(data)-60), []byte{0xff}, false)
	f.Add(uint16(len(data)-200), []byte("autonomous"), true)
	file := filepath.Join(f.TempDir(), "fuzz.mmdb")
	f.Fuzz(func(t *testing.T, at uint16, patch []byte, asked bool) {
		damaged := slices.Clone(data)
		copy(damaged[int(at)%len(damaged):], patch)
		if err := os.WriteFile(file, damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		cfg := Config{ASN: file}
		if asked {
			cfg.ASNs = []uint32{64500, 64501}
		}
		trie, err := Load(cfg)
		if err != nil {
			if !strings.Contains(err.Error(), "fuzz.mmdb") {
				t.Errorf("error without the file: %v", err)
			}
			return
		}
		for i := range trie.Classes() {
			if asn := trie.Classes()[i].ASN; asn != 0 && !slices.Contains(cfg.ASNs, asn) {
				t.Errorf("a class of AS%d, which nobody asks about", asn)
			}
		}
	})
}
