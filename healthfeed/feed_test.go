package healthfeed

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// A logbook is a log that a test can read.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// count returns how many lines hold the words.
func (l *logbook) count(words string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, words) {
			n++
		}
	}
	return n
}

// open returns a feed that runs until the test ends.
func open(t *testing.T, c Config) *Feed {
	t.Helper()
	if c.Log == nil {
		c.Log = quiet
	}
	f, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	run(t, f)
	return f
}

// run runs a feed; the function it returns stops it, if the test does not end
// before.
func run(t testing.TB, f *Feed) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func offer(t *testing.T, f *Feed, records ...Record) {
	t.Helper()
	s := &Snapshot{}
	for _, r := range records {
		s.Records = append(s.Records, Aged{Record: r})
	}
	if err := f.Offer(s); err != nil {
		t.Fatal(err)
	}
}

func state(f *Feed, id string) State {
	s, _ := f.Table().Lookup(id)
	return s.State
}

func TestFeedExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, Config{Inventory: watched(t, "n")})
		offer(t, f, says("p", 1, map[string]State{"n": Down}))
		start := time.Now()
		for _, test := range []struct {
			at        time.Duration
			freshness Freshness
			state     State
		}{
			{200 * time.Millisecond, Fresh, Down},
			{14 * time.Second, Fresh, Down},
			{17 * time.Second, Frozen, Down},
			{44 * time.Second, Frozen, Down},
			{47 * time.Second, LastKnownGood, Down},
			{344 * time.Second, LastKnownGood, Down},
			{347 * time.Second, Static, Unknown},
		} {
			time.Sleep(test.at - time.Since(start))
			synctest.Wait()
			table := f.Table()
			if s := table.Nodes[0]; table.Freshness != test.freshness || s.State != test.state {
				t.Errorf("after %v: %v, %v", test.at, table.Freshness, s.State)
			}
		}
		if got := len(f.Snapshot().Records); got != 0 {
			t.Errorf("%d records are still kept", got)
		}
		f.mu.Lock()
		if got := len(f.epochs); got != 0 {
			t.Errorf("%d epochs are still kept", got)
		}
		f.mu.Unlock()
		if heard := f.Table().Heard(); time.Since(heard) < 346*time.Second || time.Since(heard) > 348*time.Second {
			t.Errorf("heard %v ago", time.Since(heard)) // an alarm on it must not end here
		}
	})
}

// A table is not made again while it holds, and is when it does not.
func TestTableIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, Config{Inventory: watched(t, "n")})
		if err := f.Offer(&Snapshot{Records: []Aged{{Record: says("p", 1, map[string]State{"n": Up})}}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		table := f.Table()
		for range 12 {
			time.Sleep(time.Second)
			if f.Table() != table {
				t.Fatal("a table that holds is made again")
			}
		}
		time.Sleep(3 * time.Second)
		if frozen := f.Table(); frozen.Freshness != Frozen {
			t.Errorf("after 17 s it is %v", frozen.Freshness)
		}
		if _, err := f.Drain("n", "", ""); err == nil {
			t.Error("drained without a state file")
		}
		f.setInventory(watched(t, "n", "m"))
		time.Sleep(time.Second)
		if n := len(f.Table().Nodes); n != 2 {
			t.Errorf("with another inventory it has %d nodes", n)
		}
	})
}

func TestTableIsReplacedAtMostTenTimesASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, Config{Inventory: watched(t, "n")})
		before := f.Table().Generation
		for seq := range uint64(1000) {
			r := says("p", seq+1, nil)
			r.Nodes["n"] = Observation{State: Up, Health: 100, RTT: RTT{P50: int64(seq), P95: 2000}}
			offer(t, f, r)
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if n := f.Table().Generation - before; n < 9 || n > 11 {
			t.Errorf("%d tables in a second", n)
		}
	})
}

func TestNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, Config{Inventory: watched(t, "n")})
		first := f.Table()
		if got, err := f.Next(t.Context(), 0); err != nil || got != first {
			t.Errorf("the current table is newer than none: %v, %v", got, err)
		}
		got := make(chan *Table)
		for range 2 {
			go func() {
				table, err := f.Next(t.Context(), first.Generation)
				if err != nil {
					t.Error(err)
				}
				got <- table
			}()
		}
		time.Sleep(10 * time.Second)
		select {
		case table := <-got:
			t.Errorf("Next returns %+v though nothing changed", table)
		default:
		}
		offer(t, f, says("p", 1, map[string]State{"n": Down}))
		for range 2 {
			if table := <-got; table.Nodes[0].State != Down {
				t.Errorf("got %v", table.Nodes[0].State)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := f.Next(ctx, f.Table().Generation); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestFeedLogsChangesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		f := open(t, Config{Inventory: watched(t, "n"), Log: log.logger()})
		for seq := range uint64(5) {
			offer(t, f, says("p", seq+1, map[string]State{"n": Down}))
			time.Sleep(time.Second)
		}
		if n := log.count("node=n state=down was=unknown"); n != 1 {
			t.Errorf("%d lines", n)
		}
		f.setInventory(watched(t, "m"))
		time.Sleep(time.Second)
		if n := log.count("inventory changed"); n != 1 {
			t.Errorf("%d lines of a new inventory", n)
		}
	})
}

// That a node is down is a warning, and that nobody of a service is left an error; each
// is said once, and once when it is over.
func TestFeedLogsOutages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inv := watched(t, "a", "b", "c")
		inv.Nodes[0].Labels = map[string]string{"of": "web"}
		inv.Services = map[string]Service{"web": {Select: map[string]string{"of": "web"}}, "none": {Select: map[string]string{"of": "none"}}}
		var log logbook
		f := open(t, Config{Inventory: inv, Log: log.logger()})
		seq := uint64(0)
		say := func(states map[string]State) {
			for range 3 {
				seq++
				offer(t, f, says("p", seq, states))
				time.Sleep(time.Second)
			}
		}
		expect := func(when string, counts map[string]int) {
			t.Helper()
			for words, want := range counts {
				if got := log.count(words); got != want {
					t.Errorf("%s: %d lines of %q, want %d", when, got, words, want)
				}
			}
		}
		say(map[string]State{"a": Up, "b": Up, "c": Up})
		expect("well", map[string]int{"level=WARN": 0, "level=ERROR": 0})
		say(map[string]State{"a": Down, "b": Up, "c": Draining})
		expect("one-down", map[string]int{
			`level=WARN msg="node changed" node=a state=down was=up reason="1 of 1 probers"`: 1, "level=WARN": 1,
			`level=ERROR msg="nobody of the service is alive" service=web nodes=1`: 1, "level=ERROR": 1,
		})
		say(map[string]State{"a": Down, "b": Down, "c": Draining})
		expect("who-drains-lives", map[string]int{"level=WARN": 2, "level=ERROR": 1})
		say(map[string]State{"a": Down, "b": Down, "c": Down})
		expect("all-down", map[string]int{"service=* nodes=3": 1, "level=ERROR": 2})
		say(map[string]State{"a": Up, "b": Down, "c": Down})
		expect("one-back", map[string]int{
			`level=INFO msg="node changed" node=a state=up was=down`: 1, "level=ERROR": 2,
			`level=INFO msg="the outage of the service is over" service=web`: 1, "is over\" service=*": 1, "is over": 2,
		})
	})
}

// What was down when the process ended, and is all the time, is said by the next one.
func TestFeedLogsOutageAtStart(t *testing.T) {
	state := filepath.Join(t.TempDir(), "feed.json")
	do(t, WriteFile(state, snapshotOf(t, watched(t, "n"), says("p", 1, map[string]State{"n": Down}))))
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		open(t, Config{Inventory: watched(t, "n"), StateFile: state, Log: log.logger()})
		time.Sleep(5 * time.Second)
		if n := log.count("nobody of the service is alive"); n != 1 {
			t.Errorf("%d lines", n)
		}
	})
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{InventoryFile: filepath.Join(dir, "none.json")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing inventory: %v", err)
	}
	if _, err := Open(Config{InventoryFile: bad}); err == nil || !strings.HasSuffix(err.Error(), "bad.json:1: unexpected end of the file") {
		t.Errorf("bad inventory: %v", err)
	}
	// The feed can do without a state file.
	for state, refused := range map[string]uint64{"none.json": 0, "bad.json": 1} {
		f, err := Open(Config{Inventory: watched(t, "n"), StateFile: filepath.Join(dir, state), Log: quiet})
		if err != nil || f.Refused() != refused || !f.Table().Nodes[0].State.TakesClients() {
			t.Errorf("%s: %v, refused %d", state, err, f.Refused())
		}
	}
	if f, err := Open(Config{}); err != nil || f.Table() == nil || len(f.Table().Nodes) != 0 {
		t.Errorf("nothing given: %v", err)
	}
}

func TestTableDoesNotAllocate(t *testing.T) {
	f, err := Open(Config{Inventory: watched(t, "n"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { f.Table().Lookup("n") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
