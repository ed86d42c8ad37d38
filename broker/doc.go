// Package broker decides who gets which token now. It owns every rule; the
// packages below it know one thing each: fault how to fail, index the metadata,
// pool who is chosen, place which directory is bound, rotation how a token is renewed,
// account how a login comes and goes, takeover where other programs keep theirs, doctor
// what is wrong, oauth the wire, ratelimit a provider's signals, keystore the secrets at
// rest.
//
// Its Go API may change in any release, and so may that of every other package of this
// module. What stays stable is the program's command line, its JSON and its exit codes.
//
// # What always holds
//
//  1. A secret is only in the keystore, in the memory of the process that needs
//     it, and on the stdout that was asked for it or in the environment of the
//     one command that exec starts.
//  2. One refresh token is sent once, and again only as a recorded recovery:
//     across goroutines, processes, terminals and crashes.
//  3. A rotated grant is durable before anyone sees its access token.
//  4. The caller's death costs nothing, whether its process, its process group,
//     its terminal or its session dies.
//  5. Readers never wait for the network while a valid token exists.
//  6. The index is a directory, not the truth. Endpoints, client id, origins and
//     header templates stand inside the keystore's records; what stands there is
//     used and nothing else.
//  7. An account needs a login only when the provider refused for good the very
//     refresh token that is still the stored one. Without one: when its access
//     token is over, or the API refused a long-lived one again after its hold.
//  8. There is no silent downgrade: a folder has one keystore, recorded in its
//     index, for accounts and client secrets alike.
//  9. A folder of another user (atomicfile.Mine) is read and nothing else: no lock, no
//     file and no folder is made there, and nothing of it is sent. Root's is
//     nobody else's.
//
// # The hot path
//
// token.go: index read, choice, one keystore read, checks, out. No lock, no
// write, no network. A record that does not fit what the index says makes it
// read the index once more, and then rotate.
//
// A token whose end is near but not too near is handed out while a rotation
// starts behind (record.Access.Judge has the margin); below --min-ttl the caller waits. A
// token that still lives is never withheld because of a lock, a refresh, a limit
// or an outage.
//
// keeper.go is for a program that stays: it has the index in memory for as long as the
// file is the same one, and each account's token for as long as the index names its
// generation. What it keeps spares reading; it decides nothing. The keystore is not
// asked again then, so a keychain that is locked meanwhile stops nothing that runs: an
// account whose token is in memory stands in for one whose token isn't.
//
// A caller that names the origin to which it will send the token (origin.go) gets
// one whose record has that origin in it, or none, and nothing is refreshed for
// any other. Where it names no account, the records say whose tokens may go there, and
// the index and the providers' data can't add to that.
//
// One account's trouble doesn't stop its pool (handout.go). An account whose token
// can't be had now is passed over for the next one of the pool; pool.Choose has the rule.
// Whether that one may be refreshed for it depends on whose the trouble is
// (pool.OwnTrouble): what others may share, an outage say, starts no second refresh. Who is
// current stays. A token that the API refused is noted in the index by its generation,
// and no longer handed out while another account is free. Where a provider's API takes
// API keys alone, its logins are left to those who name one, while the pool has a key.
//
// The selection is worked out again after every wait, for a lock, a refresh, a keystore
// or a free account: pool, pin, fence and holds count as they are then.
//
// # Locks
//
// lock/order.go has the order in which they are taken. No lock alone is believed: the
// rotation lock is confirmed before the first byte leaves, within the
// change that writes the intent, and an intent of a process that lives counts as the
// lock, for whoever takes it (folder: LockAccount). An index is replaced only while its
// lock's file is the locked one.
//
//   - The rotation lock (<id>.lock) is held by the rotator, and by remove and
//     keystore migrate. It alone makes rule 2 true.
//   - The setup lock is taken alone, by who changes other programs' configuration.
//
// The manifest's, the settings' and the probe's lock stand with folder, the gate with
// rotation.
//
// # What a crash leaves
//
// The K numbers name the points at which tests kill a process. K1 to K16 are the
// rotator's, and stand with rotation; those of a login and a removal stand
// with account; these are the rest of the commands'.
//
//	K17 while printing              nothing
//	K20 in rename or migrate        rename: as K6; migrate: before the commit the old
//	                                keystore counts, after it the new one; copies may
//	                                be left over, and the manifest beside them lists
//	                                them; doctor removes them
//
// # Holds, and who is next
//
// An answer of the API, reported (report.go), is judged by ratelimit. A limit
// becomes a hold: "not this account, for this scope, until then", with where
// that was said. Its rules (pool: holds.go, probe.go):
//
//   - One hold for each scope. What the provider stated is never shortened, by
//     nothing but a person; a guess is made once while any hold runs, doubled
//     when it comes again, and dropped by a success.
//   - A hold is over when its time is: nothing has to remove it. One that is
//     over stays for an hour only where it was a guess that makes the next one
//     longer.
//   - The hold, the usage and the move of the pool to its next account are one
//     change of the index. The pool moves only if the reported account was the
//     one in use, so the second report of a lease finds it moved; and the folder is
//     not synced, because losing it costs a refused request.
//   - A login that ended at the provider moves the pool as well: the rotator does
//     that as it marks it. What the pool would use now is what all call current.
//   - With a mark (switch_at; pool: mark.go) the same change moves the pool when what is
//     used of a quota window reaches it, if another free account is under it. That is a
//     preference and no hold: where none is, nothing changes.
//   - A pool with nothing free under a stated hold of over an hour lets one
//     caller through every 15 minutes. The claim is written before the token
//     is read.
//   - Whose hold it is follows from the lease; where to go on from the
//     caller's selection, whose fence and pin count as in Token.
//
// # Time
//
// A token ends at the moment its answer came in plus expires_in, in this
// machine's time. On Linux its age is measured by the clock that counts from
// boot, so that setting the wall clock changes nothing; elsewhere a token
// obtained in the future is refreshed before it is trusted.
//
// # Where this differs from a single record
//
// The checksum of a record stands in the keystore's framing, not in the record:
// a store has to notice a torn write of any value, and one place is enough.
// The header templates and origins stand in the grant as well as in access, so
// that a lost access record costs a refresh and nothing else. Client secrets
// have items of their own, named by endpoint and client, and go nowhere else; one
// is deleted with its last provider, once no stored grant needs it.
//
// A manifest is overwritten in place, so it can be lost. Then the index says which
// accounts there are, and the providers and grants which client secrets.
package broker
