package healthfeed

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStateFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "feed.json")
	inv := watched(t, "n", "m")
	f, err := Open(Config{Inventory: inv, StateFile: path, Log: quiet})
	do(t, err)
	stop := run(t, f)
	offer(t, f, says("p", 1, map[string]State{"n": Down, "m": Up}))
	eventually(t, "the state is written", func() bool {
		data, err := os.ReadFile(path)
		return err == nil && bytes.Contains(data, []byte(`"down"`))
	})
	r := says("p", 2, map[string]State{"n": Up, "m": Down})
	r.Epoch = time.Now().Add(time.Hour).UnixMilli()
	offer(t, f, r)
	stop() // writes what is known last

	f, err = Open(Config{Inventory: inv, StateFile: path, Log: quiet})
	do(t, err)
	if state(f, "n") != Up || state(f, "m") != Down || f.Table().Freshness != LastKnownGood || !f.Table().Heard().IsZero() {
		t.Errorf("restored: %+v", f.Table())
	}
	if e := f.Epoch("p"); e != r.Epoch+1 {
		t.Errorf("epoch %d although %d was used", e, r.Epoch)
	}

	// A feed without an inventory of its own begins with that of the file.
	f, err = Open(Config{StateFile: path, Log: quiet})
	do(t, err)
	if !f.Table().Inventory.Equal(inv) || state(f, "m") != Down {
		t.Errorf("restored without inventory: %+v", f.Table())
	}

	// As long as nobody is heard, what is in the file is better than nothing.
	before, err := os.Stat(path)
	do(t, err)
	stop = run(t, f)
	time.Sleep(1500 * time.Millisecond)
	stop()
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("the state file was replaced: %v", err)
	}
}

// The ages in the state file count: a vote that had expired when it was written
// does not come back, and what was held then is not held longer for a restart.
func TestStateFileKeepsAges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "feed.json")
	gone := map[string]State{"n": Down}
	for _, test := range []struct {
		name    string
		records []Aged
		want    State
		till    time.Duration // it is held, in minutes and seconds after Open
	}{
		{"expired", []Aged{{AgeMS: 60_000, Record: says("a", 1, gone)}, {AgeMS: 60_000, Record: says("b", 1, gone)}, {AgeMS: 0, Record: says("c", 1, map[string]State{"n": Up})}}, Up, 345 * time.Second},
		{"all-expired", []Aged{{AgeMS: 100_000, Record: says("a", 1, gone)}}, Down, 245 * time.Second},
		{"fresh", []Aged{{AgeMS: 0, Record: says("a", 1, gone)}}, Down, 345 * time.Second},
		{"forgotten", []Aged{{AgeMS: 400_000, Record: says("a", 1, gone)}}, Unknown, 0},
	} {
		do(t, WriteFile(path, &Snapshot{Inventory: watched(t, "n"), Records: test.records}))
		synctest.Test(t, func(t *testing.T) {
			f := open(t, Config{StateFile: path})
			if state(f, "n") != test.want {
				t.Errorf("%s: got %v, want %v", test.name, state(f, "n"), test.want)
			}
			time.Sleep(test.till - 2*time.Second)
			if state(f, "n") != test.want {
				t.Errorf("%s: let go too early", test.name)
			}
			time.Sleep(4 * time.Second)
			if state(f, "n") != Unknown {
				t.Errorf("%s: still held", test.name)
			}
		})
	}
}

// A source that knows an older record of a prober does not make its epoch go back.
func TestEpochIsTheLatestKnown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "feed.json")
	late := says("p", 1, nil)
	late.Epoch = time.Now().Add(time.Hour).UnixMilli()
	do(t, WriteFile(path, snapshotOf(t, watched(t, "n"), late)))
	f, err := Open(Config{StateFile: path, Log: quiet})
	do(t, err)
	offer(t, f, says("p", 1, nil))
	if got := f.Epoch("p"); got != late.Epoch+1 {
		t.Errorf("epoch %d although %d was used", got, late.Epoch)
	}
}

