package steer

import (
	"math"
	"strings"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geo"
)

// Round-trip times are measured where the probers are, which is where no client
// is. They say how far a node is from a name server; compared across the world
// they would send everybody to the nodes beside it. But between nodes that stand
// together, a prober anywhere has the same way to go, and what differs is the
// nodes' own: a slow uplink, a disk, a crowd. So times are compared between peers,
// and nowhere else.

// peerRadius is how far apart, from the first of them, peers may be: a city.
const peerRadius = geo.Distance(25)

// peerSlack is the difference between the times of peers that says nothing. Two
// nodes of a city can be 50 km apart, and a prober in it that opens a connection
// and then sends a request covers that four times: 200 km of fibre, or 1 ms.
const peerSlack = time.Millisecond

// gather divides members into peers: nodes of one tier within peerRadius that are
// probed in the same way. A node without a location has no peers. The order of the members
// decides who is first, so they come sorted.
func gather(members []member) [][]member {
	var peers [][]member
	belts := make(map[int][]int) // peers by the latitude of the first, in steps of peerRadius
	for _, m := range members {
		belt := m.belt()
		at := len(peers)
		for _, near := range [...]int{belt - 1, belt, belt + 1} {
			for _, i := range belts[near] {
				if i < at && peers[i][0].peer(&m) {
					at = i
				}
			}
		}
		if at == len(peers) {
			peers = append(peers, nil)
			belts[belt] = append(belts[belt], at)
		}
		peers[at] = append(peers[at], m)
	}
	return peers
}

// belt numbers the belts of the earth, each as wide as peerRadius or a little more.
func (m *member) belt() int {
	const degree = 111 // km along a meridian, at least
	return int(math.Floor(m.point.Lat() * degree / float64(peerRadius)))
}

// peer reports whether two members may be compared.
func (m *member) peer(o *member) bool {
	return m.tier == o.tier && m.probed == o.probed && m.point.DistanceTo(o.point) <= peerRadius
}

// probed describes how a node is probed: an exchange of one kind takes other
// times than one of another.
func probed(n *healthfeed.Node) string {
	var kinds []byte
	for _, c := range n.Checks {
		kinds = append(kinds, c.Type...)
		if c.TLS || strings.HasPrefix(c.URL, "https:") {
			kinds = append(kinds, 's')
		}
		if c.Body != "" {
			kinds = append(kinds, '+')
		}
		kinds = append(kinds, ' ')
	}
	return string(kinds)
}

// delay is how much longer a node takes than the fastest of its peers, beyond what
// their places can explain. It is 0 where either is unknown.
func delay(rtt, fastest time.Duration) time.Duration {
	if fastest <= 0 {
		return 0
	}
	return max(0, rtt-fastest-peerSlack)
}

// longest is the longest round-trip time there is: a record can hold numbers that
// a time.Duration cannot.
const longest = time.Hour

// rtt is the round-trip time by which a node is compared with its peers, 0 when unknown.
func rtt(s *healthfeed.Status) time.Duration {
	return time.Duration(min(s.RTT.Smoothed(), longest.Microseconds())) * time.Microsecond
}
