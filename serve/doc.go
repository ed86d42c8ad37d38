// Package serve is the proxy on loopback: to a client it looks like the API of one
// login, and what it sends goes up with a token of whichever account of the pool is
// free. A client that never asks again after a limit need not, because it never hears
// of one while any account is free.
//
// # What always holds
//
//  1. A token goes to the API base that its own record pins, and nowhere else: not
//     where the client's Host, URL, query or headers say, not along with a redirect;
//     and a login's not to an API that takes API keys only.
//     Headers that say such a thing to gateways are dropped (steering.go).
//  2. Nothing that a client uses as a credential goes up: every header that could be
//     one is dropped, and everything else that has the proxy's key in it.
//  3. Nothing that is added to an answer has a token in it: no header, no error, no
//     line of the log, no trailer. No body, header or query is in the log at all.
//  4. Who has no key, or comes from a web page, is refused before anything is asked
//     of the broker or sent anywhere (door.go).
//  5. Bodies pass unchanged in both directions, byte for byte. What is looked at is
//     looked at beside the stream.
//  6. Of one answer a client never sees two beginnings. A request is sent again only
//     while no byte of an answer to it has gone down.
//  7. Which account is next is the broker's to say: nothing here remembers a hold.
//
// # What is sent again
//
// relay.go. Only what was refused: 429, and 400, 402 or 403 where the broker knows them
// for a limit; a limit inside a stream of status 200 before the first content; and 401,
// once, with a token that was refreshed for it. Once per account; once more after such
// a refresh, once more after a short throttle that was waited for.
//
// Never: after content has gone down; after a connection that broke, because the model
// may be running, and billed; a body over MaxBody, which was never in memory as a
// whole; at another account, if it names what only its own account has
// (previous_response_id, conversation). Overload, 5xx and the request's own faults are
// passed on as they came: no other account would cure them.
//
// # Streams
//
// stream.go reads a stream until its first content, at most maxHeld bytes and
// maxPatience, and gives all of it down. What counts as content is told by the path and
// not by the provider (api.go). From then on it is only watched: a limit after content
// makes a hold before the event goes down, because the client asks again within
// milliseconds. A stream that ends without its last event ends for the client as a
// broken one. A stream that is compressed in spite of Accept-Encoding is passed on
// unread.
//
// # Many at once
//
// ramp.go. An account that the pool has just moved to gets one request, and one more
// with each answer that it accepts; the rest wait, and ask the broker again before they
// go on. The same is true of an account whose hold has ended. So a limit that 64
// streams meet at once costs the next account one refusal, not 64.
//
// A session stays with the account that answered it last, while that is free and
// nobody made another one current: the API's cache of its prompt is there.
//
// # When nothing is free
//
// answer.go has the one answer per API that makes its clients say a sentence at once;
// OpenCode, which waits out a 429 in silence, gets a 400.
// The sentence comes from whoever made the Proxy; here are only the facts (Trouble).
//
// Its Go API may change in any release; package broker says what stays stable.
package serve
