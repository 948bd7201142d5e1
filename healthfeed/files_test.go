package healthfeed

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came that %s", what)
		}
	}
}

// nodesFile is a nodes.json with one node.
func nodesFile(id string) []byte {
	return fmt.Appendf(nil, `{"nodes": [{"id": %q, "addrs": ["192.0.2.1"]}]}`, id)
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// replace puts a file in place by rename, as editors and operators do.
func replace(t *testing.T, path string, data []byte) {
	t.Helper()
	write(t, path+".new", data)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// nodeIs reports whether the table's only node is the given one.
func nodeIs(f *Feed, id string) func() bool {
	return func() bool {
		nodes := f.Table().Inventory.Nodes
		return len(nodes) == 1 && nodes[0].ID == id
	}
}

func TestInventoryIsFollowed(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(t *testing.T, dir, path string)
	}{
		{"written", func(t *testing.T, dir, path string) { write(t, path, nodesFile("new")) }},
		{"renamed", func(t *testing.T, dir, path string) { replace(t, path, nodesFile("new")) }},
		{"removed-and-made", func(t *testing.T, dir, path string) {
			do(t, os.Remove(path))
			time.Sleep(50 * time.Millisecond)
			write(t, path, nodesFile("new"))
		}},
		{"directory-recreated", func(t *testing.T, dir, path string) {
			do(t, os.RemoveAll(dir))
			time.Sleep(50 * time.Millisecond)
			do(t, os.Mkdir(dir, 0o755))
			write(t, path, nodesFile("new"))
		}},
		{"directory-renamed", func(t *testing.T, dir, path string) {
			do(t, os.Rename(dir, dir+".old"))
			do(t, os.Mkdir(dir, 0o755))
			write(t, path, nodesFile("new"))
		}},
		{"mtime-in-the-past", func(t *testing.T, dir, path string) {
			write(t, path+".new", nodesFile("new"))
			do(t, os.Chtimes(path+".new", time.Time{}, time.Unix(1, 0)))
			do(t, os.Rename(path+".new", path))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "conf")
			path := filepath.Join(dir, "nodes.json")
			do(t, os.Mkdir(dir, 0o755))
			write(t, path, nodesFile("old"))
			f := open(t, Config{InventoryFile: path})
			test.change(t, dir, path)
			eventually(t, "the new inventory is taken", nodeIs(f, "new"))
			// And once more, which shows that the watch has survived.
			replace(t, path, nodesFile("newer"))
			eventually(t, "the next one is taken too", nodeIs(f, "newer"))
		})
	}
}

// A ConfigMap is a symbolic link to a link to a directory; the middle link is
// swapped, and no event names the file.
func TestInventoryBehindSymlinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symbolic links need a privilege on Windows")
	}
	dir := t.TempDir()
	for _, version := range []string{"1", "2"} {
		do(t, os.Mkdir(filepath.Join(dir, version), 0o755))
		write(t, filepath.Join(dir, version, "nodes.json"), nodesFile("v"+version))
	}
	do(t, os.Symlink("1", filepath.Join(dir, "..data")))
	path := filepath.Join(dir, "nodes.json")
	do(t, os.Symlink(filepath.Join("..data", "nodes.json"), path))
	f := open(t, Config{InventoryFile: path})
	do(t, os.Symlink("2", filepath.Join(dir, "..new")))
	do(t, os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")))
	eventually(t, "the swap is seen", nodeIs(f, "v2"))
}

func TestBadInventoryIsRefused(t *testing.T) {
	for name, bad := range map[string][]byte{
		"torn":        nodesFile("new")[:20],
		"zero-length": nil,
		"zero-bytes":  make([]byte, 100),
		"no-nodes":    []byte(`{"nodes": []}`),
		"huge":        bytes.Repeat([]byte(" "), MaxSnapshot+1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "nodes.json")
			write(t, path, nodesFile("old"))
			var log logbook
			f := open(t, Config{InventoryFile: path, Log: log.logger()})
			replace(t, path, bad)
			eventually(t, "the file is refused", func() bool { return f.Refused() == 1 })
			// Touched, it is not another mistake.
			later := time.Now().Add(-time.Hour)
			do(t, os.Chtimes(path, later, later))
			time.Sleep(2 * statInterval)
			if n := log.count("refused; the last good data stays"); n != 1 {
				t.Errorf("%d lines", n)
			}
			if !nodeIs(f, "old")() {
				t.Errorf("the last good inventory is gone: %+v", f.Table().Inventory)
			}
			replace(t, path, nodesFile("new"))
			eventually(t, "the good file is taken", nodeIs(f, "new"))
			if n := log.count("good again"); n != 1 {
				t.Errorf("%d lines that it is good again", n)
			}
		})
	}
}

func TestInventoryGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodes.json")
	write(t, path, nodesFile("old"))
	var log logbook
	f := open(t, Config{InventoryFile: path, Log: log.logger()})
	do(t, os.Remove(path))
	eventually(t, "the loss is logged", func() bool { return log.count("no such file") == 1 })
	if !nodeIs(f, "old")() {
		t.Error("the last good inventory is gone")
	}
}

func TestTouchedInventoryGivesNoTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodes.json")
	write(t, path, nodesFile("a"))
	f := open(t, Config{InventoryFile: path})
	before := f.Table().Generation
	now := time.Now().Add(time.Hour)
	do(t, os.Chtimes(path, now, now))
	replace(t, path, append(nodesFile("a"), '\n')) // another file, the same meaning
	time.Sleep(2 * statInterval)
	if got := f.Table().Generation; got != before || f.Refused() != 0 {
		t.Errorf("generation %d, then %d; refused %d", before, got, f.Refused())
	}
}

func snapshotOf(_ testing.TB, inv *Inventory, records ...Record) *Snapshot {
	s := &Snapshot{Inventory: inv}
	for _, r := range records {
		s.Records = append(s.Records, Aged{AgeMS: 1000, Record: r})
	}
	return s
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "feed.json")
	want := snapshotOf(t, watched(t, "n"), says("p", 7, map[string]State{"n": Down}))
	for range 2 {
		do(t, WriteFile(path, want))
	}
	data, err := os.ReadFile(path)
	do(t, err)
	got, err := ParseSnapshot(data)
	do(t, err)
	if !got.Inventory.Equal(want.Inventory) || got.Records[0].Seq != 7 || got.Records[0].Nodes["n"].State != Down {
		t.Errorf("got %+v", got)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("temporary files are left: %v", entries)
	}

	err = WriteFile(filepath.Join(dir, "none", "feed.json"), want)
	if err == nil || strings.Contains(err.Error(), ".feed.json.") || !strings.HasPrefix(err.Error(), "write "+filepath.Join(dir, "none", "feed.json")+": ") {
		t.Errorf("missing directory: %v", err)
	}
	do(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
	if err := WriteFile(filepath.Join(dir, "d"), want); err == nil {
		t.Error("a directory was replaced")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("temporary files are left: %v", entries)
	}
}

func TestFromFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "feed.json")
	var log logbook
	f := open(t, Config{Sources: []Source{FromFile(path)}, Log: log.logger()})
	eventually(t, "the file is missed", func() bool { return log.count("no such file") == 1 })
	if f.Refused() != 0 {
		t.Error("a file that is not there yet counts as refused")
	}
	inv := watched(t, "n")
	do(t, WriteFile(path, snapshotOf(t, inv, says("p", 1, map[string]State{"n": Down}))))
	eventually(t, "the node is down", func() bool { return state(f, "n") == Down })

	write(t, path, []byte(`{"records": [{"prober": "p", "epoch": 1}]}`))
	eventually(t, "the bad file is refused", func() bool { return f.Refused() == 1 })
	if state(f, "n") != Down || !nodeIs(f, "n")() {
		t.Error("the last good data is gone")
	}
	do(t, WriteFile(path, snapshotOf(t, inv, says("p", 2, map[string]State{"n": Up}))))
	eventually(t, "the node is up", func() bool { return state(f, "n") == Up })
}

