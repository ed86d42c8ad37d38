// Package folder is one folder of accounts: its index, the records of its keystore, its
// settings and its providers.
//
// # What always holds
//
//   - Opened is complete: an index as it was read, and the store that it names. No method
//     needs another one to be called first.
//   - Only Commit writes an account's grant, access token and index entry, in this order,
//     under the account's rotation lock, which is passed in. The only exception: a whole
//     keystore is copied, record by record and unchanged (migration.go, reconcile.go).
//   - What is written of an account that machines share goes to them as well: Commit refuses
//     a login of which they don't know.
//   - A folder has one keystore, recorded in its index, for accounts and client secrets
//     alike. It never falls back to a less safe one.
//   - A folder of another user (atomicfile.Mine) is only read: no lock, file or folder is
//     made in it, and nothing from it is sent. A folder of root's counts as one's own.
//
// # Locks
//
//   - A change of the index holds the index lock.
//   - Commit is given the rotation lock of its account.
//   - The manifest lock is held while anything else in the keystore changes (client
//     secrets and memberships too), and by MigrateKeystore. Once it is obtained, the keystore is checked
//     again: a migration may have emptied it meanwhile.
//   - The settings lock is held from before config.toml or providers.toml is read until it
//     is written, and until a provider's client secret is stored or deleted.
//   - The probe lock is taken alone. The probe is always the same item, so that the next
//     one removes what a killed one left.
//
// # A folder that moves or disappears
//
// Work that must not end halfway (a rotation, a login, an import, a removal, a migration)
// holds on to the folder that it opened (Hold), by a file handle and by its store id, and
// checks before every write that it still is that folder. Only a command that may be the
// first one makes a folder, an index or the vault's parent; work that is running never
// does.
//
// A folder that was moved is followed (Linux can tell where it went). One that was deleted
// may come back, perhaps from a copy. Until then it is treated like a full disk: a rotation
// tries again for ten minutes, a login for one minute, and an import fails, because its
// tokens still exist elsewhere.
//
// # Moving to the other keystore
//
// The manifest is the first item to be copied and the last to be deleted, on both sides,
// and also when the move is undone. So copies that a crash leaves behind can be found. What
// the target's manifest lists already stays listed. Once the index names the new keystore,
// its backup is updated, and only then the old copies are deleted: otherwise a later damage
// of the index would bring back an empty keystore. Before the commit an interrupt undoes
// everything; after it, an interrupt has no effect.
//
// Just before the commit the manifest of the source records where everything went. If an
// index names such a source, either the index is from before the move, or the migration was
// killed at that point. The target decides: if it has a newer login, or can't be read,
// nothing from the source is sent and nothing is stored there; if it has none, the source
// stays in use.
//
// # What a crash leaves
//
//	K14 grant stored     RollForward finds it; the access token is not used
//	K15 access stored    RollForward finds both
//	K20 in a migration   before the commit the old keystore counts, after it the new
//	                     one; copies may be left over, and the manifest beside them
//	                     lists them; doctor removes them
package folder
