package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/testenv"
)

// A process that holds secrets leaves no core dump, though the limits would
// allow one and GOTRACEBACK asks for it.
func TestNoLeaksInCores(t *testing.T) {
	t.Parallel()
	s := newScene(t, brokertest.Config{})
	s.Env = append(s.Env, "GOTRACEBACK=crash")
	// crash lets a program read the secret, ends it by SIGABRT, and returns
	// whether a core was dumped.
	crash := func(text, program string, args ...string) bool {
		cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", `ulimit -S -c "$(ulimit -H -c)"; exec "$0" "$@"`, program}, args...)...)
		cmd.Env, cmd.Dir = s.Env, s.Root
		var errs bytes.Buffer
		cmd.Stderr = &errs
		stdin, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		testenv.Must(t, err)
		testenv.Must(t, testenv.Err(io.WriteString(stdin, text)))
		// The key has been read once the pipe is empty and the program sleeps in
		// another read, or for good.
		awaitEmpty(t, stdin)
		if program != "careless" {
			limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", cmd.Process.Pid))
			if err != nil || !bytes.Contains(bytes.Join(bytes.Fields(limits), []byte(" ")), []byte("Max core file size 0 ")) {
				t.Errorf("%v\n%s", err, limits)
			}
		}
		testenv.Must(t, cmd.Process.Signal(syscall.SIGABRT))
		_ = cmd.Wait()
		status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if !ok || !status.Signaled() || !strings.Contains(errs.String(), "goroutine ") {
			t.Fatalf("it was not ended by a signal: %v\n%s", cmd.ProcessState, errs.String())
		}
		if strings.Contains(errs.String(), apiKey) {
			t.Error("the trace holds the secret")
		}
		return status.CoreDump()
	}
	s.Must("", "login", s.Server.URL+"/mcp", "--name", "docs")
	for _, args := range [][]string{{"login", "anthropic", "--api-key-stdin", "--label", "Key"}, {"mcp", "connect", "docs"}} {
		if crash(apiKey+"\n", "authferry", args...) {
			t.Errorf("%q: a core was dumped", args)
		}
	}
	if crash(`{"ticket":"`+apiKey, authferrytest.BuiltShare(t), "call") {
		t.Error("authferry-share: a core was dumped")
	}
	testenv.Check(t, s.leaked())
	if !crash(apiKey+"\n", "careless") {
		t.Skip("needs core dumps, to show that another program leaves one: ulimit -H -c unlimited")
	}
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err == nil && !bytes.ContainsAny(pattern, "|/") && s.leaked() == nil {
		t.Error("the secret in the other program's core was not found")
	}
	cores, _ := filepath.Glob(filepath.Join(s.Root, "core*"))
	for _, core := range cores {
		_ = os.Remove(core)
	}
}

// awaitEmpty returns when everything that was written to a pipe has been read.
func awaitEmpty(t *testing.T, pipe io.Writer) {
	t.Helper()
	file, ok := pipe.(interface{ Fd() uintptr })
	if !ok {
		t.Fatalf("%T is no pipe", pipe)
	}
	fd := int(file.Fd()) // #nosec G115 -- a file descriptor is small
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if n, err := unix.IoctlGetInt(fd, unix.TIOCINQ); err == nil && n == 0 {
			return
		}
	}
	t.Fatal("nobody read the pipe")
}
