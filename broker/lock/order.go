package lock

import (
	"path/filepath"
	"strings"
)

// Name is a lock of a folder: the name of its file.
type Name string

// The locks of a folder, in the order in which a process that needs several takes them.
// Login comes before Import, Exchange before Manifest, and Gate and Rotation between
// Settings and Manifest; those of two accounts are taken in the order of their ids.
const (
	Serve    Name = "serve.lock"    // the authferry serve of the folder, while it listens
	Import   Name = "import.lock"   // an import of another program's logins
	Settings Name = "settings.lock" // changes of config.toml and providers.toml
	Manifest Name = "manifest.lock" // changes of the keystore's other records than grants
	Index    Name = "index.lock"    // changes of index.json
)

// These are taken alone.
const (
	Setup  Name = "setup.lock"  // changes of other programs' configuration
	Probe  Name = "probe.lock"  // trials of the keystore
	Unlock Name = "unlock.lock" // opening or sealing a key file; this lock is in the session's folder
)

// Gate is held by the caller that wants the account rotated.
func Gate(account string) Name { return ofAccount(account, ".gate") }

// Rotation is held by whatever rotates the account, makes it or removes it.
func Rotation(account string) Name { return ofAccount(account, ".lock") }

// Login is held while a person is asked to renew the account's login.
func Login(account string) Name { return ofAccount(account, ".login") }

// Exchange is held by whatever tells the machines of a shared pool of this one's limits.
func Exchange(pool string) Name { return ofAccount(pool, ".exchange") }

// ofAccount returns an empty name for an id that could lead out of the folder. Taking an
// empty lock fails.
func ofAccount(id, suffix string) Name {
	if id == "" || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return ""
	}
	return Name(id + suffix)
}

// Folder is the path of the locks of the folder dir.
func Folder(dir string) string { return filepath.Join(dir, "locks") }

// In is the path of the lock in the folder dir. It is empty if n is.
func (n Name) In(dir string) string {
	if n == "" {
		return ""
	}
	return filepath.Join(Folder(dir), string(n))
}
