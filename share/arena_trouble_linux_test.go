package share_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/share"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/testenv"
)

// trouble cuts machines off, keeps backups of their indexes and of the engine, and copies a
// machine while it works.
func (a *arena) trouble(ctx context.Context, all *sync.WaitGroup, d time.Duration) {
	cloned := false
	for round := 0; ; round++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(4 * time.Second):
		}
		a.mu.Lock()
		x := a.all[a.r.IntN(len(a.all))]
		if round%2 == 0 {
			x.cutUntil = time.Now().Add(2 * time.Second)
		}
		a.mu.Unlock()
		if backup, err := os.ReadFile(filepath.Join(x.dir, "index.json")); err == nil && round%3 == 0 {
			go func() { // it is used once it is some seconds old
				time.Sleep(6 * time.Second)
				a.mu.Lock()
				defer a.mu.Unlock()
				x.backup = backup
			}()
		}
		if a.snap == "" && a.engine.TryLock() {
			a.snap = a.cluster.Backup(a.t)
			a.engine.Unlock()
		}
		if !cloned && time.Since(a.begun) > d/3 {
			cloned = true
			a.clone(a.all[0]).work(ctx, all)
		}
	}
}

// rollBack puts an old index in the place of the machine's, as from a backup.
func (x *fighter) rollBack() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.backup) == 0 {
		return
	}
	path := filepath.Join(x.dir, "index.json")
	if os.WriteFile(path+".old", x.backup, 0o600) == nil && os.Rename(path+".old", path) == nil {
		x.count.RolledBack++
	}
	x.backup = nil
}

// clone makes another machine of a copy of this one's disk, with all that it was about to do.
func (a *arena) clone(x *fighter) *fighter {
	c := &fighter{arena: a, name: x.name + "-copy", host: "copy", passing: x.passing, dir: filepath.Join(a.t.TempDir(), "authferry")}
	for try := 0; ; try++ { // files come and go meanwhile
		if os.RemoveAll(c.dir) == nil && os.CopyFS(c.dir, os.DirFS(x.dir)) == nil {
			break
		}
		if try == 50 {
			a.t.Error("it can't be copied")
			return c
		}
	}
	_ = os.RemoveAll(filepath.Join(c.dir, "locks")) // which another machine doesn't have
	testenv.Check(a.t, c.folder().Update(a.t.Context(), index.Durable, func(idx *index.Index) (err error) {
		idx.Path, err = index.RealPath(c.dir) // there its path would be the same
		return err
	}))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, c)
	a.count.Cloned++
	return c
}

// recover is a person's word that the machine that announced won't come back.
func (x *fighter) recover(user string) {
	req := pipe.RecoverRequest{Account: x.ids[user]}
	asked, err := share.Recover(x.t.Context(), x.folder(), dialEtcd, req)
	if err != nil || asked.Recovered {
		return
	}
	req.Claim = asked.Claim
	if done, err := share.Recover(x.t.Context(), x.folder(), dialEtcd, req); err == nil && done.Recovered {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.count.Recovered++
		x.window[user]++ // a person takes that risk
	}
}

// restoreBackup has the engine forget everything since an early backup. Nothing is sent
// until a person has had every machine put back what it knows, and nothing is lost.
func (a *arena) restoreBackup() {
	if a.snap == "" {
		a.t.Error("there is no backup")
		return
	}
	a.cluster.RestoreBackup(a.t, a.snap, rand.IntN(2) == 0) // #nosec G404 -- a test
	before := a.server.Ledger()
	for _, x := range a.all {
		x.rotate(a.target())
	}
	if l := a.server.Ledger(); len(l.Reuse) > len(before.Reuse) {
		a.t.Error("a machine sent an old refresh token to an engine from a backup")
	}
	for range 2 {
		for _, x := range a.all {
			testenv.Check(a.t, testenv.Err(share.Doctor(a.t.Context(), x.folder(), dialEtcd, pipe.DoctorRequest{Pool: "work", Fix: true})))
		}
	}
	a.settle()
	if l := a.server.Ledger(); len(l.Reuse) > len(before.Reuse) {
		a.t.Errorf("%d reuses after the engine was restored", len(l.Reuse)-len(before.Reuse))
	}
}
