package healthfeed

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// watched is an inventory whose nodes all have a check.
func watched(t testing.TB, ids ...string) *Inventory {
	t.Helper()
	var nodes []Node
	for i, id := range ids {
		addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})
		nodes = append(nodes, Node{ID: id, Addrs: []netip.Addr{addr}, Weight: 100, Checks: []Check{{Type: "tcp", Addr: "192.0.2.1:80"}}})
	}
	inv, err := NewInventory(nodes, nil)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

var t0 = time.Unix(1_766_217_618, 0)

// says is a record with one state for each of some nodes.
func says(prober string, seq uint64, states map[string]State) Record {
	r := Record{Prober: prober, Epoch: 1, Seq: seq, IntervalMS: 2000, TTLMS: 15000, Nodes: map[string]Observation{}}
	for id, s := range states {
		o := Observation{State: s, Health: 90, RTT: RTT{1000, 2000, 1500}}
		if s == Down {
			o = Observation{State: s}
		}
		r.Nodes[id] = o
	}
	return r
}

func TestOperatorWins(t *testing.T) {
	for admin, want := range map[AdminState]State{AdminUp: Up, AdminDrain: Draining, AdminDown: Down} {
		for _, vote := range []State{Up, Degraded, Draining, Down, Abstain} {
			inv := watched(t, "n")
			inv.Nodes[0].State = admin
			s := Merge(inv, []Seen{{says("p", 1, map[string]State{"n": vote}), t0}}, nil, t0).Nodes[0]
			if s.State != want || s.Reason != "operator" {
				t.Errorf("%s against the vote %v: got %v, %q", admin, vote, s.State, s.Reason)
			}
		}
	}
}

// When the operator's word is taken back, what was measured is still known.
func TestOperatorLetsGo(t *testing.T) {
	inv := watched(t, "n")
	held := watched(t, "n")
	held.Nodes[0].State = AdminUp
	table := Merge(held, []Seen{{says("p", 1, map[string]State{"n": Down}), t0}}, nil, t0)
	table = Merge(inv, nil, table, t0.Add(time.Minute))
	if s := table.Nodes[0]; s.State != Down || s.Reason != "last known" {
		t.Errorf("got %v, %q", s.State, s.Reason)
	}
}

func TestStaleness(t *testing.T) {
	inv := watched(t, "down", "up")
	seen := []Seen{{says("p", 1, map[string]State{"down": Down, "up": Up}), t0}}
	table := Merge(inv, seen, nil, t0)
	const ttl = 15 * time.Second
	for _, test := range []struct {
		age       time.Duration
		freshness Freshness
		state     State
		reason    string
	}{
		{0, Fresh, Down, "1 of 1 probers"},
		{ttl, Fresh, Down, "1 of 1 probers"},
		{ttl + 1, Frozen, Down, "1 of 1 probers"},
		{3 * ttl, Frozen, Down, "1 of 1 probers"},
		{3*ttl + 1, LastKnownGood, Down, "last known"},
		{3*ttl + 5*time.Minute, LastKnownGood, Down, "last known"},
		{3*ttl + 5*time.Minute + 1, Static, Unknown, "not measured"},
	} {
		// The tables between must not matter.
		table = Merge(inv, seen, table, t0.Add(test.age))
		s, _ := table.Lookup("down")
		if table.Freshness != test.freshness || s.State != test.state || s.Reason != test.reason {
			t.Errorf("after %v: got %v, %v, %q", test.age, table.Freshness, s.State, s.Reason)
		}
		if up, _ := table.Lookup("up"); !up.State.TakesClients() {
			t.Errorf("after %v the good node is %v", test.age, up.State)
		}
	}
	if !table.Heard().Equal(t0) {
		t.Errorf("heard %v", table.Heard())
	}
}

