package etcd_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/engine/enginetest"
	"github.com/authferry/authferry/share/sharetest"
	"github.com/authferry/authferry/testenv"
)

// A team's three nodes: one may go, with two nothing is won and nothing is told wrong.
func TestThreeNodes(t *testing.T) {
	proofs.Only(t, "three nodes lose two of them again and again")
	c := sharetest.New(t, sharetest.Options{Nodes: 3})
	laptop := c.Holder(t, "laptop")
	t.Run("conform", func(t *testing.T) {
		enginetest.Run(t, func(t testing.TB) engine.Engine { return open(t, c.Endpoints(), laptop) })
	})
	e, key := open(t, c.Endpoints(), laptop), "authferry/nodes"
	now := swap(t, e, key, 0, "0")

	// next is what a caller does: it settles what it isn't sure of by reading.
	next := func(value string) {
		t.Helper()
		for patience := testenv.Patience(t); patience.Err() == nil; {
			entry, won, err := e.Swap(within(t, 5*time.Second), key, now.Version, []byte(value))
			if err != nil {
				entry, _, err = e.Get(within(t, 5*time.Second), key)
				if err != nil || string(entry.Value) != value {
					time.Sleep(20 * time.Millisecond)
					continue
				}
				won = true
			}
			if !won && string(entry.Value) != value {
				t.Fatalf("lost to %q, which nobody wrote", entry.Value)
			}
			now = entry
			return
		}
		t.Fatal("no swap is won")
	}
	c.KillLeader(t)
	next("without one")
	c.Restore(t)
	for i := range 3 {
		c.LoseQuorum(t)
		maybe := fmt.Sprintf("without two %d", i)
		_, won, err := e.Swap(within(t, time.Second), key, now.Version, []byte(maybe))
		if won || !errors.Is(err, engine.ErrUnknown) && !errors.Is(err, engine.ErrUnreachable) {
			t.Errorf("without a quorum: %v, %v", won, err)
		}
		unreachable := errors.Is(err, engine.ErrUnreachable)
		if _, _, err := e.Get(within(t, time.Second), key); !errors.Is(err, engine.ErrUnreachable) {
			t.Errorf("Get without a quorum: %v", err)
		}
		c.Restore(t)
		for patience := testenv.Patience(t); ; time.Sleep(20 * time.Millisecond) {
			entry, _, err := e.Get(patience, key)
			if err != nil && patience.Err() == nil {
				continue
			}
			testenv.Must(t, err)
			if string(entry.Value) != string(now.Value) && (unreachable || string(entry.Value) != maybe) {
				t.Fatalf("then it has %q; it had %q", entry.Value, now.Value)
			}
			now = entry
			break
		}
		next(fmt.Sprintf("with three %d", i))
	}
}

// What an engine that was restored says of itself, and that its versions come again.
func TestRestoredBackup(t *testing.T) {
	t.Parallel()
	c := sharetest.New(t, sharetest.Options{})
	laptop := c.Holder(t, "laptop")
	e := open(t, c.Endpoints(), laptop)
	first := swap(t, e, "authferry/k", 0, "first")
	backup := c.Backup(t)
	second := swap(t, e, "authferry/k", first.Version, "second")
	_, before, err := e.Get(testenv.Patience(t), "authferry/k")
	testenv.Must(t, err)
	for _, same := range []bool{true, false} {
		c.RestoreBackup(t, backup, same)
		e := open(t, c.Endpoints(), laptop)
		got, after, err := e.Get(testenv.Patience(t), "authferry/k")
		testenv.Must(t, err)
		if string(got.Value) != "first" || after.Revision >= before.Revision || (after.Cluster == before.Cluster) != same {
			t.Errorf("the same token %v: %q, %+v; it was %+v", same, got.Value, after, before)
		}
		if again := swap(t, e, "authferry/k", got.Version, "third"); again.Version != second.Version {
			t.Errorf("version %d, want %d again", again.Version, second.Version)
		}
	}
}
