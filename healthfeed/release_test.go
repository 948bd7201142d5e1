package healthfeed

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A rollout is a reader of the records of some nodes on trial.
type rollout struct {
	inv   *Inventory
	table *Table
	now   time.Time
	rps   float64 // of each node if it had all of its clients
	fails float64 // the part of the requests
	score float64
}

func newRollout(t testing.TB, nodes int, on func(n *Node)) *rollout {
	inv := numbered(t, nodes)
	for i := range inv.Nodes {
		on(&inv.Nodes[i])
	}
	return &rollout{inv: inv, now: t0, rps: 1000, score: 100}
}

// pass lets time pass, with a record every 2 s.
func (r *rollout) pass(d time.Duration) {
	for end := r.now.Add(d); r.now.Before(end); r.now = r.now.Add(2 * time.Second) {
		r.table = Merge(r.inv, []Seen{{r.record("p"), r.now}}, r.table, r.now)
	}
}

func (r *rollout) record(prober string) Record {
	record := says(prober, uint64(r.now.UnixMilli()), nil)
	for i := range r.inv.Nodes {
		part := 1.0
		if r.table != nil {
			part = r.table.Nodes[i].Acceptance
		}
		rps := part * r.rps
		record.Nodes[r.inv.Nodes[i].ID] = Observation{
			State: Up, Health: 100, Score: r.score,
			Load: Load{CPU: 0.3, RPS: rps, OKRPS: rps * (1 - r.fails)},
		}
	}
	if r.table != nil {
		r.table.Grant(&record)
	}
	return record
}

func (r *rollout) at() float64 { return r.table.Nodes[0].Acceptance }

func (r *rollout) want(t *testing.T, when string, part float64, reason string) {
	t.Helper()
	for i := range r.table.Nodes {
		if s := r.table.Nodes[i]; math.Abs(s.Acceptance-part) > 0.011 || !strings.HasSuffix(s.Reason, reason) {
			t.Errorf("%s: node %d takes %v, %q; want %v, %q", when, i, s.Acceptance, s.Reason, part, reason)
		}
	}
}

// A release goes through its stages as long as it serves, and not faster than 10 % in a
// minute.
func TestRelease(t *testing.T) {
	r := newRollout(t, 3, func(n *Node) { n.Release = "r7" })
	r.pass(4 * time.Minute)
	r.want(t, "begins", 0.05, "1 of 1 probers, release r7 at 5 %")
	r.pass(4 * time.Minute)
	r.want(t, "goes on", 0.3, "release r7 at 30 %")
	r.pass(2 * time.Minute)
	r.want(t, "stays", 0.3, "release r7 at 30 %")
	last := r.at()
	for range 9 {
		r.pass(time.Minute)
		if r.at() > last+0.11 || r.at() < last {
			t.Errorf("%v after %v", r.at(), last)
		}
		last = r.at()
	}
	r.pass(2 * time.Minute)
	r.want(t, "has all", 1, "release r7 at 100 %")
	r.pass(5 * time.Minute)
	r.want(t, "is over", 1, "release r7 over")

	// Another one begins at once where the first did.
	for i := range r.inv.Nodes {
		r.inv.Nodes[i].Release = "r8"
	}
	r.pass(2 * time.Second)
	r.want(t, "begins anew", 0.05, "release r8 at 5 %")
}

// One that fails too much is stopped and falls back at once, for good; with 10,000 requests
// that may be 5.
func TestReleaseStops(t *testing.T) {
	r := newRollout(t, 2, func(n *Node) { n.Release = "r7" })
	r.fails = 0.0004
	r.pass(9 * time.Minute)
	r.want(t, "just good enough", 0.3, "release r7 at 30 %")
	r.fails = 0.01
	r.pass(10 * time.Second)
	if r.at() != 0.05 || !strings.Contains(r.table.Nodes[0].Reason, "release r7 stopped, 99.") {
		t.Errorf("takes %v, %q", r.at(), r.table.Nodes[0].Reason)
	}
	r.fails = 0
	r.pass(time.Hour)
	if r.at() != 0.05 || !strings.Contains(r.table.Nodes[0].Reason, "release r7 stopped, 99.") {
		t.Errorf("an hour later: takes %v, %q", r.at(), r.table.Nodes[0].Reason)
	}
}