// A node may be down for hours with nothing new to say about it.
func TestHoldBeginsWithTheLastVote(t *testing.T) {
	inv := watched(t, "n")
	var table *Table
	now := t0
	for seq := range uint64(1800) {
		now = t0.Add(time.Duration(seq) * 2 * time.Second)
		table = Merge(inv, []Seen{{says("p", seq, map[string]State{"n": Down}), now}}, table, now)
	}
	if table.Generation != 1 || !table.Heard().Equal(now) {
		t.Errorf("generation %d, heard %v", table.Generation, table.Heard())
	}
	table = Merge(inv, nil, table, now.Add(time.Minute))
	if s := table.Nodes[0]; s.State != Down || !s.Since.Equal(t0) {
		t.Errorf("got %v since %v", s.State, s.Since)
	}
}

func TestMissingDataIsNeverDown(t *testing.T) {
	inv := watched(t, "a", "b")
	for _, seen := range [][]Seen{
		nil,
		{{says("p", 1, nil), t0}},
		{{says("p", 1, map[string]State{"a": Down}), t0}},
		{{says("p", 1, map[string]State{"b": Abstain}), t0}},
		{{says("p", 1, map[string]State{"b": Unknown}), t0}},
		{{says("p", 1, map[string]State{"b": Down}), t0.Add(-46 * time.Second)}},
	} {
		if s, _ := Merge(inv, seen, nil, t0).Lookup("b"); !s.State.TakesClients() {
			t.Errorf("%v: b is %v", seen, s.State)
		}
	}
}

func TestForeignNodesAreIgnored(t *testing.T) {
	inv := watched(t, "a")
	table := Merge(inv, []Seen{{says("p", 1, map[string]State{"evil": Up, "a": Up}), t0}}, nil, t0)
	if len(table.Nodes) != 1 {
		t.Errorf("got %d nodes", len(table.Nodes))
	}
	if _, known := table.Lookup("evil"); known {
		t.Error("a record introduced a node")
	}
}

func TestNoChecks(t *testing.T) {
	inv := watched(t, "a")
	inv.Nodes[0].Checks = nil
	s := Merge(inv, nil, nil, t0).Nodes[0]
	if s.State != Up || s.Reason != "no checks" || s.Health != 1 || s.Acceptance != 1 {
		t.Errorf("got %+v", s)
	}
}

// A node may have no checks here and be measured by others, who have an inventory of
// their own. What they said last of it holds as long as that of any node.
func TestNoChecksButVotes(t *testing.T) {
	inv := watched(t, "a", "b")
	inv.Nodes[0].Checks = nil
	seen := []Seen{{says("p", 1, map[string]State{"a": Down, "b": Up}), t0}}
	table := Merge(inv, seen, nil, t0)
	for _, step := range []struct {
		name  string
		seen  []Seen
		at    time.Duration
		state State
		fresh Freshness
	}{
		{"heard", seen, time.Second, Down, Fresh},
		{"frozen", seen, 40 * time.Second, Down, Frozen},
		{"nobody is heard", seen, time.Minute, Down, LastKnownGood},
		{"for long", seen, 10 * time.Minute, Up, Static},
	} {
		table = Merge(inv, step.seen, table, t0.Add(step.at))
		if s := table.Nodes[0]; s.State != step.state || table.Freshness != step.fresh {
			t.Errorf("%s: %v, %v (%s), want %v, %v", step.name, table.Freshness, s.State, s.Reason, step.fresh, step.state)
		}
	}
	// Who is heard and says no more of it has it in an inventory without checks.
	table = Merge(inv, seen, nil, t0)
	seen[0] = Seen{says("p", 2, map[string]State{"b": Up}), t0.Add(time.Second)}
	if s := Merge(inv, seen, table, t0.Add(time.Second)).Nodes[0]; s.State != Up || s.Reason != "no checks" {
		t.Errorf("the checks were taken away: %+v", s)
	}
}

func TestGeneration(t *testing.T) {
	inv := watched(t, "a")
	up := []Seen{{says("p", 1, map[string]State{"a": Up}), t0}}
	table := Merge(inv, up, nil, t0)
	step := func(name string, inv *Inventory, seen []Seen, want uint64) {
		t.Helper()
		table = Merge(inv, seen, table, t0)
		if table.Generation != want {
			t.Errorf("%s: generation %d, want %d", name, table.Generation, want)
		}
	}
	step("same", inv, up, 1)
	step("newer, same content", inv, []Seen{{says("p", 2, map[string]State{"a": Up}), t0}}, 1)
	step("other state", inv, []Seen{{says("p", 3, map[string]State{"a": Down}), t0}}, 2)
	step("other inventory", watched(t, "a"), []Seen{{says("p", 3, map[string]State{"a": Down}), t0}}, 3)
}

