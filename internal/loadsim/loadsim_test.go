package loadsim

import (
	"cmp"
	"math"
	"testing"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// fleet is four edges of different sizes in a row, of which three have a region
// beside them.
func fleet() []Edge {
	return []Edge{
		{ID: "e0", Lon: 0, Capacity: 1000},
		{ID: "e1", Lon: 5, Capacity: 1000},
		{ID: "e2", Lon: 15, Capacity: 2000},
		{ID: "e3", Lon: 40, Capacity: 500},
	}
}

// world is the regions, whose demand is 600, 400 and 600 before the event.
func world(after func(t int) [3]float64) []Region {
	demand := func(r int) func(int) float64 {
		return func(t int) float64 {
			if t < event {
				return [3]float64{600, 400, 600}[r]
			}
			return after(t)[r]
		}
	}
	return []Region{{0, demand(0)}, {5, demand(1)}, {15, demand(2)}}
}

const event, length = 300, 1800 // seconds

// same is a demand that does not change any more.
func same(a, b, c float64) func(int) [3]float64 {
	return func(int) [3]float64 { return [3]float64{a, b, c} }
}

// A trial is a scenario and what the control of load must make of it, at most. With
// warm caches, that is with all content everywhere, there are 90 s of overload.
type trial struct {
	Scenario
	overload int     // seconds
	episodes int     // of overload, a minute apart
	over     float64 // of all requests, how many more than have to be are too many for an edge; 0 is 0.02
	swing    float64 // 0 is 0.05
	flips    int
	warm     int     // seconds of overload; 0 is 90
	away     float64 // of the clients; 0 is any
}

func trials() []trial {
	crowd := same(1500, 400, 600)
	during := func(t, from, to int) bool { return t >= event+from && t < event+to }
	all := []trial{
		{overload: 90, episodes: 1, warm: 45, Scenario: Scenario{Name: "step", Regions: world(crowd)}},
		{overload: 90, episodes: 1, Scenario: Scenario{Name: "step", TTL: 20, Regions: world(crowd)}},
		{overload: 100, episodes: 1, Scenario: Scenario{Name: "step", TTL: 60, Regions: world(crowd)}},
		{overload: 215, episodes: 1, warm: 215, Scenario: Scenario{Name: "step", TTL: 300, Regions: world(crowd)}},
		{overload: 200, episodes: 1, warm: 200, Scenario: Scenario{Name: "step, answers of 120 s", TTL: 300, Degraded: 120, Regions: world(crowd)}},
		{overload: 600, episodes: 4, warm: 600, swing: 0.15, Scenario: Scenario{Name: "step, answers of 300 s", TTL: 300, Degraded: 300, Length: 3600, Regions: world(crowd)}},
		{overload: 90, episodes: 1, swing: 0.12, Scenario: Scenario{Name: "step, reports off by 20 %", Noise: 0.2, Regions: world(crowd)}},
		{overload: 180, episodes: 1, warm: 110, Scenario: Scenario{Name: "flash crowd", Regions: world(func(t int) [3]float64 {
			if during(t, 0, 600) {
				return [3]float64{2000, 600, 700}
			}
			return [3]float64{600, 400, 600}
		})}},
		{overload: length, episodes: 1, warm: length, over: 0.04, away: 0.6, Scenario: Scenario{Name: "all overloaded", Regions: world(same(2600, 1500, 1500))}},
		{overload: length, episodes: 1, warm: length, over: 0.03, away: 0.05, Scenario: Scenario{Name: "all busy alike", Edges: fleet()[:3], Regions: world(same(1200, 1200, 2400))}},
		{overload: length, episodes: 1, warm: length, over: 0.03, away: 0.05, Scenario: Scenario{Name: "  of unknown capacity", Edges: shared(0, unsaid)[:3], Regions: world(same(1200, 1200, 2400))}},
		{overload: 1, away: 0.01, Scenario: Scenario{Name: "idle on busy machines", Edges: shared(1, 0), Regions: quietly(0)}},
		{overload: 1, away: 0.01, Scenario: Scenario{Name: "  with few clients", Edges: shared(1, unsaid), Regions: quietly(5)}},
		{overload: 1, away: 0.05, Scenario: Scenario{Name: "  with some clients", Edges: shared(1, unsaid)[:3], Regions: quietly(300)}},
		{overload: 90, episodes: 2, flips: 2, Scenario: Scenario{Name: "death and return", Regions: world(same(700, 700, 700)),
			Down: func(e, t int) bool { return e == 1 && during(t, 0, 600) }}},
		{overload: 155, episodes: 3, flips: 2, warm: 115, Scenario: Scenario{Name: "return into a crowd", Length: 2400, Regions: world(crowd),
			Down: func(e, t int) bool { return e == 0 && during(t, 300, 600) }}},
		{overload: 75, episodes: 1, flips: 1, Scenario: Scenario{Name: "flapping every 7 s", Regions: world(same(700, 400, 600)),
			Down: func(e, t int) bool { return e == 0 && t >= event && t%7 < 4 }}},
		{overload: 1, Scenario: Scenario{Name: "5 % of all probes are lost", Loss: 0.05, Length: event + 3600, Regions: world(same(600, 400, 600))}},
		{overload: 95, episodes: 1, Scenario: Scenario{Name: "capacity said to be 1.5×", Edges: misjudged(), Regions: quiet(world(crowd))}},
		{overload: 150, episodes: 2, Scenario: Scenario{Name: "no records for 120 s", Regions: world(crowd),
			Silent: func(_, _, t int) bool { return during(t, 500, 620) }}},
		{overload: 10, swing: 0.15, Scenario: Scenario{Name: "diurnal", Regions: world(func(t int) [3]float64 {
			day := 1 + 0.4*math.Sin(2*math.Pi*float64(t-event)/1800)
			return [3]float64{900 * day, 600 * day, 700}
		})}},
		{overload: 200, episodes: 1, Scenario: Scenario{Name: "half say that they are idle", Regions: world(crowd),
			Says: func(e int, l healthfeed.Load) healthfeed.Load {
				if e%2 == 1 {
					l.CPU /= 5
				}
				return l
			}}},
		{overload: 90, episodes: 1, Scenario: Scenario{Name: "half say that they are full", Regions: world(crowd),
			Says: func(e int, l healthfeed.Load) healthfeed.Load {
				if e%2 == 1 {
					l.CPU = 1
				}
				return l
			}}},
		{overload: 250, episodes: 2, Scenario: Scenario{Name: "prober cut off", Regions: world(crowd),
			Blind:  func(p, t int) bool { return p == 0 && during(t, 20, 600) },
			Silent: func(p, s, t int) bool { return p != s && during(t, 20, 600) }}},
		{overload: 90, episodes: 1, Scenario: Scenario{Name: "name server starts anew", Regions: world(crowd),
			Restart: func(s, t int) bool { return s == 0 && t == 900 }}},
		{overload: 60, episodes: 1, Scenario: Scenario{Name: "drain", Regions: world(same(600, 400, 600)),
			Drain: func(e, t int) bool { return e == 0 && t >= event }}},
	}
	for i := range all {
		t, s := &all[i], &all[i].Scenario
		t.over, t.swing, t.warm = cmp.Or(t.over, 0.02), cmp.Or(t.swing, 0.05), cmp.Or(t.warm, 90)
		s.TTL, s.Degraded, s.Length = cmp.Or(s.TTL, 30), cmp.Or(s.Degraded, 60), cmp.Or(s.Length, length)
		s.Noise, s.Event, s.Seed = cmp.Or(s.Noise, 0.03), event, 1
		if s.Edges == nil {
			s.Edges = fleet()
		}
	}
	return all
}

// misjudged is the fleet, of which the first edge is thought to be larger than it is.
func misjudged() []Edge {
	f := fleet()
	f[0].Configured = 1500
	return f
}

// quiet leaves the first edge too little to do before the event to show what it can.
func quiet(regions []Region) []Region {
	after := regions[0].Demand
	regions[0].Demand = func(t int) float64 {
		if t < event {
			return 100
		}
		return after(t)
	}
	return regions
}

// shared is the fleet on machines that others keep busy.
func shared(others, configured float64) []Edge {
	f := fleet()
	for i := range f {
		f[i].Others, f[i].Configured = others, configured
	}
	return f
}

// quietly is regions that want so much each, as long as it lasts.
func quietly(rps float64) []Region {
	demand := func(int) float64 { return rps }
	return []Region{{0, demand}, {5, demand}, {15, demand}}
}

// The control of load meets what is asked of it in every scenario. With -v the table is
// printed, with others in comparison.
func TestScenarios(t *testing.T) {
	t.Log(Header())
	for _, trial := range trials() {
		if testing.Verbose() {
			for _, c := range []Control{None, Linear} {
				other := trial.Scenario
				other.Control = c
				t.Log(other.Run())
			}
		}
		o := trial.Run()
		t.Log(o)
		if o.Overloaded() > trial.overload || o.Episodes() > trial.episodes || o.Over() > o.Unavoidable()+trial.over || o.Swing() > trial.swing || o.Flips() > trial.flips {
			t.Errorf("%s: overload for %d s in %d episodes, %.3f of the requests, swing %.3f, %d flips; want at most %d, %d, %.3f, %v, %d",
				trial.Name, o.Overloaded(), o.Episodes(), o.Over(), o.Swing(), o.Flips(),
				trial.overload, trial.episodes, o.Unavoidable()+trial.over, trial.swing, trial.flips)
		}
		if trial.away > 0 && o.Away() > trial.away {
			t.Errorf("%s: %.3f of the clients are far from where they could be, want at most %v", trial.Name, o.Away(), trial.away)
		}
		warm := trial.Scenario
		warm.Warm = true
		if w := warm.Run(); w.Overloaded() > trial.warm {
			t.Errorf("%s with warm caches: overload for %d s, want at most %d", trial.Name, w.Overloaded(), trial.warm)
		} else if testing.Verbose() {
			w.scenario.Name = "  with warm caches"
			t.Log(w)
		}
	}
}

// What chance brings makes little difference.
func TestSeeds(t *testing.T) {
	s := find(t, "step")
	for s.Seed = range uint64(8) {
		if o := s.Run(); o.Overloaded() > 95 || o.Episodes() > 1 || o.Swing() > 0.05 {
			t.Errorf("seed %d: %v", s.Seed, o)
		}
	}
}

// find is the trial of a name.
func find(t *testing.T, name string) Scenario {
	t.Helper()
	for _, trial := range trials() {
		if trial.Name == name {
			return trial.Scenario
		}
	}
	t.Fatalf("no scenario %q", name)
	return Scenario{}
}

// Without a control the gates are not met, so they can fail; and a threshold on the CPU
// swings.
func TestOthersAreWorse(t *testing.T) {
	s := find(t, "step")
	s.Control = None
	if o := s.Run(); o.Overloaded() < 1000 {
		t.Errorf("without: %v", o)
	}
	s.Control = Linear
	if o := s.Run(); o.Swing() < 0.3 || o.Overloaded() < 1000 {
		t.Errorf("linear: %v", o)
	}
}

// Who is dead gets less than 1 % of the requests after 4 minutes: the clients that keep
// answers for 5 are what remains.
func TestDeadEdgeLosesItsClients(t *testing.T) {
	s := find(t, "death and return")
	if o := s.Run(); o.LostUntil() > 240 || o.Lost() == 0 {
		t.Errorf("after %d s", o.LostUntil())
	}
}

// Who drains has no clients of those that keep to the TTL when that is over.
func TestDrainedEdgeIsEmpty(t *testing.T) {
	s := find(t, "drain")
	o := s.Run()
	if o.At(0, event-1) == 0 {
		t.Error("it had none before")
	}
	for at := event + s.TTL + 5; at < s.Length; at++ {
		if o.At(0, at) > 1e-9 {
			t.Fatalf("after %d s it has %v", at-event, o.At(0, at))
		}
	}
}

// Where half of the edges die, the others take their clients, but for those that keep answers for 300 s. Told not to believe that, the
// name servers go on with all of them, and take the word back as they return.
func TestHalfDie(t *testing.T) {
	s := find(t, "death and return")
	s.Regions = world(same(300, 200, 300))
	s.Down = func(e, t int) bool { return e < 2 && t >= event && t < event+600 }
	o := s.Run()
	if o.LostUntil() > 300 || o.Overloaded() > 60 {
		t.Errorf("%v", o)
	}
	s.AllDown = steer.LastResort{Do: steer.Static, Below: 0.6}
	o = s.Run()
	if at := o.At(0, event+300); at < 0.2 || at > 0.3 {
		t.Errorf("when half are alive, %v of the clients are at a dead one", at)
	}
	if at := o.At(3, s.Length-1); at > 1e-9 {
		t.Errorf("afterwards %v of the clients are at the one that is far from all", at)
	}
}

// When all are full, more is served than without a control, and nothing swings.
func TestAllFull(t *testing.T) {
	s := find(t, "all overloaded")
	with := s.Run()
	s.Control = None
	if without := s.Run(); with.Over() >= without.Over() {
		t.Errorf("%.3f of the requests are too many, %.3f without", with.Over(), without.Over())
	}
}

// Every client is somewhere, whatever the answers.
func TestCrowdIsWhole(t *testing.T) {
	c := newCrowd(2, answers{{0, 0.5, 30}, {1, 0.5, 60}})
	for at := range 1000 {
		a := answers{{at % 2, 0.25, 1 + at%300}, {1, 0.75, 30}}
		sum := 0.0
		for _, part := range c.follow(a) {
			sum += part
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Fatalf("after %d s there are %v of them", at, sum)
		}
	}
}

func BenchmarkScenario(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		s := trials()[0].Scenario
		s.Run()
	}
}
