// Package doctor finds what is wrong with a folder of accounts, and fixes it where that
// costs no login. It reports what it fixed. It refreshes nothing and asks no provider, with
// one exception: it ends a login at its provider if the removal of that login was
// interrupted and was to revoke it. It writes logins by folder.Commit only.
//
// # What is lost, and how it comes back
//
//   - A damaged or missing index is restored from its backup. If that can't be used
//     either, it is made from the vault, whose items name their store (index.go). If they
//     name two stores, as in a copied folder, none is made: two folders can't own one
//     login. No new index is made beside a backup (index.File.Lost).
//   - The index is from before a migration if its keystore has nothing of this folder
//     while the other one has its logins, none older than the index says; or if its
//     keystore's manifest says that everything was moved, and no login there is newer.
//     Then the index is corrected.
//   - What a migration left in the other keystore is deleted, by its manifest and under a
//     migration's locks (leftovers.go), if the index's keystore has the same or newer
//     logins. A login that is only there becomes a disabled account here, in its newest
//     state. If the other keystore has a newer state of any login, nothing in it is a
//     leftover. All this is decided by the keystores, not by the index: whose a login is,
//     that it was removed, and which key file was chosen.
//   - The other keystore is looked at only if that asks nobody for anything: not a locked
//     keychain, and never one on macOS, which can't tell beforehand.
//   - A login that the keystore has and the index has not becomes an account again
//     (manifest.go). A manifest that is lost or incomplete is written again.
//   - Only files with authferry's own names are closed to others or deleted (folder.go):
//     the folder may be a home folder. No owner is changed: a file of another user is
//     reported with the command that gives it back (owner.go).
//   - A folder is a copy only if its original still exists. One that was moved keeps its
//     store, whatever else fails. If the original is inside the copy, it may have been put
//     there on purpose: then neither gives up its logins.
//
// # Locks
//
// What is only examined is locked no longer than it takes to see that the lock is free. A
// stray login is examined under its rotation lock. A command that makes an account holds
// that lock until the index has the account, which tells a login in progress from one that
// was interrupted. The records of an account are reconciled under its rotation lock, two
// keystores under a migration's locks (folder.LockAccounts).
//
// # What a crash leaves
//
// What is fetched from another keystore is in the manifest first, then it has a grant, an
// access token, and last an account. If doctor is killed before that, it is a stray login,
// which the next doctor finds. Leftovers are deleted last.
package doctor
