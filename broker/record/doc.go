// Package record defines what a keystore has of a folder's accounts: grants, access tokens,
// client secrets, memberships in shared pools, and the manifest that lists them.
//
// An account has two kinds of record: the grant (refresh token or API key, and where it may
// be sent) and the access record (one access token, and where it may be sent). Each kind
// has four slots, a to d. A rotation writes both records to one slot that neither the index
// nor an unresolved intent names. So nothing current is overwritten, and a late write by a
// killed process can't destroy a newer record.
//
// The keystore guards each value by a checksum (the file store by its seal). A record that
// was not written whole reads as damaged and counts as not written. Under the rotation lock
// all four grant slots are read, and the highest generation wins. The next generation is
// above the keystore's, and above the index's unless that is too far ahead to be believed
// (MaxLead): a made-up number must not use up all that there are.
//
// A token ends when its answer came in plus expires_in, in this machine's time (clock.go).
//
// This package takes no lock. Whoever writes a grant holds the rotation lock of its
// account; whoever writes anything else holds the manifest's lock (package folder).
//
// A crash can leave a half-written value. It reads as damaged, and counts as not written.
package record
