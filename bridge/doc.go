// Package bridge is a client of one remote MCP server over Streamable HTTP, and towards
// the program that started it a local one on stdio: it passes messages on and adds the
// login.
//
// # What always holds
//
//  1. A token goes to the address of the server that its own record pins, and nowhere
//     else: no redirect is followed, and each token is looked at before it is sent.
//  2. On out stand messages of the server and errors of this package, one a line, and
//     nothing else. A message is passed on byte for byte, but for line breaks between
//     its parts, which become spaces: a line is a message.
//  3. A message is at most MaxMessage, in both directions. Nothing is read from the
//     server while out takes nothing, and nothing from in while too much is under way.
//  4. A request is sent again only if it was refused before it could run: 401, once,
//     with a token that was refreshed for it; 429 and 402, as the broker says; and 404
//     for a session that the server has ended (400, if its text is about the session),
//     once, in a new one. What a broken connection took along is told as an error.
//  5. A session belongs to one account: which one may change only before the server's
//     first answer.
//  6. No token, session id, query or text of a message is in the log, nor is anything of
//     the server's put before a person unquoted.
//
// # Two eras
//
// Up to 2025-11-25 a client opens a session with initialize. The server may name it
// (Mcp-Session-Id), sends what nobody asked for over a stream of its own (GET), and may
// end a connection early: the stream goes on where Last-Event-ID says. From 2026-07-28
// on each request carries its version, there is no session, and closing a request's
// stream cancels it. Headers repeat parts of a message (header.go). Which era a message
// is of, it says itself; a message of one is not translated into the other.
//
// Its Go API may change in any release; package broker says what stays stable.
package bridge
