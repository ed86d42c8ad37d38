package oauth

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/ratelimit"
	"github.com/authferry/authferry/keystore"
)

// refuses reports whether an answer is an error, whatever its status is. Some have an error
// field that says that there is none.
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

// refusal returns what an answer means that grants nothing. It decides by the members of
// the body, never by words that occur somewhere in it.
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
		refused.Class = Unsent // it was answered without looking at the token
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

// unspent reports whether a 503 comes from the authorization server itself, or asks to come
// back later: it has an OAuth error, a code that asks to wait, or Retry-After. Any other
// 503, like a 502, may come from a gateway that lost the answer.
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
	// standardCodes are the other codes of RFC 6749 §4.1.2.1 and §5.2.
	standardCodes = []string{
		"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
		"access_denied", "server_error",
	}
)

// maxMessage is the greatest length of a text that can be a provider's message.
const maxMessage = 512

// reasons returns the codes of an error answer, the most specific one first, and its text
// for people: RFC 6749's {"error":"code"}; an object in its place, with type or code; these
// members at the top; or the only element of a list "errors".
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

// classify returns what the status and the body of an answer mean, and the code that
// decided or, if none did, the first. final are the codes and complete messages that mean
// that a refresh token is over for good.
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
	// The client is refused, whatever else the answer says.
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

// ofTheGrant reports whether a refusal is about this grant and not about the client or the
// request, by the words in its codes or, without a code, in its text. That is less than
// final: it tells trouble of one account from trouble of all.
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

// onlyOne is the object in a list of exactly one.
func onlyOne(body []byte) (one json.RawMessage, ok bool) {
	var list []json.RawMessage
	if json.Unmarshal(body, &list) != nil || len(list) != 1 || list[0][0] != '{' {
		return nil, false
	}
	return list[0], true
}

const maxCode = 48

// presentable keeps a code from being shown if it isn't one: RFC 6749 allows characters
// that no code has, with which a server could echo words or tokens.
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

const (
	maxRetryAfter = 24 * time.Hour
	// absurdRetryAfter: such a wait is not meant; it is in microseconds, or a wrong epoch.
	absurdRetryAfter = 366 * 24 * time.Hour
)

// retryAfter is the wait that an answer asks for, at most a day. 0: none, or unusable.
func retryAfter(h http.Header, arrived time.Time) time.Duration {
	asked := ratelimit.RetryAfter(h, arrived)
	if asked >= absurdRetryAfter {
		return 0
	}
	return min(asked, maxRetryAfter)
}
