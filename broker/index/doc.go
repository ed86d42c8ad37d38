// Package index is the folder's directory of accounts: index.json, which holds
// metadata and no secret.
//
// # The file
//
// Readers take no lock: the file is only ever replaced whole, by rename. A
// change takes locks/index.lock, reads, changes and replaces; index.json.bak is
// the version before, in place from the first change on (on Windows an older one,
// where somebody was just reading it; after BackUp the same one). Fields that a later
// version of the same schema added survive a change made here. A file of a
// newer schema, and a damaged one, are refused and left as they are. So is an
// index.json that is not a regular file: a link would take the file out of the
// reach of the lock that guards it (linking the whole folder is fine). One that is
// missing is made anew only if the backup lists no accounts.
//
// What a process killed between two steps of a change leaves behind:
//
//	after the lock           nothing; the kernel has released it
//	in or after the temp     the old index; the temp is swept minutes later
//	after the backup         the old index, and the backup is the same version
//	after the rename         the new index
//
// A change that is Durable outlives a power cut once it has returned; a Fast
// one may be undone by it.
package index
