// Package takeover makes accounts of the logins that other programs keep in their own files
// (package source), and takes the logins out of those files.
//
// takeover.go decides about every login of a file; custody.go carries it out. A move stores
// the login, reads it back and commits the index. Only then, and only if the file is still
// byte for byte what was read, the entry is removed from it. So a login is in at least one
// place at every instant. It is in both only for a moment, or because the person wants
// that, or because the file has changed; the account records that (shared).
//
// A repeated move recognizes by fingerprint what is here already, and removes just that
// from the file. It recognizes spent refresh tokens too, whose fingerprints are in the
// grant (the index is not believed). It adopts what an interrupted import left in the
// keystore. A grant is not moved if there is no client to refresh it with: its login would
// end here.
//
// # Locks
//
// The import lock is held from before the file is finally read, so that two imports make
// one account of a login. The locks of package account are taken after it.
//
// # What a crash leaves
//
//	K18 in import                   the login in the other program's file, here, or in
//	                                both; the same command works
package takeover
