//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"
)

// screenSignals are those that a watch acts on; Ctrl-C and SIGTERM end every command.
var screenSignals = []os.Signal{syscall.SIGWINCH, syscall.SIGCONT, syscall.SIGHUP, syscall.SIGQUIT}

// redrawable: terminals of these systems are.
func redrawable(*os.File) (restore func(), err error) { return func() {}, nil }

// signal acts on one of screenSignals.
func (s *screen) signal(by os.Signal) (over bool) {
	switch by {
	case syscall.SIGHUP, syscall.SIGQUIT:
		return true
	case syscall.SIGCONT:
		s.wake()
	}
	return false
}

// suspend stops the job, as Ctrl-Z does where a terminal makes signals of keys, until
// somebody wakes it.
func (s *screen) suspend() {
	s.leave()
	awake := make(chan os.Signal, 1)
	signal.Notify(awake, syscall.SIGCONT)
	defer signal.Stop(awake)
	_ = syscall.Kill(0, syscall.SIGTSTP)
	select {
	case <-awake: // the stop may take a moment
	case <-time.After(time.Second): // where nobody could wake it, the system doesn't stop it
	}
	s.wake()
}

// wake takes the terminal again: who stopped this process may have changed it.
func (s *screen) wake() {
	_, _ = term.MakeRaw(int(s.in.Fd())) // #nosec G115 -- a file descriptor is small
	_, _ = s.out.WriteString(enterScreen)
}