// Every stage is a line in the log, and the end of a release is a warning.
func TestReleaseIsLogged(t *testing.T) {
	var log logbook
	f := open(t, Config{Inventory: watched(t, "n"), Log: log.logger()})
	at := func(stage int, verdict string) *Table {
		return &Table{releases: map[string]release{"r7": {stage: stage, verdict: verdict}}, Inventory: &Inventory{}}
	}
	f.logChanges(&Table{Inventory: at(1, "").Inventory}, at(1, ""), t0)
	f.logChanges(at(1, ""), at(1, ""), t0)
	f.logChanges(at(1, ""), at(2, ""), t0)
	f.logChanges(at(2, ""), at(stopped, ", 99.90 % served"), t0)
	for line, want := range map[string]int{
		`level=INFO msg="release changed" release=r7 stage="at 5 %"`:                  1,
		`level=INFO msg="release changed" release=r7 stage="at 30 %"`:                 1,
		`level=WARN msg="release changed" release=r7 stage="stopped, 99.90 % served"`: 1,
	} {
		if got := log.count(line); got != want {
			t.Errorf("%q is %d times in the log", line, got)
		}
	}
}

// It stays where it is while there are too few requests, while a node is not up, and
// where nobody tells how many were served.
func TestReleaseWaits(t *testing.T) {
	few := newRollout(t, 1, func(n *Node) { n.Release = "r7" })
	few.rps = 100 // of which 5 % are 9000 in half an hour
	few.pass(30 * time.Minute)
	few.want(t, "few requests", 0.05, "at 5 %")
	few.pass(8 * time.Minute)
	few.want(t, "enough of them", 0.3, "at 30 %")

	ill := newRollout(t, 2, func(n *Node) { n.Release = "r7" })
	for range 900 {
		record := ill.record("p")
		record.Nodes["n1"] = Observation{State: Degraded, Health: 50}
		ill.table = Merge(ill.inv, []Seen{{record, ill.now}}, ill.table, ill.now)
		ill.now = ill.now.Add(2 * time.Second)
	}
	ill.want(t, "one is degraded", 0.05, "at 5 %")

	mute := newRollout(t, 1, func(n *Node) { n.Release = "r7" })
	mute.fails = 1 // ok_rps is 0, which is not to know
	mute.pass(30 * time.Minute)
	mute.want(t, "nobody tells", 0.05, "at 5 %")
	for range 30 { // but errors do
		record := mute.record("p")
		o := record.Nodes["n0"]
		o.Load.EPS = 10
		record.Nodes["n0"] = o
		mute.table = Merge(mute.inv, []Seen{{record, mute.now}}, mute.table, mute.now)
		mute.now = mute.now.Add(2 * time.Second)
	}
	if reason := mute.table.Nodes[0].Reason; !strings.Contains(reason, "stopped") {
		t.Errorf("with errors: %q", reason)
	}
}

// Who starts later, or was restarted, goes on where the probers are.
func TestReleaseOfWhoStarts(t *testing.T) {
	r := newRollout(t, 2, func(n *Node) { n.Release = "r7" })
	r.pass(12 * time.Minute)
	late := &rollout{inv: r.inv, now: r.now}
	record := r.record("p")
	late.table = Merge(r.inv, []Seen{{record, r.now}}, nil, r.now)
	late.want(t, "late", 0.3, "release r7 at 30 %")

	// What most probers have stopped is stopped.
	old := r.record("q")
	for id, o := range old.Nodes {
		o.Release.Stage = stopped
		old.Nodes[id] = o
	}
	other := r.record("s")
	other.Nodes = old.Nodes
	one := Merge(r.inv, []Seen{{record, r.now}, {old, r.now}, {r.record("t"), r.now}}, r.table, r.now)
	if reason := one.Nodes[0].Reason; !strings.HasSuffix(reason, "at 30 %") {
		t.Errorf("one of three has stopped it: %q", reason)
	}
	two := Merge(r.inv, []Seen{{record, r.now}, {old, r.now}, {other, r.now}}, r.table, r.now)
	if s := two.Nodes[0]; s.Acceptance != 0.05 || !strings.HasSuffix(s.Reason, "release r7 stopped") {
		t.Errorf("two of three have stopped it: %v, %q", s.Acceptance, s.Reason)
	}
}

