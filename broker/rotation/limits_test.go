//go:build unix

package rotation

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/testenv"
	"github.com/authferry/authferry/version"
)

// sharing is a folder with a shared account and one of its own, and in the place of
// authferry-share a script.
func sharing(t *testing.T, script string) (f *folder.Folder, idx *index.Index) {
	t.Helper()
	dir := t.TempDir()
	testenv.Must(t, os.WriteFile(filepath.Join(dir, "authferry-share"), []byte("#!/bin/sh\n"+script+"\n"), 0o700)) // #nosec G306 -- a program
	home := filepath.Join(dir, "home")
	testenv.Must(t, os.Mkdir(home, 0o700))
	return folder.New(folder.Options{Dir: home, Self: filepath.Join(dir, "authferry")}), &index.Index{
		Shares: []index.SharedPool{{ID: "pool_aaaaaaaaaaaaaaaa", Pool: "work"}},
		Accounts: []index.Account{
			{ID: "acc_aaaaaaaaaaaaaaaa", Share: &index.Share{Pool: "pool_aaaaaaaaaaaaaaaa"}},
			{ID: "acc_bbbbbbbbbbbbbbbb"},
		},
	}
}

// Limits are exchanged every half minute while a shared pool is in use, by one process at a
// time, and at once for a hold that the other machines don't know. What isn't shared starts
// nothing.
func TestLimitsAreExchangedInTime(t *testing.T) {
	f, idx := sharing(t, "exit 0")
	name := lock.Exchange("pool_aaaaaaaaaaaaaaaa")
	shared, own := &idx.Accounts[0], &idx.Accounts[1]
	started := func() (at time.Time) {
		h, err := f.Holder(name)
		if err == nil && h.State == stateStarted {
			at = h.StartedAt
		}
		return at
	}
	another := func() { // another process takes its turn
		l, err := f.TryLock(name)
		testenv.Must(t, err)
		l.Release()
	}
	now := time.Now()
	idx.Shares[0].LookedAt = now.Add(-10 * time.Second)
	own.Holds = []index.Hold{{Scope: "*", Until: now.Add(time.Hour)}}
	Limits(f, idx, own, true)
	Limits(f, idx, own, false)
	Limits(f, idx, shared, false)
	Limits(f, idx, shared, true) // it isn't held
	if !started().IsZero() {
		t.Fatal("started too soon")
	}
	idx.Shares[0].LookedAt = now.Add(-31 * time.Second)
	l, err := f.TryLock(name)
	testenv.Must(t, err)
	Limits(f, idx, shared, false)
	if !started().IsZero() {
		t.Error("started beside another one")
	}
	l.Release()
	Limits(f, idx, shared, false)
	first := started()
	if first.IsZero() {
		t.Fatal("not started in its time")
	}
	Limits(f, idx, shared, false)
	shared.Holds = []index.Hold{{Scope: "*", Until: now.Add(time.Hour)}}
	Limits(f, idx, shared, true)
	if !started().Equal(first) {
		t.Error("started again before the first has begun")
	}

	another()
	idx.Shares[0].LookedAt = now
	Limits(f, idx, shared, true)
	if started().IsZero() {
		t.Error("a new hold isn't told at once")
	}
	shared.Holds[0].Told = "x"
	shared.Share.Told = &index.Told{Holds: []index.ToldHold{{ID: "x", Until: now.Add(time.Hour)}}}
	another()
	Limits(f, idx, shared, true)
	if !started().IsZero() {
		t.Error("a hold that all know is told again")
	}
}

// Who may probe a shared account is what authferry-share says; without it nobody may.
func TestMayProbe(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		may    bool
	}{
		"this machine":        {`test "$*" = "probe acc_aaaaaaaaaaaaaaaa --of ` + version.String() + `"`, true},
		"another one":         {"exit 1", false},
		"it dies":             {"kill -9 $$", false},
		"it can't be started": {"exec /nonexistent", false},
	} {
		f, idx := sharing(t, test.script)
		if may := MayProbe(t.Context(), f, &idx.Accounts[0]); may != test.may {
			t.Errorf("%s: %v", name, may)
		}
		if !MayProbe(t.Context(), f, &idx.Accounts[1]) {
			t.Errorf("%s: an account that isn't shared may not be probed", name)
		}
	}
	f, idx := sharing(t, "exit 0")
	testenv.Must(t, os.Remove(filepath.Join(filepath.Dir(f.Dir), "authferry-share")))
	if MayProbe(t.Context(), f, &idx.Accounts[0]) {
		t.Error("without the program")
	}
}
