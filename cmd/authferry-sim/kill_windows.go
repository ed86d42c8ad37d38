package main

import (
	"os"
	"os/exec"
	"syscall"
)

func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// Windows can't end a group from outside; authferry's callers have no children
// of their own in it anyway.
func killGroup(cmd *exec.Cmd) error { return cmd.Process.Kill() }

func alive(pid int) (*os.Process, bool) {
	p, err := os.FindProcess(pid) // fails where there is none
	return p, err == nil
}
