package keystore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unicode/utf8"

	"filippo.io/age"

	"github.com/authferry/authferry/atomicfile"
)

// OpenFile returns the store of sealed age files in the folder dir. The first Set makes dir
// (0700), but not its parent. An item is a file named by the hex SHA-256 of the item's
// name: JSON with name and value, sealed to the first identity of keyFile, so that `age -d
// -i keyFile FILE` shows it.
//
// Age authenticates the contents of a file, not its writer. Therefore the recipient is
// derived from the identity and stored nowhere.
//
// Errors of the methods: ErrUnavailable if the key file is missing; ErrDenied if it can't
// be read or has no age key; ErrLocked if it is sealed with a passphrase and not unlocked
// (Unlock). In Get also ErrDenied, for a file that is sealed to another key.
func OpenFile(dir, keyFile string) (Store, error) {
	identity, recipient, err := readKeyFile(keyFile)
	if err != nil {
		return nil, named("open", keyFile, err)
	}
	// A folder from elsewhere must not lead to another place.
	if info, err := os.Lstat(dir); err == nil && !info.IsDir() {
		return nil, named("open", dir, &Error{Cause: ErrDenied, Err: errNoFolder})
	}
	return &vault{dir: dir, identity: identity, recipient: recipient, lane: newLane()}, nil
}

// FileAt returns the file store s for the same items in another folder, to which they were
// moved. Other kinds of store are returned as they are.
func FileAt(s Store, dir string) Store {
	v, ok := s.(*vault)
	if !ok {
		return s
	}
	moved := *v
	moved.dir = dir
	return &moved
}

