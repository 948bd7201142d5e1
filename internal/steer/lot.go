package steer

import "math"

// lot draws the member's lot: exponentially distributed with mean 1 over the
// dice, and independent of all other members. The smallest lot/weight of a
// group belongs to each member with the probability of its weight (weighted
// rendezvous hashing), so a member that leaves moves nobody else's clients.
func (m *member) lot(dice uint64) float64 { return lot(dice, m.hash) }

func lot(dice, hash uint64) float64 { return -math.Log(fraction(mix(dice ^ hash))) }

// accepts reports whether the member takes the client, which it does for the
// given part of all dice. The draw is independent of the lot and of all other
// members, and the clients taken at a lesser acceptance are among those taken at
// a greater one.
func (m *member) accepts(dice uint64, acceptance float64) bool {
	return acceptance >= 1 || fraction(mix(mix(dice^m.hash))) < acceptance
}

// fraction maps x to a number greater than 0 and less than 1.
func fraction(x uint64) float64 { return (float64(x>>11) + 0.5) / (1 << 53) }

// mix is the finaliser of SplitMix64: each bit of x changes half of the bits
// of the result.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
