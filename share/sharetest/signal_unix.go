//go:build unix

package sharetest

import "syscall"

func (n *node) signal(goOn bool) error {
	if goOn {
		return n.cmd.Process.Signal(syscall.SIGCONT)
	}
	return n.cmd.Process.Signal(syscall.SIGSTOP)
}
