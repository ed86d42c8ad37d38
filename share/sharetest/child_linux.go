package sharetest

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// starts are the processes to be started by a thread that doesn't end before this process:
// the kernel ends them with the thread that started them.
var starts = sync.OnceValue(func() chan<- func() {
	queue := make(chan func())
	go func() {
		runtime.LockOSThread()
		for start := range queue {
			start()
		}
	}()
	return queue
})

// startChild starts a process that ends at the latest when this one does, however it ends.
func startChild(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	done := make(chan error)
	starts() <- func() { done <- cmd.Start() }
	return <-done
}
