package broker

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
)

// Options says where a Broker lives and how long its caller is ready to wait.
// Only Dir is required.
type Options struct {
	// Dir is the folder with index.json; see DefaultDir.
	Dir string
	// Keystore is the kind that a new folder uses, and that an old one must
	// have; empty: the recorded one, else the keychain.
	Keystore keystore.Kind
	// KeyFile is the file keystore's key file, as DefaultKeyFile finds it; empty:
	// the recorded one.
	KeyFile string
	// KeychainTimeout bounds one keystore call, LockTimeout the wait for a lock
	// and HTTPTimeout the wait for a provider. They bound the caller: a
	// rotation that is under way goes on without it. Zero: 5 s, 30 s, 30 s.
	KeychainTimeout, LockTimeout, HTTPTimeout time.Duration
	// Self is the path of the authferry program, which is started again to
	// rotate; empty: os.Executable.
	Self string
	// Warn is told what a person should know though the command succeeded.
	Warn func(message string)
	// Waiting is called before a call waits for a rotation, any number of times;
	// nil: not.
	Waiting func()
	// Progress is told when a call begins to do what may take long, and the
	// function that it returns is called when that is over; nil: nobody is told.
	Progress func(Step) (over func())
	// Log is for --verbose; nil: none.
	Log *slog.Logger
	// OpenKeychain is for tests that need a keychain with faults; nil: the real one.
	OpenKeychain func() keystore.Store
	// Transport is for tests that need a network with faults; nil: the real one.
	Client oauth.Client
}

// Broker hands out tokens of the accounts in one folder. It holds nothing but
// its options and is cheap to make; any number of processes may have one for
// the same folder.
type Broker struct {
	opt    Options
	index  *index.File
	store  keystore.Store // opened on first use
	config *Config        // likewise
	held   bool           // index is held on to
	kept   *kept          // a Keeper's memory; nil: none
	spare  *reserve       // of a rotator
}

// DefaultKeyFile is the key file that the environment names: AUTHFERRY_KEY_FILE,
// else the credential "authferry-key" of a systemd service, if it was given one.
// Empty: the one that the index records. Errors: Usage for a path that nobody expanded.
func DefaultKeyFile() (string, error) {
	if path := os.Getenv("AUTHFERRY_KEY_FILE"); path != "" {
		return path, asWritten("AUTHFERRY_KEY_FILE", path)
	}
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		path := filepath.Join(dir, "authferry-key")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", nil
}

// DefaultDir is AUTHFERRY_DIR, else authferry's folder in the user's
// configuration folder (on Windows the one that does not roam). Errors: Usage for a
// path that nobody expanded, or where there is no home folder.
func DefaultDir() (string, error) {
	if dir := os.Getenv("AUTHFERRY_DIR"); dir != "" {
		if err := asWritten("AUTHFERRY_DIR", dir); err != nil {
			return "", err
		}
		return filepath.Abs(dir)
	}
	if runtime.GOOS == "windows" {
		if dir := os.Getenv("LocalAppData"); dir != "" {
			return filepath.Join(dir, "authferry"), nil
		}
	}
	dir, err := os.UserConfigDir()
	if err == nil && !filepath.IsAbs(dir) { // HOME=~, say
		err = errors.New("its path is not absolute: " + quote(dir))
	}
	if err != nil {
		return "", fault.Errorf(fault.Usage, "there is no home folder to keep accounts in").WithHint("set AUTHFERRY_DIR to a folder of yours").Because(err)
	}
	return filepath.Join(dir, "authferry"), nil
}

