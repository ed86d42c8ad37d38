package keystore

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

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
