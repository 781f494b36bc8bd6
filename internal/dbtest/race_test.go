//go:build race

package dbtest

// raceDetector reports whether the race detector is on, with which all takes
// several times as long.
const raceDetector = true
