// Package oauth speaks to authorization servers: one refresh, code exchange or revocation
// per call, the flows that lead to a code, whose login it is, discovery, registration, and
// the data of providers. It stores nothing, retries nothing and decides nothing about
// accounts. What a failed request means for the refresh token is the Class of its *Error.
//
// golang.org/x/oauth2 builds the token request. The http.RoundTripper given to it
// (exchange) sends it, once:
//
//   - to https or loopback only, whatever a record says;
//   - on a connection of its own, without HTTP/2, redirects, cookies or a body that could
//     be rewound, so that net/http can't send it again;
//   - with a body whose first Read, after DNS, TCP and TLS, calls the caller's beforeSend
//     and stops if that fails (net/http has written the request's header by then, which
//     never has a token);
//   - and with the answer parsed by a tolerant parser before x/oauth2 gets a canonical
//     one, so that a rotated refresh token in an odd answer is not lost.
//
// A login is an Authorization (code flow, RFC 6749 and 7636), whose answer comes to a
// Listener on loopback (RFC 8252) or is pasted; or a Device (RFC 8628). The answer must
// have the Authorization's state. Any other request to the Listener gets a 4xx, and the
// wait goes on. A code is exchanged once.
//
// No error's text contains a secret or a part of an answer's body.
//
// Its Go API may change in any release; package broker says what stays stable.
package oauth
