//go:build unix

package main

import "golang.org/x/sys/unix"

// coreLimit is the limit of core dumps that this process was started with.
var coreLimit *unix.Rlimit

// dumpNoCore keeps secrets out of core dumps, and out of reach of the debuggers
// of this user's other programs where the system lets a process say so.
// A failure leaves things as they were: there is nothing better to do.
func dumpNoCore() {
	hide()
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_CORE, &limit) != nil || limit.Cur == 0 {
		return
	}
	none := limit
	none.Cur = 0
	if unix.Setrlimit(unix.RLIMIT_CORE, &none) == nil {
		coreLimit = &limit
	}
}

// dumpAsBefore takes the limit back before another program gets this process: a
// limit is inherited, and its cores are its own affair.
func dumpAsBefore() {
	if coreLimit != nil {
		_ = unix.Setrlimit(unix.RLIMIT_CORE, coreLimit)
	}
}
