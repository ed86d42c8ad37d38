package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/testenv"
)

// Run is the suite. Every engine that open returns in one Run is a connection of its own to
// the same store; which keys of others are there does not matter. Its keys begin with
// "authferry/".
func Run(t *testing.T, open func(t testing.TB) engine.Engine) {
	for name, test := range map[string]func(*testing.T, func(testing.TB) engine.Engine){
		"absent":              absent,
		"create":              create,
		"update":              update,
		"delete":              deletion,
		"values":              values,
		"list":                list,
		"seen by all at once": seenByAll,
		"one winner":          oneWinner,
		"changed":             changed,
		"changed, elsewhere":  changedElsewhere,
		"identity":            identity,
		"over before":         overBefore,
		"closed":              closed,
	} {
		t.Run(name, func(t *testing.T) { test(t, open) })
	}
}

func absent(t *testing.T, open func(testing.TB) engine.Engine) {
	e, key := open(t), newKey()
	for _, expect := range []engine.Version{1, 1 << 40} {
		now, won, err := e.Swap(deadline(t), key, expect, []byte("x"))
		testenv.Must(t, err)
		if won || now.Version != 0 || now.Key != key || len(now.Value) != 0 {
			t.Errorf("Swap of version %d = %+v, %v; want lost to an absent key", expect, now, won)
		}
	}
	wantEntry(t, e, engine.Entry{Key: key})
	// Deleting what isn't there is won.
	now, won, err := e.Swap(deadline(t), key, 0, nil)
	testenv.Must(t, err)
	if !won || now.Version != 0 {
		t.Errorf("Swap 0 to nothing = %+v, %v; want won", now, won)
	}
	wantEntry(t, e, engine.Entry{Key: key})
}

func create(t *testing.T, open func(testing.TB) engine.Engine) {
	e, key := open(t), newKey()
	first := swap(t, e, key, 0, "first")
	wantEntry(t, open(t), first)
	wantLost(t, e, key, 0, first)
	wantLost(t, e, key, first.Version+1, first)
	wantEntry(t, e, first)
}

func update(t *testing.T, open func(testing.TB) engine.Engine) {
	e, key := open(t), newKey()
	first := swap(t, e, key, 0, "same")
	second := swap(t, e, key, first.Version, "same")
	if second.Version <= first.Version {
		t.Errorf("version %d, then %d: it doesn't grow with the same value", first.Version, second.Version)
	}
	wantLost(t, e, key, first.Version, second)
	wantEntry(t, e, swap(t, e, key, second.Version, "third"))
}

func deletion(t *testing.T, open func(testing.TB) engine.Engine) {
	e, key := open(t), newKey()
	first := swap(t, e, key, 0, "x")
	if now, won, err := e.Swap(deadline(t), key, first.Version-1, nil); err != nil || won || now.Version != first.Version {
		t.Errorf("deletion of another version = %+v, %v, %v; want lost", now, won, err)
	}
	now, won, err := e.Swap(deadline(t), key, first.Version, nil)
	if err != nil || !won || now.Version != 0 {
		t.Errorf("deletion = %+v, %v, %v; want won", now, won, err)
	}
	wantEntry(t, open(t), engine.Entry{Key: key})
	again := swap(t, e, key, 0, "x")
	if again.Version <= first.Version {
		t.Errorf("version %d, then %d after a deletion: it was used again", first.Version, again.Version)
	}
	wantLost(t, e, key, first.Version, again)
}

func values(t *testing.T, open func(testing.TB) engine.Engine) {
	e := open(t)
	for name, value := range map[string]string{
		"empty": "", "NUL": "a\x00b\x00", "not UTF-8": "\xff\xfe\x80a\xc3", "newlines": "\n\r\n a\n\n", "100 KB": strings.Repeat("\x00é", 33_000),
	} {
		t.Run(name, func(t *testing.T) {
			key, buffer := newKey(), []byte(value)
			now, won, err := e.Swap(deadline(t), key, 0, buffer)
			if err != nil || !won {
				t.Fatal(won, err)
			}
			for i := range buffer {
				buffer[i] = '!' // it is the caller's again
			}
			got, _, err := e.Get(deadline(t), key)
			testenv.Must(t, err)
			if string(got.Value) != value || string(now.Value) != value || got.Version != now.Version {
				t.Errorf("reads %d bytes of version %d, Swap returned %d of %d; want %d", len(got.Value), got.Version, len(now.Value), now.Version, len(value))
			}
			for i := range got.Value {
				got.Value[i] = '?'
			}
			wantEntry(t, e, engine.Entry{Key: key, Value: []byte(value), Version: now.Version})
		})
	}
}

