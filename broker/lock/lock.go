package lock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/humantime"
)

// ErrBusy is what TryAcquire returns while another process holds the lock.
var ErrBusy = errors.New("the lock is held")

// Lock is a kernel lock on a file, held by this process. The kernel releases it
// when the process ends, however it ends.
type Lock struct {
	path   string
	file   *flock.Flock
	holder Holder
}

// Acquire takes the lock at path, and waits for it until ctx is done. It makes the file
// (0600) and the folder of the locks (0700) where they are missing, but not the parent of
// that folder. It is not reentrant.
//
// Errors: a *TimeoutError when the context's deadline passes first; one that matches
// context.Canceled when it is cancelled. At once: an error of another type where path is
// not a regular file or can't be opened, where the file system can't lock, and where the
// folder belongs to another user (an *atomicfile.OwnerError).
func Acquire(ctx context.Context, path string) (*Lock, error) {
	for {
		if ctx.Err() != nil {
			return nil, gaveUp(ctx, path)
		}
		file, err := prepare(path)
		if err != nil {
			return nil, err
		}
		// The call that blocks in the kernel queues most fairly, but knows no deadline:
		// when that passes, the call is left behind.
		won := make(chan error, 1)
		go func() { won <- file.Lock() }()
		select {
		case err = <-won:
		case <-ctx.Done():
			go func() {
				if <-won == nil {
					file.Unlock()
				}
			}()
			return nil, gaveUp(ctx, path)
		}
		switch {
		case err == nil:
			if lock := confirm(path, file); lock != nil {
				return lock, nil
			}
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			// Some network file systems return at once instead of blocking.
			select {
			case <-time.After(25 * time.Millisecond):
			case <-ctx.Done():
			}
		default:
			return nil, lockError(path, err)
		}
	}
}

// TryAcquire takes the lock at path if it is free, else it returns ErrBusy. Other errors
// are as from Acquire.
func TryAcquire(path string) (*Lock, error) {
	for {
		file, err := prepare(path)
		if err != nil {
			return nil, err
		}
		won, err := file.TryLock()
		if err != nil {
			return nil, lockError(path, err)
		}
		if !won {
			return nil, ErrBusy
		}
		if lock := confirm(path, file); lock != nil {
			return lock, nil
		}
	}
}

// ErrLost says that a lock's file was deleted or replaced, so another process can lock the
// new one.
var ErrLost = errors.New("the lock's file was deleted or replaced")

// Confirm returns ErrLost unless the file at the lock's path is still the locked one.
func (l *Lock) Confirm() error {
	if !same(l.path, l.file) {
		return lockError(l.path, ErrLost)
	}
	return nil
}

// Release releases the lock. A second call does nothing.
func (l *Lock) Release() { _ = l.file.Unlock() }

// prepare returns a new lock for each call: one of gofrs is reentrant, so it would not keep
// two goroutines apart.
func prepare(path string) (*flock.Flock, error) {
	if path == "" {
		return nil, errors.New("a lock needs a well-formed account id")
	}
	dir := filepath.Dir(path)
	if err := cmp.Or(atomicfile.Mine(filepath.Dir(dir)), atomicfile.Mine(dir)); err != nil {
		return nil, err
	}
	// The folder itself is not made: it may just have been moved away.
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, lockError(path, err)
	}
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
		return nil, lockError(path, cmp.Or(err, errors.New("the folder of the locks is a link, which might lead anywhere")))
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, lockError(path, err)
	case !info.Mode().IsRegular():
		return nil, lockError(path, errors.New("not a regular file"))
	}
	return flock.New(path), nil
}

// confirm returns the lock if the locked file is still the one at path. It may have been
// deleted or replaced while this process waited; the next process then locks another file.
func confirm(path string, file *flock.Flock) *Lock {
	if !same(path, file) {
		file.Unlock()
		return nil
	}
	l := &Lock{path: path, file: file, holder: Holder{PID: os.Getpid(), StartedAt: time.Now(), Command: startedAs()}}
	l.SetHolder("")
	return l
}

// same reports that the locked file is the one at path.
func same(path string, file *flock.Flock) bool {
	locked, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(locked, there)
}

func lockError(path string, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = fmt.Errorf("%s: %w", e.Op, e.Err)
	}
	return fmt.Errorf("cannot take the lock %s: %w", path, err)
}

func gaveUp(ctx context.Context, path string) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return lockError(path, ctx.Err())
	}
	holder, _ := ReadHolder(path)
	return &TimeoutError{Path: path, Holder: holder}
}

// TimeoutError says that a lock was not obtained before the deadline. It matches
// context.DeadlineExceeded.
type TimeoutError struct {
	Path   string
	Holder Holder // the zero Holder: not known
}

func (e *TimeoutError) Error() string {
	if e.Holder.PID == 0 {
		return fmt.Sprintf("the lock %s was not obtained in time", e.Path)
	}
	text := fmt.Sprintf("the lock %s is held by %s since %s", e.Path, e.Holder, humantime.At(e.Holder.StartedAt, time.Now()))
	if e.Holder.State != "" {
		text += " (" + e.Holder.State + ")"
	}
	return text
}

// Unwrap returns context.DeadlineExceeded.
func (e *TimeoutError) Unwrap() error { return context.DeadlineExceeded }
