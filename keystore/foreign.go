package keystore

import (
	"context"
	"errors"
	"runtime"

	"github.com/zalando/go-keyring"
)

// Foreign is an item of another program in the keychain. It exists on macOS only, whose
// keychain asks the person. It is read and deleted, never written.
type Foreign struct{ Service, Account string }

// Get returns the item's value. Errors are those of Store.Get; on other systems than macOS
// the item never exists.
func (f Foreign) Get(ctx context.Context) (Secret, error) {
	if runtime.GOOS != "darwin" {
		return Secret{}, named("read", f.Service, &Error{Cause: ErrNotFound})
	}
	return do(ctx, system.lane, "read", f.Service, func() (value Secret, err error) {
		err = system.call(ctx, func() error {
			text, err := keyring.Get(f.Service, f.Account)
			value = NewSecret(text)
			return err
		})
		return value, err
	})
}

// Delete removes the item. A missing one is no error.
func (f Foreign) Delete(ctx context.Context) error {
	if runtime.GOOS != "darwin" {
		return nil
	}
	_, err := do(ctx, system.lane, "delete", f.Service, func() (struct{}, error) {
		err := system.call(ctx, func() error { return keyring.Delete(f.Service, f.Account) })
		if errors.Is(err, ErrNotFound) {
			err = nil
		}
		return struct{}{}, err
	})
	return err
}
