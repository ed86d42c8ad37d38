package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/authferry/authferry/testenv"
)

// The executioner runs a command under ptrace and kills a process of it with
// SIGKILL at the entry of its n-th system call that changes something, so that
// the call is the first one not to happen. strace can inject a signal too, but
// counts for each thread, and Go does not say which thread a call comes from: a
// sweep over its counts leaves calls out.

// victim says whose calls are counted, and who is killed.
type victim string

const (
	caller   victim = "caller"   // what was started; the rotator goes on
	rotator  victim = "rotator"  // what refreshes; its caller lives
	everyone victim = "everyone" // both at once, as with a cgroup
)

// execution is how it went.
type execution struct {
	Calls  int    `json:"calls"` // of the victim, up to its end
	Killed bool   `json:"killed"`
	Before string `json:"before"` // the call that it was killed at
	Code   int    `json:"code"`   // of the command; -1: killed
	// Refused: nobody may trace here.
	Refused bool `json:"refused"`
	// Since are the calls after the last one that sent something to a server.
	Since []string `json:"since"`
}

// deadly are the calls that change a state that somebody else sees.
var deadly = map[uint64]string{
	unix.SYS_OPENAT: "openat", unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "pwrite", unix.SYS_SENDTO: "sendto", unix.SYS_SENDMSG: "sendmsg",
	unix.SYS_CONNECT: "connect", unix.SYS_FSYNC: "fsync", unix.SYS_FDATASYNC: "fdatasync", unix.SYS_RENAMEAT: "rename", unix.SYS_RENAMEAT2: "rename",
	unix.SYS_UNLINKAT: "unlink", unix.SYS_LINKAT: "link", unix.SYS_FLOCK: "flock", unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_MKDIRAT: "mkdir", unix.SYS_FCHMODAT: "chmod",
}

func init() {
	roles["executioner"] = func(args []string) int {
		runtime.LockOSThread() // only the thread that began a trace may go on with it
		e, err := execute(args)
		if e.Refused = errors.Is(err, unix.EPERM); e.Refused {
			err = nil
		}
		data, jsonErr := json.Marshal(e)
		if err = errors.Join(err, jsonErr, os.WriteFile(args[2], data, 0o600)); err != nil {
			fmt.Fprintln(os.Stderr, "executioner:", err)
			return 99
		}
		return max(e.Code, 0)
	}
}

// executed runs cmd under the executioner; n is 0 to kill nobody. It returns when
// every process that came of cmd has ended.
func executed(t testing.TB, cmd *exec.Cmd, who victim, n int) (*exec.Cmd, func() execution) {
	t.Helper()
	self, err := os.Executable()
	testenv.Must(t, err)
	report := filepath.Join(t.TempDir(), "execution")
	args := append([]string{string(who), strconv.Itoa(n), report, cmd.Path}, cmd.Args[1:]...)
	traced := exec.Command(self, args...)
	traced.Env, traced.Dir, traced.WaitDelay = append(cmd.Env, "TORTURE_ROLE=executioner"), cmd.Dir, cmd.WaitDelay
	return traced, func() execution {
		var e execution
		data, err := os.ReadFile(report)
		if err == nil {
			err = json.Unmarshal(data, &e)
		}
		if err != nil {
			t.Fatalf("the executioner failed: %v", err)
		}
		if e.Refused {
			t.Skip("needs ptrace: run it where a process may trace its children")
		}
		return e
	}
}

// execute is ROLE N REPORT COMMAND ARGS….
func execute(args []string) (execution, error) {
	e := execution{Code: -1}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return e, err
	}
	cmd := exec.Command(args[3], args[4:]...)
	cmd.Args[0] = "authferry"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "TORTURE_ROLE=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return e, err
	}
	root := cmd.Process.Pid
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK |
		unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL
	var status unix.WaitStatus
	if _, err := unix.Wait4(root, &status, unix.WALL, nil); err != nil {
		return e, err
	}
	if err := unix.PtraceSetOptions(root, options); err != nil {
		return e, err
	}
	x := &trace{victim: victim(args[0]), n: n, threads: map[int]*thread{}}
	x.meet(root)
	resume := func(tid, signal int) { _ = unix.PtraceSyscall(tid, signal) } // it may be dead by now
	resume(root, 0)
	for {
		tid, err := unix.Wait4(-1, &status, unix.WALL, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			e.Calls, e.Killed, e.Before, e.Since = x.calls, x.killed, x.before, x.since
			if errors.Is(err, unix.ECHILD) {
				err = nil
			}
			return e, err
		}
		switch {
		case status.Exited(), status.Signaled():
			if tid == root && status.Exited() {
				e.Code = status.ExitStatus()
			}
			delete(x.threads, tid)
		case status.StopSignal() == unix.SIGTRAP|0x80:
			x.systemCall(tid)
			resume(tid, 0)
		case status.StopSignal() == unix.SIGTRAP && status.TrapCause() > 0:
			if status.TrapCause() == unix.PTRACE_EVENT_EXEC {
				x.meet(tid)
			}
			resume(tid, 0)
		case status.StopSignal() == unix.SIGSTOP && x.threads[tid] == nil:
			x.meet(tid) // a new thread or process begins with a stop
			resume(tid, 0)
		default:
			resume(tid, int(status.StopSignal()))
		}
	}
}

