// Package broker decides who gets which token now. It combines the packages below it, each
// of which owns one subject:
//
//   - fault: how things fail
//   - index: the metadata, one JSON file
//   - record: what the keystore has of an account
//   - folder: one folder of accounts, and the one writer of logins
//   - place: which directory is bound
//   - pool: which account is chosen
//   - rotation: how a token is refreshed
//   - account: how a login comes and goes
//   - takeover: logins that other programs keep
//   - doctor: what is wrong, and how to fix it
//   - oauth: the wire; ratelimit: a provider's answers; keystore: secrets at rest
//
// Its Go API may change in any release, and so may that of every other package of this
// module. What stays stable is the program's command line, its JSON and its exit codes.
//
// # What always holds
//
//  1. A secret is only in the keystore, in the memory of the process that needs it, and
//     on the stdout that was asked for it or in the environment of the one command that
//     exec starts.
//  2. One refresh token is sent once, and again only as a recorded recovery: across
//     goroutines, processes, terminals and crashes; and across the machines that share its
//     account (package share).
//  3. A rotated grant is durable before anyone sees its access token.
//  4. The caller may die at any time (its process, its process group, its terminal, its
//     session) without losing anything.
//  5. Readers never wait for the network while a valid token exists.
//  6. The index is a directory, not the truth. Endpoints, client id, origins and header
//     templates are in the keystore's records, and only those are used.
//  7. An account needs a login only when the provider refused for good the refresh token
//     that is still the stored one. If it has none: when its access token has expired, or
//     the API refused a long-lived one again after its hold. A client on its own account
//     needs one when its secret or key is refused (invalid_client).
//  8. Nothing ever falls back to a less safe keystore: a folder has one, recorded in its
//     index, for accounts and client secrets alike.
//  9. A folder of another user (atomicfile.Mine) is only read: no lock, file or folder is
//     made in it, and nothing from it is sent. A folder of root's counts as one's own.
//
// # The hot path
//
// token.go reads the index, chooses, reads one item of the keystore, checks it and is done:
// no lock, no write, no network. If a record doesn't match the index, the index is read once
// more, and then the grant is rotated.
//
// A token that is near its end is handed out while a rotation starts in the background
// (record.Access.Judge has the margin). If it is valid for less than --min-ttl, the caller
// waits. A valid token is never withheld because of a lock, a refresh, a limit or an outage.
//
// broker.go has Keeper, for a program that keeps running. It caches the index while the file is
// unchanged, and each account's token while the index names its generation. The cache saves
// reads and decides nothing. It doesn't need the keystore, so a keychain that is locked
// meanwhile doesn't stop a running program: an account with a cached token serves in place
// of one without.
//
// A caller may name the origin to which it will send the token (origin.go). It gets a token
// whose record has that origin, or none, and nothing is refreshed for any other. If it names
// no account, the records decide whose tokens may be sent there; the index and the
// providers' data can't add to that.
//
// The trouble of one account doesn't stop its pool (handout.go). An account whose token
// can't be had now is passed over for the next one of the pool, by the rules of pool.Choose.
// Whether that one may be refreshed for it depends on the trouble: what others may share,
// such as an outage, starts no second refresh. The current account stays current. A token
// that the API refused is recorded in the index by its generation, and not handed out while
// another account is free. If a provider's API takes API keys only and the pool has one, its
// logins are used only when they are named.
//
// After every wait (for a lock, a refresh, a keystore or a free account) the selection is
// resolved again: pool, pin, fence and holds count as they are then.
//
// # Locks
//
// lock/order.go has the order in which locks are taken. Holding a lock is not enough: the
// rotation lock is confirmed before the first byte is sent, within the change of the index
// that writes the intent. For other processes the intent of a living process counts as the
// lock (folder.LockAccount). The index is replaced only while the file of its lock is the
// locked one.
//
//   - The rotation lock (<id>.lock) is held by the rotator, by remove and by keystore
//     migrate. Rule 2 depends on it alone.
//   - The setup lock is taken alone, while other programs' configuration is changed.
//
// The locks of manifest, settings and probe are described in folder, the gate in rotation.
//
// # What a crash leaves
//
// The K numbers name the points at which tests kill a process. K1 to K16 are the rotator's
// and are described in rotation; those of a login and a removal in account. The others:
//
//	K17 while printing              nothing
//	K20 in rename or migrate        rename: as K6; migrate: before the commit the old
//	                                keystore counts, after it the new one; copies may
//	                                be left over, and the manifest beside them lists
//	                                them; doctor removes them
//
// # Holds, and which account is next
//
// An answer of the API that is reported (report.go) is judged by ratelimit. A limit becomes
// a hold: "not this account, for this scope, until then", with its source. The rules (pool:
// holds.go, probe.go):
//
//   - There is one hold for each scope. A time that the provider stated is never shortened,
//     except by a person. A guess is made once while any hold is running, doubled when it
//     comes again, and ended by a success.
//   - A hold is over when its time comes; nothing has to remove it. It is kept for another
//     hour only if it was a guess, which makes the next guess longer.
//   - The hold, the usage and the move of the pool to its next account are one change of
//     the index. The pool moves only if the reported account was in use, so a second report
//     of the same lease moves nothing. The folder is not synced after it: if the change is
//     lost, that costs one refused request.
//   - A login that ended at the provider moves the pool too: the rotator does it when it
//     records the end. The current account is always the one that the pool would use now.
//   - If nothing in a pool is free because of a stated hold of over an hour, one caller is
//     let through every 15 minutes. This is recorded before the token is read.
//   - The machines that share an account tell each other of its holds and usage, and agree on
//     who probes it (package share). Nobody waits for that but a probe.
//   - The lease says which account is held. The caller's selection, with its fence and pin
//     as in Token, says which account may be next.
//
// # Time
//
// A token ends at the moment its answer came in plus expires_in, in this machine's time. On
// Linux its age is measured by the clock that counts from boot, so setting the wall clock
// changes nothing. Elsewhere a token that seems to have been obtained in the future is
// refreshed before it is trusted.
//
// # Why there are several records
//
// The checksum of a record is in the keystore's framing and not in the record: the keystore
// has to notice a torn write of any value, and one place for that is enough. Header
// templates and origins are in the grant as well as in the access record, so that a lost
// access record costs only a refresh. Client secrets have items of their own, named by
// endpoint and client, and are sent nowhere else. One is deleted with its last provider,
// once no stored grant needs it.
//
// A manifest is overwritten in place, so it can be lost. Then the index says which accounts
// exist, and the providers and grants say which client secrets.
package broker
