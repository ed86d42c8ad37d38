// Package single makes Go run on one processor. No command has two things to
// compute at once, and every thread that Go wakes for a few microseconds of work
// costs more than it gives; threads that wait for the system are not counted.
//
// It imports nothing but the runtime so that it comes among the first: later,
// the caches that the second processor filled by then are given up one by one.
package single

import "runtime"

func init() { runtime.GOMAXPROCS(1) }
