package keystore

import "context"

// InKeychain reports whether the keychain has the item and would return it without a
// prompt. For use where a person expects none. If the system can't tell beforehand (macOS),
// it is false.
func InKeychain(ctx context.Context, name string) bool {
	there, err := do(ctx, system.lane, "look for", name, func() (bool, error) { return quiet(name), nil })
	return err == nil && there
}
