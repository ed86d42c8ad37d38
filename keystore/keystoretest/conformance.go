// Package keystoretest has what a keystore is tested with: one suite that every
// store passes, a store that does as it is told (Faulty), a real GNOME keyring
// and a Secret Service that lies, each on a message bus of its own.
package keystoretest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/proofs"
)

// Run is the suite. Every store that open returns in one Run is over the same
// items; which others are there does not matter.
func Run(t *testing.T, open func(t testing.TB) keystore.Store) {
	t.Run("values", func(t *testing.T) { values(t, open) })
	t.Run("overwriting", func(t *testing.T) { overwriting(t, open) })
	t.Run("not found", func(t *testing.T) { notFound(t, open) })
	t.Run("delete", func(t *testing.T) { deletion(t, open) })
	t.Run("too big", func(t *testing.T) { tooBig(t, open) })
	t.Run("bad names", func(t *testing.T) { badNames(t, open) })
	t.Run("cut short", func(t *testing.T) { cutShort(t, open) })
	t.Run("a context that is over", func(t *testing.T) { overBefore(t, open) })
	t.Run("concurrent use", func(t *testing.T) { concurrent(t, open) })
}

func values(t *testing.T, open func(testing.TB) keystore.Store) {
	cases := map[string]string{
		"one line":        "a",
		"newlines":        "\n\r\n a\n\n",
		"spaces":          "  a\t ",
		"NUL":             "a\x00b\x00",
		"quotes":          `'"` + "`$(x)`" + ` \" {"a":1}`,
		"UTF-8":           "žluťoučký 🦊 \u2028\u200b\ufeff\ufffd\U0010ffff",
		"not UTF-8":       "\xff\xfe\x80a\xc3",
		"control":         "\x01\x02\x1b[31m\x7f",
		"wide at the cut": strings.Repeat("x", 1999) + "🦊" + strings.Repeat("é", 1500),
		"NUL, long":       strings.Repeat("\x00", 3000),
		"like a head":     "authferry/1 parts=0 gen=00 size=1 sha256=00 text\nx",
	}
	for _, size := range []int{0, 1, 1999, 2000, 2001, 2559, 2560, 2561, 10_000, 100_000} {
		cases[fmt.Sprintf("%d bytes", size)] = text(size, 'a')
	}
	for name, value := range cases {
		t.Run(name, func(t *testing.T) {
			s, item := open(t), itemName()
			set(t, s, item, value)
			want(t, s, item, value)
			want(t, open(t), item, value)
			drop(t, s, item)
		})
	}
}

func overwriting(t *testing.T, open func(testing.TB) keystore.Store) {
	s, item := open(t), itemName()
	for i, size := range []int{5000, 3, 9000, 2001, 0, 4001, 2000, 6000} {
		value := text(size, rune('a'+i))
		set(t, s, item, value)
		want(t, s, item, value)
	}
	drop(t, s, item)
}

func notFound(t *testing.T, open func(testing.TB) keystore.Store) {
	s, item := open(t), itemName()
	_, err := s.Get(deadline(t), item)
	wantCause(t, err, keystore.ErrNotFound)
	e, ok := errors.AsType[*keystore.Error](err)
	if !ok || e.Name != item || e.Op != "read" {
		t.Errorf("error = %#v, want an *Error that names the item and the operation", err)
	}
}

func deletion(t *testing.T, open func(testing.TB) keystore.Store) {
	s, item := open(t), itemName()
	for _, size := range []int{10, 7000, 0} {
		set(t, s, item, text(size, 'd'))
		for range 2 { // a missing one is no error
			drop(t, s, item)
			_, err := s.Get(deadline(t), item)
			wantCause(t, err, keystore.ErrNotFound)
		}
	}
	set(t, s, item, "again")
	want(t, s, item, "again")
	drop(t, s, item)
}

func tooBig(t *testing.T, open func(testing.TB) keystore.Store) {
	s, item := open(t), itemName()
	set(t, s, item, "old")
	err := s.Set(deadline(t), item, keystore.NewSecret(text(keystore.MaxSize+1, 'b')))
	wantCause(t, err, keystore.ErrTooBig)
	want(t, s, item, "old")
	drop(t, s, item)
}

func badNames(t *testing.T, open func(testing.TB) keystore.Store) {
	s := open(t)
	for _, name := range []string{"", "a#1", "a b", "a\nb", "a\x00", "ä", "a'b", strings.Repeat("n", 201)} {
		wantCause(t, s.Set(deadline(t), name, keystore.NewSecret("x")), keystore.ErrDenied)
		_, err := s.Get(deadline(t), name)
		wantCause(t, err, keystore.ErrDenied)
		wantCause(t, s.Delete(deadline(t), name), keystore.ErrDenied)
	}
}

