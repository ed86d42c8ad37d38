package keystore

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/authferry/authferry/humantime"
)

// ErrNoSession says that the session has no folder for what lives as long as the session:
// XDG_RUNTIME_DIR is not set, or doesn't name a folder of this user's.
var ErrNoSession = errors.New("XDG_RUNTIME_DIR is not set, or is not a folder of yours")

// MakeSessionFolder makes the folder in which Unlock stores keys,
// $XDG_RUNTIME_DIR/authferry, and makes sure that only this user can access it. Error:
// ErrNoSession.
func MakeSessionFolder() (string, error) {
	dir, err := makeSessionFolder()
	return dir, named("make", "the session's folder", err)
}

func makeSessionFolder() (string, error) {
	dir, err := sessionFolder()
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", noSession(err)
	}
	return dir, checkSessionFolder(dir)
}

// sessionFolder is its path. It need not exist.
func sessionFolder() (string, error) {
	base := os.Getenv("XDG_RUNTIME_DIR")
	if !filepath.IsAbs(base) {
		return "", ErrNoSession
	}
	info, err := os.Stat(base)
	switch {
	case err != nil || !info.IsDir():
		return "", ErrNoSession
	case ownedByAnother(info): // with su, root could make it here, and it would then block the user
		return "", noSession(fmt.Errorf("%s belongs to another user", base))
	}
	return filepath.Join(base, Service), nil
}

// checkSessionFolder returns ErrNoSession, or fs.ErrNotExist if it doesn't exist.
func checkSessionFolder(dir string) error {
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a folder", dir)
	}
	if err == nil {
		err = checkPrivate(dir, info)
	}
	if err != nil {
		return noSession(err)
	}
	return nil
}

func noSession(err error) error { return fmt.Errorf("%w: %w", ErrNoSession, err) }

// checkPrivate refuses a file that another user may have put there or can read, as in a
// shared folder.
func checkPrivate(path string, info fs.FileInfo) error {
	if runtime.GOOS != "windows" && (info.Mode().Perm()&0o077 != 0 || !ownedByMe(info)) || info.Mode()&fs.ModeSymlink != 0 {
		return fmt.Errorf("others have access to %s", path)
	}
	return nil
}

// unlockedPath depends on the contents of the sealed file, so that the key of one file
// never passes for that of another.
func unlockedPath(dir string, sealed []byte) string {
	sum := sha256.Sum256(sealed)
	return filepath.Join(dir, hex.EncodeToString(sum[:16])+".key")
}

// leftIn returns the files in dir whose names end in one of the suffixes.
func leftIn(dir string, ends ...string) ([]string, error) {
	entries, err := os.ReadDir(dir) // not Glob, which takes an unreadable folder for an empty one
	var left []string
	for _, e := range entries {
		if slices.Contains(ends, filepath.Ext(e.Name())) {
			left = append(left, filepath.Join(dir, e.Name()))
		}
	}
	return left, err
}

// DropOver removes the keys whose time is over, including those of key files that were
// sealed again since. It locks the folder, so that no Unlock runs until the release: a key
// that is being renewed must stay. If it can't be locked, the next call tries again.
func DropOver(hold func(dir string) (release func(), err error)) {
	dir, err := sessionFolder()
	if err != nil || checkSessionFolder(dir) != nil || len(over(dir)) == 0 {
		return
	}
	if release, err := hold(dir); err == nil {
		defer release()
		dropOver(dir)
	}
}

func dropOver(dir string) {
	for _, path := range over(dir) {
		_ = remove(path)
	}
}

// over returns the keys in dir whose time is over.
func over(dir string) (paths []string) {
	left, _ := leftIn(dir, ".key")
	for _, path := range left {
		key, err := loadKeyFile(path)
		if err != nil {
			continue
		}
		if until, err := untilOf(key); err == nil && !time.Now().Before(until) {
			paths = append(paths, path)
		}
	}
	return paths
}

// unlocked returns the key that Unlock left for a sealed key file. If anything is wrong
// with it, Unlock can replace it: the error is ErrLocked.
func unlocked(sealed []byte) ([]byte, error) {
	key, err := readUnlocked(sealed)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &Error{Cause: ErrLocked}
	case err != nil:
		return nil, &Error{Cause: ErrLocked, Err: err}
	}
	return key, nil
}

func readUnlocked(sealed []byte) ([]byte, error) {
	dir, err := sessionFolder()
	if err != nil {
		return nil, err
	}
	if err := checkSessionFolder(dir); err != nil {
		return nil, err
	}
	path := unlockedPath(dir, sealed)
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if err := checkPrivate(path, info); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	key, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, err
	}
	until, err := untilOf(key)
	if err != nil {
		return nil, err
	}
	if !time.Now().Before(until) { // not removed: an unlock may be replacing it
		return nil, fmt.Errorf("it expired at %s", humantime.At(until, time.Now()))
	}
	return key, nil
}
