package keystoretest_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/testenv"
)

func faulty(t *testing.T) *keystoretest.Faulty {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key")
	testenv.Must(t, keystore.InitKeyFile(key))
	s, err := keystore.OpenFile(filepath.Join(t.TempDir(), "vault"), key)
	testenv.Must(t, err)
	return keystoretest.NewFaulty(s)
}

func always(fault keystoretest.Fault) func(keystoretest.Call) keystoretest.Fault {
	return func(keystoretest.Call) keystoretest.Fault { return fault }
}

func TestFaultyWithoutFaultsConforms(t *testing.T) {
	f := faulty(t)
	keystoretest.Run(t, func(testing.TB) keystore.Store { return f })
}

func TestFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		fault    keystoretest.Fault
		get, set error
		reads    string // after the Set, with the fault
		stored   string // after it, without
		takes    time.Duration
	}{
		"none":   {reads: "new", stored: "new"},
		"slow":   {fault: keystoretest.Fault{Delay: time.Second}, reads: "new", stored: "new", takes: 2 * time.Second},
		"slower": {fault: keystoretest.Fault{Delay: time.Hour}, get: keystore.ErrTimeout, set: keystore.ErrTimeout, stored: "old", takes: 20 * time.Second},
		"hangs":  {fault: keystoretest.Fault{Hang: true}, get: keystore.ErrTimeout, set: keystore.ErrTimeout, stored: "old", takes: 20 * time.Second},
		"locked": {fault: keystoretest.Fault{Cause: keystore.ErrLocked}, get: keystore.ErrLocked, set: keystore.ErrLocked, stored: "old"},
		"loses":  {fault: keystoretest.Fault{Lose: true}, reads: "old", stored: "old"},
		"stale":  {fault: keystoretest.Fault{Stale: true}, reads: "old", stored: "new"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, start := faulty(t), time.Now()
				within := func() context.Context {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					t.Cleanup(cancel)
					return ctx
				}
				testenv.Must(t, f.Set(within(), "a", keystore.NewSecret("old")))
				f.Inject(always(tt.fault))
				if err := f.Set(within(), "a", keystore.NewSecret("new")); !errors.Is(err, tt.set) {
					t.Errorf("Set: %v, want %v", err, tt.set)
				}
				if got, err := f.Get(within(), "a"); !errors.Is(err, tt.get) || got.Reveal() != tt.reads {
					t.Errorf("Get = %q, %v, want %q, %v", got.Reveal(), err, tt.reads, tt.get)
				}
				if took := time.Since(start); took != tt.takes {
					t.Errorf("took %v, want %v", took, tt.takes)
				}
				f.Inject(nil)
				if got, err := f.Get(within(), "a"); err != nil || got.Reveal() != tt.stored {
					t.Errorf("stored: %q, %v, want %q", got.Reveal(), err, tt.stored)
				}
			})
		})
	}
}

func TestLateFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, gate := faulty(t), make(chan struct{})
		f.Inject(func(c keystoretest.Call) keystoretest.Fault {
			if c.Op == "write" {
				return keystoretest.Fault{Late: gate}
			}
			return keystoretest.Fault{}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := f.Set(ctx, "a", keystore.NewSecret("late")); !errors.Is(err, keystore.ErrTimeout) {
			t.Errorf("Set: %v", err)
		}
		if _, err := f.Get(t.Context(), "a"); !errors.Is(err, keystore.ErrNotFound) {
			t.Errorf("before: %v", err)
		}
		close(gate)
		synctest.Wait()
		for { // the file is written outside the bubble's clock
			got, err := f.Get(t.Context(), "a")
			if err == nil && got.Reveal() == "late" {
				break
			}
			if err != nil && !errors.Is(err, keystore.ErrNotFound) {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		want := []keystoretest.Call{{Op: "write", Name: "a", N: 0}, {Op: "read", Name: "a", N: 1}}
		if calls := f.Calls(); !slices.Equal(calls[:2], want) {
			t.Errorf("calls = %v, want %v first", calls, want)
		}
	})
}
