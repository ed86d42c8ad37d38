package keystore

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
)

// OpenKeychain returns the keychain of the logged-in user: the macOS Keychain, the Windows
// Credential Manager, or elsewhere the Secret Service of the session bus. It accesses
// nothing yet.
//
// A value of up to 2,000 bytes is one item, a longer one several (frame.go). Reading a
// short one takes one read of the keychain.
func OpenKeychain() Store { return system }

// The library has one connection per process, so the process has one lane.
var system = &keychain{backend: library{}, lane: newLane()}

// backend is the raw keychain. It is an interface only for tests, which simulate the limits
// and faults of other systems. For a missing item, Get and Delete return
// keyring.ErrNotFound.
type backend interface {
	Get(item string) (string, error)
	Set(item, text string) error
	Delete(item string) error
}

// library is the keychain through go-keyring. Its calls have no deadline, and some can hang
// for ever or panic.
type library struct{}

func (library) Get(item string) (string, error) {
	if err := reachable(); err != nil {
		return "", err
	}
	text, err := getItem(item)
	if vanished(err) {
		text, err = getItem(item)
	}
	return text, err
}

func (library) Set(item, text string) error {
	if err := reachable(); err != nil {
		return err
	}
	return setItem(item, text)
}

func (library) Delete(item string) error {
	if err := reachable(); err != nil {
		return err
	}
	err := deleteItem(item)
	if vanished(err) {
		err = deleteItem(item)
	}
	return err
}

type keychain struct {
	backend backend
	lane    lane
}

func (*keychain) Kind() Kind { return Keychain }

func (*keychain) Backend() string {
	switch runtime.GOOS {
	case "darwin":
		return "macOS Keychain"
	case "windows":
		return "Windows Credential Manager"
	}
	return "Secret Service"
}

func (k *keychain) Get(ctx context.Context, name string) (Secret, error) {
	return do(ctx, k.lane, "read", name, func() (Secret, error) {
		if err := checkName(name); err != nil {
			return Secret{}, err
		}
		return k.read(ctx, name)
	})
}

func (k *keychain) Set(ctx context.Context, name string, value Secret) error {
	_, err := do(ctx, k.lane, "write", name, func() (struct{}, error) {
		if err := checkName(name); err != nil {
			return struct{}{}, err
		}
		if len(value.Reveal()) > MaxSize {
			return struct{}{}, &Error{Cause: ErrTooBig}
		}
		return struct{}{}, k.write(ctx, name, value.Reveal())
	})
	return err
}

func (k *keychain) Delete(ctx context.Context, name string) error {
	_, err := do(ctx, k.lane, "delete", name, func() (struct{}, error) {
		if err := checkName(name); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, k.remove(ctx, name)
	})
	return err
}

func (k *keychain) read(ctx context.Context, name string) (Secret, error) {
	item, err := k.get(ctx, name)
	if err != nil {
		return Secret{}, err
	}
	h, text, ok := parseHead(item)
	if !ok {
		return Secret{}, &Error{Cause: ErrDamaged}
	}
	var parts strings.Builder
	for i := 1; i <= h.parts; i++ {
		item, err := k.get(ctx, partName(name, i))
		if errors.Is(err, ErrNotFound) {
			return Secret{}, &Error{Cause: ErrDamaged}
		}
		if err != nil {
			return Secret{}, err
		}
		part, ok := strings.CutPrefix(item, partHead(i, h.parts, h.gen))
		if !ok {
			return Secret{}, &Error{Cause: ErrDamaged}
		}
		parts.WriteString(part)
	}
	if h.parts > 0 {
		text = parts.String()
	}
	value, ok := h.decode(text)
	if !ok {
		return Secret{}, &Error{Cause: ErrDamaged}
	}
	return NewSecret(value), nil
}

// write writes the parts before the head that makes them valid. The parts in the keychain
// are always 1 to n without a gap, whenever a writer died, so they can be found by
// counting. Counting comes first because a write that is the first call of a process can
// crash gnome-keyring-daemon.
func (k *keychain) write(ctx context.Context, name, value string) error {
	old, err := k.countParts(ctx, name)
	if err != nil {
		return err
	}
	item, parts := encodeFrame(value)
	for i, part := range parts {
		if err := k.put(ctx, partName(name, i+1), part); err != nil {
			return err
		}
	}
	if err := k.put(ctx, name, item); err != nil {
		return err
	}
	return k.dropParts(ctx, name, old, len(parts))
}