// A process has a table before it hears of anybody. That it began with the first stage then
// is not held against those who are further, nor told to them; after 15 s it is.
func TestReleaseOfWhoStartsAlone(t *testing.T) {
	others := newRollout(t, 2, func(n *Node) { n.Release = "r7" })
	others.pass(12 * time.Minute)
	record := others.record("dns-2")
	for _, test := range []struct {
		after time.Duration
		want  float64
	}{{time.Second, 0.3}, {14 * time.Second, 0.3}, {18 * time.Second, 0.05}} {
		r := &rollout{inv: others.inv, now: others.now, rps: 1000}
		r.table = Merge(r.inv, nil, nil, r.now)
		r.want(t, "alone", 0.05, "release r7 at 5 %")
		r.pass(test.after)
		own := r.record("p")
		if told := own.Nodes["n0"].Release != (Progress{}); told != (test.want == 0.05) {
			t.Errorf("after %v it tells others %+v", test.after, own.Nodes["n0"].Release)
		}
		r.table = Merge(r.inv, []Seen{{record, r.now}, {own, r.now}}, r.table, r.now)
		if got := r.at(); got != test.want {
			t.Errorf("told after %v: takes %v, want %v, %q", test.after, got, test.want, r.table.Nodes[0].Reason)
		}
	}
}

// A release goes on where the state file has it.
func TestReleaseIsRestored(t *testing.T) {
	r := newRollout(t, 2, func(n *Node) { n.Release = "r7" })
	r.pass(12 * time.Minute)
	file := filepath.Join(t.TempDir(), "state.json")
	if err := WriteFile(file, &Snapshot{Records: []Aged{{AgeMS: 3_600_000, Record: r.record("p")}}}); err != nil {
		t.Fatal(err)
	}
	f := open(t, Config{Inventory: r.inv, StateFile: file})
	r.table = f.Table()
	if s := r.table.Nodes[0]; s.Acceptance != 0.3 || !strings.HasSuffix(s.Reason, "release r7 at 30 %") {
		t.Errorf("takes %v, %q", s.Acceptance, s.Reason)
	}
}

// A canary takes what its weight and its score are worth, at 10 % in a minute.
func TestCanary(t *testing.T) {
	for _, test := range []struct{ weight, score, want float64 }{
		{1, 100, 1}, {0.5, 100, 0.7}, {0.5, 50, 0.5}, {0.01, 1, 0.05}, {0.2, 0, 0.52}, // no score: its health
	} {
		r := newRollout(t, 1, func(n *Node) { n.Canary = test.weight })
		r.score = test.score
		r.pass(2 * time.Second)
		r.want(t, fmt.Sprint(test), test.want, fmt.Sprintf("canary at %.0f %%", 100*test.want))
	}
	r := newRollout(t, 1, func(n *Node) {})
	r.pass(time.Minute)
	r.inv.Nodes[0].Canary = 0.5
	r.pass(2 * time.Second)
	r.want(t, "becomes one", 0.05, "canary at 5 %")
	r.pass(3 * time.Minute)
	r.want(t, "grows", 0.35, "")
	r.pass(5 * time.Minute)
	r.want(t, "has grown", 0.7, "")
	r.score = 10
	r.pass(time.Minute)
	r.want(t, "shrinks", 0.6, "")
}

// A canary that is full as well takes what both allow; and the control of load knows that
// few come because few are sent.
func TestCanaryUnderLoad(t *testing.T) {
	inv := sized(t, 1000)
	inv.Nodes[0].Canary = 0.5
	least, most := crowd(inv, &edge{demand: 3000, capacity: 1000}, t0, 20*time.Minute, new(reader))
	if least < 0.75 || most > 0.85 {
		t.Errorf("load %v to %v of the capacity", least, most)
	}
}
