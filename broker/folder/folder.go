package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	"github.com/authferry/authferry/humantime"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/version"
)

// Options says where a folder is and how long its caller waits. Only Dir is required.
type Options struct {
	// Dir is the folder with index.json; see DefaultDir.
	Dir string
	// Keystore is the kind that a new folder uses and that an existing one must have;
	// empty: the recorded one, else the keychain.
	Keystore keystore.Kind
	// KeyFile is the file keystore's key file, as DefaultKeyFile finds it; empty:
	// the recorded one.
	KeyFile string
	// KeychainTimeout limits one keystore call, LockTimeout the wait for a lock, and
	// HTTPTimeout the wait for a provider. They are for the caller: a rotation in progress
	// goes on without it. Zero: 5 s, 30 s, 30 s.
	KeychainTimeout, LockTimeout, HTTPTimeout time.Duration
	// LoginPatience is how long a new login is kept in memory while keystore or index
	// refuse it, with a person waiting. Zero: a minute.
	LoginPatience time.Duration
	// Self is the path of the authferry program, which runs itself to rotate; empty:
	// os.Executable.
	Self string
	// Warn is called with what a person should know although the command succeeded.
	Warn func(message string, next ...fault.Remedy)
	// Hint returns the command line of a remedy, for the page that a login shows in the
	// browser; nil: the page has none.
	Hint func(*fault.Error) string
	// Waiting is called before each wait for a rotation; may be nil.
	Waiting func()
	// Progress is called when a step begins that may take long. The function that it
	// returns is called when the step is over. May be nil.
	Progress func(Step) (over func())
	// Log is for --verbose; nil: none.
	Log *slog.Logger
	// OpenKeychain is for tests that need a keychain with faults; nil: the real one.
	OpenKeychain func() keystore.Store
	// Faults is for tests that need a keystore with faults; nil: none.
	Faults func(keystore.Store) keystore.Store
	// Client is for tests that need a network with faults; the zero value: the real one.
	Client oauth.Client
	// Memory saves reads in a program that keeps running; nil: nothing is kept.
	Memory *Memory
}

// complete sets the defaults.
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

// Folder is one folder of accounts. It has only its options and is cheap to make. Any
// number of processes may use the same folder; a Folder itself is for one goroutine.
type Folder struct {
	Options // complete

	index  *index.File
	keys   keystore.Store // of the kind that was opened last; nil: none yet
	config *Config        // read on first use
	held   bool           // true: index is held (see Hold)
}

// New returns the folder at opt.Dir. It accesses neither disk nor keystore.
func New(opt Options) *Folder {
	opt.complete()
	return &Folder{Options: opt, index: index.At(opt.Dir).Existing()}
}

// Read returns the current index. Error: NoAccount if the folder has none.
func (f *Folder) Read() (*index.Index, error) {
	idx, err := f.load()
	return idx, Fault(err)
}

// ReadOrEmpty is Read, but a folder without an index has an empty one.
func (f *Folder) ReadOrEmpty() (*index.Index, error) {
	idx, err := f.load()
	if errors.Is(err, fs.ErrNotExist) {
		return &index.Index{}, nil
	}
	return idx, Fault(err)
}

// load tells a new folder from one whose index was deleted. It doesn't use Memory while the
// folder is held.
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
			return idx, err // another process has just made the first one
		}
		return nil, fault.Errorf(fault.IndexCorrupt, "index.json %s; the logins are still in the keystore", strings.TrimPrefix(lost.Reason, "it ")).Try(fault.Remedy{Do: fault.Fix})
	}
	return nil, err
}

// Update changes the existing index, under its lock.
func (f *Folder) Update(ctx context.Context, d index.Durability, change func(*index.Index) error) error {
	return f.update(ctx, f.index, d, change)
}

// UpdateOrMake is Update for commands that may be the first in a folder: it makes the
// folder and its index. But it doesn't make again what disappeared while the folder is
// held.
func (f *Folder) UpdateOrMake(ctx context.Context, d index.Durability, change func(*index.Index) error) error {
	if f.held {
		return f.Update(ctx, d, change)
	}
	return f.update(ctx, index.At(f.Dir), d, change)
}

