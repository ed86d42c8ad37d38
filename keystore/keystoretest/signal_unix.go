//go:build !windows

package keystoretest

import "syscall"

const (
	signalStop = syscall.SIGSTOP
	signalCont = syscall.SIGCONT
)
