package geosched

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

func TestMap(t *testing.T) {
	g, at := explainingAt(t, "geoip "+cityDB(t, map[string][2]float64{
		"81.2.69.0/24": {51.5, -0.1}, "81.2.70.0/24": {48.9, 2.4}, "216.160.0.0/16": {47.2, -122.2}, "175.16.0.0/16": {43.9, 125.3},
	}))
	vote(t, g, 1, map[string]healthfeed.State{"lon": healthfeed.Up, "sea": healthfeed.Up, "pek": healthfeed.Up})
	var w worldMap
	fetch(t, at+"/v1/map", 200, &w)
	if w.Name != "www.cdn.example." || len(w.Nodes) != 3 || w.Generation != g.feed.Table().Generation {
		t.Errorf("got %+v", w)
	}
	winner := func(w *worldMap, lat, lon float64) string {
		for i := range w.Classes.Placed {
			if math.Abs(w.Classes.Lat[i]-lat) < 1 && math.Abs(w.Classes.Lon[i]-lon) < 1 && w.Classes.Coarse[i] == 0 {
				return w.Nodes[w.Classes.Node[i]].ID
			}
		}
		t.Fatalf("no class at %v,%v", lat, lon)
		return ""
	}
	for _, tt := range []struct {
		lat, lon float64
		id       string
	}{{51.5, -0.1, "lon"}, {48.9, 2.4, "lon"}, {47.2, -122.2, "sea"}, {43.9, 125.3, "pek"}} {
		if got := winner(&w, tt.lat, tt.lon); got != tt.id {
			t.Errorf("%v,%v go to %s, want %s", tt.lat, tt.lon, got, tt.id)
		}
	}
	wins, share := 0, 0.0
	for _, n := range w.Nodes {
		wins += n.Wins
		share += n.Share
	}
	if wins != len(w.Classes.Key) || math.Abs(share-1) > 1e-3 || w.Classes.Placed >= len(w.Classes.Key) {
		t.Errorf("%d wins, %v shares, %d classes of which %d have a place", wins, share, len(w.Classes.Key), w.Classes.Placed)
	}

	// What if London dies? The feed does not hear of it.
	var without worldMap
	fetch(t, at+"/v1/map?down=lon", 200, &without)
	if got := winner(&without, 48.9, 2.4); got == "lon" || without.Nodes[0].State != healthfeed.Down || without.Nodes[0].Share != 0 {
		t.Errorf("Paris goes to %s of %+v", got, without.Nodes)
	}
	if s, _ := g.feed.Table().Lookup("lon"); s.State != healthfeed.Up {
		t.Error("what if London dies made it die")
	}
	// With everybody near, the class is shared, and the explanation says the same.
	var near worldMap
	fetch(t, at+"/v1/map?near=99&alpha=0.4&beta=0.6", 200, &near)
	if near.Policy.Near != 99 || near.Policy.Beta != 0.6 || near.Classes.Share[0] > 0.34 {
		t.Errorf("got %+v", near.Policy)
	}
	for i, key := range w.Classes.Key {
		var x explanation
		fetch(t, at+"/v1/explain?name=www.cdn.example&class="+url.QueryEscape(key)+"&down=lon", 200, &x)
		if got := without.Nodes[without.Classes.Node[i]].ID; x.Candidates[0].Share > 0 && math.Abs(x.Candidates[0].Share-without.Classes.Share[i]) > 1e-3 || x.Why != without.Classes.Why[i] {
			t.Errorf("class %s: the map says %s, %s and the explanation %+v", key, got, without.Classes.Why[i], x)
		}
	}
}

// A map is made once for all who look at it, until something changes.
func TestMapIsKept(t *testing.T) {
	g, at := explainingAt(t, "")
	var w worldMap
	for _, path := range []string{"/v1/map", "/v1/map?down=lon", "/v1/map", "/v1/map?down=lon"} {
		fetch(t, at+path, 200, &w)
	}
	e := theExplainer()
	if n := len(e.maps.kept); n != 2 {
		t.Errorf("%d maps are kept, want 2", n)
	}
	vote(t, g, 1, map[string]healthfeed.State{"lon": healthfeed.Down})
	fetch(t, at+"/v1/map", 200, &w)
	if w.Nodes[0].State != healthfeed.Down {
		t.Errorf("an old map: %+v", w.Nodes)
	}
	for i := range 20 {
		fetch(t, fmt.Sprintf("%s/v1/map?near=%d", at, i), 200, &w)
	}
	if n := len(e.maps.kept); n != mostKept {
		t.Errorf("%d maps are kept, want %d", n, mostKept)
	}
}

// theExplainer returns the only one there is.
func theExplainer() (e *explainer) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	for _, thing := range shared.things {
		if b, ok := thing.value.(*web); ok {
			e = b.handler.(*explainer)
		}
	}
	return e
}