// Load comes from the votes that have any: one who only connects must not
// make a node look idle.
func TestLoadIsOfWhoKnows(t *testing.T) {
	inv := watched(t, "a")
	knows, other := says("p", 1, map[string]State{"a": Up}), says("q", 1, map[string]State{"a": Up})
	o := knows.Nodes["a"]
	o.Load = Load{CPU: 0.7}
	knows.Nodes["a"] = o
	if got := Merge(inv, []Seen{{knows, t0}, {other, t0.Add(time.Second)}}, nil, t0).Nodes[0].Load.CPU; got != 0.7 {
		t.Errorf("got %v", got)
	}
}

// randomSeen returns records of up to five probers, several per prober.
func randomSeen(r *rand.Rand, ids []string) []Seen {
	var seen []Seen
	for p := range r.IntN(6) {
		for seq := range uint64(1 + r.IntN(3)) {
			record := Record{
				Prober: fmt.Sprint("p", p), Epoch: 1 + int64(r.IntN(2)), Seq: seq,
				IntervalMS: 2000, TTLMS: 1000 * int64(1+r.IntN(30)), Nodes: map[string]Observation{},
			}
			for _, id := range ids {
				if r.IntN(4) > 0 {
					record.Nodes[id] = Observation{
						State: State(r.IntN(int(Abstain) + 1)), Health: float64(r.IntN(101)),
						RTT: RTT{int64(r.IntN(1000)), 1000, int64(r.IntN(2) * r.IntN(1000))}, Load: randomLoad(r),
						DueMS: 1000 * int64(r.IntN(3)), Breaker: []string{"", "closed", "half", "open"}[r.IntN(4)], Accept: []float64{0, 0.01, 0.5, 1}[r.IntN(4)], Release: Progress{"r7", r.IntN(finished + 1)},
					}
				}
			}
			if !slices.ContainsFunc(seen, func(s Seen) bool {
				return s.Prober == record.Prober && s.Epoch == record.Epoch && s.Seq == record.Seq
			}) {
				seen = append(seen, Seen{record, t0.Add(-time.Duration(r.IntN(120)) * time.Second)})
			}
		}
	}
	return seen
}

// randomLoad is one that a node may report, or not.
func randomLoad(r *rand.Rand) Load {
	if r.IntN(3) == 0 {
		return Load{}
	}
	some := func() float64 {
		return []float64{0, 1, 900, 1e6, math.MaxFloat64}[r.IntN(5)]
	}
	return Load{CPU: float64(r.IntN(3)) / 2, RPS: some(), OKRPS: some(), Mbps: some(), Conns: some()}
}

