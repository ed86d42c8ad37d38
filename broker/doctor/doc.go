// Package doctor finds what is wrong with a folder of accounts, and mends it where
// that costs no login. What it mends it says. It refreshes nothing and asks no provider,
// but to end a login whose removal was cut off, if that was to be. Logins are written by
// folder.Commit alone.
//
// # What is lost, and how it comes back
//
//   - An index that is damaged or gone comes from its backup; where that can't be
//     used either, from the vault, whose items name their store (index.go). Where
//     they name two, as in a copied folder, it makes none: two folders can't own one
//     login. Nor is a new one made beside a backup (index.File.Lost).
//   - An index that names a keystore with nothing of this folder, while the other
//     one has its logins, no older than it knows them, is from before a migration and
//     learns where they are. So is one that names a keystore whose manifest says that
//     it was left, if no login in that is newer.
//   - What a migration left in the other keystore goes, by its manifest and under a
//     migration's locks (leftovers.go), if the index's keystore has it, no older. A
//     login that is there alone comes here as a disabled account, in its newest
//     state and no other; a newer state of one means that nothing there is a
//     leftover. The index is no witness: whose a login is, that it was removed, and
//     which key file was chosen stands in the keystores.
//   - The other keystore is looked at only where that prompts nobody: not a locked
//     keychain, and none on macOS, which does not say before it asks.
//   - What the keystore has and the index has not is an account again (manifest.go);
//     a manifest that was lost or cut short is written anew.
//   - Only authferry's own names are closed to others or swept (folder.go): the
//     folder may be a home folder. No owner is changed: what another user has there
//     is named, with the command that gives it back (owner.go).
//   - Only a folder whose original is still there is a copy. One that was moved
//     keeps its store, whatever else fails. Where the original would be within the
//     copy, it may have been put there: then neither gives its logins up.
//
// # Locks
//
// What is examined without being changed takes no lock for longer than it takes to see
// that it is free. A stray login is looked at under its rotation lock, which whoever
// makes an account holds until the index has it: a login under way is told by that from
// one that was cut off. An account's records are brought together under its rotation
// lock, and two keystores under a migration's locks (folder.LockAccounts).
//
// # What a crash leaves
//
// What comes from another keystore is in the manifest first, then as a grant, an access
// token and an account: cut off there, it is a stray login, which the next doctor finds.
// What is left over there goes last.
package doctor
