// Package takeover makes accounts of the logins that other programs keep in files of their
// own (package source), and takes them out of there.
//
// takeover.go decides about every login of another program's file, custody.go
// does it. A move stores the login, reads it back and commits the index; only
// then, if the file is still byte for byte what was read, it loses the entry. So
// a login is in one place at least at every instant, and in both only for a
// moment, or because the person wants that or the file changed, which the account
// remembers (shared). Done again, a move finds by fingerprint what is here
// already, the spent refresh tokens included (their fingerprints stand in the
// grant: the index's word is not enough), and takes just that out of the file;
// what an import that was cut off left in the keystore, and the manifest names, it
// adopts. A grant without a client to refresh it is not moved: it would end here.
//
// # Locks
//
// The import lock is held from before the file is read for good, so that two imports make
// one account of a login. What package account takes comes below it.
//
// # What a crash leaves
//
//	K18 in import                   the login in the other program's file, here, or in
//	                                both; the same command works
package takeover
