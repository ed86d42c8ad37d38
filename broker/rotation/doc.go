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
// For an account that several machines share, each step is taken towards them as well
// (Peers): the claim before a request is made, the announcement just before the intent, the
// publication beside the commit. Without Peers such an account is refused. Package share has
// the protocol.
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
//  1. Read the index and all grant slots; bring the index up to date with the keystore.
//     If the generation is above the caller's already, that is all.
//  2. Is a request allowed? Not before a back-off is over, and not with a refresh token
//     that is known to be dead. Callers check the index for that before they start a
//     rotator. For the dead mark they also check the keystore, because the index may be
//     from before the login that is stored now.
//  3. Preflight: write an item as big as both records together. If the keystore refuses,
//     nothing is spent. Everything that storing the tokens will need from the system is
//     set aside (reserve.go): descriptors at the very beginning, memory and threads just
//     before the intent. If they can't be had, nothing is sent; limits that come later do
//     no harm. A limit on the size of files makes a write fail, which is tried again.
//  4. Connect. The intent is written to the index and synced in the first Read of the
//     request's body: after DNS, TCP and TLS, and before the first byte of the token. So
//     being offline never leaves an unknown outcome. A client on its own account leaves no
//     intent: its secret or assertion isn't spent, so there is nothing to recover.
//  5. Send once: no redirect, no retry by the transport. A 2xx is searched for tokens,
//     whatever is around them, before its outcome is called unknown. Only an object with
//     an access token counts, nothing within an error does, and what was sent is no new
//     token. The time limit only counts while this process runs: one that was stopped
//     reads what is in its socket before it gives up.
//  6. A token came: folder.Commit stores grant, access token and index, in this order. If
//     the keystore refuses, it is tried again for ten minutes, with the tokens in memory;
//     so is a folder that is gone.
//  7. No token came.
//     invalid_grant or an equivalent: read the grants again. If another refresh token
//     is stored by now, adopt it; otherwise the account needs a login, for that
//     fingerprint. A refresh token from a malformed answer (Salvaged) may not have been
//     one: then the grant before it, which is still in its slot, is stored again as the
//     newest and tried once more (exchange.go). After a crash in between either of them
//     is the newest, and the next rotator continues from there.
//     Throttled or never sent: unspent; back off. The same for a 503 of the server
//     itself, which has an OAuth error or Retry-After. A gateway's 503 is as unknown as
//     its 502.
//     Outcome unknown: the intent stays. One recovery at once, within 25 s of the send
//     (the servers' grace), then back-off, then only when a token is needed.
//     Once the failure is recorded, the rotator checks whether the access token has
//     expired and records that too, so that the callers that waited need not look.
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
//	K15 access stored, no commit    brought up to date without a request
//	K16 committed                   nothing
//
// A login can only be lost between K8 and K12, at a server without grace, and if the rotator
// itself is killed. The caller's death is not enough, because the rotator outlives it.
package rotation
