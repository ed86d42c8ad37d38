package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/share"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/etcd"
)

// pair makes two machines, with what env says of each, that share the account together. The
// first also has the account alone.
func (b *bench) pair(endpoint string, one, other []string) error {
	err := errors.Join(b.addProvider(one), b.addAccount(one, "alone", time.Hour), b.addAccount(one, "together", time.Hour))
	if err != nil {
		return err
	}
	for _, command := range [][]string{{"move", "together", "--pool", "team"}, {"share", "start", "team", "--machine", "one", "--endpoint", endpoint}} {
		if _, err := b.authferry(one, "", command...); err != nil {
			return err
		}
	}
	ticket, err := b.authferry(one, "", "share", "invite", "team")
	if err != nil {
		return err
	}
	_, err = b.authferry(other, string(ticket), "share", "join", "--machine", "other")
	return err
}

const (
	refreshWithin   = "in one process: a refresh"
	refreshedWithin = "in one process: a refresh, shared account"
	adoptionWithin  = "in one process: another machine just has"
	bothWithin      = "in one process: two machines at once"
)

// within returns rows of what rotators do without what surrounds them: no program is started,
// and the keystores are files. Each connects to the engine anew.
func (b *bench) within(endpoint string) ([]row, error) {
	env := func(name string) []string {
		return []string{"AUTHFERRY_DIR=" + b.path(name), "AUTHFERRY_KEYSTORE=file"}
	}
	one, other := b.path("within-one"), b.path("within-other")
	for _, name := range []string{"within-one", "within-other"} {
		if _, err := b.authferry(env(name), "", "keystore", "init", "--key-file", b.path(name+".key")); err != nil {
			return nil, err
		}
	}
	if err := b.pair(endpoint, env("within-one"), env("within-other")); err != nil {
		return nil, err
	}
	refresh := func(dir, label string) func() (run, error) {
		return func() (run, error) { return rotate(dir, label, false) }
	}
	adopt := func() (run, error) {
		if _, err := rotate(one, "together", false); err != nil {
			return run{}, err
		}
		return rotate(other, "together", false)
	}
	both := func() (run, error) {
		if _, err := rotate(other, "together", true); err != nil {
			return run{}, err
		}
		before := b.server.TokenRequests()
		var wg sync.WaitGroup
		var failed [2]error
		start := time.Now()
		for i, dir := range []string{one, other} {
			wg.Go(func() { _, failed[i] = rotate(dir, "together", false) })
		}
		wg.Wait()
		r, err := run{wall: time.Since(start)}, errors.Join(failed[:]...)
		if n := b.server.TokenRequests() - before; err == nil && n != 1 {
			err = fmt.Errorf("two machines made %d requests", n)
		}
		return r, err
	}
	return []row{
		{name: refreshWithin, sample: refresh(one, "alone")},
		{name: refreshedWithin, of: refreshWithin, sample: refresh(one, "together")},
		{name: adoptionWithin, sample: adopt},
		{name: bothWithin, sample: both},
	}, nil
}

// rotate has an account of a folder refreshed, or the refresh of another machine taken over;
// with only look nothing but that.
func rotate(dir, label string, onlyLook bool) (run, error) {
	f := folder.New(folder.Options{Dir: dir})
	idx, err := f.Read()
	if err != nil {
		return run{}, err
	}
	var account index.Account
	for _, a := range idx.Accounts {
		if a.Label == label {
			account = a
		}
	}
	start := time.Now()
	w := rotation.Wish{Beyond: account.Generation, Person: true, Since: start}
	if onlyLook {
		w = rotation.Wish{}
	}
	err = rotation.Rotator{Folder: f, Peers: share.NewPeers(dial)}.Rotate(ctx, account.ID, w)
	return run{wall: time.Since(start)}, err
}

func dial(_ context.Context, c share.Connection) (engine.Engine, error) {
	return etcd.Open(etcd.Config{Endpoints: c.Endpoints})
}
