package healthfeed

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed/identity/identitytest"
)

// everything is a feed that knows something of each kind: an inventory as people write it,
// signed records and others, words of operators.
func everything(f *testing.F) (all *Feed, a *identitytest.Authority) {
	a = identitytest.New(f)
	data := []byte(`{"nodes": [{"id": "a", "addrs": ["192.0.2.1"], "checks": [{"type": "tcp", "addr": "192.0.2.1:80"}]},
		{"id": "b", "cname": "other.example", "labels": {"region": "eu"}}], "services": {"web": {"select": {"region": "eu"}}}}`)
	inv, err := ParseInventory("nodes.json", data)
	if err != nil {
		f.Fatal(err)
	}
	all = known(f, as(f, a, "dns/ns1"), inv, quiet)
	id := inv.Nodes[0].ID
	for _, r := range []Record{says("dns-ns1", 1, map[string]State{id: Down}), says("monitor", 7, map[string]State{id: Up, "x": Abstain})} {
		if err := all.Offer(&Snapshot{Records: []Aged{{AgeMS: 12, Record: r}}}); err != nil {
			f.Fatal(err)
		}
	}
	if err := all.Offer(&Snapshot{Overrides: []Override{{Node: id, State: AdminDrain, Rev: 3, By: "jo", Reason: "new disks", At: time.Unix(1.8e9, 0)}}}); err != nil {
		f.Fatal(err)
	}
	return all, a
}

// sound fails the test if something is wrong with what a feed knows: it can be written and
// read again, and has a status for every node.
func sound(t *testing.T, f *Feed) {
	f.merge(time.Now())
	table := f.Table()
	if len(table.Nodes) != len(table.Inventory.Nodes) {
		t.Fatalf("%d states of %d nodes", len(table.Nodes), len(table.Inventory.Nodes))
	}
	for i, s := range table.Nodes {
		if s.State >= Abstain || !(s.Health >= 0 && s.Health <= 1) || !(s.Acceptance > 0 && s.Acceptance <= 1) || !(s.Ramp > 0 && s.Ramp <= 1) {
			t.Fatalf("%s is %+v", table.Inventory.Nodes[i].ID, s)
		}
	}
	data, err := f.Snapshot().encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseSnapshot(data)
	if err != nil {
		t.Fatalf("what was written is refused: %v\n%s", err, data)
	}
	if len(again.Records) != len(f.records) || len(again.Overrides) != len(f.overrides) {
		t.Fatalf("%d records and %d overrides of %d and %d", len(again.Records), len(again.Overrides), len(f.records), len(f.overrides))
	}
	h := NewHub(f)
	for _, target := range []string{feedPath, nodesPath, nodesPath + "?format=json", nodesPath + "?format=html"} {
		if r := ask(h, "GET", target); r.StatusCode != 200 {
			t.Fatalf("GET %s: %d", target, r.StatusCode)
		}
	}
}

// Whatever a hub streams, in gzip or not, a reader goes on with something sound; and one
// with an identity has no record that its prober has not signed.
func FuzzStream(f *testing.F) {
	all, a := everything(f)
	var d deltas
	e, to := d.get(all, 0)
	whole := append(bytes.Clone(e.plain), heartbeat...)
	if err := all.Offer(&Snapshot{Records: []Aged{{Record: says("dns-ns1", 2, map[string]State{"a": Up})}}}); err != nil {
		f.Fatal(err)
	}
	next, _ := d.get(all, to)
	f.Add(append(bytes.Clone(whole), next.plain...))
	f.Add(bytes.Join([][]byte{gzipHeader, e.squeezed(), squeezedHeartbeat, next.squeezed()}, nil))
	f.Add(bytes.ReplaceAll(whole, []byte(`"signed"`), []byte(`"prober":"dns-ns1","signed"`)))
	f.Add([]byte("id: x-1\ndata: {\"records\": []}\n\n:\n\n"))
	who := as(f, a, "edge/e")
	f.Fuzz(func(t *testing.T, stream []byte) {
		for _, files := range []bool{false, true} {
			reader := known(t, nil, nil, quiet)
			if files {
				reader.config.Identity = who
			}
			in := bufio.NewReader(bytes.NewReader(stream))
			if z, err := gzip.NewReader(bytes.NewReader(stream)); err == nil {
				in = bufio.NewReader(z)
			}
			events := eventReader{in, 1 << 20}
			for {
				e, err := events.next()
				if err != nil {
					break
				}
				reader.Receive(e.data, time.Since(e.started)) // or it is refused
			}
			sound(t, reader)
			for _, r := range reader.Snapshot().Records {
				if _, err := reader.verify(&r); err != nil {
					t.Fatalf("it believes %+v: %v", r, err)
				}
			}
		}
	})
}

// Whatever is in the state file, a feed opens; operators can drain and take back, and
// what they said is there after the next start.
func FuzzStateFile(f *testing.F) {
	all, _ := everything(f)
	data, err := all.Snapshot().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add([]byte{})
	f.Add([]byte(`{"records": [], "overrides": [{"node": "n", "state": "drain", "rev": 1}]}`))
	f.Add([]byte(strings.Replace(string(data), `"rev":3`, `"rev":9007199254740992`, 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "state.json")
		write(t, path, data)
		inv := watched(t, "n")
		feed, err := Open(Config{Inventory: inv, StateFile: path, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		sound(t, feed)
		if len(feed.overrides) >= maxOverrides {
			return // and no more can be said
		}
		for _, say := range []func(node, by, reason string) (Override, error){feed.Undrain, feed.Drain} {
			if _, err := say("n", "jo", "why"); err != nil {
				t.Fatal(err)
			}
		}
		again, err := Open(Config{Inventory: inv, StateFile: path, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		sound(t, again)
		if state(again, "n") != Draining {
			t.Fatalf("the drain is forgotten: %v", state(again, "n"))
		}
	})
}
