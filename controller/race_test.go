//go:build race

package controller_test

// With the race detector times tell of the machine alone; and a tenth of a flood fills it.
const (
	raceDetector = true
	slowdown     = 10
	repeat       = 1 // of what floods hold up
)