// New makes a Broker. It touches neither disk nor keystore.
func New(opt Options) *Broker {
	for _, d := range []struct {
		p   *time.Duration
		def time.Duration
	}{{&opt.KeychainTimeout, 5 * time.Second}, {&opt.LockTimeout, 30 * time.Second}, {&opt.HTTPTimeout, 30 * time.Second}} {
		if *d.p <= 0 {
			*d.p = d.def
		}
	}
	if opt.Warn == nil {
		opt.Warn = func(string) {}
	}
	if opt.Waiting == nil {
		opt.Waiting = func() {}
	}
	if opt.Progress == nil {
		opt.Progress = func(Step) func() { return func() {} }
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	return &Broker{opt: opt, index: index.At(opt.Dir).Existing()}
}

// read returns the index as it is now; a folder without one has no account.
func (b *Broker) read() (*index.Index, error) {
	idx, err := b.load()
	return idx, indexError(err)
}

// readOrEmpty is read for commands that are fine with a new folder.
func (b *Broker) readOrEmpty() (*index.Index, error) {
	idx, err := b.load()
	if errors.Is(err, fs.ErrNotExist) {
		return &index.Index{}, nil
	}
	return idx, indexError(err)
}

// load tells a new folder from one whose index was deleted.
func (b *Broker) load() (*index.Index, error) {
	idx, err := b.readIndex()
	if !errors.Is(err, fs.ErrNotExist) {
		return idx, err
	}
	if lost, ok := errors.AsType[*index.FileError](b.index.Lost()); ok {
		if idx, err := b.index.Read(); !errors.Is(err, fs.ErrNotExist) {
			return idx, err // somebody made the first one at this moment
		}
		return nil, fault.Errorf(fault.IndexCorrupt, "index.json %s; the logins are still in the keystore", strings.TrimPrefix(lost.Reason, "it ")).WithHint(fixHint)
	}
	return nil, err
}

// readIndex reads the index, or has it from a Keeper's memory. Work under way reads.
func (b *Broker) readIndex() (*index.Index, error) {
	if b.held {
		return b.index.Read()
	}
	return b.kept.index(b.index)
}

// update changes the index that there is under its lock.
func (b *Broker) update(ctx context.Context, d index.Durability, change func(*index.Index) error) error {
	return b.updateIn(ctx, b.index, d, change)
}

// updateOrMake is update for commands that may be the first in a folder: it makes the
// folder and its index, but not those that work under way has lost.
func (b *Broker) updateOrMake(ctx context.Context, d index.Durability, change func(*index.Index) error) error {
	if b.held {
		return b.update(ctx, d, change)
	}
	return b.updateIn(ctx, index.At(b.opt.Dir), d, change)
}

func (b *Broker) updateIn(ctx context.Context, f *index.File, d index.Durability, change func(*index.Index) error) error {
	ctx, over := b.within(ctx, b.opt.LockTimeout, forLock(lock.Index.In(b.index.Dir())))
	defer over()
	err := b.ownerError(f.Update(ctx, d, change))
	if errors.Is(err, index.ErrCorrupt) {
		if _, why := b.load(); why != nil {
			err = why // one that is missing is called that
		}
	}
	return indexError(err)
}

// get, set and del are the store's calls within the keychain's time-out.
func (b *Broker) get(ctx context.Context, name string) (keystore.Secret, error) {
	if err := b.still(); err != nil {
		return keystore.Secret{}, err
	}
	ctx, over := b.within(ctx, b.opt.KeychainTimeout, b.forStore())
	defer over()
	return b.store.Get(ctx, name)
}

func (b *Broker) set(ctx context.Context, name string, value keystore.Secret) error {
	if err := cmp.Or(b.still(), b.mine()); err != nil {
		return err
	}
	ctx, over := b.within(ctx, b.opt.KeychainTimeout, b.forStore())
	defer over()
	return b.store.Set(ctx, name, value)
}

func (b *Broker) del(ctx context.Context, name string) error {
	if err := cmp.Or(b.still(), b.mine()); err != nil {
		return err
	}
	ctx, over := b.within(ctx, b.opt.KeychainTimeout, b.forStore())
	defer over()
	return b.store.Delete(ctx, name)
}

// unwritten reports that an item is not there, or not whole, which is the same:
// whoever was writing it did not finish.
func unwritten(err error) bool {
	return errors.Is(err, keystore.ErrNotFound) || errors.Is(err, keystore.ErrDamaged)
}

// vaultDir is where the file keystore keeps its items.
func (b *Broker) vaultDir() string { return filepath.Join(b.opt.Dir, "vault") }

// strange reports that path, which index.json names, is on a network share that this
// folder is not on.
func (b *Broker) strange(path string) bool { return onShare(path) && !onShare(b.opt.Dir) }

// keyFile is the path of the file keystore's key file, or empty.
func (b *Broker) keyFile(idx *index.Index) string {
	if b.opt.KeyFile == "" && b.strange(idx.KeyFile) {
		return ""
	}
	if b.opt.KeyFile == "" {
		return idx.KeyFile
	}
	if abs, err := filepath.Abs(b.opt.KeyFile); err == nil {
		return abs
	}
	return b.opt.KeyFile
}

// kind is the keystore that the folder has, or will have.
func (b *Broker) kind(idx *index.Index) (keystore.Kind, error) {
	recorded, asked := keystore.Kind(idx.Keystore), b.opt.Keystore
	switch asked {
	case "", keystore.Keychain, keystore.File:
	default:
		return "", fault.Errorf(fault.Usage, "AUTHFERRY_KEYSTORE is %q, not keychain or file", string(asked))
	}
	switch {
	case recorded == "" && asked == "":
		return keystore.Keychain, nil
	case recorded == "":
		return asked, nil
	case asked != "" && asked != recorded:
		return "", fault.Errorf(fault.KeystoreMismatch, "the accounts of this folder live in the %s keystore, and AUTHFERRY_KEYSTORE says %s", recorded, asked).
			WithHint("authferry keystore migrate %s, or unset AUTHFERRY_KEYSTORE", asked)
	}
	return recorded, nil
}

// open makes b.store the keystore that idx records. The keychain is not
// touched by it.
func (b *Broker) open(idx *index.Index) error {
	kind, err := b.kind(idx)
	if err != nil {
		return err
	}
	if b.store != nil && b.store.Kind() == kind {
		return nil
	}
	if kind == keystore.File && b.opt.KeyFile == "" && b.strange(idx.KeyFile) {
		return fault.Errorf(fault.KeystoreUnavailable, "index.json says that the key file is on the network share %s; nobody looked there", quote(idx.KeyFile)).
			WithHint("if that is yours: export AUTHFERRY_KEY_FILE=PATH")
	}
	b.store, err = b.openKind(kind, b.keyFile(idx))
	return err
}

func (b *Broker) openKind(kind keystore.Kind, keyFile string) (keystore.Store, error) {
	if kind == keystore.Keychain {
		if b.opt.OpenKeychain != nil {
			return b.opt.OpenKeychain(), nil
		}
		return keystore.OpenKeychain(), nil
	}
	if keyFile == "" {
		return nil, fault.Errorf(fault.KeystoreUnavailable, "the file keystore has no key file yet").
			WithHint("authferry keystore init --key-file PATH, or set AUTHFERRY_KEY_FILE")
	}
	s, err := keystore.OpenFile(b.vaultDir(), keyFile)
	if errors.Is(err, keystore.ErrLocked) {
		dropOver()
		return nil, sealedError(keyFile, err)
	}
	if err != nil {
		return nil, keyFileError(keyFile, err)
	}
	return s, nil
}

func keyFileError(keyFile string, err error) *fault.Error {
	return fault.Errorf(fault.KeystoreUnavailable, "the file keystore's key file can't be used").
		WithHint("mount or restore %s, or point AUTHFERRY_KEY_FILE at it", keyFile).Because(err)
}
