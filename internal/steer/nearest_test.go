package steer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geo"
)

// mixed is the policy of who writes none.
var mixed = &Policy{Answers: 1, Near: DefaultNear, Alpha: DefaultAlpha, Beta: DefaultBeta, Epsilon: DefaultEpsilon, EpsilonRTT: DefaultEpsilonRTT}

func TestScore(t *testing.T) {
	tests := []struct {
		name        string
		alpha, beta float64
		distance    geo.Distance
		delay       time.Duration
		want        float64 // of a node that is here and does not lag
	}{
		{"here", 0.4, 0.6, 0, 0, 1},
		{"distance-alone-is-rescaled", 0.4, 0.6, 50, 0, 0.5},
		{"shares-need-not-add-up-to-1", 4, 6, 50, 0, 0.5},
		{"delay-of-epsilon-halves-the-latency-term", 0.4, 0.6, 0, 50 * time.Millisecond, 0.7},
		{"delay-without-end-leaves-alpha", 0.4, 0.6, 0, math.MaxInt64 / 2, 0.4},
		{"both", 0.4, 0.6, 50, 150 * time.Millisecond, 0.275},
		{"distance-only", 1, 0, 50, time.Second, 0.5},
		{"latency-only", 0, 1, 50, 50 * time.Millisecond, 0.25},
		{"nobody-set-the-shares", 0, 0, 50, time.Second, 0.5},
		{"nowhere", 0.4, 0.6, geo.Unknown, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &Policy{Alpha: tt.alpha, Beta: tt.beta, Epsilon: 50}
			if got := p.score(tt.distance, tt.delay) * 50; math.Abs(got-tt.want) > 1e-9 {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// Whatever is farther or slower scores no better, and no delay costs more than
// the share of latency.
func FuzzScore(f *testing.F) {
	f.Add(0.4, 0.6, 0.0, 10.0, int64(0), int64(1e6))
	f.Add(0.0, 1.0, 20000.0, 0.0, int64(1e15), int64(0))
	f.Add(1e-9, 1e9, 1e-9, 1e9, int64(1), int64(2))
	f.Fuzz(func(t *testing.T, alpha, beta, km, more float64, delay, longer int64) {
		in := func(v, most float64) bool { return v >= 0 && v <= most }
		if !in(alpha, 1e6) || !in(beta, 1e6) || alpha+beta < 1e-6 || !in(km, 20038) || !in(more, 20038) || delay < 0 || longer < 0 {
			return
		}
		p := &Policy{Alpha: alpha, Beta: beta, Epsilon: DefaultEpsilon}
		d, lag := geo.Distance(km), time.Duration(delay/4)
		s := p.score(d, lag)
		const rounding = 1 + 1e-12
		if !(s >= 0) || math.IsInf(s, 0) {
			t.Fatalf("score %v", s)
		}
		if p.score(d+geo.Distance(more), lag) > s*rounding || p.score(d, lag+time.Duration(longer/4)) > s*rounding {
			t.Errorf("score %v grows with distance or delay", s)
		}
		if best := p.score(d, 0); beta > 0 && s*rounding < best*alpha/(alpha+beta) {
			t.Errorf("score %v is less than the share of distance in %v", s, best)
		}
	})
}

// city is a place with nodes.
type city struct {
	name     string
	lat, lon float64
}

var threeContinents = []city{{"london", 51.5, -0.12}, {"seattle", 47.6, -122.3}, {"beijing", 39.9, 116.4}}

// measured returns a status as a prober at a place would see a node at another:
// there and back twice, as an http check is, along a path half as long again as
// the great circle.
func measured(t testing.TB, prober, node city, lag time.Duration) healthfeed.Status {
	t.Helper()
	d := at(t, prober.lat, prober.lon).DistanceTo(at(t, node.lat, node.lon))
	p50 := time.Duration(float64(d)*1.5/100*2*float64(time.Millisecond)) + 300*time.Microsecond + lag
	return healthfeed.Status{State: up, Health: 1, Acceptance: 1, Ramp: 1, RTT: healthfeed.RTT{P50: p50.Microseconds(), P95: p50.Microseconds()}}
}

// Wherever the prober is, clients go where they would go by distance alone, as far
// as that is told by the continent; with measured times taken for the clients' own
// they would not.
func TestProberDoesNotAttract(t *testing.T) {
	clients := append([]city{{"paris", 48.9, 2.4}, {"lagos", 6.5, 3.4}, {"new-york", 40.7, -74}, {"santiago", -33.4, -70.7},
		{"tokyo", 35.7, 139.7}, {"sydney", -33.9, 151.2}, {"honolulu", 21.3, -157.9}}, threeContinents...)
	for _, shares := range [][2]float64{{0.4, 0.6}, {0.1, 0.9}, {0, 1}} {
		attracted := 0 // by the times as they are
		for _, prober := range append(clients, city{"frankfurt", 50.1, 8.7}) {
			var nodes []nodeSpec
			for _, c := range threeContinents {
				for i := range 3 { // of one city, a few km apart
					lag := time.Duration(i) * 20 * time.Millisecond
					nodes = append(nodes, nodeSpec{fmt.Sprintf("%s%d", c.name, i), c.lat + float64(i)*0.05, c.lon, 100, up,
						func(_ *healthfeed.Node, s *healthfeed.Status) { *s = measured(t, prober, c, lag) }})
				}
			}
			set, table := world(t, nodes...)
			p := *mixed
			p.Alpha, p.Beta = shares[0], shares[1]
			for _, client := range clients {
				from := at(t, client.lat, client.lon)
				nearest := func(score func(d geo.Distance, rtt float64) float64) (name string) {
					best := -1.0
					for _, c := range threeContinents {
						ms := float64(measured(t, prober, c, 0).RTT.P50) / 1000
						if s := score(from.DistanceTo(at(t, c.lat, c.lon)), ms); s > best {
							name, best = c.name, s
						}
					}
					return name
				}
				want := nearest(func(d geo.Distance, _ float64) float64 { return 1 / float64(d+50) })
				closest, fastest := 1e9, 1e9
				for _, c := range threeContinents {
					closest = min(closest, float64(from.DistanceTo(at(t, c.lat, c.lon)))+50)
					fastest = min(fastest, float64(measured(t, prober, c, 0).RTT.P50)/1000+50)
				}
				if nearest(func(d geo.Distance, ms float64) float64 {
					return p.Alpha*closest/float64(d+50) + p.Beta*fastest/(ms+50)
				}) != want {
					attracted++
				}
				for dice := range uint64(20) {
					c := p.Choose(&Request{Set: set, Point: from, Dice: dice}, table)
					if got := ids(c, table); got != want+"0" {
						t.Fatalf("shares %v, prober in %s: a client in %s is sent to %s, want the fast node of %s", shares, prober.name, client.name, got, want)
					}
				}
			}
		}
		if attracted == 0 {
			t.Errorf("shares %v: the times as they are attract nobody, so this test shows nothing", shares)
		}
	}
}

// A slow node loses clients to its peers, so latency sends nobody farther than a
// peer may be from the nearest node.
func TestLatencyStaysInTheCity(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	byDistance := *mixed
	byDistance.Beta = 0
	moved := 0
	for range 2000 {
		set, table := randomWorld(t, rng, 12)
		from := at(t, rng.Float64()*180-90, rng.Float64()*360-180)
		away := func(node int) geo.Distance {
			l := table.Inventory.Nodes[node].Location
			return from.DistanceTo(at(t, l.Lat, l.Lon))
		}
		nearest := geo.Unknown
		for i := range table.Inventory.Nodes {
			nearest = min(nearest, away(i))
		}
		req := &Request{Set: set, Point: from, Dice: rng.Uint64()}
		c := mixed.Choose(req, table)
		bound := (nearest+2*peerRadius+mixed.Epsilon)/(1-DefaultNear) - mixed.Epsilon
		if d := away(c.Node(0)); d > bound {
			t.Fatalf("chosen at %v, nearest %v, bound %v", d, nearest, bound)
		}
		if c != byDistance.Choose(req, table) {
			moved++
		}
	}
	if moved < 100 {
		t.Errorf("latency moved %d of 2000 clients", moved)
	}
}

// randomWorld has n healthy nodes in half as many cities, measured or not.
func randomWorld(t testing.TB, rng *rand.Rand, n int) (*Set, *healthfeed.Table) {
	var nodes []nodeSpec
	var lat, lon float64
	for i := range n {
		if i%2 == 0 {
			lat, lon = rng.Float64()*178-89, rng.Float64()*360-180
		}
		nodes = append(nodes, nodeSpec{fmt.Sprint("n", i), lat + rng.Float64()*0.1, lon, 100, up, func(_ *healthfeed.Node, s *healthfeed.Status) {
			if rng.IntN(4) > 0 {
				s.RTT.P50 = 1 + rng.Int64N(200_000)
			}
		}})
	}
	return world(t, nodes...)
}
