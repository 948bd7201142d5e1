package geosched

import (
	"bytes"
	golog "log"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tandem-cdn/tandem/internal/geoip"
)

func latitude(a *atlas) float64 {
	c, _ := a.Trie().Lookup(netip.MustParsePrefix("81.2.69.0/24"))
	return c.Point.Lat()
}

func TestAtlasReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "city.mmdb")
	writeCityDB(t, file, map[string][2]float64{"81.2.69.0/24": {51, 0}})
	a, err := openAtlas(geoip.Config{Files: []string{file}})
	if err != nil {
		t.Fatal(err)
	}
	was := a.Trie()
	a.reload()
	if a.Trie() != was {
		t.Error("loaded again although nothing has changed")
	}
	loaded, refused := testutil.ToFloat64(reloads.WithLabelValues("loaded")), testutil.ToFloat64(reloads.WithLabelValues("refused"))
	count := func(wantLoaded, wantRefused float64) {
		t.Helper()
		l, r := testutil.ToFloat64(reloads.WithLabelValues("loaded"))-loaded, testutil.ToFloat64(reloads.WithLabelValues("refused"))-refused
		if l != wantLoaded || r != wantRefused {
			t.Errorf("%v loaded and %v refused, want %v and %v", l, r, wantLoaded, wantRefused)
		}
	}

	writeCityDB(t, file, map[string][2]float64{"81.2.69.0/24": {52, 0}})
	a.reload()
	if got := latitude(a); got != 52 {
		t.Errorf("latitude %v, want that of the new file", got)
	}
	count(1, 0)

	good := a.Trie()
	if err := os.Truncate(file, 100); err != nil { // in place, as a careless copy does
		t.Fatal(err)
	}
	a.reload()
	a.reload()
	if a.Trie() != good || latitude(a) != 52 {
		t.Error("a damaged file took the place of a good one")
	}
	count(1, 1) // counted and logged once

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	a.reload()
	a.reload()
	if a.Trie() != good {
		t.Error("a file that is gone took the place of a good one")
	}
	count(1, 2)

	writeCityDB(t, file, map[string][2]float64{"81.2.69.0/24": {53, 0}})
	a.reload()
	if got := latitude(a); got != 53 {
		t.Errorf("latitude %v, want that of the file that is back", got)
	}
	count(2, 2)

	if err := os.Chmod(file, 0o400); err != nil {
		t.Fatal(err)
	}
	a.reload()
	count(3, 2) // it might not have been readable before
}

// The files are looked at every few seconds until the context ends.
func TestAtlasRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "city.mmdb")
	synctest.Test(t, func(t *testing.T) {
		writeCityDB(t, file, map[string][2]float64{"81.2.69.0/24": {51, 0}}) // built now, whenever that is
		a, err := openAtlas(geoip.Config{Files: []string{file}})
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		go keepLooking(ctx, new(bell), a.reload)
		writeCityDB(t, file, map[string][2]float64{"81.2.69.0/24": {52, 0}})
		time.Sleep(lookInterval() - time.Nanosecond)
		synctest.Wait()
		if got := latitude(a); got != 51 {
			t.Errorf("latitude %v too early", got)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := latitude(a); got != 52 {
			t.Errorf("latitude %v, want that of the new file", got)
		}
	})
}

// Queries go on while the trie is swapped under them, because of a file and of a
// question.
func TestAtlasSwapUnderLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "city.mmdb")
	london := map[string][2]float64{"81.2.69.0/24": {51.5, -0.1}}
	seattle := map[string][2]float64{"81.2.69.0/24": {47.6, -122.3}}
	writeCityDB(t, file, london)
	asn := asnDB(t, map[string]uint32{"81.2.69.0/24": 64500})
	g := serving(t, three+"steer www\ngeoip "+file+"\nasn "+asn)
	a, err := openAtlas(g.config.GeoIP) // our own, so that the test is the only one to reload it
	if err != nil {
		t.Fatal(err)
	}
	g.atlas = a
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				m := question("www.cdn.example.", 1, "81.2.69.160/32")
				switch got := summary(serve(t, g, m, resolver)); got {
				case "NOERROR 192.0.2.1 ecs 81.2.69.160/32/24", "NOERROR 192.0.2.2 ecs 81.2.69.160/32/24":
				default:
					t.Errorf("got %s", got)
					return
				}
			}
		})
	}
	for i := range 30 {
		writeCityDB(t, file, []map[string][2]float64{seattle, london}[i%2])
		a.reload()
		if err := a.ask(nil, g, []uint32{64500}[:i%2]); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	wg.Wait()
}