func list(t *testing.T, open func(testing.TB) engine.Engine) {
	e, base := open(t), newKey()
	var want []engine.Entry
	for i := range 120 {
		want = append(want, swap(t, e, fmt.Sprintf("%s/in/%03d", base, 119-i), 0, strings.Repeat("v", i)))
	}
	slices.Reverse(want)
	swap(t, e, base+"/in", 0, "before it")
	swap(t, e, base+"/in0", 0, "after it")
	gone := swap(t, e, base+"/in/gone", 0, "x")
	swapTo(t, e, gone.Key, gone.Version, nil)
	got, id, err := open(t).List(deadline(t), base+"/in/")
	testenv.Must(t, err)
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i].Key != want[i].Key || !bytes.Equal(got[i].Value, want[i].Value) || got[i].Version != want[i].Version {
			t.Fatalf("entry %d is %s %d, want %s %d", i, got[i].Key, got[i].Version, want[i].Key, want[i].Version)
		}
	}
	if id.Cluster == "" || id.Revision <= 0 {
		t.Errorf("identity = %+v", id)
	}
	none, _, err := e.List(deadline(t), base+"/none/")
	if err != nil || len(none) != 0 {
		t.Errorf("a list of nothing = %v, %v", none, err)
	}
}

// Whoever reads after a write was acknowledged sees it, over any connection.
func seenByAll(t *testing.T, open func(testing.TB) engine.Engine) {
	a, b, key := open(t), open(t), newKey()
	last := swap(t, a, key, 0, "0")
	for i := range 50 {
		last = swap(t, a, key, last.Version, strconv.Itoa(i))
		wantEntry(t, b, last)
		a, b = b, a
	}
}

// Of many that swap one version, one wins, whoever it is.
func oneWinner(t *testing.T, open func(testing.TB) engine.Engine) {
	const machines, rounds = 8, 10
	key := newKey()
	var connections []engine.Engine
	for range machines {
		connections = append(connections, open(t))
	}
	now := swap(t, connections[0], key, 0, "start")
	for range rounds {
		var wait sync.WaitGroup
		var mu sync.Mutex
		var winners []engine.Entry
		for i, c := range connections {
			wait.Go(func() {
				e, won, err := c.Swap(deadline(t), key, now.Version, []byte(strconv.Itoa(i)))
				testenv.Check(t, err)
				mu.Lock()
				defer mu.Unlock()
				if won {
					winners = append(winners, e)
				}
			})
		}
		wait.Wait()
		if len(winners) != 1 {
			t.Fatalf("%d won one version: %v", len(winners), winners)
		}
		now = winners[0]
		wantEntry(t, connections[0], now)
	}
}

func changed(t *testing.T, open func(testing.TB) engine.Engine) {
	e, base := open(t), newKey()
	for name, change := range map[string]func(now engine.Entry) engine.Entry{
		"created": func(now engine.Entry) engine.Entry { return swap(t, e, now.Key+"/new", 0, "x") },
		"updated": func(now engine.Entry) engine.Entry { return swap(t, e, now.Key, now.Version, "y") },
		"deleted": func(now engine.Entry) engine.Entry { return swapTo(t, e, now.Key, now.Version, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			now := swap(t, e, base+"/"+name, 0, "x")
			_, id, err := e.List(deadline(t), base)
			testenv.Must(t, err)
			waits := make(chan error, 1)
			waiter := open(t)
			go func() { waits <- waiter.Changed(deadline(t), base, id.Revision) }()
			select {
			case err := <-waits:
				t.Fatalf("returned before the change: %v", err)
			case <-time.After(20 * time.Millisecond):
			}
			change(now)
			testenv.Must(t, <-waits)
			testenv.Must(t, e.Changed(deadline(t), base, id.Revision)) // it has
		})
	}
}

func changedElsewhere(t *testing.T, open func(testing.TB) engine.Engine) {
	e, mine, other := open(t), newKey()+"/", newKey()+"/"
	_, id, err := e.List(deadline(t), mine)
	testenv.Must(t, err)
	swap(t, e, other+"k", 0, "x")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := e.Changed(ctx, mine, id.Revision); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Changed = %v, want the deadline", err)
	}
}

