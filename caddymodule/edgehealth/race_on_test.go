//go:build race

package edgehealth

// raceDetector says that sync.Pool drops items at random, so that counting
// allocations makes no sense.
const raceDetector = true
