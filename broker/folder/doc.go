// Package folder is one folder of accounts: its index together with what the folder's
// keystore has, its settings and its providers.
//
// # What always holds
//
//   - Opened is complete: an index as it was read, and the store that it names.
//     Nothing works only after something else was called.
//   - Commit alone writes an account's grant, then its access token, then the index,
//     under the account's rotation lock, which it is given. Only a whole keystore is
//     copied otherwise (migration.go, reconcile.go), record by record and as it is.
//   - A folder has one keystore, recorded in its index, for accounts and client secrets
//     alike. There is no silent downgrade.
//   - A folder of another user (atomicfile.Mine) is read and nothing else: no lock, no
//     file and no folder is made there, and nothing of it is sent. Root's is nobody
//     else's.
//
// # Locks
//
// A change of the index holds its lock. Rotation locks are given to Commit; the
// manifest lock is held by who changes what the keystore has of the folder beside the
// grants, client secrets too, and by MigrateKeystore. Who gets it looks whether its
// keystore is still the folder's: while it waited, a migration may have emptied it. The
// settings lock is held from before config.toml or providers.toml is read, and until a
// provider's client secret is stored or gone. The probe lock is taken alone: the probe
// is one item, so that the next one takes away what a killed one left.
//
// # The folder under work
//
// Work that must not end halfway (a rotation, a login, an import, a removal, a
// migration) holds on to the folder that it opened (Hold), by a handle and by its store
// id, and looks before every write. Only a command that may be the first makes a folder,
// a first index, or what a vault lies in; nothing that is under way does. A folder that is
// moved is followed (Linux tells where to); what is deleted may come back, from a copy
// too. Until then it is as a disk that is full: a rotation asks again for ten minutes, a
// login for one, and what has its tokens elsewhere as well (import) fails.
//
// # Moving to the other keystore
//
// The manifest is the first item to arrive and the last to go, on
// both sides and also where the move is taken back, so that copies which a crash
// leaves can be found. What the target lists already stays listed. Once the index
// names the new keystore, its backup is made to as well, and then the old copies
// go: one that is damaged later must not bring back an empty keystore. Up to the
// commit an interrupt takes everything back, after it none has an effect.
//
// Just before the commit the source's manifest says where everything went.
// While it says that, an index that names the source is either one from before, or of
// a migration that was killed right there. The target decides: where it has a newer
// login, or can't be asked, nothing is sent from the source and nothing is stored
// there; where it has none, the source goes on.
//
// # What a crash leaves
//
//	K14 grant stored     RollForward finds it; the access token is not used
//	K15 access stored    RollForward finds both
//	K20 in a migration   before the commit the old keystore counts, after it the new
//	                     one; copies may be left over, and the manifest beside them
//	                     lists them; doctor removes them
package folder
