package healthfeed

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// A history is what a few probers say of a few nodes as time passes, by chance: all of
// them vote, doubt themselves, fall silent, start anew and are late, nodes come and go, and
// operators have their word.
type history struct {
	*rand.Rand
	now     time.Time
	nodes   []Node
	inv     *Inventory
	probers []Record // the newest of each
	seen    []Seen   // everything that was ever heard
}

func newHistory(seed uint64) *history {
	h := &history{Rand: rand.New(rand.NewPCG(seed, 1)), now: t0, probers: make([]Record, 5)}
	for i := range 6 {
		h.nodes = append(h.nodes, Node{
			ID: fmt.Sprint("n", i), Addrs: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})},
			Weight: 10 * h.IntN(20), Tier: h.IntN(2), Capacity: Capacity{RPS: float64(1000 * h.IntN(2))},
			Checks: []Check{{Type: "tcp", Addr: "192.0.2.1:80"}},
		})
	}
	h.nodes[3].Checks = nil
	h.nodes[4].Release, h.nodes[5].Canary = "r7", 0.2
	h.declare()
	for p := range h.probers {
		h.probers[p] = says(fmt.Sprint("p", p), 1, nil)
	}
	return h
}

// declare makes an inventory of most of the nodes.
func (h *history) declare() {
	var some []Node
	for _, n := range h.nodes {
		if n.State = AdminAuto; h.IntN(6) == 0 {
			n.State = []AdminState{AdminUp, AdminDrain, AdminDown}[h.IntN(3)]
		}
		if len(some) == 0 || h.IntN(8) > 0 {
			some = append(some, n)
		}
	}
	inv, err := NewInventory(some, nil)
	if err != nil {
		panic(err)
	}
	h.inv = inv
}

// step lets up to some seconds pass, and some probers speak.
func (h *history) step(seconds int) {
	h.now = h.now.Add(time.Duration(h.IntN(seconds*1000)) * time.Millisecond)
	if h.IntN(20) == 0 {
		h.declare()
	}
	for p := range h.probers {
		if h.IntN(3) == 0 {
			continue
		}
		old := &h.probers[p]
		r := says(old.Prober, old.Seq+1, nil)
		if r.Epoch = old.Epoch; h.IntN(20) == 0 {
			r.Epoch, r.Seq = r.Epoch+1, 1
		}
		for _, n := range h.nodes {
			if h.IntN(5) > 0 {
				r.Nodes[n.ID] = Observation{
					State: State(h.IntN(int(Abstain) + 1)), Health: float64(h.IntN(101)), Score: float64(h.IntN(101)), Load: randomLoad(h.Rand),
					Breaker: []string{"", "closed", "open"}[h.IntN(3)], Accept: []float64{0, 0.3, 1}[h.IntN(3)], Release: Progress{"r7", h.IntN(finished + 1)},
				}
			}
		}
		h.probers[p] = r
		h.seen = append(h.seen, Seen{r, h.now.Add(-time.Duration(h.IntN(10)) * time.Second)})
	}
}

// votes is what counts of what is said of a node: the newest record of each prober, if it is
// not too old.
func (h *history) votes(id string) (votes []State) {
	for _, r := range newest(h.seen) {
		o, said := r.Nodes[id]
		if said && o.State != Unknown && o.State != Abstain && h.now.Sub(r.At) <= holdVote*r.ttl() {
			votes = append(votes, o.State)
		}
	}
	return votes
}

// shuffled is what was heard in another order, and some of it twice.
func (h *history) shuffled() []Seen {
	mixed := slices.Clone(h.seen)
	for range len(mixed) {
		mixed = append(mixed, mixed[h.IntN(len(mixed))])
	}
	h.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	return mixed
}

// Two readers who hear the same in different orders, several times, and one of them only what
// is newest, have the same tables for ever, whatever happens; and nothing changes by
// merging once more.
func TestReadersAgree(t *testing.T) {
	for seed := range uint64(150) {
		h := newHistory(seed)
		var a, b *Table
		for step := range 40 {
			h.step(40)
			a, b = Merge(h.inv, h.shuffled(), a, h.now), Merge(h.inv, newest(h.seen), b, h.now)
			if !reflect.DeepEqual(a, b) {
				t.Fatalf("seed %d, step %d: %+v\nand %+v", seed, step, a, b)
			}
			if again := Merge(h.inv, h.seen, a, h.now); again.Generation != a.Generation || !reflect.DeepEqual(again.Nodes, a.Nodes) {
				t.Fatalf("seed %d, step %d: again: %+v\nbefore: %+v", seed, step, again, a)
			}
		}
	}
}

