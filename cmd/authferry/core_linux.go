package main

import "golang.org/x/sys/unix"

// hide makes this process one that is not dumped, not even to the program that
// core_pattern pipes to and that heeds no limit; and that no other process of
// this user may trace or read the memory of. The next exec ends that.
func hide() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }
