package keystore

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// What is given up at its deadline keeps the lane until it returns, and what
// waits for the lane waits no longer than its own deadline.
func TestLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, hang := newLane(), make(chan struct{})
		within := func(d time.Duration) context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			t.Cleanup(cancel)
			return ctx
		}
		late := ""
		start := time.Now()
		_, err := do(within(5*time.Second), l, "write", "a", func() (int, error) {
			<-hang
			late += "first "
			return 1, nil
		})
		if !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 5*time.Second {
			t.Errorf("error = %v after %v", err, time.Since(start))
		}
		second := func() (int, error) { late += "second"; return 2, nil }
		if _, err := do(within(time.Second), l, "write", "a", second); !errors.Is(err, ErrTimeout) || !errors.Is(err, errBusy) {
			t.Errorf("error = %v, want that of a busy lane", err)
		}
		go func() {
			time.Sleep(time.Minute)
			close(hang)
		}()
		n, err := do(within(time.Hour), l, "write", "a", second)
		if n != 2 || err != nil || late != "first second" {
			t.Errorf("%d, %v, order %q", n, err, late)
		}
	})
}

func TestLaneAfterCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 { // a free lane and an ended context are a tie
		_, err := do(ctx, newLane(), "read", "a", func() (int, error) {
			t.Fatal("ran for a context that is over")
			return 0, nil
		})
		if !errors.Is(err, ErrTimeout) || !errors.Is(err, context.Canceled) {
			t.Fatalf("error = %v", err)
		}
	}
}

// A panic of Go's own is described; one with a value might hold anything.
func TestLaneRecovers(t *testing.T) {
	var nothing *lane
	_, err := do(t.Context(), newLane(), "read", "a", func() (int, error) { return len(*nothing), nil })
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, errCrash) {
		t.Errorf("error = %v", err)
	}
	if e, ok := errors.AsType[*Error](err); !ok || e.Op != "read" || e.Name != "a" {
		t.Errorf("error = %#v", err)
	}
}
