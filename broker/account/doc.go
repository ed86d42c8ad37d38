// Package account is how a folder gets a login, and how it loses one: a person's consent,
// what a person brings instead, a grant from elsewhere, and removal. pools.go, holds.go and
// bindings.go are what a person sets of an account that is there.
//
// # What always holds
//
//   - One login is one account, whichever way it came: a second account for a refresh
//     token, a key or an identity that is here already is refused.
//   - What can be refused is refused before a person is troubled.
//   - The manifest names an account before the keystore has anything of it, and the
//     keystore has all of it before the index names it. What comes to nothing leaves
//     nothing behind.
//   - The records pin everything that decides where the secrets go; a renewal pins it
//     anew. Label, pool, rank and holds of an account outlive its logins.
//
// # Login
//
// The keystore is tried before a person is
// troubled. From the exchange of the code on nothing interrupts; the manifest
// names the account-to-be before it. Whose login came of it (issuer, subject,
// organization) decides where it goes: to the account of that identity, under its
// rotation lock and into a free slot with the next generation, as a rotation
// would; or to a new account. --renew names the account and refuses any other
// identity. The index finds the account; what its grant says of whose it is has
// the last word. Until the new grant is stored the old one is untouched, and it is
// not revoked: some servers would end the new one with it.
//
// What an answer leaves out is not empty. A login without a refresh token keeps the
// one that is stored if both are proven to be the same login: of an identity that
// both sides know, at the same token endpoint, for the same client. That refresh
// token keeps its end, its revocation endpoint, the requests whose outcome is open,
// and who else has it. One that is known to be dead is given up. broker/missing_test.go
// has the whole table.
//
// static.go is for what a person brings instead: an API key, or a long-lived token
// without a refresh token. The provider's data tells by its beginning what it is; a
// refresh token or an admin key is never stored. The fingerprint of such a token is in
// its grant, and from there in the index: so one token is one account, and a 401 is
// about the account, as it is for a key. Its first one is a guessed hold, which a
// success proves wrong; the next one after that hold is the end of the login.
//
// remote.go and registration.go are for a remote MCP server. What it says is looked up
// anew for each login, and a person sees it first; providers.toml only remembers what it
// was, so that another authorization server is asked about. The grant pins its address,
// its resource, its issuer and all scopes that were ever asked for; a login for another
// address or resource takes no login's place. Its tokens have no origins: they go to no
// host, but to that server. authferry's own registration is a record in the keystore,
// of one issuer and one resource; the entry's client id only finds it. It is made in a
// login alone, after the port of its redirect is open, kept before the browser opens, and
// deleted with the last login that needs it. The client of another entry is never used.
//
// # Locks
//
// The rotation lock of an account is held from before it is in the manifest until the
// index has it; doctor tells by that a login under way from one that was cut off. A
// renewal holds that of its account, and waits for it longer than others do: the tokens
// exist nowhere else. A removal holds it to the end.
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
