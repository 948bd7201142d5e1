package geosched

import (
	"path/filepath"
	"testing"
)

// Who is ready has loaded everything: a block does not answer, and is not asked
// whether it is ready, before its files are read.
func TestReadyMeansLoaded(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		write(t, name, text)
		return name
	}
	inst := run(t, "\tgeosched {\n\t\tnodes "+file("nodes.json", `{"nodes": [{"id": "lon", "addrs": ["192.0.2.1"]}], "services": {"web": {"policy": "video"}}}`)+
		"\n\t\trecords "+file("names", "a STEER web\n")+
		"\n\t\tpolicy "+file("policy.json", `{"policies": {"video": {}}}`)+
		"\n\t\tshadow "+file("shadow.json", `{"policies": {"video": {"answers": 2}}}`)+
		"\n\t\tnets "+file("nets", "198.51.100.0/24 node lon\n")+
		"\n\t\tgeoip "+cityDB(t, map[string][2]float64{"81.2.69.0/24": {51.5, -0.1}})+"\n\t}")
	defer stop(t, inst)
	g := only(t)
	if !g.Ready() {
		t.Fatal("not ready, though there is nothing to measure")
	}
	if g.names.find("a.cdn.example.").steered == nil || len(g.policies.book.Load().Names()) != 2 || len(g.shadow.policies.book.Load().Names()) != 2 {
		t.Error("ready without names or policies")
	}
	if trie := g.atlas.Trie(); len(trie.Pinned()) != 1 || len(trie.Databases()) != 1 {
		t.Error("ready without its geography")
	}
}
