package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/testenv"
)

// Faults of the file system, made by the kernel: system calls that fail in a
// process with a seccomp filter, and file systems that are full or read-only in
// a mount namespace of their own.

func init() {
	roles["lock with failing flock"] = lockWithFailingFlock
	roles["update with a failing call"] = updateWithFailingCall
	roles["full disk"] = inNamespace(fullDisk)
	roles["read-only disk"] = inNamespace(readOnlyDisk)
	roles["no umask"] = func(args []string) error {
		syscall.Umask(0)
		return At(args[0]).Update(context.Background(), Fast, func(*Index) error { return nil })
	}
}

// notHere begins the line of a role that this machine does not let play.
const notHere = "needs "

// play runs a role to its end and returns what it printed.
func play(t *testing.T, p *testenv.Process) string {
	t.Helper()
	if p.Process == nil {
		if err := p.Start(); errors.Is(err, syscall.EPERM) {
			t.Skipf("needs mount namespaces: %v", err)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	said := p.Line(t)
	if strings.HasPrefix(said, notHere) {
		p.Finish(t)
		t.Skip(said)
	}
	p.Finish(t)
	return said
}

func failCall(nr uintptr, errno syscall.Errno) error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(nr), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, failed := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if failed != 0 {
		return failed
	}
	return nil
}

// lockWithFailingFlock LOCK ERRNO
func lockWithFailingFlock(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	errno := syscall.Errno(n)
	if err := failCall(unix.SYS_FLOCK, errno); err != nil {
		fmt.Println(notHere+"seccomp:", err)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_, err = lock.Acquire(ctx, args[0])
	_, tryErr := lock.TryAcquire(args[0])
	timeout, _ := errors.AsType[*lock.TimeoutError](err)
	fmt.Println(timeout != nil, errors.Is(err, errno), tryErr == lock.ErrBusy, errors.Is(tryErr, errno))
	return nil
}

// Network file systems that can not lock must not hang or let anyone in.
func TestFileSystemThatCanNotLock(t *testing.T) {
	const timesOut, refuses = "true false true false", "false true false true"
	for errno, want := range map[syscall.Errno]string{
		syscall.ENOLCK: refuses,
		syscall.EIO:    refuses,
		syscall.ENOSYS: refuses,
		syscall.EAGAIN: timesOut,
	} {
		t.Run(errno.Error(), func(t *testing.T) {
			p := testenv.Start(t, "lock with failing flock", lock.Probe.In(t.TempDir()), strconv.Itoa(int(errno)))
			if got := play(t, p); got != want {
				t.Errorf("(Acquire timed out, is the error; TryAcquire is busy, is the error) = %s, want %s", got, want)
			}
		})
	}
}

// updateWithFailingCall FOLDER CALL ERRNO
func updateWithFailingCall(args []string) error {
	nr, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	errno, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	if err := failCall(uintptr(nr), syscall.Errno(errno)); err != nil {
		fmt.Println(notHere+"seccomp:", err)
		return nil
	}
	err = At(args[0]).Update(context.Background(), Durable, func(ix *Index) error {
		ix.Accounts[0].Generation = 7
		return nil
	})
	fmt.Println(err == nil, errors.Is(err, syscall.Errno(errno)))
	return nil
}

func TestUpdateWithAFailingCall(t *testing.T) {
	for _, test := range []struct {
		name       string
		call       uintptr
		errno      syscall.Errno
		want       string // worked, is the error
		generation int
	}{
		{"sync: nothing changes", unix.SYS_FSYNC, syscall.EIO, "false true", 1},
		{"rename: nothing changes", unix.SYS_RENAMEAT, syscall.EIO, "false true", 1},
		{"no links: the backup is a copy", unix.SYS_LINKAT, syscall.EPERM, "true false", 7},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFile(t)
			p := testenv.Start(t, "update with a failing call", f.Dir(), strconv.Itoa(int(test.call)), strconv.Itoa(int(test.errno)))
			if got := play(t, p); got != test.want {
				t.Errorf("(worked, is the error) = %s, want %s", got, test.want)
			}
			wantIndex(t, f, test.generation)
		})
	}
}

func wantIndex(t *testing.T, f *File, generation int) {
	t.Helper()
	ix, err := f.Read()
	must(t, err)
	if got := ix.Accounts[0].Generation; got != generation {
		t.Errorf("generation %d, want %d", got, generation)
	}
	if _, err := f.LastGood(); err != nil {
		t.Errorf("LastGood = %v", err)
	}
	if left := tempFiles(t, f); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// inNamespace gives a role a file system of 128 KiB at args[0].
func inNamespace(role func(f *File) error) func(args []string) error {
	return func(args []string) error {
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			fmt.Println(notHere+"mounts:", err)
			return nil
		}
		if err := syscall.Mount("tmpfs", args[0], "tmpfs", 0, "size=128k"); err != nil {
			fmt.Println(notHere+"tmpfs mounts:", err)
			return nil
		}
		f := At(args[0])
		for g := range 3 {
			if err := f.Update(context.Background(), Durable, func(ix *Index) error {
				ix.Accounts = []Account{newAccount("Personal")}
				ix.Accounts[0].Generation = g
				return nil
			}); err != nil {
				return err
			}
		}
		if err := role(f); err != nil {
			return err
		}
		fmt.Println("done")
		return nil
	}
}

func grow(f *File, bytes int) error {
	return f.Update(context.Background(), Durable, func(ix *Index) error {
		ix.Accounts[0].Identity = strings.Repeat("x", bytes)
		return nil
	})
}

// intact reports what a failed change must have left.
func intact(f *File) error {
	ix, err := f.Read()
	if err != nil {
		return err
	}
	last, err := f.LastGood()
	if err != nil {
		return err
	}
	if now, before := ix.Accounts[0].Generation, last.Accounts[0].Generation; now != 2 || before != 1 {
		return fmt.Errorf("generation %d, %d in the backup", now, before)
	}
	left, err := filepath.Glob(filepath.Join(f.Dir(), "*"+atomicfile.Suffix))
	if len(left) > 0 {
		return fmt.Errorf("left behind: %v", left)
	}
	return err
}

func fullDisk(f *File) error {
	if err := grow(f, 1<<20); !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("a change that does not fit: %w", err)
	}
	if err := intact(f); err != nil {
		return err
	}
	filler := filepath.Join(f.Dir(), "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("filling the disk: %w", err)
	}
	if err := grow(f, 1); !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("a change on a full disk: %w", err)
	}
	if err := intact(f); err != nil {
		return err
	}
	if err := os.Remove(filler); err != nil {
		return err
	}
	return grow(f, 1)
}

func readOnlyDisk(f *File) error {
	if err := syscall.Mount("", f.Dir(), "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return err
	}
	if err := grow(f, 1); !errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("a change on a read-only disk: %w", err)
	}
	if _, err := lock.TryAcquire(lock.Manifest.In(f.Dir())); !errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("a new lock on a read-only disk: %w", err)
	}
	return intact(f)
}

func TestDiskThatTakesNoWrites(t *testing.T) {
	for _, role := range []string{"full disk", "read-only disk"} {
		t.Run(role, func(t *testing.T) {
			p := testenv.Command(t, role, t.TempDir())
			p.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
			if id := os.Getuid(); id != 0 {
				p.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
				p.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
				p.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
			}
			if got := play(t, p); got != "done" {
				t.Errorf("said %q", got)
			}
		})
	}
}

func TestNoUmask(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "authferry")
	testenv.Start(t, "no umask", dir).Finish(t)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	must(t, err)
}
