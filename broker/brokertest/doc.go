// Package brokertest is a real OAuth 2.0 authorization server and a real API on
// loopback, for tests and for the program authferry-sim. It rotates refresh
// tokens the way known servers do, detects reuse, keeps a ledger of every
// refresh token it ever issued, and fails on request in every way that a token
// endpoint has been seen to fail.
//
//	path                          what
//	/.well-known/...              OpenID Connect discovery, RFC 8414 metadata, JWKS
//	/authorize                    RFC 6749 section 4.1, PKCE S256 required, RFC 9207 iss
//	/token                        authorization_code, refresh_token, device_code; form or JSON
//	/device_authorization, /device  RFC 8628
//	/revoke, /introspect          RFC 7009, RFC 7662
//	/userinfo                     OpenID Connect Core section 5.3
//	/code                         a redirect URI that shows CODE#STATE, for the paste flow
//	/api/...                      checks the bearer, counts per user, limits on request
//	/_control                     ledger, faults and time, for other processes (JSON)
//
// A refresh token is spent when its request arrives, before the configured
// latency: whoever sends it a second time meanwhile is caught. Time on the
// server moves with [Server.Advance], so no test has to wait for an expiry.
//
// Tokens are canaries: everything issued starts with "afrt_" (refresh token),
// "afat_" (access token), "afac_" (authorization code), "afdc_" (device code)
// or "afak_" (API key), so that a test can search for leaks.
package brokertest
