//go:build race

package edgecache

// raceEnabled makes tests of sheer numbers smaller: the race detector is slow.
const raceEnabled = true
