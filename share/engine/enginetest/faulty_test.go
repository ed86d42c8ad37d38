package enginetest_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/engine/enginetest"
	"github.com/authferry/authferry/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.LeavingNothing(m, "share/engine")) }

func TestMemoryConforms(t *testing.T) {
	m := enginetest.NewMemory()
	enginetest.Run(t, func(testing.TB) engine.Engine { return enginetest.NewFaulty(m) })
}

func always(fault enginetest.Fault) func(enginetest.Call) enginetest.Fault {
	return func(enginetest.Call) enginetest.Fault { return fault }
}

func TestFaults(t *testing.T) {
	id := engine.Identity{Cluster: "another", Revision: 7}
	for name, tt := range map[string]struct {
		fault     enginetest.Fault
		swap, get error
		reads     string // after the Swap, with the fault
		stored    string // after it, without
		delivered string // after Deliver
		takes     time.Duration
		cluster   string
	}{
		"none":          {reads: "new", stored: "new", delivered: "new"},
		"slow":          {fault: enginetest.Fault{Delay: time.Second}, reads: "new", stored: "new", delivered: "new", takes: 2 * time.Second},
		"slower":        {fault: enginetest.Fault{Delay: time.Hour}, swap: engine.ErrUnknown, get: engine.ErrUnreachable, stored: "old", delivered: "old", takes: 20 * time.Second},
		"unreachable":   {fault: enginetest.Fault{Err: engine.ErrUnreachable}, swap: engine.ErrUnreachable, get: engine.ErrUnreachable, stored: "old", delivered: "old"},
		"refused":       {fault: enginetest.Fault{Err: engine.ErrRefused}, swap: engine.ErrRefused, get: engine.ErrRefused, stored: "old", delivered: "old"},
		"applied":       {fault: enginetest.Fault{Outcome: enginetest.AppliedNow}, swap: engine.ErrUnknown, reads: "new", stored: "new", delivered: "new"},
		"applied later": {fault: enginetest.Fault{Outcome: enginetest.AppliedLater}, swap: engine.ErrUnknown, reads: "old", stored: "old", delivered: "new"},
		"never applied": {fault: enginetest.Fault{Outcome: enginetest.NeverApplied}, swap: engine.ErrUnknown, reads: "old", stored: "old", delivered: "old"},
		"stale":         {fault: enginetest.Fault{Stale: true}, reads: "old", stored: "new", delivered: "new"},
		"another":       {fault: enginetest.Fault{Identity: &id}, reads: "new", stored: "new", delivered: "new", cluster: "another"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, start := enginetest.NewFaulty(enginetest.NewMemory()), time.Now()
				within := func() context.Context {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					t.Cleanup(cancel)
					return ctx
				}
				old, won, err := f.Swap(within(), "a", 0, []byte("old"))
				if err != nil || !won {
					t.Fatal(won, err)
				}
				f.Inject(always(tt.fault))
				if _, won, err := f.Swap(within(), "a", old.Version, []byte("new")); !errors.Is(err, tt.swap) || won != (tt.swap == nil) {
					t.Errorf("Swap = %v, %v, want %v", won, err, tt.swap)
				}
				got, id, err := f.Get(within(), "a")
				if !errors.Is(err, tt.get) || string(got.Value) != tt.reads || (tt.cluster != "" && id.Cluster != tt.cluster) {
					t.Errorf("Get = %q, %v, %v, want %q, %v", got.Value, id, err, tt.reads, tt.get)
				}
				entries, _, err := f.List(within(), "")
				if !errors.Is(err, tt.get) || (err == nil && string(entries[0].Value) != tt.reads) {
					t.Errorf("List = %v, %v, want %q, %v", entries, err, tt.reads, tt.get)
				}
				if took := time.Since(start); took != tt.takes+tt.takes/2 {
					t.Errorf("took %v, want half as much again as %v", took, tt.takes)
				}
				f.Inject(nil)
				wantValue(t, f, tt.stored)
				f.Deliver()
				wantValue(t, f, tt.delivered)
			})
		})
	}
}

// A later Swap that is won rules out the one whose outcome was unknown.
func TestLateSwapIsRuledOut(t *testing.T) {
	f := enginetest.NewFaulty(enginetest.NewMemory())
	first := swap(t, f, 0, "first")
	f.Inject(always(enginetest.Fault{Outcome: enginetest.AppliedLater}))
	if _, _, err := f.Swap(t.Context(), "a", first.Version, []byte("late")); !errors.Is(err, engine.ErrUnknown) {
		t.Fatal(err)
	}
	f.Inject(nil)
	swap(t, f, first.Version, "second")
	f.Deliver()
	wantValue(t, f, "second")
	if n := len(f.Calls()); n != 4 {
		t.Errorf("%d calls, want 4", n)
	}
}

func TestPartition(t *testing.T) {
	m := enginetest.NewMemory()
	here, there := enginetest.NewFaulty(m), enginetest.NewFaulty(m)
	first := swap(t, here, 0, "first")
	waits := make(chan error, 1)
	go func() { waits <- here.Changed(t.Context(), "a", int64(first.Version)) }()
	here.Partition()
	if err := <-waits; !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("Changed = %v", err)
	}
	if _, _, err := here.Swap(t.Context(), "a", first.Version, nil); !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("Swap = %v", err)
	}
	swap(t, there, first.Version, "second")
	here.Heal()
	wantValue(t, here, "second")
}

// The operator's lies, as a machine sees them.
func TestOperator(t *testing.T) {
	m := enginetest.NewMemory()
	first := swap(t, m, 0, "first")
	backup := m.Snapshot()
	second := swap(t, m, first.Version, "second")
	swap(t, m, second.Version, "third")
	_, before, err := m.Get(t.Context(), "a")
	testenv.Must(t, err)

	m.Rollback("a")
	wantValue(t, m, "second")
	m.Delete("a")
	if e, _, err := m.Get(t.Context(), "a"); err != nil || e.Version != 0 {
		t.Errorf("deleted: %+v, %v", e, err)
	}
	m.Put("a", []byte("forged"))
	wantValue(t, m, "forged")

	m.Restore(backup, true)
	wantValue(t, m, "first")
	if _, id, err := m.Get(t.Context(), "a"); err != nil || id.Cluster != before.Cluster || id.Revision <= before.Revision {
		t.Errorf("restored with its revision: %+v, %v; it was %+v", id, err, before)
	}
	m.Restore(backup, false)
	m.SetCluster("another")
	if _, id, err := m.Get(t.Context(), "a"); err != nil || id.Cluster != "another" || id.Revision >= before.Revision {
		t.Errorf("restored: %+v, %v; it was %+v", id, err, before)
	}
	if again := swap(t, m, first.Version, "again"); again.Version != second.Version {
		t.Errorf("version %d, want %d used again", again.Version, second.Version)
	}
}

func swap(t *testing.T, e engine.Engine, expect engine.Version, value string) engine.Entry {
	t.Helper()
	now, won, err := e.Swap(t.Context(), "a", expect, []byte(value))
	if err != nil || !won {
		t.Fatal(now, won, err)
	}
	return now
}

func wantValue(t *testing.T, e engine.Engine, want string) {
	t.Helper()
	if got, _, err := e.Get(t.Context(), "a"); err != nil || string(got.Value) != want {
		t.Errorf("has %q, %v, want %q", got.Value, err, want)
	}
}
