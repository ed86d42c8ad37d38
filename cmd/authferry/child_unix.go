//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/authferry/authferry/keystore"
)

// runChild runs a command in this process's own group and terminal until it ends, and
// returns how it ended as a *childError; nil: successfully.
//
// Signals from the terminal go to the whole group, so the command gets them by itself.
// Those that other processes send to this one are passed on.
func runChild(path string, argv, env []string) error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	awake := make(chan os.Signal, 1)
	signal.Notify(awake, syscall.SIGCONT)
	defer signal.Stop(awake)

	// The system ends the command with the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	keystore.DumpAsBefore()
	p, err := os.StartProcess(path, argv, &os.ProcAttr{Env: env, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Sys: dieTogether()})
	keystore.DumpNoCore()
	if err != nil {
		return &childError{code: notRunnable(err), err: fmt.Errorf("%s can't be run: %w", argv[0], reason(err))}
	}
	pid := p.Pid
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s := <-signals:
				sig, ok := s.(syscall.Signal)
				if ok && !(fromTerminal(sig) && inForeground()) {
					_ = syscall.Kill(pid, sig)
				}
			case <-ended:
				return
			}
		}
	}()
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(pid, &status, syscall.WUNTRACED, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return &childError{code: exitOther, err: fmt.Errorf("%s was lost: %w", argv[0], err)}
		case status.Stopped():
			// A key stops the whole group, and by now both have been continued. If the
			// command stopped itself, its job must stop too, so that the shell notices and
			// can continue it.
			if woken, _ := syscall.Wait4(pid, &status, syscall.WCONTINUED|syscall.WNOHANG, nil); woken != pid {
				select {
				case <-awake: // from before
				default:
				}
				_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
				<-awake // it may take a moment to stop
				_ = syscall.Kill(pid, syscall.SIGCONT)
			}
		case status.Signaled():
			return &childError{code: 128 + int(status.Signal())}
		case status.ExitStatus() != 0:
			return &childError{code: status.ExitStatus()}
		default:
			return nil
		}
	}
}

// fromTerminal are the signals that keys send.
func fromTerminal(s syscall.Signal) bool { return s == syscall.SIGINT || s == syscall.SIGQUIT }

// inForeground reports whether a key's signal would reach this process.
func inForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer func() { _ = tty.Close() }()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == syscall.Getpgrp()
}
