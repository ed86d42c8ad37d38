// Package serve is the proxy on loopback. To a client it looks like the API with a single
// login; it sends each request with a token of whichever account of the pool is free. A
// client that doesn't retry after a limit doesn't have to: it is never told of one while
// any account is free.
//
// # What always holds
//
//  1. A token is sent only to the API base in its own record: never where the client's
//     Host, URL, query or headers point, and never along with a redirect. A login's token
//     is never sent to an API that takes API keys only. Headers that tell gateways where a
//     request goes are removed (fields.go).
//  2. Nothing that a client uses as a credential is sent on: every header that could be
//     one is removed, and everything else that contains the proxy's key.
//  3. Nothing that is added to an answer contains a token: no header, error, log line or
//     trailer. No body, header or query is logged at all.
//  4. A request without the key, or from a web page, is refused before the broker is
//     asked or anything is sent (door.go).
//  5. Bodies pass unchanged in both directions, byte for byte. They are inspected beside
//     the stream.
//  6. A client never sees the beginnings of two answers. A request is sent again only
//     while the client has not received a byte of an answer to it.
//  7. The broker decides which account is next: nothing here remembers a hold.
//
// # What is sent again
//
// relay.go. Only refused requests are sent again: after a 429; after a 400, 402 or 403 that
// the broker knows as a limit; after a limit in a stream of status 200 before the first
// content; and after a 401, once, with a token that was refreshed for it. Each account is
// asked once; once more after such a refresh, and once more after a short throttle that was
// waited for.
//
// Never sent again: a request whose answer has had content; one whose connection broke,
// because the model may be running and billed; one with a body over MaxBody, which was
// never in memory as a whole; and, at another account, one that names something that only
// its own account has (previous_response_id, conversation). Overload, other 5xx and the
// request's own errors are passed on unchanged: another account would not help.
//
// # Streams
//
// stream.go reads a stream until its first content, at most maxHeld bytes and maxPatience,
// and then passes all of it on. The path, not the provider, decides what counts as content
// (api.go). From then on the stream is only watched: a limit after content makes a hold
// before the event is passed on, because the client asks again within milliseconds. If a
// stream ends without its last event, the client sees a broken connection. A stream that is
// compressed in spite of Accept-Encoding is passed on unread.
//
// # Many at once
//
// ramp.go. An account that the pool has just moved to gets one request, and one more with
// each answer that it accepts. The other requests wait, and ask the broker again before
// they continue. The same goes for an account whose hold has just ended. So a limit that 64
// streams meet at once costs the next account one refusal, not 64.
//
// A session stays with the account that answered it last, while that is free and no other
// one was made current: the API's cache of its prompt is there.
//
// # When nothing is free
//
// answer.go has one answer per API that makes its clients show a sentence at once.
// OpenCode, which waits out a 429 silently, gets a 400. The sentence comes from the maker
// of the Proxy; this package only has the facts (Trouble).
//
// Its Go API may change in any release; package broker says what stays stable.
package serve
