// Package share lets several machines use the accounts of one pool. One refresh token is
// sent once, by one of them, and all get what came of it.
//
// The machines meet on an engine (share/engine) that has linearizable reads and
// compare-and-swap, and nothing else of which they need to be sure. What is stored there is
// sealed and signed (share/seal): the engine's operator learns no token, and can't make one
// up. Membership, tickets and the commands for people are in this package too; the rotator
// speaks to the other machines through Peers.
//
// A command works on a party, which has one link to the pool's engine and, over it, members
// (who is in the pool, and who has which keys), records (the accounts at the engine), accounts
// (those in this folder) and limits. A rotation has a turn: the account here (local), its record
// at the engine (remote), notes in the index of what was seen of that, and the rules below.
//
// # What always holds
//
//   - There is no lock and no lease. Each account has one record in the engine, a state
//     machine under compare-and-swap. A machine that is stopped, cut off or dead delays the
//     others; it can't make them spend a refresh token twice.
//   - A refresh token is sent only by a machine that has won the announcement of it, and
//     knows that it has: after an unknown outcome nothing is sent.
//   - What a lasting machine has announced is sent by no other machine, however long it
//     takes, unless that machine says that it waits for no answer any more, or a person
//     says so (Recover), or the provider surely takes the token a second time (14a). It may
//     have the new token on its disk. For a machine that joined
//     as a passing one, and has the kernel's fence, time does: T after the announcement.
//   - New tokens are handed out once they are stored here or published there. Both are tried
//     at once, and what is stored here is published before anything else is done.
//   - No two machines' clocks are compared. How long a claim has stood still is counted from
//     when this machine first saw it, by the clock that counts from its boot. How old a
//     token is that another machine obtained goes by that machine's clock only if this one
//     didn't see it coming, and is never in the future.
//   - What this machine has seen is the memory of the pool: an engine that knows less was
//     restored from a backup, and nothing is sent until a person has confirmed its state.
//   - Without the engine a machine hands out what is valid. It never asks for a login.
//   - A machine's index may be a copy, or from a backup. Its notes only make a machine wait
//     longer. The exception are notes of claims of this boot, on this host, by a process
//     that is dead, which index.json.bak doesn't bring back (index.File.Mend).
//
// # The record
//
// acc/<account> has the pool's generation, the fingerprint of its refresh token, and a
// state:
//
//	idle                     nobody refreshes it
//	claimed                  a machine is about to announce; nothing was sent
//	sending, announced       the machine in the claim sends the refresh token, or has sent it
//	sending, not announced   an earlier attempt was announced; the machine in the claim is
//	                         about to announce another one. passing: any machine may
//	dead                     the provider refused this refresh token for good
//
// # A rotation
//
// Each rule is a compare-and-swap from the record as it was read. Whoever loses one reads
// again and begins anew. The account's rotation lock is held, so a machine has one rotator.
//
//	 1  the folder's newest grant follows the record's: it is published. The first to
//	    publish wins, in any state, also over dead
//	 2  the record is newer, or is another one of the same generation: it is adopted
//	 3  the folder is newer, and doesn't follow: it is published, and the engine was restored
//	 4  idle: claimed, by this machine, with a nonce that is in the index before (synced)
//	 5  claimed by this machine, or by another one and seen so for 10 s: claimed, by this
//	    one. It is safe at any time, as the other fails at 7
//	 6  connect to the provider, with TLS
//	 7  arm the fence, if passing. claimed -> sending, announced. Unknown: not sent
//	 8  write the intent, and in the same change that the claim was announced (synced). Not
//	    10 s after 7 began: the first byte is sent
//	 9  tokens came: folder.Commit, and at the same time sending -> idle, next generation
//	10  not sent, or refused without being spent: idle, with the failure and its pause.
//	    No usable answer came: sending, not announced, passing
//	11  refused for good: sending -> dead, if the claim still is this machine's. The index
//	    notes the answer before (synced): if the engine can't be told, the machine's next
//	    process does that
//	12  sending by this machine, and the index notes that it was not announced: as 4
//	13  sending by this machine, and the index notes that it was: the next attempt
//	14  sending, announced by a passing machine, seen so for T, and no token is left here
//	    that is valid: the next attempt, by this machine
//	14a a provider that takes a refresh token again for 30 s or longer (its grace): T is 20 s
//	    at 14; and sending, announced by a lasting machine, as 14, by a process that has seen
//	    it come, if what it sends leaves it within the grace
//	15  sending, announced by a lasting machine: wait; another account of the pool is used
//	16  a login: as 1
//	17  an answer that comes late: as 1
//
// The times: a call of the engine 5 s; from 7 to the first byte 10 s (D); an answer of a
// provider 60 s (H, rotation.SharedPatience); T = D + H + 20 s.
//
// A client on its own account spends nothing, and skips 7, 8, 12 and 13.
//
// A consumer has no refresh token. It adopts, or writes want/<account> and waits. A holder
// that refreshes for whatever reason answers it; serve does it for that reason.
//
// # The fence
//
// Between the announcement and the send a process may be stopped for any time, and go on
// afterwards. On a passing machine the kernel kills it then (fence_linux.go): a timer on the
// clock that counts from boot, which also ends a stopped process. It is armed before 7 and
// removed once the body has left. The socket is closed hard when the process dies, so the
// system doesn't go on sending. Other systems have no such timer; a machine there is never
// passing.
//
// # What a crash leaves
//
// With a strict server, which ends a login when a spent refresh token comes again. Same: the
// machine goes on itself. The others are for a machine that never does.
//
//	                             same       lasting          passing
//	before 4                     nothing    nothing          nothing
//	4 to 7 (S1, S2, K5, S3)      at once    after 10 s       after 10 s
//	after 7, no intent (S4)      at once    a person         after T
//	intent, not sent (K7)        at once    a person         after T
//	first byte to stored (K11)   lost       lost             lost
//	stored, not published (K14)  published  lost             lost
//	published (S6)               adopted    adopted          adopted
//
// A server that grants a grace makes "lost" good, within it.
//
// # The window
//
// A login can be lost only
//
//	(a) between the first byte of the body and the first of {stored here, published}: if the
//	    rotator is killed, its machine dies, or the answer is lost on the way. On a passing
//	    machine also if it is stopped in there for longer than T;
//	(b) between stored here and published, if the machine never comes back; a passing one,
//	    if it isn't back within T;
//	(c) on a passing machine that is frozen between the look at the clock and the write of
//	    the body, for longer than T, by what stops its clock too (a snapshot of a virtual
//	    machine);
//	(d) if the engine has lost what it acknowledged, and a machine that never saw better
//	    rotates first. A machine that never saw an account's token alive doesn't, while
//	    there are others (index.Share.Known).
//
// # Limits
//
// What a provider says of an account's limits, it says of the account, whichever machine
// asked. So holds, how full the quota windows are, and when a held account was last probed
// are told to all machines, at hold/<account>. Which account is current and what a directory is
// bound to are each machine's own: a current account that all share would have a thousand
// machines run into one limit together.
//
// A machine records a hold of its own as if it were alone; then a process for which nobody
// waits reads what the engine has and writes, by compare-and-swap, what that doesn't cover
// (Exchange). Covered is a hold that another one on the same scope outlasts, and a guess by
// any that is running. So of a thousand machines that meet one limit, one writes: each pauses
// for a time drawn by lot, few for a short one and most for a long one, and looks again right
// before it writes. The pauses are long beside what looking takes; a machine that has looked
// and finds that it took too long pauses on. Others learn of it by Serve, at once; by the
// same process, which a machine in use starts every 30 s; or by their own 429. What is
// learned is in the index, and handing out a token reads nothing else.
//
// Each entry has a name that never comes again, and each machine notes in its index those
// that it knows (index.Told). One that it doesn't know is taken over as if the limit had
// been met here: it moves this machine's pool on, and never makes a stated hold shorter. One
// that it knows and that is gone was ended by a person, or replaced, and ends here too. A
// value that is missing or no machine's ends nothing, and is told again.
//
// No two machines' clocks are compared here either. An entry has the end by the writer's
// clock and the time that was left when it was written. It ends here at whatever comes
// first: that end by this machine's clock, or that time after this machine first saw it. So
// with right clocks it ends when the provider said, however late a machine looks. With a
// wrong one it never lasts longer than the limit was when it was told; a machine whose clock
// is ahead learns less of others' holds, and meets the limit itself. To trust the remaining
// time alone was ruled out: then an old value that the engine's operator puts back would
// hold the account again.
//
// Any member can write a hold, consumers too: they are the ones that meet limits. By that it
// can deny the account to the others, no more: a hold makes nobody send anything. It lasts
// no longer than one of its kind that was met here (pool.Cap), ends with holds clear, and who
// writes such holds is removed from the pool with its keys. A hold by hand has no cap where
// it was made; there it is told again before it ends elsewhere. Who can only write to the
// engine can't seal one, and an older one that is put back is over when it says.
//
// A held account is probed by one machine of all, in the time in which one alone would do it
// once: whoever wants to writes a new name there, by compare-and-swap. While the engine is
// away, nobody probes.
//
// # Settings
//
// An account's label, its rank and whether it is disabled are in its record (seal.Public),
// signed, so that only holders change them. A person sets one of them here, and then, by
// compare-and-swap, there (Set). What was set last counts, whoever set it. Each machine notes
// in its index what the record said when it last looked (index.Settings), and takes over what
// differs from that. So what a consumer set, or a holder without the engine, stays here until
// the same is set elsewhere; done again, it is told. A label that another account has here
// isn't taken over.
//
// Set also gives the change a name, at hold/<account>, as a machine in use looks there every
// 30 s: one that doesn't know the name reads the records. Any member can make up a name; it
// causes a read. Status, Serve and Join look at the records anyway. A machine that has claimed
// an account may lose its announcement to a change. It has sent nothing then, and claims
// again; and it publishes with what was set meanwhile.
//
// # What was ruled out
//
// A machine that got no usable answer says so (10) and lets all others try again: else they
// would wait for a machine that knows no more than they do. A token that this machine saw
// coming counts as new whatever its clock says, in place of a shortest age of 30 s for any
// generation: that would keep a machine that was off for a week from refreshing. A machine
// that was restarted doesn't go on with what it announced before: its index could as well
// be that of a copy. A person decides; on Windows, which has no name for a boot, whenever a
// rotator has died between 7 and 9.
//
// # Locks
//
// Everything here is done under the account's rotation lock, but for what goes on after
// the rotator has reported: telling the others, which touches only the engine, and then one
// change of the index; and but for limits. Those are exchanged under lock.Exchange, so that a
// machine has one process at it. Where Serve, Status or a person's command does it at the same
// time, a read that is older than what the index has is done again.
package share
