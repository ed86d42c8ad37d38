// Package seal defines what machines that share a pool store on their engine: who may read
// it, who wrote it, and that it is where it belongs.
//
// The engine's operator sees ids, generations, states, fingerprints, machine ids and times.
// Everything else is sealed with age, and everything is signed.
//
// # Keys
//
// A pool has four keys of each epoch (Keys), and a machine has a Ring of those that it may
// have:
//
//   - grant opens grants. Only holders have it.
//   - secret opens accounts that are an API key or a long-lived token: there is nothing of
//     them that a consumer could have instead. Holders have it, and consumers that were
//     invited with keys.
//   - access opens the other accounts' access records, what is said of accounts in public to all
//     machines, the roster and holds. Every machine has it.
//   - sign signs everything (Ed25519). Only holders have it; every machine knows its public
//     half.
//
// Age doesn't say who sealed something. So a machine believes what is signed by a holder,
// and a new epoch's public half if the one before signed it (Meta.Chain). A machine gets its
// Ring in a ticket's invitation, and those of later epochs from its Member.
//
// # What is outside is not believed
//
// Each sealed part has the pool, account, generation, fingerprint and epoch inside, and what
// part it is. If one of them isn't that of the record around it, the record is refused. So
// is one whose access token would go to places that its grant doesn't name.
//
// # Stored values
//
// All are JSON, with []byte in base64. Each has v (1) and sig.
//
//	acc/<account>     {"v","gen","state","fp","epoch","with_keys","claim":{"machine","nonce",
//	                  "attempt","announced","passing"},"failure":{"class","count","at","next_try_at",
//	                  "stated"},"sealed":{"grant","access","public"},"sig"}
//	meta              {"v","epoch","oldest","chain":[{"epoch","verify","sig"}],"sealed","sig"}
//	                  sealed: the Roster
//	member/<machine>  {"v","epoch","sealed","sig"}; sealed to that machine: its Ring
//	invite/<ticket>   {"v","epoch","sealed","sig"}; sealed to the ticket: the joiner's Ring
//	                  {"v","epoch","answer","sig"}; the joiner's Answer, signed by the ticket
//	hold/<account>    {"v","epoch","sealed"}; any machine may write it, so it isn't signed.
//	                  sealed: Holds
//
// A signature is over the place of the value and its JSON without sig, in the order of this
// program's fields. A value with a field that this version doesn't know is refused.
//
// This package asks no engine and no keystore. Its errors are one of the Err… values, and
// never quote what was read.
package seal
