package keystore

import "context"

// InKeychain reports whether the keychain has the item and would give it without
// a prompt, for those who look where nobody asked them to. Where the system does
// not tell before it asks (macOS), it is false.
func InKeychain(ctx context.Context, name string) bool {
	there, err := do(ctx, system.lane, "look for", name, func() (bool, error) { return quiet(name), nil })
	return err == nil && there
}
