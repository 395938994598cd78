//go:build race

package config

// With the race detector one goroutine reading YAML takes ten times as long and finds nothing.
const raceDetector = true