// A record changes nothing that is older than another of its prober, whatever it says.
func TestOlderRecordsAreNothing(t *testing.T) {
	for seed := range uint64(1000) {
		h := newHistory(seed)
		var prev *Table
		for range 3 {
			prev = Merge(h.inv, h.seen, prev, h.now)
			h.step(20)
		}
		want := Merge(h.inv, h.seen, prev, h.now)
		late := slices.Clone(h.seen)
		for _, r := range newest(h.seen) {
			evil := says(r.Prober, r.Seq, nil)
			if evil.Epoch = r.Epoch; h.IntN(2) == 0 {
				evil.Epoch, evil.Seq = r.Epoch-1, r.Seq+1000
			} else {
				evil.Seq--
			}
			for _, n := range h.nodes {
				evil.Nodes[n.ID] = Observation{State: Down}
			}
			late = append(late, Seen{evil, h.now})
		}
		if got := Merge(h.inv, late, prev, h.now); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: got %+v, want %+v", seed, got, want)
		}
	}
}

// The operator's word wins. Of the others, a node is down only by two thirds of who votes,
// so never by one of several; without votes only because it was before, in the last minutes.
func TestWhoIsDown(t *testing.T) {
	word := map[AdminState]State{AdminUp: Up, AdminDrain: Draining, AdminDown: Down}
	for seed := range uint64(150) {
		h := newHistory(seed)
		var table *Table
		lastVoted := map[string]time.Time{}
		for step := range 40 {
			h.step(60)
			before := table
			table = Merge(h.inv, h.seen, table, h.now)
			for i := range table.Nodes {
				n, s := &h.inv.Nodes[i], &table.Nodes[i]
				votes := h.votes(n.ID)
				down := 0
				for _, v := range votes {
					if v == Down {
						down++
					}
				}
				if len(votes) > 0 {
					lastVoted[n.ID] = h.now
				}
				if want, forced := word[n.State]; forced {
					if s.State != want {
						t.Fatalf("seed %d, step %d: %s is %v, the operator wants %v", seed, step, n.ID, s.State, want)
					}
					continue
				}
				if s.State != Down {
					continue
				}
				was := Unknown
				if before != nil {
					if b := before.Inventory.Lookup(n.ID); b >= 0 {
						was = before.Nodes[b].measured
					}
				}
				switch {
				case len(votes) > 1 && down == 1, len(votes) > 0 && 3*down < 2*len(votes):
					t.Fatalf("seed %d, step %d: %s is down by %d of %d", seed, step, n.ID, down, len(votes))
				case len(votes) == 0 && was != Down:
					t.Fatalf("seed %d, step %d: %s is down by silence, and was %v", seed, step, n.ID, was)
				}
			}
		}
	}
}

// While a table holds, merging the same data again gives the same table; so who does not has
// lost nothing.
func TestTableHolds(t *testing.T) {
	held := 0
	for seed := range uint64(300) {
		h := newHistory(seed)
		var table *Table
		for step := range 60 {
			if h.IntN(4) == 0 {
				h.now = h.now.Add(time.Duration(h.IntN(200)) * time.Second) // nobody says anything
			} else {
				h.step(20)
			}
			table = Merge(h.inv, h.seen, table, h.now)
			if table.holds.Equal(h.now) {
				continue // something is under way
			}
			held++
			latest := h.now.Add(time.Hour)
			if !table.holds.IsZero() {
				latest = table.holds
			}
			for _, at := range []time.Time{h.now, h.now.Add(time.Duration(h.Int64N(1 + int64(latest.Sub(h.now))))), latest} {
				again := Merge(h.inv, h.seen, table, at)
				for i := range table.Nodes {
					if !reflect.DeepEqual(again.Nodes[i], table.Nodes[i]) {
						t.Fatalf("seed %d, step %d: after %v of %v: got %+v\nwant %+v", seed, step, at.Sub(h.now), latest.Sub(h.now), again.Nodes[i], table.Nodes[i])
					}
				}
				again.Nodes, again.holds = table.Nodes, table.holds
				if !reflect.DeepEqual(again, table) {
					t.Fatalf("seed %d, step %d: after %v of %v: got %+v\nwant %+v", seed, step, at.Sub(h.now), latest.Sub(h.now), again, table)
				}
			}
		}
	}
	if held < 1000 {
		t.Errorf("only %d of them held", held)
	}
}