// remove deletes the head last: without a head there are no parts.
func (k *keychain) remove(ctx context.Context, name string) error {
	n, err := k.countParts(ctx, name)
	if err != nil {
		return err
	}
	if err := k.dropParts(ctx, name, n, 0); err != nil {
		return err
	}
	return k.drop(ctx, name)
}

func (k *keychain) countParts(ctx context.Context, name string) (n int, err error) {
	for n < maxParts {
		if _, err := k.get(ctx, partName(name, n+1)); errors.Is(err, ErrNotFound) {
			break
		} else if err != nil && !errors.Is(err, ErrDamaged) {
			return n, err
		}
		n++
	}
	return n, nil
}

func (k *keychain) dropParts(ctx context.Context, name string, have, keep int) error {
	for i := have; i > keep; i-- {
		if err := k.drop(ctx, partName(name, i)); err != nil {
			return err
		}
	}
	return nil
}

// put writes one item and reads it back, because a dismissed prompt reports success.
func (k *keychain) put(ctx context.Context, item, text string) error {
	for again := false; ; again = true {
		if err := k.call(ctx, func() error { return k.backend.Set(item, text) }); err != nil {
			return err
		}
		got, err := k.get(ctx, item)
		switch {
		case errors.Is(err, ErrNotFound):
			return &Error{Cause: ErrDenied, Err: errMissing}
		case err != nil && !errors.Is(err, ErrDamaged):
			return err
		case err == nil && got == text:
			return nil
		case again:
			return &Error{Cause: ErrDenied, Err: errDiffers}
		}
		// A second item of the same name may have been read instead of the one that was
		// replaced.
		if err := k.drop(ctx, item); err != nil {
			return err
		}
	}
}

// drop deletes until nothing is left, because the library deletes only one of several items
// of a name.
func (k *keychain) drop(ctx context.Context, item string) error {
	for range 100 {
		err := k.call(ctx, func() error { return k.backend.Delete(item) })
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return &Error{Cause: ErrDenied, Err: errStays}
}

func (k *keychain) get(ctx context.Context, item string) (text string, err error) {
	err = k.call(ctx, func() (err error) {
		text, err = k.backend.Get(item)
		return err
	})
	return text, err
}

// call runs one step: an abandoned operation ends here, and the library's errors are
// classified here.
func (k *keychain) call(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f(); err != nil {
		if _, ok := errors.AsType[*Error](err); ok {
			return err
		}
		return &Error{Cause: classify(runtime.GOOS, err), Err: err}
	}
	return nil
}

// InKeychain reports whether the keychain has the item and would return it without a
// prompt. For use where a person expects none. If the system can't tell beforehand (macOS),
// it is false.
func InKeychain(ctx context.Context, name string) bool {
	there, err := do(ctx, system.lane, "look for", name, func() (bool, error) { return quiet(name), nil })
	return err == nil && there
}

// lane lets one operation of this process at a time access a store. An operation that was
// given up at its deadline keeps the lane until it really returns, so that its late write
// never comes after a newer one.
type lane chan struct{}

func newLane() lane { return make(lane, 1) }

var (
	errBusy  = errors.New("an earlier call is still under way")
	errCrash = errors.New("the keychain library crashed")
)

// do runs f in a goroutine and returns its result, or ErrTimeout if ctx ends first. A panic
// of f becomes ErrUnavailable. f must check ctx between its steps, so that an abandoned
// operation ends.
func do[T any](ctx context.Context, l lane, op, name string, f func() (T, error)) (T, error) {
	var none T
	select {
	case l <- struct{}{}:
	case <-ctx.Done():
		return none, named(op, name, fmt.Errorf("%w: %w", errBusy, ctx.Err()))
	}
	if err := ctx.Err(); err != nil {
		<-l
		return none, named(op, name, err)
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-l }()
		var r result
		defer func() { done <- r }()
		defer func() {
			if p := recover(); p != nil {
				r = result{err: &Error{Cause: ErrUnavailable, Err: crash(p)}}
			}
		}()
		r.value, r.err = f()
	}()
	select {
	case r := <-done:
		return r.value, named(op, name, r.err)
	case <-ctx.Done():
		return none, named(op, name, ctx.Err())
	}
}

// crash describes a panic. The library's own panic values are not shown: they might contain
// anything.
func crash(p any) error {
	if err, ok := p.(runtime.Error); ok {
		return fmt.Errorf("%w: %w", errCrash, err)
	}
	return errCrash
}