// Whoever writes the last epoch there is under a prober's name does not silence it for longer
// than that record is remembered, a start with it in the state file included.
func TestLastEpoch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "feed.json")
	last := says("p", 1, nil)
	last.Epoch = maxEpoch
	do(t, WriteFile(path, snapshotOf(t, watched(t, "n"), last)))
	f, err := Open(Config{StateFile: path, Log: quiet})
	do(t, err)
	next := says("p", 1, nil)
	next.Epoch = f.Epoch("p")
	offer(t, f, next)
	if r, _ := f.Record("p"); r.Epoch != next.Epoch {
		t.Errorf("the prober is not heard: %+v", r)
	}
}

// A flip is written at once, but not more than once a second; what is no flip is
// written every five seconds.
func TestStateFilePace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "feed.json")
	seq := func() uint64 {
		data, err := os.ReadFile(path)
		do(t, err)
		s, err := ParseSnapshot(data)
		do(t, err)
		return s.Records[0].Seq
	}
	synctest.Test(t, func(t *testing.T) {
		f := open(t, Config{Inventory: watched(t, "n"), StateFile: path})
		time.Sleep(3 * time.Second)
		next := uint64(0)
		put := func(s State) {
			next++
			offer(t, f, says("p", next, map[string]State{"n": s}))
		}
		put(Up)
		time.Sleep(1100 * time.Millisecond)
		written := map[uint64]bool{}
		for i := range 100 { // 10 s
			put([]State{Up, Down}[i%2])
			time.Sleep(100 * time.Millisecond)
			written[seq()] = true
		}
		if n := len(written); n < 5 || n > 11 {
			t.Errorf("%d writes in 10 s of flapping", n)
		}
		time.Sleep(10 * time.Second)
		if got := seq(); got != next {
			t.Errorf("the file has record %d of %d", got, next)
		}

		clear(written)
		for range 100 {
			put(Down)
			time.Sleep(100 * time.Millisecond)
			written[seq()] = true
		}
		if n := len(written); n < 2 || n > 3 { // the one before, and one or two of these
			t.Errorf("%d records in the file in 10 s without a flip", n)
		}
	})
}

func TestStateFileCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		f := open(t, Config{Inventory: watched(t, "n"), StateFile: filepath.Join(dir, "feed.json"), Log: log.logger()})
		offer(t, f, says("p", 1, map[string]State{"n": Down}))
		time.Sleep(10 * time.Second)
		if n := f.Unwritten(); n < 2 || log.count("state file not written") != 1 {
			t.Errorf("%d writes failed, %d lines", n, log.count("state file not written"))
		}
		if state(f, "n") != Down {
			t.Error("memory does not go on")
		}
		do(t, os.Mkdir(dir, 0o755))
		time.Sleep(10 * time.Second)
		if _, err := os.Stat(filepath.Join(dir, "feed.json")); err != nil || log.count("good again") != 1 {
			t.Errorf("it is not written after all: %v", err)
		}
	})
}

// What a process left that was killed while it wrote goes with the next start, and nothing
// else does.
func TestLeftoversAreSwept(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "feed.json")
	old := time.Now().Add(-2 * time.Minute)
	for name, at := range map[string]time.Time{
		".feed.json.123": old, ".feed.json.456": time.Now(), ".feed.json.": old, ".feed.json.1a": old, "feed.json.1": old, ".other.json.1": old,
	} {
		do(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
		do(t, os.Chtimes(filepath.Join(dir, name), at, at))
	}
	if _, err := Open(Config{StateFile: path}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	do(t, err)
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if got, want := strings.Join(left, " "), ".feed.json. .feed.json.1a .feed.json.456 .other.json.1 feed.json.1"; got != want {
		t.Errorf("left are %s, want %s", got, want)
	}
}
