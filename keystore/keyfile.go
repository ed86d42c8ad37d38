package keystore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"
)

var errNoKey = errors.New("it holds no age key such as age-keygen makes")

// InitKeyFile makes a new age key in a file of mode 0600, in a folder of mode
// 0700 where that has to be made too. A file that exists is left as it is, with
// an error that is fs.ErrExist.
func InitKeyFile(path string) error {
	return named("make", path, initKeyFile(path))
}

func initKeyFile(path string) error {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := makeFolder(dir); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "# created: %s\n%s\n", time.Now().Format(time.RFC3339), identity)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = syncFolder(dir)
	}
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// readKeyFile returns the first identity of an age key file and its recipient.
func readKeyFile(path string) (age.Identity, age.Recipient, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, &Error{Cause: ErrUnavailable, Err: fmt.Errorf("the key file is missing: %w", err)}
	}
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	identities, err := age.ParseIdentities(io.LimitReader(f, 1<<16))
	if err != nil {
		return nil, nil, errNoKey // age's own text may quote the line, which may be a key
	}
	switch id := identities[0].(type) {
	case *age.X25519Identity:
		return id, id.Recipient(), nil
	case *age.HybridIdentity:
		return id, id.Recipient(), nil
	}
	return nil, nil, errNoKey
}
