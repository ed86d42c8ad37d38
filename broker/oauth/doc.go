// Package oauth speaks to authorization servers: one refresh, code exchange or
// revocation per call, the flows that lead to a code, whose login it is,
// discovery, and the data of providers. It keeps nothing, retries nothing
// and decides nothing about accounts; what a failed request means for the
// refresh token is the Class of its *Error.
//
// golang.org/x/oauth2 builds the token request; the http.RoundTripper that is
// given to it (exchange) sends it, once:
//
//   - to https or loopback, whatever a record says;
//   - on a connection of its own, without HTTP/2, redirects, cookies or a body
//     that could be rewound, so that net/http has no way to send it again;
//   - with a body whose first Read, after DNS, TCP and TLS, runs the caller's
//     beforeSend and goes no further if that fails (net/http has written the
//     request's header by then, which never holds a token);
//   - and with the answer read by a tolerant parser before x/oauth2 sees a
//     canonical one: a rotated refresh token in an odd answer is not lost.
//
// A login is an Authorization (code flow, RFC 6749 and 7636), whose answer comes
// to a Listener on loopback (RFC 8252) or is pasted, or a Device (RFC 8628). The
// answer must have the Authorization's state; whatever else knocks gets a 4xx and
// the wait goes on. One code is exchanged once.
//
// No text of an error holds a secret or a part of an answer's body.
//
// Its Go API may change in any release; package broker says what stays stable.
package oauth
