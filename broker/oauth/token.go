package oauth

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/rawtext"
)

// maxLifetime is the limit of expires_in: ten years.
const maxLifetime = 10 * 365 * 24 * time.Hour

// Token is a successful answer of the token endpoint (RFC 6749 §5.1).
type Token struct {
	AccessToken      keystore.Secret
	RefreshToken     keystore.Secret // empty: the one that was sent stays
	IDToken          keystore.Secret
	TokenType        string        // "Bearer", whatever the answer calls it
	ExpiresIn        time.Duration // of the access token; 0: unknown
	RefreshExpiresIn time.Duration // 0: unknown
	Scope            string        // empty: as asked for
	ArrivedAt        time.Time     // when the answer came, by this machine's clock
	Salvaged         bool          // the answer was malformed: these may not be tokens

	// Who the token belongs to, if the answer says so.
	Account      Party // ID and e-mail address
	Organization Party // ID and name
}

// Party is a user or an organization that a token answer names.
type Party struct{ ID, Name string }

var (
	errNoAccess  = errors.New("there is no access token in the answer")
	errVSCHAR    = errors.New("the access token has characters that no header can carry")
	errTokenType = errors.New("the token is not a bearer token; it needs a key or a proof as well")
)

// CheckAccessToken checks whether s can be sent as an access token: printable ASCII (RFC
// 6749 appendix A.12) that neither begins nor ends with a space, which an HTTP header would
// lose. The error doesn't quote it.
func CheckAccessToken(s string) error {
	if s == "" {
		return errNoAccess
	}
	if s[0] == ' ' || s[len(s)-1] == ' ' {
		return errVSCHAR
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return errVSCHAR
		}
	}
	return nil
}

// CheckTokenType refuses a token that only works together with a key or another proof, or
// not at all. All others are sent as the provider's headers say, because servers have many
// names for bearer tokens (RFC 6749 §7.1 has "Bearer").
func CheckTokenType(s string) error {
	words := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	if strings.Join(words, "_") == "n_a" || slices.ContainsFunc(words, func(w string) bool { return slices.Contains(boundTypes, w) }) {
		return errTokenType
	}
	return nil
}

// boundTypes are the words in the token types of RFC 9449 (DPoP), RFC 9201 (PoP), the
// drafts of MAC and HTTP signature tokens, and similar ones.
var boundTypes = []string{"dpop", "pop", "mac", "hmac", "hok", "gnap", "signature", "httpsig", "sigv4"}

// bearerType is the type given to every token that can be sent.
const bearerType = "Bearer"

// grant makes a Token of a 2xx answer, or the *Error that the answer is; both, if the class
// is BadToken. secrets are those of the request.
func (a *answer) grant(e Endpoint, secrets ...keystore.Secret) (*Token, error) {
	if a.status < 200 || a.status > 299 {
		return nil, a.refusal(e, secrets...)
	}
	var sent echoes
	for _, s := range secrets {
		sent = append(sent, s.Reveal())
	}
	m, err := parse(a.body, a.cut)
	access, refresh := m.tokens(sent)
	refused := err == nil && access == "" && m.refuses()
	if refused && refresh == "" {
		return nil, a.refusal(e, secrets...)
	}
	plain := err == nil && access != "" && m.cut == nil && (refresh != "" || !m.odd)
	searched := false
	if !plain && !refused {
		if found, ok := search(a.body, a.cut, sent); ok {
			outer := refresh // in its usual place, with the access token further inside
			m, err, searched = found, nil, true
			access, refresh = m.tokens(sent)
			refresh = cmp.Or(refresh, outer)
		}
	}
	switch {
	case err != nil:
		return nil, a.fail(Unknown, err)
	case m.cut != nil && refresh == "" && !(m.echo && access != ""):
		return nil, a.fail(Unknown, m.cut)
	case access == "" && refresh == "":
		return nil, a.fail(Unknown, errNoAccess)
	}
	t := &Token{
		AccessToken: keystore.NewSecret(access), RefreshToken: keystore.NewSecret(refresh), IDToken: keystore.NewSecret(m.text("id_token")),
		TokenType: bearerType, Scope: m.words("scope"), ArrivedAt: a.arrived,
		ExpiresIn: m.seconds("expires_in"), RefreshExpiresIn: m.seconds("refresh_token_expires_in"),
		Salvaged: searched || access == "" || m.cut != nil,
	}
	if t.RefreshExpiresIn == 0 {
		t.RefreshExpiresIn = m.seconds("refresh_expires_in")
	}
	account, organization := m.object("account"), m.object("organization")
	t.Account = Party{account.subject("uuid"), account.text("email_address")}
	t.Organization = Party{organization.text("uuid"), organization.text("name")}

	if err := CheckAccessToken(access); err != nil {
		return t, a.fail(BadToken, err)
	}
	if err := CheckTokenType(m.text("token_type")); err != nil {
		return t, a.fail(BadToken, err)
	}
	return t, nil
}