// cutShort ends a Set and a Delete after each of their steps, as the death of
// the process would.
func cutShort(t *testing.T, open func(testing.TB) keystore.Store) {
	for _, sizes := range proofs.Sample(2, [][2]int{{10, 10}, {10, 2500}, {4500, 10}, {2500, 2600}}) {
		t.Run(fmt.Sprintf("%d over %d bytes", sizes[1], sizes[0]), func(t *testing.T) {
			older, newer := text(sizes[0], 'o'), text(sizes[1], 'n')
			for step, done := 0, false; !done; step++ {
				s, item := open(t), itemName()
				set(t, s, item, older)
				err := s.Set(&stepContext{Context: deadline(t), steps: step}, item, keystore.NewSecret(newer))
				done = err == nil
				if err != nil {
					wantCause(t, err, keystore.ErrTimeout)
				}
				s = open(t)
				switch got, err := s.Get(deadline(t), item); {
				case errors.Is(err, keystore.ErrDamaged):
				case err != nil:
					t.Fatalf("step %d: %v", step, err)
				case got.Reveal() != newer && (done || got.Reveal() != older):
					t.Fatalf("step %d: neither the old nor the new value, but one of %d bytes", step, len(got.Reveal()))
				}
				set(t, s, item, newer)
				want(t, s, item, newer)
				drop(t, s, item)
			}
		})
	}
	t.Run("delete", func(t *testing.T) {
		value := text(2500, 'v')
		for step, done := 0, false; !done; step++ {
			s, item := open(t), itemName()
			set(t, s, item, value)
			done = s.Delete(&stepContext{Context: deadline(t), steps: step}, item) == nil
			got, err := s.Get(deadline(t), item)
			switch {
			case done:
				wantCause(t, err, keystore.ErrNotFound)
			case err == nil && got.Reveal() != value:
				t.Fatalf("step %d: a value that nobody wrote", step)
			case err != nil && !errors.Is(err, keystore.ErrDamaged) && !errors.Is(err, keystore.ErrNotFound):
				t.Fatalf("step %d: %v", step, err)
			}
			drop(t, s, item)
		}
	})
}

func overBefore(t *testing.T, open func(testing.TB) keystore.Store) {
	s, item := open(t), itemName()
	set(t, s, item, "old")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Get(over, item)
	wantCause(t, err, keystore.ErrTimeout)
	wantCause(t, s.Set(over, item, keystore.NewSecret("new")), keystore.ErrTimeout)
	wantCause(t, s.Delete(over, item), keystore.ErrTimeout)
	want(t, s, item, "old")
	drop(t, s, item)
}

func concurrent(t *testing.T, open func(testing.TB) keystore.Store) {
	s, shared := open(t), itemName()
	set(t, s, shared, text(3000, 'a'))
	var all sync.WaitGroup
	for i := range 4 {
		own := itemName()
		all.Go(func() {
			defer drop(t, s, own)
			for round := range 3 {
				value := text(100+1500*round, rune('a'+i))
				set(t, s, own, value)
				want(t, s, own, value)
				set(t, s, shared, text(3000, rune('a'+i)))
				got, err := s.Get(deadline(t), shared)
				if v := got.Reveal(); err != nil || len(v) != 3000 || strings.Trim(v, v[:1]) != "" {
					t.Errorf("a value of several writers, or none (%v)", err)
				}
			}
		})
	}
	all.Wait()
	drop(t, s, shared)
}

// stepContext is over once its Err was asked for so many times, which is what a
// store does between its steps.
type stepContext struct {
	context.Context
	mu    sync.Mutex
	steps int
}

func (c *stepContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.steps == 0 {
		return context.DeadlineExceeded
	}
	c.steps--
	return nil
}

var itemNumber struct {
	sync.Mutex
	n int
}

// itemName is another one each time, also in another process.
func itemName() string {
	itemNumber.Lock()
	defer itemNumber.Unlock()
	itemNumber.n++
	return fmt.Sprintf("conformance/%x/%d:a", processStart, itemNumber.n)
}

var processStart = time.Now().UnixNano()

// text is size bytes of one letter.
func text(size int, r rune) string { return strings.Repeat(string(r), size) }

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func set(t testing.TB, s keystore.Store, name, value string) {
	t.Helper()
	if err := s.Set(deadline(t), name, keystore.NewSecret(value)); err != nil {
		t.Errorf("Set of %d bytes: %v", len(value), err)
	}
}

func want(t testing.TB, s keystore.Store, name, value string) {
	t.Helper()
	switch got, err := s.Get(deadline(t), name); {
	case err != nil:
		t.Errorf("Get: %v", err)
	case got.Reveal() != value:
		t.Errorf("Get = %d bytes, not the %d that were set", len(got.Reveal()), len(value))
	}
}

func drop(t testing.TB, s keystore.Store, name string) {
	t.Helper()
	if err := s.Delete(deadline(t), name); err != nil {
		t.Errorf("Delete: %v", err)
	}
}

func wantCause(t testing.TB, err, cause error) {
	t.Helper()
	if !errors.Is(err, cause) {
		t.Errorf("error = %v, want %v", err, cause)
	}
}
