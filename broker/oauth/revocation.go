package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/url"
	"slices"
	"strings"

	"github.com/authferry/authferry/keystore"
)

// Revoke asks e's revocation endpoint to revoke token (RFC 7009). hint is "refresh_token"
// or "access_token". A token that the server doesn't know counts as revoked. A 2xx counts
// only if nothing in the answer contradicts it: captive portals send one too, and some
// servers report errors in one. The error is an *Error.
func (c *Client) Revoke(ctx context.Context, e Endpoint, token keystore.Secret, hint string) error {
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	form := url.Values{"token": {token.Reveal()}}
	if hint != "" {
		form.Set("token_type_hint", hint)
	}
	a, err := c.ask(ctx, e, e.RevocationEndpoint, form)
	if err != nil {
		return err
	}
	if a.status >= 200 && a.status <= 299 {
		if err = a.doubt(); err == nil {
			return nil
		}
		if !errors.Is(err, errDenial) {
			return a.fail(Unknown, err)
		}
	}
	refused := a.refusal(e, token, e.ClientSecret)
	if refused.Class == Dead || refused.Code == "invalid_token" {
		return nil
	}
	if refused.Err == nil {
		refused.Err = err
	}
	return refused
}

var (
	errDenial = errors.New("the answer says that it was not done")
	errUnsaid = errors.New("the answer doesn't say that it was done")
)

// doubt is the reason why a 2xx doesn't mean that the token was revoked; nil: it does. The
// answer may be empty (RFC 7009 §2.2).
func (a *answer) doubt() error {
	body := bytes.TrimSpace(bytes.TrimPrefix(a.body, []byte("\ufeff")))
	switch {
	case a.cut != nil:
		return a.cut
	case len(body) == 0:
		return nil
	case body[0] == '<':
		return errHTML
	}
	var v any
	if json.Unmarshal(body, &v) == nil {
		if denies(v) {
			return errDenial
		}
		return nil
	}
	if m, err := parse(body, nil); err == nil && m.refuses() {
		return errDenial
	}
	kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	switch {
	case affirmative(string(body)): // PHP sends this type for everything
		return nil
	case kind == "text/html" || kind == "application/xhtml+xml":
		return errHTML
	}
	return errUnsaid
}

// denies reports whether a JSON value says no: false, or an object with an error or with a
// no under one of the names that servers use.
func denies(v any) bool {
	switch v := v.(type) {
	case bool:
		return !v
	case string:
		return v != "" && !affirmative(v)
	case []any:
		return slices.ContainsFunc(v, denies)
	case map[string]any:
		for name, value := range v {
			switch strings.ToLower(name) {
			case "error", "errors", "error_code", "error_description":
				if !void(value) {
					return true
				}
			case "errcode", "errno", "error_no", "iserror", "is_error", "failed", "failure", "captive", "active": // RFC 8908 has captive, RFC 7662 active
				if !void(value) {
					return true
				}
			case "ok", "success", "successful", "succeeded", "revoked":
				if no(value) {
					return true
				}
			case "message", "msg", "detail", "reason":
				if text, ok := value.(string); ok && negative(text) {
					return true
				}
			case "status", "result", "code":
				if text, ok := value.(string); ok && slices.Contains([]string{"error", "fail", "failed", "failure", "denied", "false", "ko"}, strings.ToLower(text)) {
					return true
				}
				if number, ok := value.(float64); ok && number >= 400 {
					return true
				}
			case "data", "response":
				if _, text := value.(string); !text && denies(value) {
					return true
				}
			}
		}
	}
	return false
}

// void reports whether the value of a member says nothing.
func void(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case float64:
		return v == 0
	case string:
		return v == "" || strings.EqualFold(v, "false") || v == "0"
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// no reports whether a value means false, whatever its type.
func no(v any) bool {
	switch v := v.(type) {
	case bool:
		return !v
	case float64:
		return v == 0
	case string:
		return slices.Contains([]string{"false", "no", "0", "error", "failed"}, strings.ToLower(v))
	}
	return false
}

// negative reports whether a sentence says that something failed.
func negative(text string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc([]string{"fail", "error", "invalid", "unauth", "denied", "forbidden", "not "}, func(word string) bool { return strings.Contains(text, word) })
}

// affirmative reports whether a plain text says that it was done.
func affirmative(text string) bool {
	text = strings.ToLower(strings.Trim(text, " \t\r\n\"'.!"))
	return slices.Contains([]string{"ok", "okay", "true", "1", "done", "success", "successful", "revoked", "token revoked"}, text)
}