// A file that nobody has written for long is old news.
func TestFromFileIsAsOldAsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "feed.json")
	do(t, WriteFile(path, snapshotOf(t, watched(t, "n"), says("p", 1, map[string]State{"n": Down}))))
	old := time.Now().Add(-30 * time.Second)
	do(t, os.Chtimes(path, old, old))
	f := open(t, Config{Sources: []Source{FromFile(path)}})
	eventually(t, "the node is down", func() bool { return state(f, "n") == Down })
	if got := f.Table().Freshness; got != Frozen {
		t.Errorf("got %v", got)
	}
	if age := f.Snapshot().Records[0].AgeMS; age < 31_000 || age > 60_000 {
		t.Errorf("age %d ms", age)
	}
}

// What is seen to come is news, though the clock that wrote the time of the file is an
// hour or a year off.
func TestFromFileTrustsNoClock(t *testing.T) {
	for _, off := range []time.Duration{-time.Hour, time.Hour, -365 * 24 * time.Hour, 365 * 24 * time.Hour} {
		path := filepath.Join(t.TempDir(), "feed.json")
		next := func(seq uint64, s State) {
			do(t, WriteFile(path+".new", snapshotOf(t, watched(t, "n"), says("p", seq, map[string]State{"n": s}))))
			at := time.Now().Add(off)
			do(t, os.Chtimes(path+".new", at, at))
			do(t, os.Rename(path+".new", path))
		}
		next(1, Up)
		f := open(t, Config{Sources: []Source{FromFile(path)}})
		eventually(t, "the file is read", nodeIs(f, "n"))
		next(2, Down)
		eventually(t, "the node is down", func() bool { return state(f, "n") == Down })
		if got := f.Table().Freshness; got != Fresh {
			t.Errorf("a clock that is off by %v makes the feed %v", off, got)
		}
	}
}

func FuzzParseSnapshot(f *testing.F) {
	good, err := json.Marshal(snapshotOf(nil, watched(f, "n"), says("p", 1, map[string]State{"n": Down})))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(good), "", "{}", "null", "[]", `{"records": null}`, `{"inventory": {}, "records": []}`,
		`{"records": [{"prober": "p", "epoch": 1, "seq": 1, "interval_ms": 1, "ttl_ms": 1, "new": {}, "nodes": {"n": {"state": "up", "health": 1e2}}}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseSnapshot(data)
		if err != nil {
			if placed := placeSnapshot("feed.json", data, err); !strings.HasPrefix(placed.Error(), "feed.json:") || strings.HasPrefix(placed.Error(), "feed.json:0") {
				t.Fatal(placed)
			}
			return
		}
		feed, err := Open(Config{Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		if err := feed.Offer(s); err != nil {
			t.Fatalf("parsed but not taken: %v", err)
		}
		feed.merge(time.Now())
		written, err := json.Marshal(feed.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseSnapshot(written); err != nil {
			t.Fatalf("what was written is refused: %v\n%s", err, written)
		}
	})
}

// Relative paths in the checks of a nodes file are beside it, at the start and after a change.
func TestFilesOfChecksAreBesideTheInventory(t *testing.T) {
	dir := t.TempDir()
	nodes := filepath.Join(dir, "nodes.json")
	write := func(ca string) {
		t.Helper()
		text := `{"nodes": [{"id": "a", "addrs": ["192.0.2.1"], "checks": [
			{"type": "grpc", "addr": "192.0.2.1:1", "tls": true, "ca": "` + ca + `", "cert": "tls/me.pem", "key": "/etc/me.key"},
			{"type": "redis", "addr": "192.0.2.1:1", "password_file": "secret"}]}]}`
		if err := os.WriteFile(nodes, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ca.pem")
	f, err := Open(Config{InventoryFile: nodes, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for _, ca := range []string{"ca.pem", "../other.pem"} {
		write(ca)
		eventually(t, "the paths are absolute", func() bool {
			c := f.Table().Inventory.Nodes[0].Checks
			return c[0].CA == filepath.Join(dir, ca) && c[0].Cert == filepath.Join(dir, "tls/me.pem") && c[0].Key == "/etc/me.key" &&
				c[1].PasswordFile == filepath.Join(dir, "secret")
		})
	}
}
