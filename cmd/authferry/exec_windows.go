package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
)

// become runs the command in the same console group and exits with its exit code. The
// command handles Ctrl-C. A job ends it if this process is killed.
func become(path string, argv, env []string) error {
	signal.Ignore(os.Interrupt)
	job, err := killOnClose()
	if err != nil {
		return err
	}
	defer func() { _ = windows.CloseHandle(job) }()
	// No context: the command decides when it ends.
	cmd := exec.CommandContext(context.Background(), path, argv[1:]...) // #nosec G204 -- what exec is for
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return &childError{code: notRunnable(err), err: fmt.Errorf("%s can't be run: %w", argv[0], reason(err))}
	}
	if err := cmd.Process.WithHandle(func(h uintptr) {
		// In a job that allows no nesting the command runs all the same.
		_ = windows.AssignProcessToJobObject(job, windows.Handle(h))
	}); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return &childError{code: exit.ExitCode()}
	}
	return err
}

// killOnClose makes a job whose processes end with its last handle, which this process has.
func killOnClose() (windows.Handle, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, err
	}
	info := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{
		BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{LimitFlags: windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | windows.JOB_OBJECT_LIMIT_BREAKAWAY_OK},
	}
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info))) // #nosec G103 G115
	if err != nil {
		_ = windows.CloseHandle(job)
		return 0, err
	}
	return job, nil
}

// containsName ignores case, as Windows does.
func containsName(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}
