//go:build race

package plan

// The race detector makes a search ten times as long, and finds nothing in what is pure.
const raceDetector = true
