package lock

import (
	"path/filepath"
	"strings"
)

// Name is a lock of a folder, by the name of its file.
type Name string

// The locks of a folder, in the order in which whoever takes several takes them, and
// never the reverse. Gate and Rotation stand between Settings and Manifest; two
// accounts' are taken in the order of their ids.
const (
	Serve    Name = "serve.lock"    // the authferry serve of the folder, as long as it listens
	Import   Name = "import.lock"   // who takes logins over
	Settings Name = "settings.lock" // who changes config.toml or providers.toml
	Manifest Name = "manifest.lock" // who changes what the keystore has beside the grants
	Index    Name = "index.lock"    // who changes index.json
)

// These are taken alone.
const (
	Setup  Name = "setup.lock"  // who changes other programs' configuration
	Probe  Name = "probe.lock"  // who tries the keystore
	Unlock Name = "unlock.lock" // who opens or seals a key file; it lies in the session's folder
)

// Gate is held by who wants the account rotated.
func Gate(account string) Name { return ofAccount(account, ".gate") }

// Rotation is held by who rotates the account, or makes or removes it.
func Rotation(account string) Name { return ofAccount(account, ".lock") }

// ofAccount returns no name for what could lead out of the folder: taking that lock
// fails.
func ofAccount(id, suffix string) Name {
	if id == "" || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return ""
	}
	return Name(id + suffix)
}

// Folder is where the locks of the folder dir are.
func Folder(dir string) string { return filepath.Join(dir, "locks") }

// In is the path of the lock in the folder dir; empty: of no account.
func (n Name) In(dir string) string {
	if n == "" {
		return ""
	}
	return filepath.Join(Folder(dir), string(n))
}
