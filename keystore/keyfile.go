package keystore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/rawtext"
)

var errNoKey = errors.New("it contains no age key, as age-keygen makes them")

// InitKeyFile makes a new age key in a file of mode 0600; if its folder doesn't exist, it
// is made with mode 0700. A file that exists is left as it is, and the error is
// fs.ErrExist.
func InitKeyFile(path string) error {
	return named("make", path, initKeyFile(path))
}

func initKeyFile(path string) error {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	return writeNew(path, keyFileText(identity))
}

func keyFileText(identity *age.X25519Identity) []byte {
	return fmt.Appendf(nil, "# created: %s\n%s\n", time.Now().Format(time.RFC3339), identity)
}

// writeNew makes a new file of mode 0600, durably.
func writeNew(path string, content []byte) error {
	dir := filepath.Dir(path)
	if err := makeFolder(dir); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = atomicfile.SyncFolder(dir)
	}
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// maxKeyFile is above the size of any file of identities, sealed or not.
const maxKeyFile = 64 << 10

func loadKeyFile(path string) ([]byte, error) {
	data, err := atomicfile.Read(path, maxKeyFile) // follows links: mounted secrets are links
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Cause: ErrUnavailable, Err: fmt.Errorf("the key file is missing: %w", err)}
	}
	if err != nil || bytes.HasPrefix(data, []byte(sealedBinary)) {
		return data, err
	}
	if text, err := rawtext.UTF8(data); err == nil {
		data = text // Windows' editors and shells put a mark before it, or write UTF-16
	}
	return data, nil
}

// readKeyFile returns the first identity of an age key file and its recipient. For a file
// that is sealed with a passphrase it is the one that Unlock left.
func readKeyFile(path string) (age.Identity, age.Recipient, error) {
	data, err := loadKeyFile(path)
	if err != nil {
		return nil, nil, err
	}
	if isSealed(data) {
		if data, err = unlocked(data); err != nil {
			return nil, nil, err
		}
	}
	return parseKey(data)
}

func parseKey(data []byte) (age.Identity, age.Recipient, error) {
	identities, err := age.ParseIdentities(bytes.NewReader(data))
	if err != nil {
		return nil, nil, errNoKey // age's text may quote the line, which may be a key
	}
	switch id := identities[0].(type) {
	case *age.X25519Identity:
		return id, id.Recipient(), nil
	case *age.HybridIdentity:
		return id, id.Recipient(), nil
	}
	return nil, nil, errNoKey
}
