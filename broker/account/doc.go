// Package account adds logins to a folder and removes them: login with a person's consent,
// API keys and tokens that a person brings, import of a grant, removal. pools.go and
// bindings.go have what a person can set for an existing account.
//
// # What always holds
//
//   - One login is one account, however it came: a second account for a refresh token, a
//     key or an identity that is here already is refused.
//   - What can be refused is refused before a person is asked for anything.
//   - The manifest names an account before the keystore has anything of it, and the
//     keystore has all of it before the index names it. A login that fails leaves nothing.
//   - The records contain everything that decides where the secrets go. A renewal sets it
//     again; label, pool, rank and holds of the account stay.
//
// # Login
//
// The keystore is tried before a person is asked. Just before the exchange of the code the
// manifest names the new account, and from then on nothing interrupts. The identity
// (issuer, subject, organization) decides where the login goes: to the account of that
// identity, under its rotation lock and into a free slot with the next generation, as in a
// rotation; or to a new account. --renew names the account and refuses any other identity.
// The account is found by the index; whose it is, is decided by its grant. Until the new
// grant is stored the old one is unchanged. It is not revoked, because some servers would
// end the new one with it.
//
// What an answer leaves out is not lost. A login without a refresh token keeps the stored
// one if both are proven to be the same login: both sides know the identity and it is the
// same, as are the token endpoint and the client. That refresh token keeps its end, its
// revocation endpoint, its requests with unknown outcome, and the other programs that have
// it. One that is known to be dead is not kept. broker/missing_test.go has the whole table.
//
// static.go is for what a person brings instead: an API key, or a long-lived token without
// a refresh token. The provider's data tells them apart by their prefix; a refresh token or
// an admin key is never stored. The fingerprint of a long-lived token is in its grant and
// in the index, so one token is one account. A 401 is about the account, as for a key: the
// first one is a guessed hold, which a success refutes; if another one follows that hold,
// the login is over.
//
// remote.go and registration.go are for remote MCP servers. What a server says is looked up
// again for each login and shown to the person first. providers.toml only remembers the
// last answer, so that a changed authorization server needs consent. The grant pins the
// server's address, its resource, its issuer and all scopes that were ever asked for. A
// login for another address or resource never replaces it. Its tokens have no origins: they
// are sent to that server only. authferry's own registration is a record in the keystore,
// for one issuer and one resource; the client id in providers.toml only finds it. It is
// made during a login only, once the port of its redirect URI is open, and stored before
// the browser opens. It is deleted with the last login that needs it. The client of another
// provider is never used.
//
// # Locks
//
// The rotation lock of a new account is held from before the manifest names it until the
// index does. By that, doctor tells a login in progress from one that was interrupted. A
// renewal holds the lock of its account, and waits for it longer than other commands,
// because its tokens exist nowhere else. A removal holds it to the end.
//
// # What a crash leaves
//
//	K18 in login                    nothing, or as K21; the same command works
//	K19 in remove                   a tombstone in manifest and index; remove or
//	                                doctor finishes it
//	K21 in login, code exchanged    an account in the manifest that the index does
//	                                not have; doctor names it. A renewal: the old
//	                                login, or, once its grant is stored, as K14
package account
