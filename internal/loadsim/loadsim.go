// Package loadsim runs a CDN in a model, a second at a time, to see whether the control of
// load is steady: whether nodes that are wanted by more clients than they can serve
// shed them, and how long that takes, and whether anything swings.
//
//	regions ── demand ──► answers of the last TTL ──► edges (capacity, warm or cold cache)
//	                            ▲                        │ load, alive or not
//	               steer.Choose │                        ▼
//	                         Table ◄── healthfeed.Merge ◄── records of two probers
//
// What is real: Merge with the control of load in it, the table, fall, rise and hold-down
// of a check, and the choice of steer, asked with as many dice as give its shares. What is a model: clients, of whom 9 in 10
// ask again after the TTL and the others after 300 s; and edges, which serve as many requests
// as they have room for and need more for one that they have not cached. Probers have an
// attempt that fails by chance or for cause, and make of it what package probe does. Two
// name servers probe and merge, and answer half of the clients each.
//
// What it leaves out: single requests (load is a fluid, so there are no queues, no latency
// and no retries, and who is refused is a part of the clients and not somebody), resolvers of
// different sizes, networks, probers that doubt themselves, regions that fail together, origins that
// become slow when caches are cold, and time below a second. Its parameters, and those of
// the control, were chosen on the scenarios that it is judged by.
package loadsim

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geo"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// A Scenario is what happens to a CDN. Times are seconds since its beginning.
type Scenario struct {
	Name     string
	Edges    []Edge
	Regions  []Region
	TTL      int // of answers, in seconds, at most 300
	Degraded int // TTL of those that a healthy CDN would not give
	Event    int // when it happens; what is measured is what comes after
	Length   int

	Down    func(edge, t int) bool           // the edge is dead
	Drain   func(edge, t int) bool           // the operator drains it
	Blind   func(prober, t int) bool         // the prober reaches no edge
	Silent  func(prober, server, t int) bool // the server does not hear of the prober
	Says    func(edge int, l healthfeed.Load) healthfeed.Load
	Restart func(server, t int) bool // the server forgets everything

	Loss    float64 // of probes, as a part of the attempts
	Warm    bool    // every edge has what any region wants
	Noise   float64 // of what edges report, as a part of it
	Seed    uint64  // of chance
	Control Control
	AllDown steer.LastResort
}

// An Edge is a node as it is, and as the operator thinks that it is.
type Edge struct {
	ID         string
	Lon        float64 // all are on the equator
	Capacity   float64 // requests per second that it can serve from a warm cache
	Configured float64 // the operator's word, if it is another; unsaid if there is none
	Others     float64 // how much of the CPU processes use that have nothing to do with it
}

// unsaid is the capacity of an edge of which the operator says nothing.
const unsaid = -1

// A Region is clients of one place.
type Region struct {
	Lon    float64
	Demand func(t int) float64 // requests per second
}

// A Control decides what each node accepts. Feed is that of healthfeed; the others are
// there to be compared with it.
type Control uint8

const (
	Feed   Control = iota
	None           // everybody accepts everything
	Linear         // less and less from 75 to 90 % of the CPU on
)

var controlNames = [...]string{"feed", "none", "linear"}

// String returns the word for it in the table.
func (c Control) String() string { return controlNames[c] }

// start is the time of second 0; any would do.
var start = time.Unix(1_800_000_000, 0)

// Run lets the scenario happen.
func (s *Scenario) Run() *Outcome {
	rng := rand.New(rand.NewPCG(s.Seed, 0))
	edges := make([]edge, len(s.Edges))
	for i := range edges {
		edges[i].Edge = &s.Edges[i]
	}
	servers := make([]server, 2)
	for i := range servers {
		servers[i] = server{scenario: s, prober: newProber(fmt.Sprintf("dns-%d", i+1), s.inventory(0))}
		servers[i].merge(nil, 0)
	}
	crowds := make([]crowd, len(s.Regions))
	for r := range crowds {
		crowds[r] = newCrowd(len(edges), s.answers(servers, r))
	}
	out := &Outcome{scenario: s}
	mail := make([][2]letter, len(servers)) // the newest two records of each prober
	for t := range s.Length {
		now := start.Add(time.Duration(t) * time.Second)
		loads := make([][]float64, len(edges)) // by edge and region
		for i := range loads {
			loads[i] = make([]float64, len(crowds))
		}
		for r := range crowds {
			for i, part := range crowds[r].follow(s.answers(servers, r)) {
				loads[i][r] = part * s.Regions[r].Demand(t)
			}
		}
		for i := range edges {
			edges[i].serve(loads[i], s.Down != nil && s.Down(i, t), t == 0 || s.Warm)
		}
		for p := range servers {
			if (t+p)%roundInterval == 0 {
				record := servers[p].prober.round(s, servers[p].table.Inventory, edges, p, t, rng)
				servers[p].table.Grant(&record)
				mail[p] = [2]letter{{record, now}, mail[p][0]}
			}
		}
		for i := range servers {
			if s.Restart != nil && s.Restart(i, t) {
				servers[i] = server{scenario: s, prober: servers[i].prober, flips: servers[i].flips}
			}
			servers[i].read(mail, i, t, now)
		}
		out.note(servers, crowds, edges)
	}
	return out
}

// answers is what clients of a region are told now, by one server or the other.
func (s *Scenario) answers(servers []server, region int) (all answers) {
	for i := range servers {
		for _, a := range servers[i].answers[region] {
			a.part /= float64(len(servers))
			all = append(all, a)
		}
	}
	return all
}

// inventory is what the operator declares at a time.
func (s *Scenario) inventory(t int) *healthfeed.Inventory {
	nodes := make([]healthfeed.Node, len(s.Edges))
	for i := range s.Edges {
		e := &s.Edges[i]
		configured := e.Configured
		if configured == 0 {
			configured = e.Capacity
		}
		configured = max(configured, 0)
		nodes[i] = healthfeed.Node{
			ID:       e.ID,
			Addrs:    []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})},
			Location: &healthfeed.Location{Lon: e.Lon},
			Weight:   100,
			Capacity: healthfeed.Capacity{RPS: configured},
			Checks:   []healthfeed.Check{{Type: "tcp", Addr: fmt.Sprintf("192.0.2.%d:80", i+1)}},
		}
		if s.Drain != nil && s.Drain(i, t) {
			nodes[i].State = healthfeed.AdminDrain
		}
	}
	inv, err := healthfeed.NewInventory(nodes, nil)
	if err != nil {
		panic(err) // the scenario is wrong
	}
	return inv
}

// throws is how many dice stand for all.
const throws = 128

// ask asks steer what to tell clients of a place.
func (s *Scenario) ask(set *steer.Set, table *healthfeed.Table, lon float64, now time.Time) (all answers) {
	point, _ := geo.At(0, lon)
	policy := steer.Policy{Answers: 1, Near: -1, AllDown: s.AllDown, TTL: steer.TTL{Normal: uint32(s.TTL), Degraded: uint32(min(s.TTL, s.Degraded))}}
	for i := range throws {
		c := policy.Choose(&steer.Request{Set: set, Family: steer.IPv4, Point: point, Dice: uint64(i) * 0x9e3779b97f4a7c15}, table)
		all.add(c.Node(0), 1.0/throws, int(policy.TTL.Of(&c, now)))
	}
	return all
}