// A table of nodes that are well holds until a record is no longer fresh.
func TestTableOfTheWellHolds(t *testing.T) {
	inv, seen := large(t, 10, 3)
	table := Merge(inv, seen, nil, t0)
	if table = Merge(inv, seen, table, t0.Add(time.Second)); !table.holds.Equal(t0.Add(15 * time.Second)) {
		t.Errorf("holds for %v", table.holds.Sub(t0))
	}
}

// When all fall silent, nobody goes down any more, and in the end everybody serves whom the
// operator lets.
func TestSilence(t *testing.T) {
	for seed := range uint64(500) {
		h := newHistory(seed)
		var table *Table
		for range 10 {
			h.step(20)
			table = Merge(h.inv, h.seen, table, h.now)
		}
		heard := h.now
		for h.now.Sub(heard) < holdVote*15*time.Second+holdState {
			h.now = h.now.Add(time.Duration(1+h.IntN(20_000)) * time.Millisecond)
			before := table
			table = Merge(h.inv, h.seen, table, h.now)
			for i := range table.Nodes {
				n := &h.inv.Nodes[i]
				if table.Nodes[i].State != Down || before.Nodes[i].State == Down {
					continue
				}
				// Only one whom somebody says to be down who is not yet too old, when others are.
				if votes := h.votes(n.ID); !slices.Contains(votes, Down) && before.Nodes[i].measured != Down {
					t.Fatalf("seed %d: %s goes down of %v, votes %v", seed, n.ID, before.Nodes[i].State, votes)
				}
			}
		}
		for i := range table.Nodes {
			n, s := &h.inv.Nodes[i], &table.Nodes[i]
			if n.State == AdminAuto && !strings.HasPrefix(s.Reason, "not measured") && !strings.HasPrefix(s.Reason, "no checks") {
				t.Fatalf("seed %d: in the end %s is %v, %q", seed, n.ID, s.State, s.Reason)
			}
		}
		if table.Freshness != Static {
			t.Fatalf("seed %d: in the end it is %v", seed, table.Freshness)
		}
	}
}

// However one prober rages while the others abstain, of those who are down never more than 30 %
// of the weight of a tier, or one node, came to be so in the last 30 s.
func TestGuardHolds(t *testing.T) {
	for seed := range uint64(300) {
		h := newHistory(seed)
		n := 3 + h.IntN(20)
		var nodes []Node
		for i := range n {
			nodes = append(nodes, Node{
				ID: fmt.Sprint("n", i), Addrs: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})},
				Weight: 1 + h.IntN(100), Tier: h.IntN(2), Checks: []Check{{Type: "tcp", Addr: "192.0.2.1:80"}},
			})
		}
		inv, err := NewInventory(nodes, nil)
		if err != nil {
			t.Fatal(err)
		}
		total := map[int]float64{}
		for i := range inv.Nodes {
			total[inv.Nodes[i].Tier] += float64(inv.Nodes[i].Weight)
		}
		table := Merge(inv, []Seen{{votes("rage", 1, n, 0), t0}, {says("silent", 1, nil), t0}}, nil, t0)
		now := t0
		for seq := uint64(2); now.Sub(t0) < 3*time.Minute; seq++ {
			now = now.Add(time.Duration(1+h.IntN(4000)) * time.Millisecond)
			states := map[string]State{}
			for i := range n {
				states[fmt.Sprint("n", i)] = []State{Up, Down, Down, Down}[h.IntN(4)]
			}
			table = Merge(inv, []Seen{{says("rage", seq, states), now}, {says("silent", seq, nil), now}}, table, now)
			gone, nodes := map[int]float64{}, map[int]int{}
			for i := range table.Nodes {
				if s := &table.Nodes[i]; s.State == Down && now.Sub(s.Since) < guardWindow {
					gone[inv.Nodes[i].Tier] += float64(inv.Nodes[i].Weight)
					nodes[inv.Nodes[i].Tier]++
				}
			}
			for tier, w := range gone {
				if nodes[tier] > 1 && w > guardShare*total[tier]+1e-9 {
					t.Fatalf("seed %d: %v of %v in tier %d, %d nodes, in 30 s", seed, w, total[tier], tier, nodes[tier])
				}
			}
		}
	}
}
