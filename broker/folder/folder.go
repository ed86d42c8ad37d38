package folder

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
)

// Options says where a folder is and how long its caller is ready to wait. Only Dir is
// required.
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
	// LoginPatience is how long a login that was just made is kept in memory while
	// keystore or index refuse it; a person waits. Zero: a minute.
	LoginPatience time.Duration
	// Self is the path of the authferry program, which is started again to
	// rotate; empty: os.Executable.
	Self string
	// Warn is told what a person should know though the command succeeded.
	Warn func(message string, next ...fault.Remedy)
	// Hint is how a person types what an error says to do next, for the page that a
	// login shows in the browser; nil: nothing is shown.
	Hint func(*fault.Error) string
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
	// Faults is for tests that put some into the keystore; nil: none.
	Faults func(keystore.Store) keystore.Store
	// Client is for tests that need a network with faults; the zero one: the real one.
	Client oauth.Client
	// Memory spares reading in a program that stays; nil: nothing is kept.
	Memory *Memory
}

// complete puts what is meant in the place of what is left out.
func (opt *Options) complete() {
	for _, d := range []struct {
		p   *time.Duration
		def time.Duration
	}{{&opt.KeychainTimeout, 5 * time.Second}, {&opt.LockTimeout, 30 * time.Second}, {&opt.HTTPTimeout, 30 * time.Second}, {&opt.LoginPatience, time.Minute}} {
		if *d.p <= 0 {
			*d.p = d.def
		}
	}
	if opt.Warn == nil {
		opt.Warn = func(string, ...fault.Remedy) {}
	}
	if opt.Hint == nil {
		opt.Hint = func(*fault.Error) string { return "" }
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
}

// Folder is one folder of accounts. It holds nothing but its options and is cheap to
// make; any number of processes may have one for the same folder. It is for one
// goroutine.
type Folder struct {
	Options // complete

	index  *index.File
	keys   keystore.Store // of the kind that was opened last; nil: none was
	config *Config        // read on first use
	held   bool           // index is held on to
}

// New returns the folder at opt.Dir. It touches neither disk nor keystore.
func New(opt Options) *Folder {
	opt.complete()
	return &Folder{Options: opt, index: index.At(opt.Dir).Existing()}
}

// Read returns the index as it is now; a folder without one has no account.
func (f *Folder) Read() (*index.Index, error) {
	idx, err := f.load()
	return idx, Fault(err)
}

// ReadOrEmpty is Read for commands that are fine with a new folder.
func (f *Folder) ReadOrEmpty() (*index.Index, error) {
	idx, err := f.load()
	if errors.Is(err, fs.ErrNotExist) {
		return &index.Index{}, nil
	}
	return idx, Fault(err)
}

// load tells a new folder from one whose index was deleted. Work under way asks no
// Memory.
func (f *Folder) load() (*index.Index, error) {
	memory := f.Memory
	if f.held {
		memory = nil
	}
	idx, err := memory.index(f.index)
	if !errors.Is(err, fs.ErrNotExist) {
		return idx, err
	}
	if lost, ok := errors.AsType[*index.FileError](f.index.Lost()); ok {
		if idx, err := f.index.Read(); !errors.Is(err, fs.ErrNotExist) {
			return idx, err // somebody made the first one at this moment
		}
		return nil, fault.Errorf(fault.IndexCorrupt, "index.json %s; the logins are still in the keystore", strings.TrimPrefix(lost.Reason, "it ")).Try(fault.Remedy{Do: fault.Fix})
	}
	return nil, err
}

// Update changes the index that there is under its lock.
func (f *Folder) Update(ctx context.Context, d index.Durability, change func(*index.Index) error) error {
	return f.update(ctx, f.index, d, change)
}

// UpdateOrMake is Update for commands that may be the first in a folder: it makes the
// folder and its index, but not those that work under way has lost.
func (f *Folder) UpdateOrMake(ctx context.Context, d index.Durability, change func(*index.Index) error) error {
	if f.held {
		return f.Update(ctx, d, change)
	}
	return f.update(ctx, index.At(f.Dir), d, change)
}

func (f *Folder) update(ctx context.Context, file *index.File, d index.Durability, change func(*index.Index) error) error {
	ctx, over := f.waitForIndex(ctx)
	defer over()
	err := f.ownerError(file.Update(ctx, d, change))
	if errors.Is(err, index.ErrCorrupt) {
		if _, why := f.load(); why != nil {
			err = why // one that is missing is called that
		}
	}
	return Fault(err)
}

func (f *Folder) waitForIndex(ctx context.Context) (context.Context, func()) {
	return f.Within(ctx, f.LockTimeout, forLock(lock.Index.In(f.index.Dir())))
}

// backUp makes the index's backup the same as the index.
func (f *Folder) backUp(ctx context.Context) error {
	ctx, over := f.waitForIndex(ctx)
	defer over()
	return f.index.BackUp(ctx)
}

// Mend puts ix in the place of an index that can't be used, unless another one was
// faster, and returns what is there then.
func (f *Folder) Mend(ctx context.Context, ix *index.Index) (now *index.Index, mended bool, err error) {
	ctx, over := f.waitForIndex(ctx)
	defer over()
	if mended, err = f.index.Mend(ctx, ix); err != nil {
		return nil, false, Fault(err)
	}
	now, err = f.Read()
	return now, mended, err
}

// File is the index's, for who examines it.
func (f *Folder) File() *index.File { return f.index }

// Make makes the folder for its first index.
func (f *Folder) Make() error {
	if err := f.Mine(); err != nil {
		return err
	}
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return fault.Errorf(fault.Internal, "the folder can't be made").Because(err)
	}
	return nil
}

// Vault is where the file keystore keeps its items.
func (f *Folder) Vault() string { return filepath.Join(f.Dir, "vault") }
