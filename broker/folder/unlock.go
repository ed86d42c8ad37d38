package folder

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/keystore"
)

// Unlocked is a key file that is sealed with a passphrase and unlocked now.
type Unlocked struct {
	Until time.Time
	// OnDisk: the session's folder may not be in memory only.
	OnDisk bool
}

// SealedError is the error for a key file that is locked.
func SealedError(keyFile string, err error) *fault.Error {
	if errors.Is(err, keystore.ErrNoSession) {
		return noSession(err)
	}
	return fault.Errorf(fault.KeystoreLocked, "the key file %s is sealed with a passphrase and not unlocked; nothing was changed", keyFile).Try(fault.Remedy{Do: fault.UnlockKeyFile}).Because(err)
}

func noSession(err error) *fault.Error {
	return fault.Errorf(fault.KeystoreLocked, "the key file is sealed with a passphrase, and this session has no folder for the unlocked key").
		Try(fault.Remedy{Do: fault.SessionFolder}, fault.Remedy{Do: fault.InitKeystore}).Because(err)
}

// InitSealedKeystore is InitFileKeystore with a key file that is sealed with a passphrase,
// and unlocked for the given time. An empty path is key.age in the folder. ask is called
// once everything else is in place; fresh says that the passphrase is new, so a person
// should enter it twice.
func InitSealedKeystore(ctx context.Context, f *Folder, path string, span time.Duration, ask func(fresh bool) (keystore.Secret, error)) (Unlocked, error) {
	if err := asWritten("--key-file", path); err != nil {
		return Unlocked{}, err
	}
	if path == "" {
		path = filepath.Join(f.Dir, "key.age")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return Unlocked{}, fault.Errorf(fault.Usage, "invalid path of the key file").Because(err)
	}
	if _, err := keystore.MakeSessionFolder(); err != nil {
		return Unlocked{}, noSession(err)
	}
	sealed, err := keystore.KeyFileSealed(path)
	fresh := errors.Is(err, keystore.ErrUnavailable)
	switch {
	case err != nil && !fresh:
		return Unlocked{}, fault.Errorf(fault.KeystoreDenied, "the key file can't be read").Because(err)
	case !fresh && !sealed:
		return Unlocked{}, fault.Errorf(fault.Usage, "%s is a key file without a passphrase; nothing was changed", path).
			Try(fault.Remedy{Do: fault.SealKeyFile, Path: path})
	}
	passphrase, err := ask(fresh)
	if err != nil {
		return Unlocked{}, err
	}
	l, err := lockSession(ctx, f)
	if err != nil {
		return Unlocked{}, err
	}
	defer l.Release()
	var u Unlocked
	if _, err := os.Lstat(path); err == nil { // it was there, or another process made it meanwhile
		if u, err = unlock(path, passphrase, span); err != nil {
			return Unlocked{}, err
		}
	}
	_, err = initFile(ctx, f, path, func(path string) error {
		if err := keystore.InitSealedKeyFile(path, passphrase); err != nil {
			return err
		}
		if u, err = unlock(path, passphrase, span); err != nil {
			return fault.Errorf(fault.KeystoreDenied, "the key file %s was made, but not unlocked", path).
				Try(fault.Remedy{Do: fault.SealKeystore, Path: path}).Because(errors.Unwrap(err))
		}
		return nil
	})
	return u, err
}

// UnlockKeystore unlocks the folder's sealed key file for the given time. ask is called for
// the passphrase once it is clear that it is needed.
func UnlockKeystore(ctx context.Context, f *Folder, span time.Duration, ask func() (keystore.Secret, error)) (Unlocked, error) {
	path, err := sealedKeyFile(f)
	if err != nil {
		return Unlocked{}, err
	}
	if _, err := keystore.MakeSessionFolder(); err != nil {
		return Unlocked{}, noSession(err)
	}
	passphrase, err := ask()
	if err != nil {
		return Unlocked{}, err
	}
	l, err := lockSession(ctx, f)
	if err != nil {
		return Unlocked{}, err
	}
	defer l.Release()
	return unlock(path, passphrase, span)
}

// lockSession keeps other processes out of the session's folder. Opening or sealing a key
// file takes a second and 256 MB, so it is done one at a time. A process that waited has to
// do it too: another's correct passphrase says nothing about its own.
func lockSession(ctx context.Context, f *Folder) (*lock.Lock, error) {
	dir, err := keystore.MakeSessionFolder()
	if err != nil {
		return nil, noSession(err)
	}
	return f.acquire(ctx, unlockPath(dir))
}

func unlockPath(sessionFolder string) string {
	return filepath.Join(sessionFolder, string(lock.Unlock))
}

// dropOver removes unlocked keys whose time is over, unless another process is unlocking
// now.
func dropOver() {
	keystore.DropOver(func(dir string) (func(), error) {
		l, err := lock.TryAcquire(unlockPath(dir))
		if err != nil {
			return nil, err
		}
		return l.Release, nil
	})
}

// unlock must be called with lockSession held.
func unlock(path string, passphrase keystore.Secret, span time.Duration) (Unlocked, error) {
	until, inMemory, err := keystore.Unlock(path, passphrase, span)
	if err != nil {
		return Unlocked{}, fault.Errorf(fault.KeystoreDenied, "the key file was not unlocked; nothing was changed").Try(fault.Remedy{Do: fault.UnlockKeyFile}).Because(err)
	}
	return Unlocked{Until: until, OnDisk: !inMemory}, nil
}

// LockKeystore removes every key that was unlocked in this session, those of other folders
// too. It needs no key file. If nothing was unlocked, that is an error only if the folder's
// key file exists and has no passphrase.
func LockKeystore(f *Folder) error {
	removed, err := keystore.Lock()
	if removed == 0 && (err == nil || errors.Is(err, keystore.ErrNoSession)) {
		_, none := sealedKeyFile(f)
		if own, ok := errors.AsType[*fault.Error](none); ok && own.Code == fault.Usage {
			return none
		}
	}
	switch {
	case errors.Is(err, keystore.ErrNoSession):
		return fault.Errorf(fault.KeystoreUnavailable, "nothing was locked").
			Try(fault.Remedy{Do: fault.SessionFolder}).Because(err)
	case err != nil:
		return fault.Errorf(fault.KeystoreDenied, "not every key could be removed from the session's folder").Because(err)
	}
	return nil
}

// sealedKeyFile is the key file of the folder, which must be a sealed one.
func sealedKeyFile(f *Folder) (string, error) {
	idx, err := f.ReadOrEmpty()
	if err != nil {
		return "", err
	}
	kind, err := f.Kind(idx)
	if err != nil {
		return "", err
	}
	path := f.KeyFileOf(idx)
	if path == "" {
		return "", fault.Errorf(fault.Usage, "the %s keystore is not opened by a passphrase", kind).Try(fault.Remedy{Do: fault.SealKeystore})
	}
	sealed, err := keystore.KeyFileSealed(path)
	if err != nil {
		return "", KeyFileError(path, err)
	}
	if !sealed {
		return "", fault.Errorf(fault.Usage, "the key file %s is not sealed with a passphrase: there is nothing to lock or unlock", path).Try(fault.Remedy{Do: fault.ShowKeystore})
	}
	return path, nil
}
