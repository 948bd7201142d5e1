//go:build !race

package edgehealth

const raceDetector = false