type trace struct {
	victim  victim
	n       int
	threads map[int]*thread
	calls   int
	killed  bool
	before  string
	since   []string
}

type thread struct {
	process int
	rotates bool
}

func (x *trace) meet(tid int) {
	th := &thread{process: tid}
	if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid)); err == nil {
		for line := range strings.Lines(string(data)) {
			if rest, ok := strings.CutPrefix(line, "Tgid:"); ok {
				th.process, _ = strconv.Atoi(strings.TrimSpace(rest))
			}
		}
	}
	if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", tid)); err == nil {
		argv := bytes.Split(data, []byte{0})
		th.rotates = len(argv) > 1 && string(argv[1]) == "rotate"
	}
	x.threads[tid] = th
}

// systemCall looks at a stop at the entry or exit of a call.
func (x *trace) systemCall(tid int) {
	if x.killed {
		return
	}
	th := x.threads[tid]
	if th == nil {
		x.meet(tid)
		th = x.threads[tid]
	}
	if th.rotates != (x.victim == rotator) && x.victim != everyone {
		return
	}
	var info syscallInfo
	_, _, failed := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0) // #nosec G103 -- the kernel fills it
	if failed != 0 || info.op != unix.PTRACE_SYSCALL_INFO_ENTRY {
		return
	}
	name, ok := deadly[info.number]
	if !ok || name == "openat" && info.args[2]&(unix.O_WRONLY|unix.O_RDWR|unix.O_CREAT) == 0 {
		return
	}
	x.calls++
	call := describe(tid, name, info.args)
	if x.calls != x.n {
		if x.since = append(x.since, call); call == "write socket" {
			x.since = nil
		}
		return
	}
	x.killed, x.before = true, call
	for _, other := range x.threads {
		if x.victim == everyone || other.process == th.process {
			_ = unix.Kill(other.process, unix.SIGKILL)
		}
	}
}

// syscallInfo is the kernel's struct ptrace_syscall_info at the entry of a call.
type syscallInfo struct {
	op     uint8
	_      [3]uint8
	_      uint32
	_      [2]uint64
	number uint64
	args   [6]uint64
	_      [2]uint64
}

// describe names a call with the file that it is about.
func describe(tid int, name string, args [6]uint64) string {
	switch name {
	case "openat", "rename", "unlink", "link", "mkdir", "chmod":
		address := args[1]
		if name == "rename" || name == "link" {
			address = args[3]
		}
		return name + " " + shortened(textAt(tid, address))
	case "connect":
		return name
	}
	target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, args[0]))
	return name + " " + shortened(target)
}

func textAt(tid int, address uint64) string {
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", tid))
	if err != nil {
		return ""
	}
	defer mem.Close()
	buffer := make([]byte, 512)
	n, _ := mem.ReadAt(buffer, int64(address)) // #nosec G115 -- an address of the program
	text, _, _ := bytes.Cut(buffer[:n], []byte{0})
	return string(text)
}

// shortened leaves the parts of a path that are the same in every run.
func shortened(path string) string {
	dir, base := filepath.Split(path)
	switch {
	case strings.HasSuffix(base, ".tmp"):
		base = "….tmp"
	case strings.HasSuffix(base, ".age"):
		base = "….age"
	case strings.HasPrefix(base, "acc_"):
		_, kind, _ := strings.Cut(base, ".")
		base = "ID." + kind
	case strings.HasPrefix(path, "socket:"), strings.HasPrefix(path, "pipe:"), strings.HasPrefix(path, "anon_inode:"):
		kind, _, _ := strings.Cut(path, ":")
		return kind
	}
	return filepath.Join(filepath.Base(dir), base)
}
