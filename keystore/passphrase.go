package keystore

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
)

var (
	errPassphrase = errors.New("the passphrase does not open the key file")
	errNotSealed  = errors.New("the key file is not sealed with a passphrase")
	errNoPhrase   = errors.New("the passphrase is empty")
	// age's errors about a damaged file may quote its lines.
	errDamagedKey = errors.New("the sealed key file is damaged, or takes more memory to open than 1 GB")
)

// workFactor is the logarithm of scrypt's cost, age's own default: about a second and 256
// MB for each guess. It is a variable for the tests.
var workFactor = 18

// maxWorkFactor is the most that Unlock spends on a file that was made elsewhere: four
// times as much. age itself would go up to 4 GB.
const maxWorkFactor = 20

const sealedBinary = "age-encryption.org/"

// InitSealedKeyFile makes a new age key in a file as InitKeyFile does, sealed with a
// passphrase in the same way as by `age -p`, so that `age -d` opens it. A file that exists
// is left as it is, and the error is fs.ErrExist.
func InitSealedKeyFile(path string, passphrase Secret) error {
	return named("make", path, initSealedKeyFile(path, passphrase))
}

func initSealedKeyFile(path string, passphrase Secret) error {
	if _, err := os.Lstat(path); err == nil {
		return &fs.PathError{Op: "make", Path: path, Err: fs.ErrExist}
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	sealed, err := sealKey(keyFileText(identity), passphrase)
	if err != nil {
		return err
	}
	return writeNew(path, sealed)
}

func sealKey(key []byte, passphrase Secret) ([]byte, error) {
	if passphrase.Empty() {
		return nil, errNoPhrase
	}
	to, err := age.NewScryptRecipient(passphrase.Reveal())
	if err != nil {
		return nil, err
	}
	to.SetWorkFactor(workFactor)
	var sealed bytes.Buffer
	text := armor.NewWriter(&sealed)
	w, err := age.Encrypt(text, to)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(key)
	err = errors.Join(err, w.Close(), text.Close())
	return sealed.Bytes(), err
}

// openKey decrypts a sealed key file.
func openKey(sealed []byte, passphrase Secret) ([]byte, error) {
	if passphrase.Empty() {
		return nil, errNoPhrase
	}
	with, err := age.NewScryptIdentity(passphrase.Reveal())
	if err != nil {
		return nil, err
	}
	with.SetMaxWorkFactor(maxWorkFactor)
	var src io.Reader = bytes.NewReader(sealed)
	if !bytes.HasPrefix(sealed, []byte(sealedBinary)) {
		src = armor.NewReader(src)
	}
	r, err := age.Decrypt(src, with)
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return nil, errPassphrase
	}
	if err != nil {
		return nil, errDamagedKey
	}
	key, err := io.ReadAll(io.LimitReader(r, maxKeyFile))
	if err != nil {
		return nil, errDamagedKey
	}
	if _, _, err := parseKey(key); err != nil {
		return nil, err
	}
	return key, nil
}

// isSealed reports whether a file is encrypted; otherwise it has identities.
func isSealed(keyFile []byte) bool {
	return bytes.HasPrefix(keyFile, []byte(sealedBinary)) || bytes.HasPrefix(bytes.TrimSpace(keyFile), []byte(armor.Header))
}

// KeyFileSealed reports whether the key file at path is sealed with a passphrase.
func KeyFileSealed(path string) (bool, error) {
	data, err := loadKeyFile(path)
	return isSealed(data), named("open", path, err)
}

// KeyFileSum identifies a key file, sealed or not: the hex SHA-256 of its contents.
func KeyFileSum(path string) (string, error) {
	data, err := loadKeyFile(path)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), named("open", path, err)
}

// Unlock opens the sealed key file at path with its passphrase. It stores the key in the
// session's folder (MakeSessionFolder), for this user only, where OpenFile finds it for the
// given time from now. inMemory reports whether that folder is known to be in memory only.
//
// It takes about a second and 256 MB, so the caller must not run many at once, and none
// while DropOver locks the folder. Errors: ErrDenied for a wrong passphrase, with nothing
// changed; ErrNoSession if there is no such folder.
func Unlock(path string, passphrase Secret, span time.Duration) (until time.Time, inMemory bool, err error) {
	until, inMemory, err = unlock(path, passphrase, span)
	return until, inMemory, named("open", path, err)
}

func unlock(path string, passphrase Secret, span time.Duration) (until time.Time, inMemory bool, err error) {
	if _, err := sessionFolder(); err != nil {
		return until, false, err
	}
	sealed, err := loadKeyFile(path)
	if err != nil {
		return until, false, err
	}
	if !isSealed(sealed) {
		return until, false, errNotSealed
	}
	key, err := openKey(sealed, passphrase)
	if err != nil {
		return until, false, err
	}
	dir, err := makeSessionFolder()
	if err != nil {
		return until, false, err
	}
	dropOver(dir)
	until = time.Now().Add(span).UTC().Truncate(time.Second)
	content := append([]byte(untilPrefix+until.Format(time.RFC3339)+"\n"), key...)
	return until, memoryFolder(dir), replace(unlockedPath(dir, sealed), content)
}

// Lock removes every key that Unlock has left in the session's folder, for any key file:
// one that was sealed again since, or is gone, has left a key too. removed is their number;
// none is no error. If there is no such folder, the error is ErrNoSession.
func Lock() (removed int, err error) {
	removed, err = lock()
	return removed, named("lock", "the session's folder", err)
}

func lock() (removed int, err error) {
	dir, err := sessionFolder()
	if err != nil {
		return 0, err
	}
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, noSession(err)
	}
	if !info.IsDir() || !ownedByMe(info) { // it may lead to files that are not ours
		return 0, noSession(fmt.Errorf("%s is not this user's folder", dir))
	}
	left, err := leftIn(dir, ".key", ".tmp") // a killed writer leaves a key too
	for _, path := range left {
		gone := remove(path)
		if gone == nil {
			removed++
		}
		err = errors.Join(err, gone)
	}
	return removed, err
}

// UnlockedUntil returns until when the sealed key file at path is unlocked. If it isn't,
// the error is ErrLocked.
func UnlockedUntil(path string) (time.Time, error) {
	sealed, err := loadKeyFile(path)
	if err == nil && !isSealed(sealed) {
		err = errNotSealed
	}
	var key []byte
	if err == nil {
		key, err = unlocked(sealed)
	}
	if err != nil {
		return time.Time{}, named("open", path, err)
	}
	until, err := untilOf(key)
	return until, named("open", path, err)
}

// untilPrefix begins the first line of an unlocked key; it is a comment for age.
const untilPrefix = "# unlocked until "

func untilOf(key []byte) (time.Time, error) {
	line, err := bufio.NewReader(bytes.NewReader(key)).ReadString('\n')
	text, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), untilPrefix)
	if err != nil || !ok {
		return time.Time{}, errNoKey
	}
	until, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, errNoKey // the error of package time quotes the line
	}
	return until, nil
}