// tokens returns the new ones among m.
func (m *members) tokens(sent echoes) (access, refresh string) {
	if access = m.text("access_token"); sent.has(access) || rawtext.Nothing(access) {
		access = ""
	}
	if refresh = m.text("refresh_token"); sent.has(refresh) {
		refresh, m.echo = "", true
	} else if rawtext.Nothing(refresh) {
		refresh = ""
	}
	return access, refresh
}

// lifetime reads a number of seconds in any of the forms that servers use. 0: unknown, for
// nothing, null, zero, negative or not a number.
func lifetime(raw json.RawMessage) time.Duration {
	s := string(raw)
	var quoted string
	if json.Unmarshal(raw, &quoted) == nil {
		s = strings.TrimSpace(quoted)
	}
	f, err := strconv.ParseFloat(s, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) && f > 0: // 1e400
		return maxLifetime
	case err != nil || math.IsInf(f, 0) || !(f > 0):
		return 0
	}
	return time.Duration(min(f, maxLifetime.Seconds()) * float64(time.Second))
}

// maxBody is far above any token answer.
const maxBody = 1 << 20

// answer is an HTTP response, read to its end.
type answer struct {
	status  int
	header  http.Header
	body    []byte
	cut     error     // why the rest of the body is missing; nil: it is complete
	arrived time.Time // when its header arrived
	sent    bool      // bytes of the request's body had been sent
}

var (
	errTooBig  = errors.New("the answer is too big")
	errDamaged = errors.New("the answer is compressed and damaged")
)

func readAnswer(res *http.Response, sent bool) *answer {
	a := &answer{status: res.StatusCode, header: res.Header, arrived: time.Now(), sent: sent}
	a.body, a.cut = readCapped(res.Body)
	if a.cut != nil && !errors.Is(a.cut, errTooBig) {
		a.cut = describe(a.cut)
	}
	a.decompress()
	return a
}

// decompress goes by the first bytes and not by Content-Encoding: some servers compress
// without saying so, or twice.
func (a *answer) decompress() {
	for range 3 {
		switch body := bytes.NewReader(a.body); {
		case bytes.HasPrefix(a.body, []byte{0x1f, 0x8b}):
			z, err := gzip.NewReader(body)
			a.unpack(z, err)
		case len(a.body) > 1 && a.body[0] == 0x78 && (uint(a.body[0])<<8|uint(a.body[1]))%31 == 0: // RFC 1950 §2.2
			z, err := zlib.NewReader(body)
			a.unpack(z, err)
		default:
			return
		}
	}
}

func (a *answer) unpack(z io.Reader, err error) {
	a.body = nil
	if err == nil {
		a.body, err = readCapped(z)
	}
	switch {
	case err == nil || a.cut != nil:
	case errors.Is(err, errTooBig):
		a.cut = err
	default:
		a.cut = errDamaged
	}
}

// readCapped returns what was read even with an error.
func readCapped(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err == nil && len(body) > maxBody {
		return body[:maxBody], errTooBig
	}
	return body, err
}

func (a *answer) fail(c Class, err error) *Error {
	return &Error{Class: c, Status: a.status, RetryAfter: retryAfter(a.header, a.arrived), Err: err}
}