// FileItems returns the names of the items in a folder of sealed files, sorted, without
// those that are incomplete or that keyFile doesn't open. A folder that doesn't exist has
// none.
func FileItems(dir, keyFile string) ([]string, error) {
	identity, _, err := readKeyFile(keyFile)
	if err != nil {
		return nil, named("open", keyFile, err)
	}
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, named("list", dir, err)
	}
	var names []string
	for _, f := range files {
		if filepath.Ext(f.Name()) != ".age" {
			continue
		}
		sealed, err := load(filepath.Join(dir, f.Name()))
		if err != nil {
			continue
		}
		if e, err := open(sealed, identity); err == nil {
			names = append(names, e.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// HasItem reports whether a folder of sealed files has an item of that name, whatever key
// it is sealed to.
func HasItem(dir, name string) bool {
	_, err := os.Lstat((&vault{dir: dir}).path(name))
	return err == nil
}

type vault struct {
	dir       string
	identity  age.Identity
	recipient age.Recipient
	lane      lane
}

// entry is the plaintext of a file.
type entry struct {
	Name   string  `json:"name"`
	Value  *string `json:"value,omitempty"`
	Base64 []byte  `json:"value_base64,omitempty"` // used if the value isn't UTF-8
}

// maxFile is above the size that MaxSize bytes can have in JSON (six times) and age.
const maxFile = 8 * MaxSize

var (
	errOtherName = errors.New("the file was sealed under another name")
	errNoFolder  = errors.New("the vault is a link, or not a folder; put the folder itself in its place")
	errOtherKey  = errors.New("the file is sealed to another key")
)

func (*vault) Kind() Kind { return File }

func (v *vault) Backend() string { return "age files in " + v.dir }

func (v *vault) Get(ctx context.Context, name string) (Secret, error) {
	return do(ctx, v.lane, "read", name, func() (Secret, error) {
		if err := checkName(name); err != nil {
			return Secret{}, err
		}
		value, err := v.read(name)
		return NewSecret(value), err
	})
}

func (v *vault) Set(ctx context.Context, name string, value Secret) error {
	_, err := do(ctx, v.lane, "write", name, func() (struct{}, error) {
		if err := checkName(name); err != nil {
			return struct{}{}, err
		}
		if len(value.Reveal()) > MaxSize {
			return struct{}{}, &Error{Cause: ErrTooBig}
		}
		return struct{}{}, v.write(ctx, name, value.Reveal())
	})
	return err
}

func (v *vault) Delete(ctx context.Context, name string) error {
	_, err := do(ctx, v.lane, "delete", name, func() (struct{}, error) {
		if err := checkName(name); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, remove(v.path(name))
	})
	return err
}

func (v *vault) path(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(v.dir, hex.EncodeToString(sum[:])+".age")
}

func (v *vault) read(name string) (string, error) {
	sealed, err := load(v.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", &Error{Cause: ErrNotFound}
	}
	if err != nil {
		return "", err
	}
	return unseal(sealed, name, v.identity)
}

func (v *vault) write(ctx context.Context, name, value string) error {
	sealed, err := seal(name, value, v.recipient)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := replace(v.path(name), sealed); err != nil {
		return err
	}
	got, err := v.read(name)
	if errors.Is(err, ErrNotFound) {
		return &Error{Cause: ErrDenied, Err: errMissing}
	}
	if err != nil {
		return err
	}
	if got != value {
		return &Error{Cause: ErrDenied, Err: errDiffers}
	}
	return nil
}

func seal(name, value string, to age.Recipient) ([]byte, error) {
	e := entry{Name: name, Value: &value}
	if !utf8.ValidString(value) {
		e.Value, e.Base64 = nil, []byte(value)
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, to)
	if err != nil {
		return nil, err
	}
	plain := json.NewEncoder(w)
	plain.SetEscapeHTML(false)
	if err := plain.Encode(e); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return sealed.Bytes(), nil
}

// unseal returns the value in a file that should have the item name.
func unseal(sealed []byte, name string, with age.Identity) (string, error) {
	e, err := open(sealed, with)
	switch {
	case err != nil:
		return "", err
	case e.Name != name:
		return "", &Error{Cause: ErrDamaged, Err: errOtherName}
	case e.Value != nil:
		return *e.Value, nil
	case e.Base64 != nil:
		return string(e.Base64), nil
	}
	return "", &Error{Cause: ErrDamaged}
}

// open returns the contents of a file.
func open(sealed []byte, with age.Identity) (entry, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), with)
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return entry{}, &Error{Cause: ErrDenied, Err: errOtherKey}
	}
	if err != nil {
		return entry{}, &Error{Cause: ErrDamaged, Err: err}
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return entry{}, &Error{Cause: ErrDamaged, Err: err}
	}
	var e entry
	if json.Unmarshal(plain, &e) != nil { // its error would quote the plaintext
		return entry{}, &Error{Cause: ErrDamaged}
	}
	return e, nil
}

func load(path string) (data []byte, err error) {
	err = atomicfile.Patiently(func() error {
		data, err = atomicfile.Read(path, maxFile)
		return err
	}, atomicfile.InUse)
	if errors.Is(err, atomicfile.ErrUnfit) {
		err = &Error{Cause: ErrDamaged, Err: err}
	}
	return data, err
}

// replace replaces the file at path by data, durably, for this user only.
func replace(path string, data []byte) error {
	dir := filepath.Dir(path)
	// Its parent is not made: it may just have been moved away.
	if err := os.Mkdir(dir, 0o700); err == nil {
		if err := atomicfile.SyncFolder(filepath.Dir(dir)); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := atomicfile.Write(path, data, 0o600, nil); err != nil {
		return err
	}
	atomicfile.Sweep(dir, time.Hour)
	return atomicfile.SyncFolder(dir)
}

// remove deletes the file at path durably. A missing one is no error.
func remove(path string) error {
	err := atomicfile.Patiently(func() error { return os.Remove(path) }, atomicfile.InUse)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return atomicfile.SyncFolder(filepath.Dir(path))
}

// makeFolder makes dir and its parents, for this user only.
func makeFolder(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return atomicfile.SyncFolder(filepath.Dir(dir))
}
