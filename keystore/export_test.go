package keystore

// Backend is the raw keychain behind the store, so that a test can put the
// limits and faults of other systems there.
type Backend = backend

// NewKeychain is the keychain store over b.
func NewKeychain(b Backend) Store { return &keychain{backend: b, lane: newLane()} }
