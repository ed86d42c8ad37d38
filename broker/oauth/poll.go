package oauth

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The answers to a poll before there are tokens.
const (
	pollPending = "authorization_pending"
	pollFaster  = "slow_down"
	pollDenied  = "access_denied"
	pollExpired = "expired_token"
)

// pollWords are the codes of RFC 8628 §3.5 and those that servers send instead.
var pollWords = map[string]string{
	pollPending: pollPending, "pending": pollPending, // {"status":"pending"}
	pollFaster: pollFaster, "polling_too_frequently": pollFaster,
	pollDenied: pollDenied, "denied": pollDenied, "declined": pollDenied, "rejected": pollDenied, "cancelled": pollDenied, "canceled": pollDenied,
	"user_denied": pollDenied, "user_rejected": pollDenied, "user_cancelled": pollDenied, "user_canceled": pollDenied,
	"authorization_declined": pollDenied, "authorization_denied": pollDenied, "authorization_rejected": pollDenied, // Microsoft says the first
	pollExpired: pollExpired, "expired": pollExpired, "token_expired": pollExpired,
	"code_expired": pollExpired, "device_code_expired": pollExpired, "expired_device_code": pollExpired, // Microsoft's older endpoint says the first
}

// pollStatuses are for answers without a body, such as Trakt's.
var pollStatuses = map[int]string{
	http.StatusBadRequest: pollPending, http.StatusPreconditionRequired: pollPending,
	http.StatusGone: pollExpired, http.StatusTeapot: pollDenied, http.StatusTooManyRequests: pollFaster,
}

// pollMembers are the members in which servers put such a code, the best first.
var pollMembers = []string{"error", "error_code", "errorCode", "code", "message", "detail", "type", "errorType", "__type", "reason", "status", "error_description"}

// pollSays returns which of the four an answer without tokens is; empty: none. The code
// must be a whole member; a code somewhere in a text doesn't count.
func (a *answer) pollSays() string {
	body := strings.TrimSpace(string(a.body))
	if body == "" {
		if a.status >= 200 && a.status <= 299 {
			return pollPending
		}
		return pollStatuses[a.status]
	}
	if said := pollWords[snake(strings.Trim(body, `"`))]; said != "" {
		return said
	}
	m := looseMembers(a)
	for _, from := range append([]members{m, m.object("error"), m.object("data"), m.object("result")}, m.list("errors")...) {
		for _, name := range pollMembers {
			if said := pollWords[snake(from.text(name))]; said != "" {
				return said
			}
		}
	}
	if a.status == http.StatusAccepted {
		return pollPending
	}
	return ""
}

// list returns the objects in a member that is a list of them.
func (m members) list(name string) (all []members) {
	var inner []map[string]json.RawMessage
	if json.Unmarshal(m.fields[name], &inner) != nil {
		return nil
	}
	for _, fields := range inner {
		all = append(all, members{fields: fields})
	}
	return all
}

// snake writes a code in the way of RFC 6749: authorization_pending for
// AuthorizationPendingException, also with its namespace before a '#' (AWS), and for
// "Authorization pending".
func snake(s string) string {
	if s = s[strings.LastIndexByte(s, '#')+1:]; len(s) > maxCode {
		return ""
	}
	var b strings.Builder
	for i, r := range strings.TrimSuffix(s, "Exception") {
		switch {
		case r == ' ' || r == '-':
			b.WriteByte('_')
		case r >= 'A' && r <= 'Z':
			if i > 0 && s[i-1] >= 'a' && s[i-1] <= 'z' {
				b.WriteByte('_')
			}
			b.WriteRune(r - 'A' + 'a')
		default:
			b.WriteRune(r)
		}
	}
	return strings.TrimRight(b.String(), ".!")
}

// looseMembers parses an answer in JSON, or in any form.
func looseMembers(a *answer) members {
	if m, err := parse(a.body, a.cut); err == nil && m.fields != nil {
		return m
	}
	form, err := url.ParseQuery(strings.TrimSpace(string(a.body)))
	if err != nil || len(form) == 0 || slices.Contains(a.body, '<') {
		return members{}
	}
	m := members{fields: map[string]json.RawMessage{}, cut: a.cut}
	for name := range form {
		if m.fields[name], err = json.Marshal(form.Get(name)); err != nil {
			return members{}
		}
	}
	return m
}

// newDevice parses the answer of a device authorization endpoint (RFC 8628 §3.2) in the
// variants of real servers: as a form, in camelCase, one level down, with an address
// without a scheme, or with only the address that contains the code.
func newDevice(a *answer) (d Device, code string) {
	m := looseMembers(a)
	for _, name := range slices.Sorted(maps.Keys(m.fields)) { // "data" mostly, or "result"
		if inner := m.object(name); m.word("device_code") == "" && inner.word("device_code") != "" {
			m = inner
		}
	}
	whole := withScheme(cmp.Or(m.word("verification_uri_complete"), m.word("verification_url_complete")))
	d = Device{
		UserCode:                m.word("user_code"),
		VerificationURI:         cmp.Or(withScheme(cmp.Or(m.word("verification_uri"), m.word("verification_url"))), whole),
		VerificationURIComplete: whole,
		interval:                m.seconds(m.spelled("interval")),
	}
	life := m.seconds(m.spelled("expires_in"))
	if life == 0 {
		life = deviceLife
	}
	if d.interval == 0 || d.interval >= life || d.interval >= 1000*time.Second { // milliseconds, for example
		d.interval = devicePause
	}
	d.interval = max(d.interval, time.Second)
	d.ExpiresAt = a.arrived.Add(life)
	return d, m.word("device_code")
}

// word returns a member that is a string or a whole number, in either spelling.
func (m members) word(name string) string {
	name = m.spelled(name)
	return cmp.Or(m.text(name), wholeNumber(m.fields[name]))
}

// spelled is name, or name in camelCase if m has that.
func (m members) spelled(name string) string {
	if _, ok := m.fields[name]; ok {
		return name
	}
	parts := strings.Split(name, "_")
	for i, p := range parts[1:] {
		parts[i+1] = strings.ToUpper(p[:1]) + p[1:]
	}
	if camel := strings.Join(parts, ""); m.fields[camel] != nil {
		return camel
	}
	return name
}

// withScheme completes an address without a scheme.
func withScheme(address string) string {
	if address == "" || strings.Contains(address, "://") {
		return address
	}
	return "https://" + strings.TrimPrefix(address, "//")
}
