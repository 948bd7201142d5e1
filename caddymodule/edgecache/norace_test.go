//go:build !race

package edgecache

// raceEnabled is true under the race detector.
const raceEnabled = false
