package oauth

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/authferry/authferry/keystore"
)

// How a client authenticates at the token endpoint (RFC 6749 §2.3.1).
const (
	AuthParams = "params" // client_id and client_secret in the body; the default
	AuthHeader = "header" // HTTP Basic; a client without a secret uses the body
	AuthNone   = "none"   // a public client: client_id alone
)

// How a token request is encoded.
const (
	EncodingForm = "form" // as in RFC 6749; the default
	EncodingJSON = "json"
)

// Endpoint has what a grant was issued by and to. It is stored in the grant's record, so
// that no other data decides where its refresh token is sent.
type Endpoint struct {
	Issuer             string   `json:"issuer,omitempty"`
	TokenEndpoint      string   `json:"token_endpoint"`
	RevocationEndpoint string   `json:"revocation_endpoint,omitempty"`
	UserinfoEndpoint   string   `json:"userinfo_endpoint,omitempty"`
	ClientID           string   `json:"client_id,omitempty"`
	AuthStyle          string   `json:"auth_style,omitempty"` // an Auth… constant
	Encoding           string   `json:"encoding,omitempty"`   // an Encoding… constant
	DeadCodes          []string `json:"dead_codes,omitempty"` // error codes or complete messages that mean Dead
	// Resource is named in every token request (RFC 8707); empty: none is.
	Resource string `json:"resource,omitempty"`
	// RefreshGrace is how long after its first use the server takes a refresh token again; 0:
	// it isn't known to.
	RefreshGrace time.Duration `json:"refresh_token_grace,omitempty"`

	ClientSecret keystore.Secret `json:"-"`
}

// secret is what the client authenticates with; a public client has none.
func (e Endpoint) secret() string {
	if e.AuthStyle == AuthNone {
		return ""
	}
	return e.ClientSecret.Reveal()
}

// style is never AutoDetect, which would send a refused request twice.
func (e Endpoint) style() oauth2.AuthStyle {
	if e.AuthStyle == AuthHeader && !e.ClientSecret.Empty() {
		return oauth2.AuthStyleInHeader
	}
	return oauth2.AuthStyleInParams
}

// otherStyle returns e with the client's secret sent by HTTP Basic, if no style is
// configured and the server has just refused the client. It is only for a code, which a
// refused client doesn't spend, and never for a refresh token.
func (e Endpoint) otherStyle(refused error) (Endpoint, bool) {
	failed, ok := errors.AsType[*Error](refused)
	if !ok || failed.Class != Misconfigured || e.AuthStyle != "" || e.ClientSecret.Empty() {
		return e, false
	}
	if failed.Status != http.StatusUnauthorized && !slices.Contains([]string{"invalid_client", "unauthorized_client", "invalid_request"}, failed.Code) {
		return e, false
	}
	e.AuthStyle = AuthHeader
	return e, true
}

var (
	errNoURL    = errors.New("not a URL")
	errInsecure = errors.New("neither https nor loopback")
)

// CheckURL accepts the URLs that a secret may be sent to: https, or http to this machine.
// Its errors don't quote the URL, which can contain a password.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return errNoURL // the error of url quotes it, and it can contain a password
	}
	return checkParsedURL(u)
}

func checkParsedURL(u *url.URL) error {
	switch {
	case u.Opaque != "" || u.Hostname() == "":
		return errNoURL
	case u.User != nil:
		return errors.New("the URL contains a user name or password")
	case u.Fragment != "":
		return errors.New("the URL has a fragment")
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return errInsecure
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// Origin returns scheme://host[:port] of a URL in canonical form: lower case, without a
// default port. A path is an error, and so is http to any other machine than this.
func Origin(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", errNoURL
	}
	if err := checkParsedURL(u); err != nil {
		return "", err
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery {
		return "", errors.New("an origin has no path: scheme://host[:port]")
	}
	return originOf(u), nil
}

func originOf(u *url.URL) string {
	host := strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	port := u.Port()
	if port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		return u.Scheme + "://" + host
	}
	return fmt.Sprintf("%s://%s:%s", u.Scheme, host, port)
}
