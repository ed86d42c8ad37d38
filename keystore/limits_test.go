package keystore_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/zalando/go-keyring"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/testenv"
)

// foreign is a keychain in memory with the limits of another system. It takes as
// many calls as it has steps; then its client is dead.
type foreign struct {
	mu    sync.Mutex
	items map[string]string
	limit func(item, text string) error
	steps int
}

const forever = 1 << 30

var errDead = errors.New("no further call of this process")

func newForeign(limit func(item, text string) error) *foreign {
	return &foreign{items: map[string]string{}, limit: limit, steps: forever}
}

func (f *foreign) Get(item string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.steps--; f.steps < 0 {
		return "", errDead
	}
	text, ok := f.items[item]
	if !ok {
		return "", keyring.ErrNotFound
	}
	return text, nil
}

func (f *foreign) Set(item, text string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.steps--; f.steps < 0 {
		return errDead
	}
	if err := f.limit(item, text); err != nil {
		return err
	}
	f.items[item] = text
	return nil
}

func (f *foreign) Delete(item string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.steps--; f.steps < 0 {
		return errDead
	}
	if _, ok := f.items[item]; !ok {
		return keyring.ErrNotFound
	}
	delete(f.items, item)
	return nil
}

// windows: a credential's blob (CRED_MAX_CREDENTIAL_BLOB_SIZE).
func windows(_, text string) error {
	if len(text) > 2560 {
		return keyring.ErrSetDataTooBig
	}
	return nil
}

// macOS: one command line to security -i.
func macOS(item, text string) error {
	if strings.ContainsAny(item, `#`) {
		item = "'" + item + "'"
	}
	line := fmt.Sprintf("add-generic-password -U -s %s -a %s -w %s\n",
		keystore.Service, item, "go-keyring-base64:"+base64.StdEncoding.EncodeToString([]byte(text)))
	if len(line) > 4096 {
		return keyring.ErrSetDataTooBig
	}
	return nil
}

// textOnly: a keychain that keeps a string of its toolkit, not bytes.
func textOnly(_, text string) error {
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return errors.New("not text")
	}
	return nil
}

// C15: the limits of every system, on every system.
func TestForeignLimits(t *testing.T) {
	for name, limit := range map[string]func(item, text string) error{
		"Windows": windows, "macOS": macOS, "text only": textOnly,
	} {
		t.Run(name, func(t *testing.T) {
			f := newForeign(limit)
			keystoretest.Run(t, func(testing.TB) keystore.Store { return keystore.NewKeychain(f) })

			s, longest := keystore.NewKeychain(f), strings.Repeat("n", 200)
			for _, r := range []string{"x", "é", "🦊", "\xff"} {
				value := strings.Repeat(r, keystore.MaxSize/len(r))
				if err := s.Set(t.Context(), longest, keystore.NewSecret(value)); err != nil {
					t.Fatalf("%q: %v", r, err)
				}
				if got, err := s.Get(t.Context(), longest); err != nil || got.Reveal() != value {
					t.Fatalf("%q: not what was set (%v)", r, err)
				}
			}
			if err := s.Delete(t.Context(), longest); err != nil || len(f.items) != 0 {
				t.Errorf("%d items are left (%v)", len(f.items), err)
			}
		})
	}
}

// K13: a process that dies between any two steps of a Set leaves the old value,
// damage or the new value, and nothing behind once the next one is done.
func TestDeathBetweenSteps(t *testing.T) {
	for _, sizes := range [][2]int{{10, 20}, {10, 9000}, {9000, 10}, {5000, 9000}, {9000, 5000}, {9000, 9001}} {
		older, newer := strings.Repeat("o", sizes[0]), strings.Repeat("n", sizes[1])
		for step, done := 0, false; !done; step++ {
			f := newForeign(windows)
			s, ctx := keystore.NewKeychain(f), t.Context()
			mustSet(t, s, older)
			f.steps = step
			done = s.Set(ctx, item, keystore.NewSecret(newer)) == nil
			f.steps = forever
			switch got, err := s.Get(ctx, item); {
			case errors.Is(err, keystore.ErrDamaged):
			case err != nil:
				t.Errorf("%v, step %d: %v", sizes, step, err)
			case got.Reveal() != newer && (done || got.Reveal() != older):
				t.Errorf("%v, step %d: neither the old nor the new value", sizes, step)
			}
			mustSet(t, s, "short")
			if len(f.items) != 1 {
				t.Errorf("%v, step %d: %d items are left of one short value", sizes, step, len(f.items))
			}
		}
	}
}

// A Delete that dies midway is found by the next one: where no head is, there
// are no parts.
func TestDeathInDelete(t *testing.T) {
	for step, done := 0, false; !done; step++ {
		f := newForeign(windows)
		s, ctx := keystore.NewKeychain(f), t.Context()
		mustSet(t, s, long)
		f.steps = step
		done = s.Delete(ctx, item) == nil
		f.steps = forever
		if _, err := s.Get(ctx, item); errors.Is(err, keystore.ErrNotFound) && len(f.items) > 0 {
			t.Errorf("step %d: not found, and %d parts are left", step, len(f.items))
		}
		if err := s.Delete(ctx, item); err != nil || len(f.items) != 0 {
			t.Errorf("step %d: %d items are left (%v)", step, len(f.items), err)
		}
	}
}

// Parts of one write never pass for those of another.
func TestMixedParts(t *testing.T) {
	f := newForeign(windows)
	s := keystore.NewKeychain(f)
	mustSet(t, s, strings.Repeat("a", 5000))
	part := f.items[item+"#2"]
	mustSet(t, s, strings.Repeat("b", 5000))
	f.items[item+"#2"] = part
	if _, err := s.Get(t.Context(), item); !errors.Is(err, keystore.ErrDamaged) {
		t.Errorf("error = %v, want ErrDamaged", err)
	}
	mustSet(t, s, strings.Repeat("c", 5000))
	f.items[item+"#1"], f.items[item+"#2"] = f.items[item+"#2"], f.items[item+"#1"]
	if _, err := s.Get(t.Context(), item); !errors.Is(err, keystore.ErrDamaged) {
		t.Errorf("error = %v, want ErrDamaged", err)
	}
}

// A library that panics is an error like others.
func TestPanic(t *testing.T) {
	s := keystore.NewKeychain(panicking{})
	_, err := s.Get(context.Background(), item)
	if !errors.Is(err, keystore.ErrUnavailable) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error = %v", err)
	}
	if err := s.Set(context.Background(), item, keystore.NewSecret("x")); !errors.Is(err, keystore.ErrUnavailable) {
		t.Errorf("after a panic: %v", err)
	}
}

type panicking struct{}

func (panicking) Get(string) (string, error) { panic("hunter2") }
func (panicking) Set(string, string) error   { panic("hunter2") }
func (panicking) Delete(string) error        { panic("hunter2") }

func mustSet(t testing.TB, s keystore.Store, value string) {
	t.Helper()
	testenv.Must(t, s.Set(t.Context(), item, keystore.NewSecret(value)))
}
