package brokertest

import (
	"fmt"
	"time"
)

// Config says what kind of server to start. The zero value is the strictest
// one: public client, PKCE, every reuse of a refresh token revokes the login.
type Config struct {
	Addr string // where to listen, loopback only; empty: 127.0.0.1 and any port
	TLS  TLS    // empty: plain HTTP

	Rotation   Rotation      // empty: Strict
	Grace      time.Duration // of the Grace… rotations; zero: 30s
	AccessTTL  time.Duration // zero: 1h
	RefreshTTL time.Duration // zero: for ever
	Latency    time.Duration // how long the token endpoint takes to answer

	ClientID     string // empty: "authferry-sim"
	ClientSecret string // empty: a public client
	ClientAuth   string // "none", "client_secret_post", "client_secret_basic"; empty: what fits
	TokenRequest string // "form" or "json", the only encoding taken; empty: both
	Errors       Shape  // how the token endpoint words its refusals; empty: RFC 6749

	Users    []string // who may log in; empty: ada@example.com and bob@example.com
	SignedIn string   // who gives consent, but for a login_hint; empty: the first of Users
	Chosen   string   // who is chosen with prompt=select_account; empty: the server doesn't know that
	Consent  Consent  // empty: Approve
	// RedirectURIs are accepted besides loopback ones (any port) and /code.
	RedirectURIs []string
	// TokenFields adds members to a token answer, as some providers do to name
	// the account in it.
	TokenFields func(user string) map[string]any

	DeviceInterval time.Duration // zero: 5s
	DeviceTTL      time.Duration // zero: 10m

	Quota Quota // of the API; the zero value limits nothing
	MCP   *MCP  // nil: it has none to do with MCP servers
}

// Consent is what happens at /authorize and /device.
type Consent string

// The ways to answer a request for consent.
const (
	Approve Consent = "approve" // at once, in the name of the user who is signed in
	Ask     Consent = "ask"     // a page asks
	Deny    Consent = "deny"    // error=access_denied
)

// TLS chooses the certificate that the server shows.
type TLS string

// The ways to speak TLS.
const (
	TLSGood      TLS = "good"       // for 127.0.0.1, ::1 and localhost; see Server.CertPEM
	TLSExpired   TLS = "expired"    // the same, but over since yesterday
	TLSWrongHost TLS = "wrong-host" // for another name
	TLSStall     TLS = "stall"      // the handshake never ends
)

func (c Config) withDefaults() Config {
	set(&c.Addr, "127.0.0.1:0")
	set(&c.Rotation, Strict)
	set(&c.Grace, 30*time.Second)
	set(&c.AccessTTL, time.Hour)
	set(&c.ClientID, "authferry-sim")
	set(&c.Consent, Approve)
	set(&c.DeviceInterval, 5*time.Second)
	set(&c.DeviceTTL, 10*time.Minute)
	if len(c.Users) == 0 {
		c.Users = []string{"ada@example.com", "bob@example.com"}
	}
	set(&c.SignedIn, c.Users[0])
	if c.MCP == nil {
		c.MCP = new(MCP)
	}
	return c
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// check names the first thing in c that makes no sense.
func (c Config) check() error {
	if _, ok := rules[c.Rotation]; !ok {
		return fmt.Errorf("unknown rotation %q, known are %v", c.Rotation, Rotations())
	}
	if _, ok := dialects[c.Quota.Dialect]; !ok && c.Quota.Dialect != "" {
		return fmt.Errorf("unknown dialect %q, known are %v", c.Quota.Dialect, Dialects())
	}
	return nil
}
