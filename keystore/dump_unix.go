//go:build unix

package keystore

import "golang.org/x/sys/unix"

// coreLimit is the limit for core dumps with which this process was started.
var coreLimit *unix.Rlimit

// DumpNoCore keeps secrets out of core dumps and, if the system allows it, away from the
// debuggers of this user's other programs. A failure is ignored, because there is no
// alternative.
func DumpNoCore() {
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

// DumpAsBefore restores the limit before another program takes this process over: limits
// are inherited, and that program's core dumps are its own business.
func DumpAsBefore() {
	if coreLimit != nil {
		_ = unix.Setrlimit(unix.RLIMIT_CORE, coreLimit)
	}
}
