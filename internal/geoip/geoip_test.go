package geoip

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/oschwald/maxminddb-golang/v2"
)

// place is one network of a test database.
type place struct {
	cidr     string
	country  string
	lat, lon float64
}

func location(lat, lon float64) mmdbtype.Map {
	return mmdbtype.Map{"latitude": mmdbtype.Float64(lat), "longitude": mmdbtype.Float64(lon)}
}

// writeDB writes a MaxMind file and returns its name.
func writeDB(t testing.TB, kind string, records map[string]mmdbtype.Map) string {
	t.Helper()
	return writeDBOf(t, mmdbwriter.Options{DatabaseType: kind}, records)
}

func writeDBOf(t testing.TB, opts mmdbwriter.Options, records map[string]mmdbtype.Map) string {
	t.Helper()
	opts.RecordSize, opts.IncludeReservedNetworks, opts.DisableIPv4Aliasing = 24, true, true
	tree, err := mmdbwriter.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	var networks []*net.IPNet
	for cidr := range records {
		_, n, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		networks = append(networks, n)
	}
	slices.SortFunc(networks, func(x, y *net.IPNet) int { return bytes.Compare(x.Mask, y.Mask) }) // the longer on top
	for _, n := range networks {
		if err := tree.Insert(n, records[n.String()]); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "test.mmdb")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

func cityDB(t testing.TB, places ...place) string {
	records := make(map[string]mmdbtype.Map)
	for _, p := range places {
		records[p.cidr] = mmdbtype.Map{
			"location": location(p.lat, p.lon),
			"country":  mmdbtype.Map{"iso_code": mmdbtype.String(p.country)},
		}
	}
	return writeDB(t, "Test-City", records)
}

func mustLoad(t testing.TB, cfg Config) *Trie {
	t.Helper()
	trie, err := Load(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return trie
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLookup(t *testing.T) {
	trie := mustLoad(t, Config{
		Files: []string{cityDB(t,
			place{"81.2.69.160/27", "GB", 51.5, -0.1},
			place{"81.2.69.192/28", "GB", 53.5, -2.2}, // fewer addresses of the /24
			place{"90.0.0.0/16", "FR", 48.8, 2.3},
			place{"90.1.0.0/16", "FR", 48.1, 2.9}, // same cell
			place{"90.2.0.0/16", "FR", 43.3, 5.4},
			place{"10.1.0.0/16", "US", 40, -74}, // nonsense in the file
			place{"2a01:100::/32", "DE", 52.5, 13.4},
			place{"2a01:200:0:ff00::/60", "NL", 52.4, 4.9},
		)},
		Nets: write(t, "nets",
			"90.2.128.77/32 at 47.6 -122.3\n"+ // before the network that it is in
				"90.2.128.0/17 node mrs1 mrs2\n"+
				"10.9.0.0/16 class office # inside 10/8\n"),
	})
	tests := []struct {
		name, prefix, want string
		scope              uint8
	}{
		{"longer-than-max-gives-max-and-majority", "81.2.69.160/32", "geoip 51.5,-0.1 GB", 24},
		{"whole-of-the-24", "81.2.69.0/24", "geoip 51.5,-0.1 GB", 24},
		{"shorter-source-same-scope", "81.2.69.0/20", "geoip 51.5,-0.1 GB", 24},
		{"merged-siblings", "90.1.2.0/24", "geoip 48.45,2.6 FR", 15},
		{"other-cell", "90.2.3.0/24", "geoip 43.3,5.4 FR", 17},
		{"nets-win", "90.2.200.0/24", "nets 43.3,5.4 FR node mrs1 mrs2", 18},
		{"nets-go-deeper-than-max", "90.2.128.77/32", "nets 47.6,-122.3", 32},
		{"neighbour-of-a-deep-net", "90.2.128.76/32", "nets 43.3,5.4 FR node mrs1 mrs2", 32},
		{"geoip-does-not-know", "90.8.0.0/16", "coarse 50,10 EU", 13},
		{"special-wins-over-geoip", "10.1.2.0/24", "special", 13},
		{"nets-win-over-special", "10.9.1.1/32", "nets class office", 16},
		{"documentation-space", "192.0.2.1/32", "special", 24},
		{"loopback", "127.0.0.1/32", "special", 8},
		{"multicast-and-reserved", "233.1.1.1/32", "special", 3},
		{"apnic", "1.2.3.0/24", "coarse 27,110 AS", 8},
		{"ipv6", "2a01:100:1::/48", "geoip 52.5,13.4 DE", 32},
		{"ipv6-max", "2a01:200::ff00:0:0:0:0/64", "geoip 52.4,4.9 NL", 56},
		{"ipv6-coarse", "2600:1::/48", "coarse 39,-98 NA", 12},
		{"ipv6-unallocated", "2f00::/16", "unknown", 7},
		{"ipv6-loopback", "::1/128", "special", 81},
		{"ipv6-documentation", "2001:db8::/56", "special", 32},
		{"mapped", "::ffff:81.2.69.160/128", "geoip 51.5,-0.1 GB", 96 + 24},
		{"nat64", "64:ff9b::5a02:300/120", "geoip 43.3,5.4 FR", 96 + 17},
		{"6to4", "2002:5a02:300::/48", "geoip 43.3,5.4 FR", 16 + 17},
		{"teredo", "2001:0:4136:e378:8000:63bf:a5fd:fcff/128", "geoip 43.3,5.4 FR", 96 + 17},
		{"beside-teredo", "2001:10::/28", "special", 28},
		{"teredo-too-short-to-tell", "2001::/32", "special", 96 + 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := netip.MustParsePrefix(tt.prefix)
			c, scope := trie.Lookup(p)
			if c.String() != tt.want || scope != tt.scope {
				t.Errorf("got %q with scope %d, want %q with %d", c, scope, tt.want, tt.scope)
			}
			if c != &trie.Classes()[c.ID] {
				t.Errorf("class has ID %d and is not there", c.ID)
			}
		})
	}
}

func TestLookupInvalid(t *testing.T) {
	c, scope := mustLoad(t, Config{}).Lookup(netip.Prefix{})
	if c.Source != Unknown || scope != 0 {
		t.Errorf("got %v with scope %d", c, scope)
	}
}

func TestFirstFileWins(t *testing.T) {
	a := cityDB(t, place{"80.1.0.0/16", "GB", 51.5, -0.1})
	b := cityDB(t, place{"80.0.0.0/8", "FR", 48.8, 2.3})
	trie := mustLoad(t, Config{Files: []string{a, b}})
	for prefix, want := range map[string]string{"80.1.1.0/24": "GB", "80.2.1.0/24": "FR"} {
		if c, _ := trie.Lookup(netip.MustParsePrefix(prefix)); c.Country != want {
			t.Errorf("%s is in %v, want %s", prefix, c, want)
		}
	}
}

func TestMaxBits(t *testing.T) {
	file := cityDB(t, place{"80.1.1.0/24", "GB", 51.5, -0.1}, place{"2a01:1:2::/48", "DE", 52.5, 13.4})
	trie := mustLoad(t, Config{Files: []string{file}, MaxV4: 20, MaxV6: 40})
	for prefix, want := range map[string]uint8{"80.1.1.0/24": 20, "2a01:1:2::/48": 40} {
		if c, scope := trie.Lookup(netip.MustParsePrefix(prefix)); scope != want || c.Source != GeoIP {
			t.Errorf("%s: scope %d of %v, want %d", prefix, scope, c, want)
		}
	}
}

func TestCountryFile(t *testing.T) {
	trie := mustLoad(t, Config{Files: []string{writeDB(t, "Test-Country", map[string]mmdbtype.Map{
		"80.0.0.0/8": {"continent": mmdbtype.Map{"code": mmdbtype.String("OC")}, "country": mmdbtype.Map{"iso_code": mmdbtype.String("AU")}},
		"81.0.0.0/8": {"traits": mmdbtype.Map{"is_satellite_provider": mmdbtype.Bool(true)}},
	})}})
	if c, scope := trie.Lookup(netip.MustParsePrefix("80.1.1.0/24")); c.String() != "geoip -30,145 OC AU" || scope != 8 {
		t.Errorf("got %v with scope %d", c, scope)
	}
	if c, _ := trie.Lookup(netip.MustParsePrefix("81.1.1.0/24")); c.Source != Coarse {
		t.Errorf("a record without place hides the coarse table: %v", c)
	}
}

func TestIPv4File(t *testing.T) {
	trie := mustLoad(t, Config{Files: []string{writeDBOf(t, mmdbwriter.Options{DatabaseType: "Test-City", IPVersion: 4},
		map[string]mmdbtype.Map{"80.0.0.0/8": {"location": location(48.8, 2.3)}})}})
	for prefix, want := range map[string]string{"80.1.1.0/24": "geoip 48.8,2.3", "2a00::/32": "coarse 50,10 EU"} {
		if c, _ := trie.Lookup(netip.MustParsePrefix(prefix)); c.String() != want {
			t.Errorf("%s: got %v, want %s", prefix, c, want)
		}
	}
}

// A search tree in which both branches of each node meet again has 2^60
// networks.
func TestLoadRefusesEndlessTree(t *testing.T) {
	data, err := os.ReadFile(cityDB(t, place{"80.1.1.0/24", "GB", 51.5, -0.1}, place{"81.1.1.0/24", "GB", 52.5, -0.1}))
	if err != nil {
		t.Fatal(err)
	}
	db, err := maxminddb.OpenBytes(data)
	if err != nil {
		t.Fatal(err)
	}
	nodes := int(db.Metadata.NodeCount)
	branch := func(i int) []byte { return data[3*i : 3*i+3] } // of node i/2, with records of 24 bits
	var record []byte                                         // a branch that leads to a record
	for i := range 2 * nodes {
		if b := branch(i); int(b[0])<<16|int(b[1])<<8|int(b[2]) > nodes {
			record = slices.Clone(b)
		}
	}
	for i := range 60 {
		copy(branch(2*i), []byte{0, 0, byte(i + 1)})
		copy(branch(2*i+1), []byte{0, 0, byte(i + 1)})
	}
	copy(branch(120), record)
	copy(branch(121), record)
	_, err = Load(Config{Files: []string{write(t, "endless.mmdb", string(data))}})
	if err == nil || !strings.Contains(err.Error(), "damaged search tree: more networks") {
		t.Errorf("got %v", err)
	}
}

// A search tree that bites its own tail is deeper than any address.
func TestLoadRefusesCircle(t *testing.T) {
	data, err := os.ReadFile(cityDB(t, place{"80.1.1.0/24", "GB", 51.5, -0.1}))
	if err != nil {
		t.Fatal(err)
	}
	copy(data[300:], []byte{0, 0, 49, 0, 0, 49}) // node 50 leads back to 49
	_, err = Load(Config{Files: []string{write(t, "circle.mmdb", string(data))}})
	if err == nil || !strings.Contains(err.Error(), "damaged search tree: deeper") {
		t.Errorf("got %v", err)
	}
}

// Files have records of three sizes, and refer to IPv4 from IPv6.
func TestRecordSizes(t *testing.T) {
	for _, size := range []int{24, 28, 32} {
		tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-City", RecordSize: size})
		if err != nil {
			t.Fatal(err)
		}
		_, n, _ := net.ParseCIDR("80.0.0.0/8")
		if err := tree.Insert(n, mmdbtype.Map{"location": location(48.8, 2.3)}); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if _, err := tree.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
		trie := mustLoad(t, Config{Files: []string{write(t, "size.mmdb", out.String())}})
		if c, _ := trie.Lookup(netip.MustParsePrefix("80.1.1.0/24")); c.Source != GeoIP {
			t.Errorf("%d bits: got %v", size, c)
		}
	}
}

// FuzzLoad damages a file. Loading it ends, with a trie or with an error that
// names the file.
func FuzzLoad(f *testing.F) {
	data, err := os.ReadFile(cityDB(f, place{"80.1.1.0/24", "GB", 51.5, -0.1}, place{"2a01:1:2::/48", "DE", 52.5, 13.4}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint16(3), []byte{0, 0, 1})
	f.Add(uint16(600), []byte{0, 0, 100, 0, 0, 100})
	f.Add(uint16(len(data)-60), []byte{0xff})
	f.Add(uint16(len(data)-200), []byte("latitude"))
	file := filepath.Join(f.TempDir(), "fuzz.mmdb")
	f.Fuzz(func(t *testing.T, at uint16, patch []byte) {
		damaged := slices.Clone(data)
		copy(damaged[int(at)%len(damaged):], patch)
		if err := os.WriteFile(file, damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		trie, err := Load(Config{Files: []string{file}})
		if err != nil {
			if !strings.Contains(err.Error(), "fuzz.mmdb") {
				t.Errorf("error without the file: %v", err)
			}
			return
		}
		if c, _ := trie.Lookup(netip.MustParsePrefix("80.1.1.0/24")); c == nil {
			t.Error("no class")
		}
	})
}

func TestLoadRefuses(t *testing.T) {
	good, err := os.ReadFile(cityDB(t, place{"80.1.1.0/24", "GB", 51.5, -0.1}))
	if err != nil {
		t.Fatal(err)
	}
	noLon := writeDB(t, "Test-City", map[string]mmdbtype.Map{
		"80.0.0.0/8": {"location": mmdbtype.Map{"latitude": mmdbtype.Float64(1)}},
	})
	asn := writeDB(t, "Test-ASN", map[string]mmdbtype.Map{"80.0.0.0/8": {"autonomous_system_number": mmdbtype.Uint32(64500)}})
	words := writeDB(t, "Test-City", map[string]mmdbtype.Map{"80.0.0.0/8": {"location": mmdbtype.String("here")}})
	tests := []struct {
		name string
		cfg  Config
		want []string
	}{
		{"missing", Config{Files: []string{"/nonexistent/a.mmdb"}}, []string{"/nonexistent/a.mmdb", "no such file"}},
		{"truncated", Config{Files: []string{write(t, "cut.mmdb", string(good[:len(good)/2]))}}, []string{"cut.mmdb"}},
		{"empty", Config{Files: []string{write(t, "empty.mmdb", "")}}, []string{"empty.mmdb"}},
		{"not-a-database", Config{Files: []string{write(t, "text.mmdb", "hello")}}, []string{"text.mmdb"}},
		{"damaged-tree", Config{Files: []string{write(t, "bad.mmdb", strings.Repeat("\xff", 90)+string(good[90:]))}}, []string{"bad.mmdb"}},
		{"wrong-type", Config{Files: []string{asn}}, []string{asn, "no location", `"Test-ASN"`}},
		{"wrong-shape", Config{Files: []string{words}}, []string{words, "80.0.0.0/8"}},
		{"latitude-91", Config{Files: []string{cityDB(t, place{"80.0.0.0/8", "GB", 91, 0})}}, []string{"80.0.0.0/8", "latitude 91"}},
		{"latitude-alone", Config{Files: []string{noLon}}, []string{noLon, "latitude without longitude"}},
		{"nets-missing", Config{Nets: "/nonexistent/nets"}, []string{"/nonexistent/nets"}},
		{"nets-bad", Config{Nets: write(t, "nets", "\n10.0.0.0/8 on mars\n")}, []string{"nets:2:", `"on"`}},
		{"max-33", Config{MaxV4: 33}, []string{"33"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			trie, err := Load(tt.cfg)
			if err == nil {
				t.Fatalf("got %v, want an error", trie)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		})
	}
}

// The IPv4 trie grafted into IPv6 must not lie under anybody's scope.
func TestScopesDoNotCoverGrafts(t *testing.T) {
	trie := mustLoad(t, Config{Nets: write(t, "nets", "::/0 at 1 2\n2000::/3 at 3 4\n")})
	for _, g := range grafts {
		for bit := range g.Bits() {
			b := g.Addr().As16()
			b[bit/8] ^= 0x80 >> (bit % 8)
			neighbour := netip.PrefixFrom(netip.AddrFrom16(b), 128)
			if _, scope := trie.Lookup(neighbour); int(scope) <= bit && !shadowed(neighbour) {
				t.Errorf("scope %d of %v covers %v", scope, neighbour, g)
			}
		}
	}
}

// Every address of the coarse table is somewhere or special, and nothing else.
func TestCoarseTableIsComplete(t *testing.T) {
	if len(ipv4Blocks) != 256 {
		t.Fatalf("%d letters for 256 blocks", len(ipv4Blocks))
	}
	trie := mustLoad(t, Config{})
	for i := range 256 {
		c, _ := trie.Lookup(netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(i), 1, 1, 1}), 32))
		if special := ipv4Blocks[i] == '.'; special != (c.Source == Special) || !special && c.Source != Coarse {
			t.Errorf("%d/8: letter %c, class %v", i, ipv4Blocks[i], c)
		}
	}
	for _, known := range []struct{ prefix, continent string }{
		{"8.8.8.0/24", "NA"}, {"193.0.6.0/24", "EU"}, {"202.12.29.0/24", "AS"}, {"200.3.14.0/24", "SA"}, {"196.216.2.0/24", "AF"},
		{"2001:500:4::/48", "NA"}, {"2001:67c:2e8::/48", "EU"}, {"2001:dc0::/32", "AS"}, {"2001:13c7:7002::/48", "SA"}, {"2001:42d0::/48", "AF"},
	} {
		if c, _ := trie.Lookup(netip.MustParsePrefix(known.prefix)); c.Continent != known.continent {
			t.Errorf("%s is in %v, want %s", known.prefix, c, known.continent)
		}
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	trie := mustLoad(t, Config{})
	p := netip.MustParsePrefix("81.2.69.0/24")
	if n := testing.AllocsPerRun(100, func() { trie.Lookup(p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	var places []place
	for range 20000 {
		a := netip.AddrFrom4([4]byte{byte(1 + rng.IntN(220)), byte(rng.IntN(256)), byte(rng.IntN(256)), 0})
		places = append(places, place{netip.PrefixFrom(a, 24).String(), "XX", float64(rng.IntN(90)), float64(rng.IntN(90))})
	}
	trie := mustLoad(b, Config{Files: []string{cityDB(b, places...)}})
	var prefixes [1024]netip.Prefix
	for i := range prefixes {
		prefixes[i] = netip.MustParsePrefix(places[i].cidr)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		trie.Lookup(prefixes[i%1024])
		i++
	}
}
