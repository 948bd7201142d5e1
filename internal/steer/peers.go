package steer

import (
	"math"
	"slices"
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

// gather divides members into peers: nodes within peerRadius that are probed in
// the same way. A node without a location has no peers. The order of the members
// decides who is first, so they come sorted.
func gather(members []member) [][]member {
	var peers [][]member
	for _, m := range members {
		at := slices.IndexFunc(peers, func(p []member) bool { return p[0].peer(&m) })
		if at < 0 {
			peers, at = append(peers, nil), len(peers)
		}
		peers[at] = append(peers[at], m)
	}
	return peers
}

// peer reports whether two members may be compared.
func (m *member) peer(o *member) bool {
	const degree = 111 // km along a meridian, at least: most pairs need no more to part
	return math.Abs(m.point.Lat()-o.point.Lat()) <= float64(peerRadius/degree) &&
		m.probed == o.probed && m.point.DistanceTo(o.point) <= peerRadius
}

// probed describes how a node is probed: an exchange of one kind takes other
// times than one of another.
func probed(n *healthfeed.Node) string {
	var kinds []byte
	for _, c := range n.Checks {
		kinds = append(kinds, c.Type...)
		if strings.HasPrefix(c.URL, "https:") {
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
	if rtt <= 0 || fastest <= 0 {
		return 0
	}
	return max(0, rtt-fastest-peerSlack)
}

// rtt is the median round-trip time of a status, 0 when unknown.
func rtt(s *healthfeed.Status) time.Duration { return time.Duration(s.RTT.P50) * time.Microsecond }
