package oauth

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/authferry/authferry/keystore"
)

// refuses reports whether an answer is an error whatever its status says. Some
// say in an error's place that there is none.
func (m members) refuses() bool {
	if inner := m.object("error"); inner.fields != nil {
		return !harmless(inner.text("code"))
	}
	code := m.text("error")
	return code != "" && !harmless(code)
}

func harmless(code string) bool {
	return slices.Contains([]string{"ok", "success", "none", "0", "false"}, strings.ToLower(code))
}

// refusal says what an answer means that grants nothing. It decides on the
// members of the body, never on a text being somewhere in it.
func (a *answer) refusal(e Endpoint, secrets ...keystore.Secret) *Error {
	m, err := parse(a.body, a.cut)
	if one, ok := onlyOne(a.body); ok && errors.Is(err, errFormat) {
		m, err = parse(one, a.cut)
	}
	codes, message := m.reasons()
	if errors.Is(err, errFormat) && len(a.body) <= maxMessage {
		message = strings.TrimSpace(string(a.body))
	}
	refused := a.fail("", nil)
	status := a.status
	if status == http.StatusServiceUnavailable && !a.unspent(m, codes) {
		status = http.StatusBadGateway
	}
	refused.Class, refused.Code = classify(status, codes, message, e.final())
	if !a.sent && (refused.Class == Dead || refused.Class == Unknown) {
		refused.Class = Unsent // it answered without having seen the token
	}
	if !presentable(refused.Code, secrets) {
		refused.Code = ""
	}
	switch {
	case a.status >= 300 && a.status <= 399:
		refused.Err = errors.New("it redirects elsewhere, and a token is not sent there")
	case errors.Is(err, errHTML):
		refused.Err = errHTML
	}
	return refused
}

// unspent reports that a 503 is the authorization server's own, or of somebody who
// asks to come back later: an OAuth error document, a code that asks to wait, or
// Retry-After. Any other can be a gateway's that lost the answer, as with a 502.
func (a *answer) unspent(m members, codes []string) bool {
	if a.header.Get("Retry-After") != "" || a.header.Get("Retry-After-Ms") != "" {
		return true
	}
	if slices.ContainsFunc(codes, func(code string) bool { return slices.Contains(busyCodes, code) }) {
		return true
	}
	code := m.text("error")
	return slices.Contains(standardCodes, code) || code != "" && presentable(code, nil) && m.text("error_description") != ""
}

var (
	// busyCodes ask to wait.
	busyCodes = []string{"temporarily_unavailable", "slow_down", "rate_limited", "rate_limit_error", "rate_limit_exceeded", "overloaded_error"}
	// standardCodes are those of RFC 6749 §4.1.2.1 and §5.2 beyond.
	standardCodes = []string{
		"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
		"access_denied", "server_error",
	}
)

// maxMessage is the length up to which a text can be a message of a provider.
const maxMessage = 512

// reasons returns an error answer's codes, the most telling first, and what it
// says to people: RFC 6749's {"error":"code"}, an object in its place with
// type or code, those members at the top, or the only one of a list "errors".
func (m members) reasons() (codes []string, message string) {
	add := func(s string) {
		if s != "" {
			codes = append(codes, s)
		}
	}
	add(m.text("error"))
	from := []members{m.object("error"), m}
	if one, ok := onlyOne(m.fields["errors"]); ok {
		from = append(from, parseObject(one))
	}
	for _, from := range from {
		for _, name := range []string{"code", "error_code", "errorCode"} {
			add(from.text(name))
		}
		if kind := from.text("type"); kind != "error" {
			add(kind)
		}
		add(from.text("status"))
		for _, name := range []string{"message", "msg", "error_description"} {
			if message == "" {
				message = strings.TrimSpace(from.text(name))
			}
		}
	}
	return codes, message
}

// classify returns what the status and the body of an answer mean, and the code
// that decided or comes first. final are the codes and whole messages after which a
// refresh token is over for good; a part of a message never is.
func classify(status int, codes []string, message string, final []string) (Class, string) {
	first := ""
	if len(codes) > 0 {
		first = codes[0]
	}
	switch {
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return Throttled, first
	case status < 200, status >= 300 && status <= 399, status >= 500, status == http.StatusRequestTimeout:
		return Unknown, first
	}
	if slices.Contains(busyCodes, first) {
		return Throttled, first
	}
	switch first {
	case "server_error", "api_error", "internal_error":
		return Unknown, first
	}
	// It is the client that is refused, whatever else is said.
	if slices.Contains(codes, "invalid_client") {
		return Misconfigured, "invalid_client"
	}
	for _, code := range codes {
		if code == "invalid_grant" || slices.Contains(final, code) {
			return Dead, code
		}
	}
	if message != "" && slices.Contains(final, message) {
		return Dead, first
	}
	if status < 500 && ofTheGrant(codes, message) {
		return Refused, first
	}
	return Misconfigured, first
}

// ofTheGrant reports that a refusal is about this grant, by the names in its codes, or
// in its text where it has no code; not about the client or the request. That is less
// than final: it tells the trouble of one account from that of all.
func ofTheGrant(codes []string, message string) bool {
	for _, code := range codes {
		switch code {
		case "invalid_request", "unauthorized_client", "unsupported_grant_type", "unsupported_token_type":
			return false
		}
		words := strings.FieldsFunc(strings.ToLower(code), func(r rune) bool { return r < 'a' || r > 'z' })
		for _, name := range []string{"grant", "token", "session", "user", "account", "login", "consent", "interaction", "mfa"} {
			if slices.Contains(words, name) {
				return true
			}
		}
	}
	message = strings.ToLower(message)
	return len(codes) == 0 && (strings.Contains(message, "refresh token") || strings.Contains(message, "refresh_token") || strings.Contains(message, "authorization grant"))
}

// onlyOne is the object that is alone in a list.
func onlyOne(body []byte) (one json.RawMessage, ok bool) {
	var list []json.RawMessage
	if json.Unmarshal(body, &list) != nil || len(list) != 1 || list[0][0] != '{' {
		return nil, false
	}
	return list[0], true
}

const maxCode = 48

// presentable keeps from people's eyes what is no code. RFC 6749 allows more
// characters than any code has, with which a server could echo words or tokens.
func presentable(code string, secrets []keystore.Secret) bool {
	if len(code) > maxCode || strings.ContainsFunc(code, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_-.", r)
	}) {
		return false
	}
	return !slices.ContainsFunc(secrets, func(s keystore.Secret) bool {
		return !s.Empty() && strings.Contains(code, s.Reveal())
	})
}
