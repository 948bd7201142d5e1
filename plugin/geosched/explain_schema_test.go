package geosched

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// Programs read what is explained. Every word of it is in the README.
func TestExplainWordsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Explain\n")
	section, _, _ = strings.Cut(section, "\n## ")
	words := 0
	var visit func(reflect.Type)
	visit = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct {
			return
		}
		for i := range typ.NumField() {
			tag, tagged := typ.Field(i).Tag.Lookup("json")
			if !tagged {
				continue
			}
			words++
			word, _, _ := strings.Cut(tag, ",")
			if !strings.Contains(section, "`"+word+"`") && !strings.Contains(section, `"`+word+`":`) {
				t.Errorf("the README does not say what %q of %v is", word, typ)
			}
			visit(typ.Field(i).Type)
		}
	}
	for _, answer := range []any{explanation{}, choice{}, worldMap{}, nameList{}} {
		visit(reflect.TypeOf(answer))
	}
	if words < 60 {
		t.Errorf("%d words were looked for", words)
	}
}

// And they stay what they are, octet by octet.
func TestExplainJSON(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "nodes.json"), `{"nodes": [
		{"id": "lon", "addrs": ["192.0.2.1", "2001:db8::1"], "location": {"lat": 51.5, "lon": -0.12}},
		{"id": "sea", "addrs": ["192.0.2.2"], "location": {"lat": 47.6, "lon": -122.3}, "state": "drain"},
		{"id": "far", "cname": "cdn.other.example.", "tier": 1}], "services": {"web": {}}}`)
	nets := filepath.Join(dir, "nets.txt")
	write(t, nets, "198.51.100.0/24 at 51.5 -0.1\n")
	inst := run(t, "\tgeosched {\nnodes "+filepath.Join(dir, "nodes.json")+"\nnets "+nets+"\nsteer www service web\nexplain http 127.0.0.1:0\n}")
	t.Cleanup(func() { stop(t, inst) })
	at := "http://" + webAddr(t, "explain")
	for _, tt := range []struct{ path, want string }{
		{"/v1/names", `{"names":["www.cdn.example."],"more":false}`},
		{"/v1/choose?name=www.cdn.example&client=198.51.100.7", `{"name":"www.cdn.example.","type":"A","client":"198.51.100.7/32",` +
			`"class":"nets 51.5,-0.1",` +
			`"scope":24,"ttl_s":300,"why":"nearest",` +
			`"generation":1,` +
			`"nodes":[{"id":"lon","addrs":["192.0.2.1"]}]}`},
		{"/v1/explain?name=www.cdn.example&client=198.51.100.7", `{"name":"www.cdn.example.","type":"A","zone":"cdn.example.","service":"web",` +
			`"policy":{"name":"default","strategy":"nearest","alpha":0.4,"beta":0.6,"near_pct":5,"eps_km":50,"eps_ms":50,"answers":1},` +
			`"client":{"prefix":"198.51.100.7/32","ecs":"used",` +
			`"class":"nets 51.5,-0.1","source":"nets","lat":51.5,"lon":-0.1},` +
			`"scope":24,"why":"nearest","degraded":false,"ttl_s":300,` +
			`"generation":1,"freshness":"static",` +
			`"candidates":[{"id":"lon","fate":"chosen","addrs":["192.0.2.1","2001:db8::1"],"state":"up","reason":"no checks","tier":0,"distance_km":1.4,"delay_ms":0,"latency":1,"load":0,"health":1,"acceptance":1,"ramp":1,"bias":1,"score":1,"weight":100,"share":1},` +
			`{"id":"far","fate":"tier","cname":"cdn.other.example.","state":"up","reason":"no checks","tier":1,"delay_ms":0,"latency":0,"load":0,"health":1,"acceptance":1,"ramp":1,"bias":1,"score":0,"weight":0,"share":0},` +
			`{"id":"sea","fate":"draining","addrs":["192.0.2.2"],"state":"draining","reason":"operator","tier":0,"distance_km":7700.6,"delay_ms":0,"latency":0.007,"load":0,"health":1,"acceptance":1,"ramp":1,"bias":1,"score":0.0066,"weight":0,"share":0}]}`},
		{"/v1/map", `{"name":"www.cdn.example.","type":"A","policies":["default"],` +
			`"policy":{"name":"default","strategy":"nearest","alpha":0.4,"beta":0.6,"near_pct":5,"eps_km":50,"eps_ms":50,"answers":1},` +
			`"generation":1,"freshness":"static",` +
			`"nodes":[` +
			`{"id":"far","state":"up","reason":"no checks","wins":0,"share":0},{"id":"lon","lat":51.5,"lon":-0.12,"state":"up","reason":"no checks","wins":7,"share":1},` +
			`{"id":"sea","lat":47.6,"lon":-122.3,"state":"draining","reason":"operator","wins":0,"share":0}],` +
			`"classes":{"placed":6,"key":["jvqnewaustap","2r6t3gai1enam","2pri68djiaq2s","3rnhradsi5vpk","2ityb8qgftsqm","ksz0o99z6ch0","9umrfzrf9ti3"],` +
			`"lat":[27,50,39,2,-15,51.5,0],"lon":[110,10,-98,20,-50,-0.1,0],` +
			`"coarse":[1,1,1,1,1,0,0],"node":[1,1,1,1,1,1,1],"share":[1,1,1,1,1,1,1],"why":["nearest","nearest","nearest","nearest","nearest","nearest","spread"]}}`},
		{"/v1/map?near=200", `{"error":"near \"200\" is not a number from 0 to 99"}`},
	} {
		resp, err := http.Get(at + tt.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := strings.TrimSuffix(string(body), "\n"); err != nil || got != tt.want {
			t.Errorf("%s\ngot  %s, %v\nwant %s", tt.path, got, err, tt.want)
		}
	}
}
