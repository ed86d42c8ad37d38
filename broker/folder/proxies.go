package folder

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/lock"
)

// ProxyView is a running proxy that uses this folder's accounts, without secrets.
type ProxyView struct {
	PID       int       `json:"pid"`
	Program   string    `json:"program,omitempty"` // that it serves
	Since     time.Time `json:"since"`
	Providers []string  `json:"providers"`
	Pools     []string  `json:"pools,omitempty"`
	Listen    string    `json:"listen"`
}

const (
	proxySuffix = ".proxy" // of the files in locks/, one for each proxy
	maxProxy    = 64 << 10
)

// Announce publishes v while this process lives, or until withdraw is called. It also
// removes what killed proxies left.
func Announce(f *Folder, v ProxyView) (withdraw func(), err error) {
	sweepProxies(f)
	path := filepath.Join(lock.Folder(f.Dir), "run-"+strings.ToLower(rand.Text()[:16])+proxySuffix)
	l, err := lock.TryAcquire(path + ".lock")
	if err != nil {
		return nil, f.Fault(err)
	}
	withdraw = func() {
		RemoveProxy(path)
		l.Release()
	}
	v.PID, v.Since = os.Getpid(), time.Now().UTC().Truncate(time.Second)
	data, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(path, data, 0o600) // a reader that sees half of it will see all of it the next time
	}
	if err != nil {
		withdraw()
		return nil, fault.Errorf(fault.Internal, "the proxy could not be announced").Because(err)
	}
	return withdraw, nil
}

// ServeProgram is the Program of a ProxyView that is authferry serve. ServeSocket is the
// socket in locks/ that hands out its key.
const (
	ServeProgram = "authferry serve"
	ServeSocket  = "serve.sock"
)

// A serve that is told to end releases its lock when it no longer listens. The next one may
// be started a moment before that.
const serveLockTimeout = 2 * time.Second

// LockServe takes the lock that the folder's authferry serve holds while it listens. If
// another one holds it, the error has code LockTimeout.
func LockServe(ctx context.Context, f *Folder) (release func(), err error) {
	if err := f.Make(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, serveLockTimeout)
	defer cancel()
	l, err := lock.Acquire(ctx, lock.Serve.In(f.Dir))
	if held, ok := errors.AsType[*lock.TimeoutError](err); ok {
		return nil, fault.Errorf(fault.LockTimeout, "another serve is running on this folder already: %s", held.Holder).Try(fault.Remedy{Do: fault.Status})
	}
	if err != nil {
		return nil, f.Fault(err)
	}
	return l.Release, nil
}

// Proxies returns the running proxies, the oldest first.
func Proxies(f *Folder) []ProxyView {
	views := []ProxyView{}
	eachProxy(f, func(path string) {
		var v ProxyView
		if data, err := atomicfile.Read(path, maxProxy); err == nil && json.Unmarshal(data, &v) == nil {
			views = append(views, v)
		}
	}, func(string) {})
	slices.SortFunc(views, func(x, y ProxyView) int { return x.Since.Compare(y.Since) })
	return views
}

// sweepProxies removes what killed proxies left.
func sweepProxies(f *Folder) { EachLeftProxy(f, RemoveProxy) }

// EachLeftProxy calls left for each file that a killed proxy left, under the lock of that
// file.
func EachLeftProxy(f *Folder, left func(path string)) {
	eachProxy(f, func(string) {}, left)
	socket := filepath.Join(lock.Folder(f.Dir), ServeSocket)
	if info, err := os.Lstat(socket); err != nil || info.Mode().Type() != fs.ModeSocket {
		return
	}
	if l, err := lock.TryAcquire(lock.Serve.In(f.Dir)); err == nil {
		left(socket)
		l.Release()
	}
}

// eachProxy calls running or over for each file, the latter under its lock.
func eachProxy(f *Folder, running, over func(path string)) {
	dir := lock.Folder(f.Dir)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "run-") || filepath.Ext(e.Name()) != proxySuffix || !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if _, err := os.Lstat(path + ".lock"); errors.Is(err, fs.ErrNotExist) {
			over(path)
			continue
		}
		switch l, err := lock.TryAcquire(path + ".lock"); {
		case errors.Is(err, lock.ErrBusy):
			running(path)
		case err == nil:
			over(path)
			l.Release()
		}
	}
}

// RemoveProxy removes a file that EachLeftProxy found.
func RemoveProxy(path string) {
	for _, suffix := range []string{"", ".lock.holder", ".lock"} {
		_ = os.Remove(path + suffix) // what stays is removed by the next one
	}
}