// Those who ask for the same map get the same octets, which no reader of his own
// pace makes more of.
func TestMapIsShared(t *testing.T) {
	g, _ := explainingAt(t, "")
	m := new(mapMaker)
	first, err := m.serve(t.Context(), []*Geosched{g}, "near=7")
	if err != nil {
		t.Fatal(err)
	}
	again, err := m.serve(t.Context(), []*Geosched{g}, "near=7")
	if err != nil || &first[0] != &again[0] {
		t.Errorf("the same map is there twice, %v", err)
	}
}

// However many ask for maps, few wait.
func TestMapsAreFew(t *testing.T) {
	_, at := explainingAt(t, "")
	m := &theExplainer().maps
	m.mu.Lock() // as while a map is made
	var asking sync.WaitGroup
	for i := range mostWaiting {
		asking.Go(func() {
			resp, err := http.Get(fmt.Sprintf("%s/v1/map?near=%d", at, i))
			if err != nil || resp.StatusCode != 200 {
				t.Errorf("got %v, %v", resp, err)
				return
			}
			resp.Body.Close()
		})
	}
	for m.waiting.Load() < mostWaiting {
		time.Sleep(time.Millisecond)
	}
	var got struct{ Error string }
	fetch(t, at+"/v1/map?near=50", 503, &got)
	m.mu.Unlock()
	asking.Wait()
	if n := m.waiting.Load(); n != 0 {
		t.Errorf("%d wait for nothing", n)
	}
	var w worldMap
	fetch(t, at+"/v1/map?near=50", 200, &w)
}

// A map that is kept keeps nothing of what it was made from.
func TestMapKeepsNoGeography(t *testing.T) {
	file := filepath.Join(t.TempDir(), "city.mmdb")
	writeCityDB(t, file, map[string][2]float64{"81.2.69.0/24": {51, 0}})
	g, at := explainingAt(t, "geoip "+file)
	var w worldMap
	fetch(t, at+"/v1/map", 200, &w)
	gone := make(chan bool)
	runtime.AddCleanup(g.atlas.Trie(), func(c chan bool) { close(c) }, gone)
	writeCityDB(t, file, map[string][2]float64{"81.2.69.0/24": {52, 0}})
	g.atlas.reload()
	fetch(t, at+"/v1/choose?name=www.cdn.example&client=81.2.69.1", 200, new(choice)) // with a view of the new one
	for deadline := time.Now().Add(time.Minute); ; {
		runtime.GC()
		select {
		case <-gone:
			return
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("the trie of the old file is still in memory")
		}
	}
}

// Names of a records file can be asked about: they are listed, one of them is shown
// when none is named, and when one is steered elsewhere its map is another.
func TestMapOfRecords(t *testing.T) {
	dir := t.TempDir()
	nodes, records := filepath.Join(dir, "nodes.json"), filepath.Join(dir, "names.txt")
	write(t, nodes, `{"nodes": [{"id": "lon", "addrs": ["192.0.2.1"], "labels": {"at": "lon"}}, {"id": "sea", "addrs": ["192.0.2.2"], "labels": {"at": "sea"}}],
		"services": {"east": {"select": {"at": "lon"}}, "west": {"select": {"at": "sea"}}}}`)
	write(t, records, "shop STEER east\n")
	inst := run(t, "\tgeosched {\nnodes "+nodes+"\nrecords "+records+"\nexplain http 127.0.0.1:0\n}")
	t.Cleanup(func() { stop(t, inst) })
	g, at := only(t), "http://"+webAddr(t, "explain")
	var list nameList
	fetch(t, at+"/v1/names", 200, &list)
	if fmt.Sprint(list) != "{[shop.cdn.example.] false}" {
		t.Errorf("got %v", list)
	}
	var w worldMap
	fetch(t, at+"/v1/map", 200, &w)
	if w.Name != "shop.cdn.example." || len(w.Nodes) != 1 || w.Nodes[0].ID != "lon" {
		t.Errorf("got %+v", w)
	}
	var text strings.Builder
	for i := range mostNames + 1 {
		fmt.Fprintf(&text, "n%d STEER west\n", i)
	}
	write(t, records, text.String()+"shop STEER west\n")
	g.records.reload()
	fetch(t, at+"/v1/map?name=shop.cdn.example", 200, &w)
	if len(w.Nodes) != 1 || w.Nodes[0].ID != "sea" {
		t.Errorf("a map of where the name was steered: %+v", w.Nodes)
	}
	fetch(t, at+"/v1/names", 200, &list)
	if len(list.Names) != mostNames || !list.More {
		t.Errorf("%d names, more %v", len(list.Names), list.More)
	}
}
