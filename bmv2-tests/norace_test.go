//go:build !race

package bmv2tests

const (
	raceDetector = false
	slowdown     = 1
	repeat       = 3
)