// Blocks share a trie, and each of them gets the systems it asks about.
func TestAtlasAsk(t *testing.T) {
	asn := asnDB(t, map[string]uint32{"81.2.0.0/16": 64500, "81.3.0.0/16": 64501})
	p, h1, h2, g1, g2 := new(pool), new(holder), new(holder), new(Geosched), new(Geosched)
	defer p.release(h1)
	open := func(h *holder, g *Geosched, asns ...uint32) *atlas {
		t.Helper()
		a, err := holdAtlas(p, h, g, "geoip", geoip.Config{ASN: asn, ASNs: asns})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := open(h1, g1, 64500)
	check := func(want1, want2 uint32) {
		t.Helper()
		c1, scope1 := a.Trie().Lookup(netip.MustParsePrefix("81.2.1.0/24"))
		c2, scope2 := a.Trie().Lookup(netip.MustParsePrefix("81.3.1.0/24"))
		if c1.ASN != want1 || c2.ASN != want2 {
			t.Errorf("AS%d and AS%d, want %d and %d", c1.ASN, c2.ASN, want1, want2)
		}
		if want1 == 0 && want2 == 0 && (scope1 > 8 || scope2 > 8) {
			t.Errorf("scopes %d and %d are cut by systems that nobody asks about", scope1, scope2)
		}
	}
	check(64500, 0)

	was := a.Trie()
	if open(h2, g2, 64500) != a || a.Trie() != was {
		t.Error("the same question made another trie")
	}
	open(h2, g2, 64501)
	check(64500, 64501)
	was = a.Trie()
	if err := a.ask(h1, g1, []uint32{64501}); err != nil { // the other has been asked about already
		t.Fatal(err)
	}
	if a.Trie() != was {
		t.Error("what a block may still be using was forgotten at once")
	}
	a.reload()
	check(0, 64501)

	// An answer that cannot be had changes nothing.
	was = a.Trie()
	if err := os.WriteFile(asn, []byte("up"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := a.ask(h1, g1, []uint32{64500}); err == nil || !strings.Contains(err.Error(), asn) {
		t.Errorf("got %v", err)
	}
	if a.Trie() != was {
		t.Error("a question without an answer made another trie")
	}
	refused := testutil.ToFloat64(reloads.WithLabelValues("refused"))
	a.reload()
	a.reload()
	if n := testutil.ToFloat64(reloads.WithLabelValues("refused")) - refused; n != 1 {
		t.Errorf("refused %v times, want once", n)
	}
	writeMMDB(t, asn, "Test-ASN", time.Now(), map[string]mmdbtype.Map{"81.3.0.0/16": {"autonomous_system_number": mmdbtype.Uint32(64501)}})
	a.reload()
	check(0, 64501)

	p.release(h2) // whose block was not the last to ask about 64501
	a.reload()
	check(0, 64501)
	if err := a.ask(h1, g1, nil); err != nil {
		t.Fatal(err)
	}
	a.reload()
	check(0, 0)
}

// A file that was built before the one in use is refused, and one of another type
// or another name is not.
func TestAtlasRefusesOlder(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "city.mmdb")
	built := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	put := func(file, kind string, built time.Time, lat float64) {
		writeMMDB(t, file, kind, built, map[string]mmdbtype.Map{"81.2.69.0/24": {"location": mmdbtype.Map{
			"latitude": mmdbtype.Float64(lat), "longitude": mmdbtype.Float64(0),
		}}})
	}
	put(file, "Test-City", built, 51)
	a, err := openAtlas(geoip.Config{Files: []string{file}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	golog.SetOutput(&out)
	defer golog.SetOutput(os.Stderr)
	refused := testutil.ToFloat64(reloads.WithLabelValues("refused"))
	put(file, "Test-City", built.Add(-time.Second), 52)
	a.reload()
	a.reload()
	if got := latitude(a); got != 51 {
		t.Errorf("latitude %v of the older file", got)
	}
	if n := testutil.ToFloat64(reloads.WithLabelValues("refused")) - refused; n != 1 {
		t.Errorf("refused %v times, want once", n)
	}
	if want := file + ": built 2026-03-01 11:59:59, which is older than the one in use, built 2026-03-01 12:00:00"; strings.Count(out.String(), want) != 1 {
		t.Errorf("the log does not say once %q:\n%s", want, &out)
	}
	put(file, "Test-City", built, 53) // the same age
	a.reload()
	if got := latitude(a); got != 53 {
		t.Errorf("latitude %v, want that of the new file", got)
	}
	put(file, "Other-City", built.Add(-time.Hour), 54)
	a.reload()
	if got := latitude(a); got != 54 {
		t.Errorf("latitude %v, want that of the file of another type", got)
	}
	put(file, "Other-City", time.Now().Add(24*time.Hour), 56) // a slip of its maker
	a.reload()
	put(file, "Other-City", built, 57)
	a.reload()
	if got := latitude(a); got != 57 {
		t.Errorf("latitude %v, want that of the file after the one from the future", got)
	}
	put(file, "Other-City", built.Add(-2*time.Hour), 55)
	if a, err = openAtlas(geoip.Config{Files: []string{file}}); err != nil {
		t.Fatal(err)
	}
	if got := latitude(a); got != 55 {
		t.Errorf("latitude %v, want that of the file at the start", got)
	}
}