func identity(t *testing.T, open func(testing.TB) engine.Engine) {
	a, b, key := open(t), open(t), newKey()
	_, before, err := a.Get(deadline(t), key)
	testenv.Must(t, err)
	if before.Cluster == "" || before.Revision <= 0 {
		t.Errorf("identity = %+v", before)
	}
	swap(t, a, key, 0, "x")
	_, after, err := b.Get(deadline(t), key)
	testenv.Must(t, err)
	if after.Cluster != before.Cluster || after.Revision <= before.Revision {
		t.Errorf("identity = %+v, then %+v after a write", before, after)
	}
}

func overBefore(t *testing.T, open func(testing.TB) engine.Engine) {
	e, key := open(t), newKey()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, won, swapErr := e.Swap(ctx, key, 0, []byte("x"))
	_, _, getErr := e.Get(ctx, key)
	_, _, listErr := e.List(ctx, key)
	for op, err := range map[string]error{"swap": swapErr, "get": getErr, "list": listErr, "changed": e.Changed(ctx, key, 0)} {
		if !errors.Is(err, engine.ErrUnreachable) || !errors.Is(err, context.Canceled) || errors.Is(err, engine.ErrUnknown) {
			t.Errorf("%s: %v, want ErrUnreachable and the context's", op, err)
		}
	}
	if won {
		t.Error("won")
	}
	wantEntry(t, e, engine.Entry{Key: key})
}

func closed(t *testing.T, open func(testing.TB) engine.Engine) {
	e, other, key := open(t), open(t), newKey()
	_, id, err := e.Get(deadline(t), key)
	testenv.Must(t, err)
	waits := make(chan error, 1)
	go func() { waits <- e.Changed(deadline(t), key, id.Revision) }()
	testenv.Must(t, e.Close())
	if err := <-waits; !errors.Is(err, engine.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Changed = %v, want ErrUnreachable", err)
	}
	_, _, getErr := e.Get(deadline(t), key)
	_, _, swapErr := e.Swap(deadline(t), key, 0, []byte("x"))
	for op, err := range map[string]error{"get": getErr, "swap": swapErr} {
		if !errors.Is(err, engine.ErrUnreachable) || errors.Is(err, engine.ErrUnknown) {
			t.Errorf("%s: %v, want ErrUnreachable", op, err)
		}
	}
	wantEntry(t, other, engine.Entry{Key: key})
}

// newKey is one that no other test has.
func newKey() string { return fmt.Sprintf("authferry/conformance/%016x", rand.Uint64()) } // #nosec G404 -- a name

// deadline is there for a test that would never end.
func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func swap(t testing.TB, e engine.Engine, key string, expect engine.Version, value string) engine.Entry {
	t.Helper()
	return swapTo(t, e, key, expect, []byte(value))
}

func swapTo(t testing.TB, e engine.Engine, key string, expect engine.Version, value []byte) engine.Entry {
	t.Helper()
	now, won, err := e.Swap(deadline(t), key, expect, value)
	if err != nil || !won || now.Key != key || !bytes.Equal(now.Value, value) {
		t.Fatalf("Swap of %s = %+v, %v, %v; want won", key, now, won, err)
	}
	return now
}

func wantLost(t testing.TB, e engine.Engine, key string, expect engine.Version, want engine.Entry) {
	t.Helper()
	now, won, err := e.Swap(deadline(t), key, expect, []byte("lost"))
	if err != nil || won || now.Key != key || !bytes.Equal(now.Value, want.Value) || now.Version != want.Version {
		t.Errorf("Swap of version %d = %+v, %v, %v; want lost to %+v", expect, now, won, err, want)
	}
}

func wantEntry(t testing.TB, e engine.Engine, want engine.Entry) {
	t.Helper()
	got, _, err := e.Get(deadline(t), want.Key)
	testenv.Must(t, err)
	if got.Key != want.Key || !bytes.Equal(got.Value, want.Value) || got.Version != want.Version {
		t.Errorf("Get = %s %d (%d bytes), want %s %d (%d bytes)", got.Key, got.Version, len(got.Value), want.Key, want.Version, len(want.Value))
	}
}
