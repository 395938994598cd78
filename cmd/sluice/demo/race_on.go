//go:build race

package demo

// slowdown thins the load out: under the race detector every packet costs many times as much, and
// a machine that cannot keep up shows nothing but its own delays.
const slowdown = 4
