//go:build unix

package helper_test

import (
	"os/exec"
	"syscall"
)

// ownGroup makes what cmd starts one group, as a shell does.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// endGroup ends all of it: Gemini CLI runs in a process of its own program's that no
// signal is handed on to.
func endGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
