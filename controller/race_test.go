//go:build race

package controller_test

// slowdown is about how many times less the race detector lets a machine do.
const slowdown = 10
