//go:build !race

package controller_test

const (
	raceDetector = false
	slowdown     = 1
	repeat       = 3
)
