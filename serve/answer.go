package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
)

// Kind says what is wrong.
type Kind int

// The kinds. The first ones are found before the broker is asked or anything is sent.
const (
	BadKey      Kind = iota + 1 // wrong key, or none
	BadHost                     // Host is not the listener's
	FromPage                    // a page in a browser asks
	BadTarget                   // the target can't be passed on
	BadMethod                   // TRACE
	Unknown                     // no such provider here, or the path is not part of its model API
	NoUpgrade                   // a WebSocket is asked for
	Unreadable                  // the request's body was cut off
	AllHeld                     // no account is free until RetryAt, if that is known
	LoginNeeded                 // every account needs a login, or the API refuses their tokens
	NotAllowed                  // a fence, or no account: Err
	NoToken                     // keystore, lock or provider: Err
	Unreachable                 // the API gave no answer
	Redirected                  // the API redirects the client
)

// Trouble says why a client gets no answer of the API. It is an error.
type Trouble struct {
	Kind     Kind
	Provider string // empty: unknown
	Pool     string // the pool that was meant; empty: unknown
	RetryAt  time.Time
	Err      error // a *fault.Error, if Kind is about an account
}

func (t *Trouble) Error() string {
	if t.Err != nil {
		return "serve: " + t.Err.Error()
	}
	return "serve: trouble " + strconv.Itoa(int(t.Kind))
}

// Unwrap returns t.Err.
func (t *Trouble) Unwrap() error { return t.Err }

// Code is the broker's code, if the broker failed.
func (t *Trouble) Code() fault.Code { return fault.CodeOf(t.Err) }

// status is the HTTP status that the clients of an API understand best.
func (t *Trouble) status(a api) int {
	switch t.Kind {
	case BadKey:
		return http.StatusUnauthorized
	case BadHost, FromPage:
		return http.StatusForbidden
	case BadTarget, Unreadable:
		return http.StatusBadRequest
	case BadMethod:
		return http.StatusMethodNotAllowed
	case Unknown:
		return http.StatusNotFound
	case NoUpgrade:
		return http.StatusUpgradeRequired
	case AllHeld:
		return http.StatusTooManyRequests
	case Unreachable, Redirected:
		return http.StatusBadGateway
	case LoginNeeded, NotAllowed, NoToken:
	}
	e, _ := t.Err.(*fault.Error) //nolint:errorlint // it is one or there is none
	switch {
	case a == messages && e != nil && e.Refused: // with a helper of its own, Claude Code would retry a 403 for minutes
		return http.StatusTooManyRequests
	case a == responses: // other statuses are retried for up to half a minute
		return http.StatusBadRequest
	case t.Kind == NoToken:
		return http.StatusServiceUnavailable
	}
	return http.StatusForbidden // a 401 would make a client ask for another key
}

// fail is ReverseProxy's ErrorHandler.
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	c, _ := r.Context().Value(callKey{}).(*call)
	if c == nil || r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	t, ok := errors.AsType[*Trouble](err)
	if !ok {
		t = &Trouble{Kind: Unreachable, Provider: c.provider, Err: err}
	}
	p.answer(w, r, c.api, *t)
}

// answer writes the answer that makes the clients of an API show the sentence at once
// instead of trying again.
func (p *Proxy) answer(w http.ResponseWriter, r *http.Request, a api, t Trouble) {
	status := t.status(a)
	if status == http.StatusTooManyRequests && waitsOut(r) {
		status = http.StatusBadRequest
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if t.Kind != Unreachable { // which may be over when the client tries again
		h.Set("X-Should-Retry", "false")
	}
	if t.Kind == NoUpgrade {
		h.Set("Upgrade", "HTTP/1.1")
		h.Set("Connection", "Upgrade")
	}
	if t.Kind == BadMethod {
		h.Set("Allow", "GET, POST")
	}
	if seconds := untilSeconds(t.RetryAt); status == http.StatusTooManyRequests && seconds > 0 && (a == messages || a == other) {
		h.Set("Retry-After", strconv.FormatInt(seconds, 10))
		if a == messages && t.Kind == AllHeld {
			// With only the time, a Claude Code that takes the key for a subscription's
			// says "not your usage limit". It doesn't know this claim, and says "usage
			// limit".
			h.Set("Anthropic-Ratelimit-Unified-Status", "rejected")
			h.Set("Anthropic-Ratelimit-Unified-Reset", strconv.FormatInt(t.RetryAt.Unix(), 10))
			h.Set("Anthropic-Ratelimit-Unified-Representative-Claim", "pool")
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(envelope(a, status, t.RetryAt, strings.ToValidUTF8(p.opt.Say(t), "")))
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b.Bytes())
	}
}

// waitsOut reports whether a client silently waits as long as a 429 says, even for hours,
// and retries other answers that look like one. OpenCode does.
func waitsOut(r *http.Request) bool { return strings.HasPrefix(r.UserAgent(), "opencode/") }

func untilSeconds(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return max(1, int64(math.Ceil(time.Until(at).Seconds())))
}

// envelope is an error in the form of the provider.
func envelope(a api, status int, until time.Time, message string) any {
	kind := kinds[status]
	if kind == [2]string{} {
		kind = [2]string{"api_error", "UNAVAILABLE"}
	}
	limited := status == http.StatusTooManyRequests
	switch a {
	case gemini:
		e := map[string]any{"code": status, "message": message, "status": kind[1]}
		if s := untilSeconds(until); limited && s > 0 {
			e["details"] = []any{map[string]any{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": strconv.FormatInt(s, 10) + "s"}}
		}
		return map[string]any{"error": e}
	case responses, chat:
		e := map[string]any{"type": kind[0], "code": nil, "param": nil, "message": message}
		if limited {
			e["type"], e["code"] = "usage_limit_reached", "usage_limit_reached"
			if !until.IsZero() && a == responses {
				e["resets_at"] = until.Unix()
			}
		}
		return map[string]any{"error": e}
	case messages, other:
	}
	return map[string]any{"type": "error", "error": map[string]any{"type": kind[0], "message": message}}
}

// kinds are the providers' names for a status: Anthropic's and OpenAI's; Google's.
var kinds = map[int][2]string{
	http.StatusBadRequest:       {"invalid_request_error", "INVALID_ARGUMENT"},
	http.StatusUnauthorized:     {"authentication_error", "UNAUTHENTICATED"},
	http.StatusForbidden:        {"permission_error", "PERMISSION_DENIED"},
	http.StatusNotFound:         {"not_found_error", "NOT_FOUND"},
	http.StatusMethodNotAllowed: {"invalid_request_error", "UNIMPLEMENTED"},
	http.StatusUpgradeRequired:  {"invalid_request_error", "UNIMPLEMENTED"},
	http.StatusTooManyRequests:  {"rate_limit_error", "RESOURCE_EXHAUSTED"},
}