func (f *Folder) update(ctx context.Context, file *index.File, d index.Durability, change func(*index.Index) error) error {
	ctx, over := f.waitForIndex(ctx)
	defer over()
	err := OwnerError(file.Update(ctx, d, change), f.Dir)
	if errors.Is(err, index.ErrCorrupt) {
		if _, why := f.load(); why != nil {
			err = why // a missing index must be reported as that
		}
	}
	return Fault(err)
}

func (f *Folder) waitForIndex(ctx context.Context) (context.Context, func()) {
	return f.Within(ctx, f.LockTimeout, forLock(lock.Index.In(f.index.Dir())))
}

// backUp makes the backup of the index equal to the index.
func (f *Folder) backUp(ctx context.Context) error {
	ctx, over := f.waitForIndex(ctx)
	defer over()
	return f.index.BackUp(ctx)
}

// Mend replaces an unusable index by ix, unless another process has replaced it already,
// and returns the index that is there afterwards.
func (f *Folder) Mend(ctx context.Context, ix *index.Index) (now *index.Index, mended bool, err error) {
	ctx, over := f.waitForIndex(ctx)
	defer over()
	if mended, err = f.index.Mend(ctx, ix); err != nil {
		return nil, false, Fault(err)
	}
	now, err = f.Read()
	return now, mended, err
}

// File returns the index's file, for doctor.
func (f *Folder) File() *index.File { return f.index }

// Make makes the folder, for its first index.
func (f *Folder) Make() error {
	if err := f.Mine(); err != nil {
		return err
	}
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return fault.Errorf(fault.Internal, "the folder can't be made").Because(err)
	}
	return nil
}

// Vault is where the file keystore has its items.
func (f *Folder) Vault() string { return filepath.Join(f.Dir, "vault") }

// FromEnvironment returns the options that the documented environment variables name.
// person: somebody could answer a prompt of the keychain, so it may take 2 minutes. Errors:
// Usage.
func FromEnvironment(person bool) (Options, error) {
	dir, err := DefaultDir()
	if err != nil {
		return Options{}, err
	}
	keyFile, err := DefaultKeyFile()
	if err != nil {
		return Options{}, err
	}
	opt := Options{Dir: dir, Keystore: keystore.Kind(os.Getenv("AUTHFERRY_KEYSTORE")), KeyFile: keyFile, Client: oauth.Client{Version: version.String()}}
	if person {
		opt.KeychainTimeout = 2 * time.Minute
	}
	for name, d := range map[string]*time.Duration{
		"AUTHFERRY_KEYCHAIN_TIMEOUT": &opt.KeychainTimeout, "AUTHFERRY_LOCK_TIMEOUT": &opt.LockTimeout, "AUTHFERRY_HTTP_TIMEOUT": &opt.HTTPTimeout,
	} {
		v := os.Getenv(name)
		if v == "" {
			continue
		}
		if *d, err = time.ParseDuration(v); err != nil || *d <= 0 {
			return opt, fault.Errorf(fault.Usage, "%s is not a duration such as 30s, 2m or 1m30s", name).Try(fault.Remedy{Do: fault.WithVariable, Name: name, Value: "30s"})
		}
	}
	return opt, nil
}

// LogTo sets opt.Log to what --verbose shows.
func (opt *Options) LogTo(w io.Writer) {
	opt.Log = slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Step is a part of a call that may take long: waiting for another process, for a provider,
// for a prompt of the keychain. Steps can be nested.
type Step struct {
	// Doing says in a few words, without secrets, what is being done. It may be called from
	// any goroutine, any number of times, until the step is over.
	Doing func() string
	// Until is when the call gives up; zero: unknown.
	Until time.Time
}

// Within limits a step to d, and reports it as progress. The returned function ends it.
func (f *Folder) Within(ctx context.Context, d time.Duration, doing func() string) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(ctx, d)
	until, _ := ctx.Deadline()
	over := f.Progress(Step{doing, until})
	return ctx, func() {
		over()
		cancel()
	}
}

// forLock says who holds the lock at path.
func forLock(path string) func() string {
	return func() string {
		h, err := lock.ReadHolder(path)
		if err != nil {
			return "waiting for another authferry"
		}
		text := fmt.Sprintf("waiting for %s, busy for %s", h, humantime.Span(time.Since(h.StartedAt)))
		if h.State != "" {
			text += ", " + h.State
		}
		return text
	}
}
