package broker

import (
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

// ProxyView is a proxy that is running on this folder's accounts. No secret.
type ProxyView struct {
	PID       int       `json:"pid"`
	Program   string    `json:"program,omitempty"` // that it was started for
	Since     time.Time `json:"since"`
	Providers []string  `json:"providers"`
	Pools     []string  `json:"pools,omitempty"`
	Listen    string    `json:"listen"`
}

const (
	proxySuffix = ".proxy" // of the file in locks/ that describes one
	maxProxy    = 64 << 10
)

// Announce makes v known for as long as this process lives, or until withdraw is
// called. What a process that was killed left is swept at this occasion.
func (b *Broker) Announce(v ProxyView) (withdraw func(), err error) {
	b.sweepProxies()
	path := filepath.Join(lock.Folder(b.opt.Dir), "run-"+strings.ToLower(rand.Text()[:16])+proxySuffix)
	l, err := lock.TryAcquire(path + ".lock")
	if err != nil {
		return nil, indexError(b.ownerError(err))
	}
	withdraw = func() {
		removeProxy(path)
		l.Release()
	}
	v.PID, v.Since = os.Getpid(), seconds(time.Now())
	data, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(path, data, 0o600) // who reads half of it sees it the next time
	}
	if err != nil {
		withdraw()
		return nil, fault.Errorf(fault.Internal, "the proxy could not be made known").Because(err)
	}
	return withdraw, nil
}

// Proxies returns the proxies that are running, the oldest first.
func (b *Broker) Proxies() []ProxyView {
	views := []ProxyView{}
	b.eachProxy(func(path string) {
		var v ProxyView
		if data, err := atomicfile.Read(path, maxProxy); err == nil && json.Unmarshal(data, &v) == nil {
			views = append(views, v)
		}
	}, func(string) {})
	slices.SortFunc(views, func(x, y ProxyView) int { return x.Since.Compare(y.Since) })
	return views
}

// sweepProxies removes the files of proxies that were killed.
func (b *Broker) sweepProxies() { b.eachProxy(func(string) {}, removeProxy) }

// eachProxy calls running or over for each file, the latter under its lock.
func (b *Broker) eachProxy(running, over func(path string)) {
	dir := lock.Folder(b.opt.Dir)
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

func removeProxy(path string) {
	for _, suffix := range []string{"", ".lock.holder", ".lock"} {
		_ = os.Remove(path + suffix) // what stays is swept by the next one
	}
}
