package share

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/ratelimit"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/share/engine/enginetest"
	"github.com/authferry/authferry/share/etcd"
	"github.com/authferry/authferry/share/seal"
	"github.com/authferry/authferry/share/sharetest"
	"github.com/authferry/authferry/testenv"
)

// A thousand machines meet one limit of one account at the same moment, on a real etcd. They
// all hold it as long as the provider said; few of them write, and one does it.
func TestHerdMeetsOneLimit(t *testing.T) {
	t.Parallel()
	machines := proofs.Size(50, 1000)
	c := sharetest.Shared(t)
	mine := c.Holder(t, "herd")
	var lines []*enginetest.Faulty // a thousand connections would measure this machine
	for range 20 {
		e, err := etcd.Open(etcd.Config{Endpoints: c.Endpoints(), CA: mine.CA, Cert: mine.Cert, Key: mine.Key})
		testenv.Must(t, err)
		t.Cleanup(func() { testenv.Check(t, e.Close()) })
		lines = append(lines, enginetest.NewFaulty(e))
	}
	keys, err := seal.NewKeys(1)
	testenv.Must(t, err)
	ring := seal.Ring{keys}.For(seal.Consumer, false)
	shared, account := index.NewSharedPoolID(), index.NewID()

	all := make([]*party, machines)
	first := filepath.Join(t.TempDir(), "authferry")
	for i := range all {
		dir := first
		if i > 0 {
			dir = filepath.Join(t.TempDir(), fmt.Sprint(i), "authferry")
			testenv.Must(t, os.CopyFS(dir, os.DirFS(first)))
		}
		f := folder.New(folder.Options{Dir: dir, OpenKeychain: func() keystore.Store { return &memoryChain{items: map[string]keystore.Secret{}} }})
		if i == 0 {
			testenv.Must(t, testenv.Err(f.Prepare(t.Context(), func(idx *index.Index) error {
				idx.Keystore = string(keystore.Keychain)
				idx.Shares = []index.SharedPool{{ID: shared, Pool: "work", Machine: "m", Role: index.RoleConsumer}}
				idx.Enlist(index.Account{ID: account, Label: "ada", Provider: "sim", Pool: "work", Kind: index.KindOAuth, AddedAt: time.Now()}).Share = &index.Share{Pool: shared, Role: index.RoleConsumer}
				return nil
			})))
		}
		idx, err := f.Read()
		testenv.Must(t, err)
		o, err := f.Open(idx)
		testenv.Must(t, err)
		all[i] = newParty(&link{Membership: &Membership{Pool: shared, Local: "work", Connection: Connection{Prefix: "authferry"}, Machine: index.NewMachineID(), Role: seal.Consumer, Keys: ring}, o: o, engine: lines[i%len(lines)]}, nil)
	}

	resets := time.Now().Add(5 * time.Hour)
	var group sync.WaitGroup
	for _, p := range all {
		group.Go(func() {
			now := time.Now()
			testenv.Check(t, p.o.Folder.Change(context.Background(), index.Fast, account, func(_ *index.Index, a *index.Account) {
				pool.AddHold(a, ratelimit.Verdict{Kind: ratelimit.Spent, Scope: "*", Until: resets, Source: "window", Proven: true}, now)
			}))
			for { // as Exchange does, whose callers come again where the engine was too busy
				err := p.limits.exchange(context.Background(), 2*time.Second)
				if err == nil {
					return
				}
				t.Log(err)
				time.Sleep(time.Second)
			}
		})
	}
	group.Wait()

	swaps := 0
	for _, line := range lines {
		for _, call := range line.Calls() {
			if call.Op == "swap" {
				swaps++
			}
		}
	}
	e, _, err := lines[0].Get(t.Context(), Key("authferry", shared, "hold", account))
	testenv.Must(t, err)
	doc, err := seal.OpenHolds(ring, shared, account, e.Value)
	testenv.Must(t, err)
	t.Logf("%d machines made %d compare-and-swaps", machines, swaps)
	if swaps == 0 || swaps > 20 || len(doc.Holds) != 1 {
		t.Errorf("%d machines made %d compare-and-swaps; the engine has %+v", machines, swaps, doc)
	}
	for _, p := range all {
		idx, err := p.o.Folder.Read()
		testenv.Must(t, err)
		a := idx.Account(account)
		if len(a.Holds) != 1 || a.Holds[0].Until.Sub(resets).Abs() > time.Second || pool.AnyUntold(a, time.Now()) {
			t.Fatalf("%+v", a.Holds)
		}
	}
	_, won, err := lines[0].Swap(t.Context(), e.Key, e.Version, nil)
	if err != nil || !won {
		t.Error(won, err)
	}
}