func TestMergeProperties(t *testing.T) {
	ids := []string{"a", "b", "c", "d"}
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 0))
		inv := watched(t, ids...)
		inv.Nodes[3].State = []AdminState{AdminUp, AdminDrain, AdminDown}[r.IntN(3)]
		inv.Nodes[0].Capacity = Capacity{RPS: 1000, Mbps: 100}
		inv.Nodes[1].Release, inv.Nodes[2].Release = "r7", "r7"
		inv.Nodes[3].Canary = 0.3
		seen := randomSeen(r, ids)
		var prev *Table
		for past := r.IntN(600); past > 0 && r.IntN(4) > 0; past -= r.IntN(60) {
			prev = Merge(inv, randomSeen(r, ids), prev, t0.Add(-time.Duration(past)*time.Second))
		}
		want := Merge(inv, seen, prev, t0)

		// Neither order nor repetition matters.
		mixed := slices.Concat(seen, seen)
		r.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		if got := Merge(inv, mixed, prev, t0); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: shuffled and doubled: got %+v, want %+v", seed, got, want)
		}
		// Old records of the same probers do not matter.
		if got := Merge(inv, newest(seen), prev, t0); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: newest only: got %+v, want %+v", seed, got, want)
		}
		// Merging again changes nothing.
		again := Merge(inv, seen, want, t0)
		if again.Generation != want.Generation || !reflect.DeepEqual(again.Nodes, want.Nodes) {
			t.Fatalf("seed %d: again: got %+v, want %+v", seed, again, want)
		}
		// One who abstains on all changes no state that was voted, but for those that a single
		// vote would take down.
		silent := says("silent", 1, map[string]State{"a": Abstain, "b": Abstain})
		got := Merge(inv, append(slices.Clone(seen), Seen{silent, t0}), prev, t0)
		for i := range got.Nodes {
			is, was := got.Nodes[i], want.Nodes[i].State
			if is.State != was && !(was == Down && is.State.TakesClients() && is.lone) {
				t.Fatalf("seed %d: an abstention made node %d %v of %v", seed, i, is.State, was)
			}
		}
		for i := range want.Nodes {
			s := &want.Nodes[i]
			if s.State > Down || s.Health < 0 || s.Health > 1 || s.Acceptance < leastAccept || s.Acceptance > 1 || s.Reason == "" {
				t.Fatalf("seed %d: node %d: %+v", seed, i, s)
			}
			// What a node says of itself moves what is believed within bounds.
			if c := s.control; c.mean < 0 || c.mean > 1 || c.capacity < 0 || i == 0 && c.capacity > mostCapacity*1000 {
				t.Fatalf("seed %d: node %d: %+v", seed, i, c)
			}
			// Down needs someone who says so, now or before.
			if s.State == Down && !strings.HasPrefix(s.Reason, "operator") && !strings.HasPrefix(s.Reason, "last known") && !anyDown(seen, ids[i]) {
				t.Fatalf("seed %d: node %d is down by itself", seed, i)
			}
		}
	}
}

// Whatever the records say, the table is in bounds and a second Merge changes nothing.
func FuzzMerge(f *testing.F) {
	f.Add([]byte(`{"records": [{"prober": "p", "epoch": 1, "seq": 1, "interval_ms": 2000, "ttl_ms": 15000, "nodes": {
		"a": {"state": "up", "health": 90, "load": {"cpu": 1, "rps": 1e308, "ok_rps": 1}, "accept": 0.001}, "b": {"state": "down", "health": 0}}}]}`), uint16(7))
	f.Add([]byte(`{"records": [{"age_ms": 60000, "prober": "q", "epoch": 1, "seq": 1, "interval_ms": 1, "ttl_ms": 1000, "nodes": {
		"c": {"state": "up", "health": 1, "breaker": "open", "load": {"rps": 2000, "eps": 3}, "release": {"name": "r7", "stage": 4}}}}]}`), uint16(60))
	f.Fuzz(func(t *testing.T, data []byte, seconds uint16) {
		s, err := ParseSnapshot(data)
		if err != nil {
			return
		}
		inv := watched(t, "a", "b", "c")
		inv.Nodes[0].Capacity.RPS = 1000
		inv.Nodes[2].Release = "r7"
		var table *Table
		for step := range 4 {
			now := t0.Add(time.Duration(step) * time.Duration(seconds) * time.Second)
			var seen []Seen
			for i := range s.Records {
				r := s.Records[i].Record
				r.Seq += uint64(step)
				seen = append(seen, Seen{r, now.Add(-s.Records[i].age())})
			}
			table = Merge(inv, seen, table, now)
			for i := range table.Nodes {
				n := &table.Nodes[i]
				if n.State > Down || !(n.Health >= 0 && n.Health <= 1) || !(n.Acceptance >= leastAccept && n.Acceptance <= 1) ||
					!(n.Ramp >= rampLeast && n.Ramp <= 1) || n.RTT.P50 < 0 || n.control.capacity > mostCapacity*1000 && i == 0 {
					t.Fatalf("node %d: %+v", i, n)
				}
			}
			if again := Merge(inv, seen, table, now); again.Generation != table.Generation {
				t.Fatalf("again: got %+v, want %+v", again, table)
			}
		}
	})
}

func anyDown(seen []Seen, id string) bool {
	return slices.ContainsFunc(seen, func(s Seen) bool { return s.Nodes[id].State == Down })
}
