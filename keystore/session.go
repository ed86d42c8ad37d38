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
)

// ErrNoSession says that there is no folder for what lives as long as the
// user's session: XDG_RUNTIME_DIR is not set, or names none.
var ErrNoSession = errors.New("XDG_RUNTIME_DIR names no folder")

// SessionFolder is where Unlock leaves keys: $XDG_RUNTIME_DIR/authferry, which
// need not be there yet. The error is ErrNoSession.
func SessionFolder() (string, error) {
	dir, err := sessionFolder()
	return dir, named("open", "the session's folder", err)
}

func sessionFolder() (string, error) {
	base := os.Getenv("XDG_RUNTIME_DIR")
	if !filepath.IsAbs(base) {
		return "", &Error{Cause: ErrNoSession}
	}
	if info, err := os.Stat(base); err != nil || !info.IsDir() {
		return "", &Error{Cause: ErrNoSession}
	}
	return filepath.Join(base, Service), nil
}

func makeSessionFolder(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	return checkPrivate(dir, info)
}

// checkPrivate refuses what another user could have put there, or could read: in
// a folder that is shared, say.
func checkPrivate(path string, info fs.FileInfo) error {
	if runtime.GOOS != "windows" && (info.Mode().Perm()&0o077 != 0 || !ownedByMe(info)) || info.Mode()&fs.ModeSymlink != 0 {
		return fmt.Errorf("%s is not this user's alone", path)
	}
	return nil
}

// unlockedPath is by what is in the sealed file, so that the key of one never
// passes for that of another.
func unlockedPath(dir string, sealed []byte) string {
	sum := sha256.Sum256(sealed)
	return filepath.Join(dir, hex.EncodeToString(sum[:16])+".key")
}

// leftIn returns the files in dir whose names end in one of these.
func leftIn(dir string, ends ...string) ([]string, error) {
	entries, err := os.ReadDir(dir) // and not Glob, which takes a folder that it can't read for an empty one
	var left []string
	for _, e := range entries {
		if slices.Contains(ends, filepath.Ext(e.Name())) {
			left = append(left, filepath.Join(dir, e.Name()))
		}
	}
	return left, err
}

// dropOver removes the keys whose time is over, but for the one at own: nobody
// asks again for that of a key file which has since been sealed anew.
func dropOver(dir, own string) {
	left, _ := leftIn(dir, ".key")
	for _, path := range left {
		if path == own {
			continue
		}
		key, err := loadKeyFile(path)
		if err != nil {
			continue
		}
		if until, err := untilOf(key); err == nil && !time.Now().Before(until) {
			_ = remove(path) // the next call tries again
		}
	}
}

// unlocked returns the key that Unlock left for a sealed key file.
func unlocked(sealed []byte) ([]byte, error) {
	dir, err := sessionFolder()
	if err != nil {
		return nil, &Error{Cause: ErrLocked, Err: err}
	}
	folder, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Cause: ErrLocked}
	}
	if err == nil {
		err = checkPrivate(dir, folder)
	}
	if err != nil {
		return nil, err
	}
	path := unlockedPath(dir, sealed)
	dropOver(dir, path)
	if info, err := os.Lstat(path); err == nil {
		if err := checkPrivate(path, info); err != nil {
			return nil, err
		}
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Cause: ErrLocked}
	}
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
	if !time.Now().Before(until) {
		return nil, errors.Join(&Error{Cause: ErrLocked, Err: fmt.Errorf("its time was over at %s", until.Local().Format(time.DateTime))}, remove(path))
	}
	return key, nil
}
