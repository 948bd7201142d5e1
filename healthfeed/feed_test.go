package healthfeed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
func run(t *testing.T, f *Feed) (stop func()) {
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
	})
}

func TestTableIsReplacedAtMostTenTimesASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, Config{Inventory: watched(t, "n")})
		before := f.Table().Generation
		for seq := range uint64(1000) {
			r := says("p", seq+1, nil)
			r.Nodes["n"] = Observation{State: Up, Health: 100, RTT: RTT{int64(seq), 2000}}
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

func TestOfferRefusesWhole(t *testing.T) {
	inv := watched(t, "n")
	good := Aged{Record: says("p", 1, map[string]State{"n": Down})}
	many := &Snapshot{}
	for i := range maxProbers + 1 {
		many.Records = append(many.Records, Aged{Record: says(fmt.Sprint("p", i), 1, nil)})
	}
	edit := func(change func(r *Aged)) *Snapshot {
		bad := Aged{Record: says("q", 1, map[string]State{"n": Down})}
		change(&bad)
		return &Snapshot{Inventory: watched(t, "m"), Records: []Aged{good, bad}}
	}
	observe := func(o Observation) func(r *Aged) {
		return func(r *Aged) { r.Nodes = map[string]Observation{"n": o} }
	}
	nan := func() float64 { var z float64; return z / z }()
	for name, s := range map[string]*Snapshot{
		"prober":      edit(func(r *Aged) { r.Prober = "no spaces" }),
		"epoch-0":     edit(func(r *Aged) { r.Epoch = 0 }),
		"epoch-huge":  edit(func(r *Aged) { r.Epoch = 1 << 62 }),
		"ttl-0":       edit(func(r *Aged) { r.TTLMS = 0 }),
		"ttl-huge":    edit(func(r *Aged) { r.TTLMS = 1 << 62 }),
		"interval":    edit(func(r *Aged) { r.IntervalMS = 0 }),
		"age":         edit(func(r *Aged) { r.AgeMS = -1 }),
		"state":       edit(observe(Observation{State: 99})),
		"health":      edit(observe(Observation{Health: 101})),
		"health-nan":  edit(observe(Observation{Health: nan})),
		"score":       edit(observe(Observation{Score: -1})),
		"rtt":         edit(observe(Observation{RTT: RTT{2, 1}})),
		"load":        edit(observe(Observation{Load: Load{EPS: -1}})),
		"two-records": edit(func(r *Aged) { r.Prober = "p" }),
		"many":        many,
		"no-nodes":    {Inventory: &Inventory{}, Records: []Aged{good}},
	} {
		f, err := Open(Config{Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Offer(&Snapshot{Inventory: inv}); err != nil {
			t.Fatal(err)
		}
		if err := f.Offer(s); err == nil {
			t.Errorf("%s: taken", name)
		}
		got := f.Snapshot()
		if f.Refused() != 1 || len(got.Records) != 0 || got.Inventory != inv {
			t.Errorf("%s: refused %d, %d records, inventory %+v", name, f.Refused(), len(got.Records), got.Inventory)
		}
	}
}

func TestOfferOrder(t *testing.T) {
	f, err := Open(Config{Inventory: watched(t, "n"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	r := func(epoch int64, seq uint64) Record {
		r := says("p", seq, nil)
		r.Epoch = epoch
		return r
	}
	for _, step := range []struct {
		offered Record
		epoch   int64
		seq     uint64
	}{{r(2, 5), 2, 5}, {r(2, 4), 2, 5}, {r(1, 9), 2, 5}, {r(2, 5), 2, 5}, {r(2, 6), 2, 6}, {r(3, 1), 3, 1}} {
		offer(t, f, step.offered)
		if got := f.Snapshot().Records[0]; got.Epoch != step.epoch || got.Seq != step.seq {
			t.Errorf("after (%d, %d): (%d, %d)", step.offered.Epoch, step.offered.Seq, got.Epoch, got.Seq)
		}
	}
	if e := f.Epoch("p"); e < time.Now().Add(-time.Minute).UnixMilli() {
		t.Errorf("epoch %d is in the past", e)
	}
	late := r(maxEpoch-1, 1)
	offer(t, f, late)
	if e := f.Epoch("p"); e != maxEpoch {
		t.Errorf("epoch %d is not after the one known", e)
	}
}

func TestOfferIgnoresTheForgotten(t *testing.T) {
	f, err := Open(Config{Inventory: watched(t, "n"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	for _, age := range []int64{346_000, 1 << 62} {
		if err := f.Offer(&Snapshot{Records: []Aged{{AgeMS: age, Record: says("p", 1, map[string]State{"n": Down})}}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(f.Snapshot().Records); n != 0 || f.currentVersion() != 0 {
		t.Errorf("%d records, version %d", n, f.currentVersion())
	}
}

func TestLocalInventoryWins(t *testing.T) {
	f, err := Open(Config{Inventory: watched(t, "mine"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Offer(&Snapshot{Inventory: watched(t, "theirs")}); err != nil {
		t.Fatal(err)
	}
	if got := f.Snapshot().Inventory.Nodes[0].ID; got != "mine" {
		t.Errorf("got %q", got)
	}
}

// An inventory that says the same is the same, however often it comes.
func TestSameInventoryGivesNoTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, Config{})
		for range 10 {
			if err := f.Offer(&Snapshot{Inventory: watched(t, "a", "b")}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if g := f.Table().Generation; g != 2 || len(f.Table().Nodes) != 2 {
			t.Errorf("generation %d, %d nodes", g, len(f.Table().Nodes))
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
	})
}

// A brokenSource fails again and again.
type brokenSource struct {
	mu     sync.Mutex
	starts []time.Time
	lasts  time.Duration
	err    error
}

func (s *brokenSource) String() string { return "broken" }

func (s *brokenSource) Run(ctx context.Context, f *Feed) error {
	s.mu.Lock()
	s.starts = append(s.starts, time.Now())
	s.mu.Unlock()
	select {
	case <-time.After(s.lasts):
	case <-ctx.Done():
	}
	return s.err
}

func TestSuperviseBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		source := &brokenSource{err: errors.New("out of order")}
		f, err := Open(Config{Inventory: watched(t, "n"), Sources: []Source{source}, Log: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, f)
		time.Sleep(10 * time.Minute)
		stop()
		pause := time.Second
		for i := 1; i < len(source.starts); i++ {
			got := source.starts[i].Sub(source.starts[i-1])
			if got < pause/2 || got > pause*3/2 {
				t.Errorf("pause %d: %v, want %v give or take a half", i, got, pause)
			}
			pause = min(2*pause, 30*time.Second)
		}
		if len(source.starts) < 10 {
			t.Errorf("%d starts", len(source.starts))
		}
		if n := log.count("out of order"); n != 1 {
			t.Errorf("%d lines", n)
		}
	})
}

// A source that worked for a while is started again soon, and its next end is
// worth a line.
func TestSuperviseForgives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		source := &brokenSource{lasts: time.Minute}
		f, err := Open(Config{Inventory: watched(t, "n"), Sources: []Source{source}, Log: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, f)
		time.Sleep(5 * time.Minute)
		stop()
		if n := len(source.starts); n != 5 {
			t.Errorf("%d starts", n)
		}
		if n := log.count("it returned early"); n != 4 {
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

// A snapshot that had to wait for its turn does not say that a record comes from
// the future, which every reader would refuse.
func TestSnapshotAgesAreNotNegative(t *testing.T) {
	f, err := Open(Config{Inventory: watched(t, "n"), Log: quiet})
	do(t, err)
	f.mu.Lock()
	got := make(chan *Snapshot)
	go func() { got <- f.Snapshot() }()
	time.Sleep(20 * time.Millisecond) // Snapshot waits for mu
	f.records["p"] = Seen{says("p", 1, nil), time.Now()}
	f.mu.Unlock()
	if err := (<-got).Validate(); err != nil {
		t.Error(err)
	}
}
