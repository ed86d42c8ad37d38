// Package rotation refreshes tokens: the rotator, and the callers that want a refresh.
//
// Renew is for a caller that waits for a newer token, Behind for one that doesn't. Main is
// the rotator. It changes a folder in four steps, and only these:
//
//   - claim: take the account's rotation lock and read the newest grant (LockAccount,
//     RollForward);
//   - announce: write the intent before the refresh token is sent (Change, synced);
//   - publish: store the new grant and access token (Commit);
//   - fail: record what the failure means for the refresh token (Change).
//
// A pool that several machines share would have to provide these four.
//
// # What always holds
//
//   - One refresh token is sent once, and again only as a recorded recovery:
//     across goroutines, processes, terminals and crashes.
//   - A rotated grant is durable before anyone sees its access token.
//   - The caller may die: its process, its process group, its terminal and its session
//     don't take the rotation with them.
//   - An account needs a login only when the provider refused for good the very refresh
//     token that is still the stored one.
//
// # Locks
//
//   - The gate (<id>.gate) is held by the one caller that wants a rotation. The others
//     wait for it one by one; each looks at the index first and mostly finds the work
//     done. Losing the gate does no harm.
//   - The rotation lock (<id>.lock) is held by the rotator, from claim until it has
//     published or failed.
//
// # Rotation
//
// The rotator is this same program, run as a hidden command in a session of its own. Only
// its report pipe connects it to the caller. Under the rotation lock:
//
//  1. Read the index and all grant slots; roll the index forward to what the
//     keystore has. Newer than the caller's generation already? Done.
//  2. Back-off not over, or this refresh token known dead? Say so, no request.
//     Callers look at the index for that before they start a rotator, but for the
//     dead mark they look into the keystore as well: the index may be from before
//     the login that is stored now.
//  3. Preflight: write a value as big as both records together to an item of its own.
//     A keystore that refuses ends it here with nothing spent. What keeping the tokens
//     takes of this system is set aside (reserve.go): descriptors at the very beginning,
//     memory and threads just before the intent. Without those nothing is sent; a limit
//     that comes later finds them there. One on the size of files makes a write fail,
//     which is tried again.
//  4. Connect. The intent is written to the index and synced in the first Read
//     of the request's body: after DNS, TCP and TLS, before the first byte of
//     the token. So being offline never leaves an unknown outcome.
//  5. Send once: no redirect, no retry by the transport. A 2xx is searched for the
//     tokens, whatever is around them, before its outcome is called unknown: only
//     an object with an access token counts, nothing within an error does, and what
//     was sent is no new token. How long the provider may take is counted while this
//     process runs: one that was stopped reads what its socket has before it gives up.
//  6. A token came: folder.Commit, so grant, access, index in this order. A keystore that
//     refuses now is asked again for ten minutes with the tokens in memory; so is a
//     folder that is gone.
//  7. None came. invalid_grant and its kin: read the grants again; another
//     refresh token is stored now: adopt it, else the account needs a login, for
//     that fingerprint. But one that was found in an odd answer (Salvaged) may have
//     been none: the grant before it, which is in its slot still, is stored again as
//     the newest and has one more try (salvaged.go; a crash on the way leaves either
//     as the newest, and the next rotator goes on from there). Throttled or never
//     sent: unspent, back off; so is a 503 that the server says itself, by an OAuth
//     error or Retry-After. A gateway's 503 is as unknown as its 502. Outcome
//     unknown: the intent stays; one recovery at once within 25 s of the send
//     (servers' grace), then back-off, then only when a token is needed. Once
//     the failure is recorded, the rotator looks whether the access token is
//     over, and notes it there: those who waited then need not look.
//
// # What a crash leaves
//
// The K numbers name the points at which tests kill the rotator.
//
//	K1  waiting for a lock          nothing
//	K2  after the rotation lock     nothing
//	K3  after reading the records   nothing, or an index rolled forward
//	K4  during or after preflight   a probe item of x's; nothing spent
//	K5  connected, no intent yet    nothing spent
//	K6  inside an index write       the old index or the new one; a stray
//	                                temporary file, swept later
//	K7  intent written, not sent    an intent; the next rotator sends the token
//	K8  within the request body     as K9
//	K9  sent, no answer read        an intent; the token may be spent. The next
//	K10 within the answer           rotator sends it again as a recovery: good
//	K11 answered, not stored        with servers that grant a grace or do not
//	                                rotate; else the provider says invalid_grant
//	                                and the account needs a login
//	K12 grant write under way       as K11, or as K14 if the keystore finished it
//	K13 between chunks              as K11: a partly written record is damaged
//	K14 grant stored                the next rotator rolls forward; the access
//	                                token is lost, so it rotates once more, with
//	                                the new refresh token
//	K15 access stored, no commit    rolled forward without a request
//	K16 committed                   nothing
//
// From K8 to K12 is the only window in which a login can be lost, and only at a
// server without grace and with the rotator itself killed; the caller's death is
// never enough, because the rotator outlives it.
package rotation
