// Package alloctest measures for tests what a call takes of the memory.
package alloctest

import "runtime"

// MiB returns how many MiB were allocated in all while f ran, by whatever ran in the process.
func MiB(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int((after.TotalAlloc - before.TotalAlloc) >> 20)
}

// AtMost is MiB of the call that takes least, of a few: f is called again while it takes more than most. What takes
// too much does so each time, and what lies in pools does not: under the race detector package sync forgets a quarter
// of that, by chance.
func AtMost(most int, f func()) int {
	const calls = 5
	least := MiB(f)
	for i := 1; i < calls && least > most; i++ {
		least = min(least, MiB(f))
	}
	return least
}
