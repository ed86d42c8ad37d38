package lock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/testenv"
)

func TestMain(m *testing.M) { roles.Main(m) }

var (
	must     = testenv.Must
	patience = testenv.Patience
)

var roles = testenv.Roles{
	// hold LOCK STATE: holds the lock until its stdin ends.
	"hold": func(args []string) error {
		lock, err := Acquire(context.Background(), args[0])
		if err != nil {
			return err
		}
		lock.SetHolder(args[1])
		fmt.Println("held")
		_, err = io.Copy(io.Discard, os.Stdin)
		lock.Release()
		return err
	},
	// wait LOCK MARK: takes the lock; the file MARK must be there by then.
	"wait": func(args []string) error {
		fmt.Println("waiting")
		lock, err := Acquire(context.Background(), args[0])
		if err != nil {
			return err
		}
		defer lock.Release()
		_, err = os.Stat(args[1])
		return err
	},
}

func lockPath(t *testing.T) string { return filepath.Join(t.TempDir(), "locks", "x.lock") }

func TestLockExcludesAnotherProcess(t *testing.T) {
	path := lockPath(t)
	holder := testenv.Start(t, "hold", path, "storing the new grant")
	holder.Line(t)

	if _, err := TryAcquire(path); err != ErrBusy {
		t.Errorf("TryAcquire = %v, want ErrBusy", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := Acquire(ctx, path)
	timeout, ok := errors.AsType[*TimeoutError](err)
	if !ok || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Acquire = %v, want a TimeoutError", err)
	}
	if timeout.Path != path || timeout.Holder.PID != holder.Process.Pid || timeout.Holder.StartedAt.IsZero() {
		t.Errorf("TimeoutError %+v", timeout)
	}
	for _, want := range []string{path, fmt.Sprintf("process %d (%s) since ", holder.Process.Pid, strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")), "(storing the new grant)"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}

	holder.Finish(t)
	// Also proves that the call that gave up above does not keep the lock.
	lock, err := Acquire(patience(t), path)
	must(t, err)
	if h, err := ReadHolder(path); err != nil || h.PID != os.Getpid() || h.State != "" {
		t.Errorf("ReadHolder = %+v, %v", h, err)
	}
	lock.Release()
	lock.Release()
	lock, err = TryAcquire(path)
	must(t, err)
	lock.Release()
}

func TestLockBlocksAnotherProcess(t *testing.T) {
	path := lockPath(t)
	mark := filepath.Join(t.TempDir(), "mark")
	lock, err := Acquire(patience(t), path)
	must(t, err)
	waiter := testenv.Start(t, "wait", path, mark)
	waiter.Line(t)
	time.Sleep(50 * time.Millisecond) // lets a lock that does not block show it
	must(t, os.WriteFile(mark, nil, 0o600))
	lock.Release()
	waiter.Finish(t)
}

func TestKilledHolderHoldsNothing(t *testing.T) {
	path := lockPath(t)
	holder := testenv.Start(t, "hold", path, "")
	holder.Line(t)
	must(t, holder.Process.Kill())
	holder.Wait()
	lock, err := Acquire(patience(t), path)
	must(t, err)
	lock.Release()
}

func TestCancelledAcquire(t *testing.T) {
	path := lockPath(t)
	lock, err := Acquire(patience(t), path)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := Acquire(ctx, path)
		done <- err
	}()
	cancel()
	err = <-done
	if _, timeout := errors.AsType[*TimeoutError](err); timeout || !errors.Is(err, context.Canceled) {
		t.Errorf("Acquire = %v, want context.Canceled", err)
	}
	lock.Release()
	if _, err := Acquire(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("Acquire of a free lock with a cancelled context = %v", err)
	}
	lock, err = Acquire(patience(t), path)
	must(t, err)
	lock.Release()
}

// Whoever locked a file that is no longer at the path holds nothing.
func TestLockFileThatWentAway(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs Unix: an open file stays where it is on Windows")
	}
	for name, spoil := range map[string]func(path string) error{
		"deleted": os.Remove,
		"replaced": func(path string) error {
			other := path + ".other"
			return errors.Join(os.WriteFile(other, nil, 0o600), os.Rename(other, path))
		},
		"replaced by a link": func(path string) error {
			other := path + ".other"
			return errors.Join(os.Rename(path, other), os.Symlink(other, path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := lockPath(t)
			file, err := prepare(path)
			must(t, err)
			must(t, file.Lock())
			must(t, spoil(path))
			if confirm(path, file) != nil {
				t.Error("a lock on another file was confirmed")
			}
			if file.Locked() {
				t.Error("the other file is still locked")
			}
		})
	}
	path := lockPath(t)
	old, err := Acquire(patience(t), path)
	must(t, err)
	won := make(chan *Lock)
	go func() {
		lock, err := Acquire(patience(t), path)
		testenv.Check(t, err)
		won <- lock
	}()
	time.Sleep(10 * time.Millisecond) // mostly enough for it to wait on the old file
	must(t, os.Remove(path))
	old.Release()
	lock := <-won
	if _, err := TryAcquire(path); err != ErrBusy {
		t.Errorf("TryAcquire = %v: the lock that was won is not the one at the path", err)
	}
	lock.Release()
}

func TestLockPathThatIsNoFile(t *testing.T) {
	victim := filepath.Join(t.TempDir(), "victim")
	for name, test := range map[string]struct {
		make func(t *testing.T, path string)
		want string
	}{
		"folder": {func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) }, "not a regular file"},
		"link":   {func(t *testing.T, path string) { testenv.Symlink(t, victim, path) }, "not a regular file"},
		"folder that is a link": {func(t *testing.T, path string) {
			must(t, os.Remove(filepath.Dir(path)))
			testenv.Symlink(t, t.TempDir(), filepath.Dir(path))
		}, "is a link"},
		"folder that is a file": {func(t *testing.T, path string) {
			must(t, os.Remove(filepath.Dir(path)))
			must(t, os.WriteFile(filepath.Dir(path), nil, 0o600))
		}, "locks"},
	} {
		t.Run(name, func(t *testing.T) {
			path := lockPath(t)
			must(t, os.Mkdir(filepath.Dir(path), 0o700))
			test.make(t, path)
			_, tryErr := TryAcquire(path)
			_, err := Acquire(patience(t), path)
			for _, err := range []error{err, tryErr} {
				if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), test.want) {
					t.Errorf("error %v, want one that names %s", err, test.want)
				}
			}
		})
	}
	if _, err := os.Lstat(victim); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the target of the link was made")
	}
	for _, id := range []string{"", "../../x", "acc_../../../../etc", `acc_..\x`, "acc_aaaaaaaaaaaaaaa\x00", "acc_aaaaaaaaaaaaaa\u00e9"} {
		for _, n := range []Name{Gate(id), Rotation(id)} {
			if _, err := Acquire(patience(t), n.In("folder")); n != "" || err == nil {
				t.Errorf("%q names a lock", id)
			}
		}
	}
}

func TestHolderFile(t *testing.T) {
	path := lockPath(t)
	if _, err := ReadHolder(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadHolder before anybody held it = %v", err)
	}
	lock, err := TryAcquire(path)
	must(t, err)
	defer lock.Release()
	lock.SetHolder("waiting for the keystore\x1b[2J")
	h, err := ReadHolder(path)
	must(t, err)
	if h.PID != os.Getpid() || h.State != "waiting for the keystore[2J" {
		t.Errorf("ReadHolder = %+v", h)
	}
	must(t, os.WriteFile(path+".holder", []byte(`{"pid":`), 0o600)) // read while it is written
	if _, err := ReadHolder(path); err == nil {
		t.Error("half a file was read")
	}
	if err := os.Truncate(path+".holder", 1<<40); err == nil { // takes no room on disk
		if _, err := ReadHolder(path); !errors.Is(err, atomicfile.ErrUnfit) {
			t.Errorf("a terabyte: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = Acquire(ctx, path)
	if err == nil || !strings.Contains(err.Error(), "not obtained in time") {
		t.Errorf("Acquire = %v", err)
	}
}
