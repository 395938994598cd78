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
