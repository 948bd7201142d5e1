package geosched

import (
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
	writeCityDB(t, file, map[string][2]float64{"81.2.69.0/24": {51, 0}})
	synctest.Test(t, func(t *testing.T) {
		a, err := openAtlas(geoip.Config{Files: []string{file}})
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		go a.run(ctx)
		writeCityDB(t, file, map[string][2]float64{"81.2.69.0/24": {52, 0}})
		time.Sleep(lookInterval - time.Nanosecond)
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

// Queries go on while the trie is swapped under them.
func TestAtlasSwapUnderLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "city.mmdb")
	london := map[string][2]float64{"81.2.69.0/24": {51.5, -0.1}}
	seattle := map[string][2]float64{"81.2.69.0/24": {47.6, -122.3}}
	writeCityDB(t, file, london)
	g := serving(t, three+"steer www\ngeoip "+file)
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
	}
	close(done)
	wg.Wait()
}
