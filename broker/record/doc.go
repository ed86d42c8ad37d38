// Package record is what a keystore has of a folder's accounts: their grants and access
// tokens, the clients' secrets, and the manifest that lists them.
//
// An account has two kinds of record in the keystore: the grant
// (refresh token or API key, and where it may be sent) and access (one access
// token, and where it may be sent). Each kind has four slots, a to d. A rotation
// writes both records to one slot that neither the index nor an unresolved
// intent names, so nothing current is overwritten, and a write that a killed
// process left under way can't clobber a newer one. The keystore guards each
// value by a checksum (or, in the file store, by its seal): a record that was
// not written whole reads as damaged and counts as not written. Under the
// rotation lock all four grant slots are read, and the highest generation wins.
// The next one is above the keystore's, and above the index's as far as that is
// believed: a number made up there must not become the last that there can be.
//
// A token ends at the moment its answer came in plus expires_in, in this machine's time
// (clock.go).
//
// This package takes no lock: who writes a grant holds its account's rotation lock,
// and who writes anything else the manifest's (package folder).
//
// What a crash leaves: within a value, a damaged one, which counts as not written.
package record
