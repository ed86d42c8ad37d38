// Package index is the folder's directory of accounts: index.json, which holds
// metadata and no secret.
//
// # The file
//
// Readers take no lock: the file is only ever replaced as a whole, by rename. A change
// takes locks/index.lock, reads, changes and replaces. index.json.bak is the version
// before. It exists from the first change on. (On Windows it may be an older one, if
// another process was reading it; after BackUp it is the same version.) Fields that a later
// version of the same schema added survive a change made here. A file of a newer schema and
// a damaged one are refused and left as they are. So is an index.json that is not a regular
// file: a link would take the file away from the lock that guards it (linking the whole
// folder is fine). A missing index is made again only if the backup lists no accounts.
//
// What a process that is killed between two steps of a change leaves behind:
//
//	after the lock           nothing; the kernel has released it
//	in or after the temp     the old index; the temp is swept minutes later
//	after the backup         the old index, and the backup is the same version
//	after the rename         the new index
//
// Once a Durable change has returned, it survives a power cut; a Fast one may be undone by
// it.
package index
