package serve

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
)

// lastAttempt is the try of a throttled request after which the broker no longer says
// "again": the account is left alone.
const lastAttempt = 3

// turn is what has been done for one request.
type turn struct {
	*call
	p         *Proxy
	out       *http.Request
	sent      map[string]int // number of tries, by account
	refreshed map[string]bool
	throttled map[string]bool // accounts that were waited for
	waited    time.Duration
	until     time.Time // of the last hold
	pool      string
}

// mayGo reports whether the account may be asked: once, once more after a refresh and once
// more after a wait.
func (t *turn) mayGo(id string) bool {
	allowed := 1
	for _, more := range []map[string]bool{t.refreshed, t.throttled} {
		if more[id] {
			allowed++
		}
	}
	return t.sent[id] < allowed
}

// relay answers an admitted request: it is ReverseProxy's RoundTripper. Its errors are a
// *Trouble or the context's.
func (p *Proxy) relay(out *http.Request) (*http.Response, error) {
	c, _ := out.Context().Value(callKey{}).(*call)
	t := &turn{call: c, p: p, out: out, pool: c.route.Pool, sent: map[string]int{}, refreshed: map[string]bool{}, throttled: map[string]bool{}}
	defer func() { c.body = nil }() // an answer may take long
	ctx := out.Context()
	var next *broker.Token
	for {
		tok, at, err := t.admit(ctx, next)
		if err != nil {
			return nil, err
		}
		if !t.mayGo(tok.Account.ID) {
			at.leave(neither)
			return nil, t.held(t.until)
		}
		res, again, err := t.try(ctx, tok, at)
		at.leave(neither)
		if err != nil || res != nil {
			return res, err
		}
		next = again
	}
}

// admit returns the token to use and a place at its account. next, if not nil, is the token
// that the broker has given already.
func (t *turn) admit(ctx context.Context, next *broker.Token) (*broker.Token, *place, error) {
	for tok := next; ; tok = nil {
		if tok == nil {
			var err error
			if tok, err = t.token(ctx); err != nil {
				return nil, nil, err
			}
		}
		at, waited, err := t.p.ramps.enter(ctx, t.provider, t.scope, tok.Account.ID)
		if err != nil {
			return nil, nil, err
		}
		if waited && at != nil {
			again, err := t.token(ctx)
			if err == nil && again.Account.ID == tok.Account.ID {
				return again, at, nil
			}
			at.leave(neither)
			if err != nil {
				return nil, nil, err
			}
			continue
		}
		if at != nil {
			return tok, at, nil
		}
	}
}

// token asks the broker. If an account will be free within the proxy's patience, it waits
// for that before anything is sent.
func (t *turn) token(ctx context.Context) (*broker.Token, error) {
	for {
		req := broker.TokenRequest{Selection: t.route.Selection, MinTTL: pool.DefaultMinTTL}
		req.Scope = t.scope
		req.Stay, req.StayBy = t.p.sessions.of(t.call)
		tok, err := t.p.opt.Broker.Token(ctx, req)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			return tok, nil
		}
		e, ok := errors.AsType[*fault.Error](err)
		if !ok || e.Code != fault.AllHeld || e.RetryAt.IsZero() {
			return nil, t.trouble(err)
		}
		if soon := max(time.Until(e.RetryAt), time.Millisecond); !t.wait(ctx, soon) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, t.trouble(err)
		}
	}
}

// wait waits for d, if the request's patience allows it.
func (t *turn) wait(ctx context.Context, d time.Duration) bool {
	if t.waited+d > t.p.opt.Patience {
		return false
	}
	t.waited += d
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// try sends the request with tok. It returns the answer for the client, or the token to
// continue with, or neither: then the broker must be asked.
func (t *turn) try(ctx context.Context, tok *broker.Token, at *place) (*http.Response, *broker.Token, error) {
	id := tok.Account.ID
	t.account, t.pool = tok.Account.Label, tok.Account.Pool
	t.attempts++
	t.sent[id]++
	res, err := t.send(ctx, tok)
	if err != nil {
		return nil, nil, err
	}
	answer, status, said := t.judge(ctx, res, tok)
	if ctx.Err() != nil {
		_ = res.Body.Close()
		return nil, nil, ctx.Err()
	}
	if answer {
		if res.StatusCode < 500 {
			at.leave(accepted)
		}
		if res.StatusCode < 300 {
			t.p.sessions.put(t.call, tok)
			t.succeeded(tok, res)
		}
		return res, nil, nil
	}
	report := broker.ReportRequest{Lease: tok.Lease, Status: res.StatusCode, Header: res.Header, Body: said,
		HoldScope: t.scope, Attempt: t.sent[id], Next: t.again() || status == http.StatusUnauthorized, MinTTL: pool.DefaultMinTTL}
	if t.throttled[id] && t.otherFree(ctx) {
		report.Attempt = lastAttempt // one wait is enough
	}
	t.p.reports.refused(id, t.scope)
	v, err := t.report(ctx, report)
	if ctx.Err() != nil {
		_ = res.Body.Close()
		return nil, nil, ctx.Err()
	}
	if err == nil && v.Hold != nil {
		at.leave(refused)
		t.until = v.Hold.Until
	}
	next, pass, err := t.follow(ctx, id, status, v, err)
	if pass {
		if t.p.opt.Strange && res.StatusCode == http.StatusForbidden {
			res.StatusCode, res.Status = http.StatusBadRequest, "400 Bad Request"
		}
		return res, nil, nil
	}
	_ = res.Body.Close()
	return nil, next, err
}

// judge reads as much of res as it takes to tell an answer from a refusal; res stays
// complete. For a refusal it returns the equivalent status, and its text.
func (t *turn) judge(ctx context.Context, res *http.Response, tok *broker.Token) (answer bool, status int, said []byte) {
	plain := slices.Contains([]string{"", "identity"}, strings.ToLower(res.Header.Get("Content-Encoding")))
	switch {
	case slices.Contains([]int{400, 401, 402, 403, 429}, res.StatusCode):
		b := &body{from: res.Body}
		res.Body = b
		b.fill(ctx, slowRefusal, func() bool { return len(b.held) >= maxRefusal })
		if plain {
			said = b.held[:min(len(b.held), maxRefusal)]
		}
		return false, res.StatusCode, said
	case res.StatusCode == http.StatusOK && t.api != other && plain && isEventStream(res.Header):
		s := newStream(res.Body, t.api)
		res.Body = s
		if s.open(ctx, func(data []byte) { t.limited(tok, res.Header, data) }) {
			return false, http.StatusTooManyRequests, s.refusal
		}
	}
	return true, 0, nil
}

func isEventStream(h http.Header) bool {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/event-stream")
}

// follow does what the broker says about a refusal by account id. It returns the token to
// continue with, or passes the refusal on, or returns what to say instead. If none of them:
// ask the broker.
func (t *turn) follow(ctx context.Context, id string, status int, v *broker.ReportResult, err error) (next *broker.Token, pass bool, _ error) {
	tied := !t.again() || t.bound // to this account
	switch {
	case err != nil && status != http.StatusBadRequest && status != http.StatusForbidden:
		return nil, false, t.trouble(err)
	case err != nil, v.Action == broker.None:
		return nil, true, nil //nolint:nilerr // the API's own words say more
	case v.Action == broker.Retry && status == http.StatusUnauthorized:
		if !t.again() || v.Next == nil || t.refreshed[id] {
			return nil, false, t.trouble(&fault.Error{Code: fault.ProviderRefused, RetryAt: v.RetryAt})
		}
		t.refreshed[id] = true
		return v.Next, false, nil
	case v.Action == broker.Retry: // a throttle
		if !t.again() || t.throttled[id] || !t.wait(ctx, v.RetryAfter) {
			return nil, ctx.Err() == nil, ctx.Err()
		}
		t.throttled[id] = true
		return nil, false, nil
	case tied && status != http.StatusUnauthorized:
		return nil, true, nil
	case v.Action == broker.Wait && t.soon(v.RetryAt) && !t.throttled[id]:
		t.throttled[id] = true // if this is the account that will be free soon
		return nil, false, nil
	case v.Action == broker.LogIn:
		return nil, false, t.trouble(cmp.Or(v.Why, &fault.Error{Code: fault.LoginNeeded}))
	case v.Action == broker.Wait && v.Why != nil:
		return nil, false, t.trouble(v.Why)
	case tied, v.Next == nil, !t.mayGo(v.Next.Account.ID):
		return nil, false, t.held(v.RetryAt)
	}
	return v.Next, false, nil
}

// soon reports whether at is within the rest of the request's patience.
func (t *turn) soon(at time.Time) bool {
	return !at.IsZero() && time.Until(at) <= t.p.opt.Patience-t.waited
}

// otherFree reports whether another account can take the throttled one's place.
func (t *turn) otherFree(ctx context.Context) bool {
	req := broker.TokenRequest{Selection: t.route.Selection, MinTTL: pool.DefaultMinTTL}
	req.Scope = t.scope
	for id := range t.sent {
		req.Except = append(req.Except, id)
	}
	_, err := t.p.opt.Broker.Token(ctx, req)
	return err == nil && t.again() && !t.bound
}

func (t *turn) report(ctx context.Context, r broker.ReportRequest) (*broker.ReportResult, error) {
	s := t.route.Selection
	s.Scope = t.scope
	return t.p.opt.Broker.Report(ctx, s, r)
}

// limited is for a limit after content: the account is held before the client sees it.
func (t *turn) limited(tok *broker.Token, h http.Header, data []byte) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.out.Context()), slowRefusal)
	defer cancel()
	t.p.reports.refused(tok.Account.ID, t.scope)
	_, _ = t.report(ctx, broker.ReportRequest{Lease: tok.Lease, Status: http.StatusOK, Header: h, Body: data, HoldScope: t.scope, Attempt: lastAttempt})
}

// succeeded reports an answer to the broker, now and then, without delaying the client.
func (t *turn) succeeded(tok *broker.Token, res *http.Response) {
	r := broker.ReportRequest{Lease: tok.Lease, Status: res.StatusCode, Header: res.Header.Clone(), HoldScope: t.scope}
	ctx := context.WithoutCancel(t.out.Context())
	t.p.reports.tell(tok.Account.ID, t.scope, func() {
		ctx, cancel := context.WithTimeout(ctx, slowRefusal)
		defer cancel()
		_, _ = t.report(ctx, r)
	})
}

// trouble is an error of the broker, for the client.
func (t *turn) trouble(err error) *Trouble {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		e = &fault.Error{Code: fault.Internal, Err: err}
	}
	k := NoToken
	switch {
	case e.Code == fault.AllHeld && !e.Refused:
		k = AllHeld
	case slices.Contains([]fault.Code{fault.AllHeld, fault.LoginNeeded, fault.LoginFailed}, e.Code):
		k = LoginNeeded
	case slices.Contains([]fault.Code{fault.Fenced, fault.NoAccount, fault.Ambiguous, fault.Usage}, e.Code):
		k = NotAllowed
	}
	return &Trouble{Kind: k, Provider: t.provider, Pool: t.pool, RetryAt: e.RetryAt, Err: e}
}

func (t *turn) held(until time.Time) *Trouble {
	return t.trouble(&fault.Error{Code: fault.AllHeld, RetryAt: until})
}

// credentials are the headers by which clients authenticate. None is sent on.
var credentials = []string{
	"Authorization", "Proxy-Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "Cookie", "Chatgpt-Account-Id",
	"X-Amz-Security-Token", "Ocp-Apim-Subscription-Key", "X-Goog-User-Project",
}

// send sends the request once, with tok, to tok's API. It follows no redirect.
func (t *turn) send(ctx context.Context, tok *broker.Token) (*http.Response, error) {
	base, err := baseOf(tok)
	if err != nil {
		return nil, t.trouble(&fault.Error{Code: fault.Fenced, Err: err})
	}
	if origin := originOf(base); tok.Account.Kind != index.KindAPIKey && slices.Contains(t.route.KeyOrigins, origin) {
		return nil, t.trouble(&fault.Error{Code: fault.Fenced, Message: "this login's token is not for " + origin})
	}
	if pinned := tok.API.Paths; len(pinned) > 0 && !listed(pinned, t.out.Method, t.path) {
		return nil, &Trouble{Kind: Unknown, Provider: t.provider}
	}
	mine, end := context.WithCancel(ctx)
	r := t.out.Clone(mine)
	r.URL.Scheme, r.URL.Host, r.Host = base.Scheme, base.Host, base.Host
	r.URL.Path, r.URL.RawPath = join(base, t.path)
	r.URL.RawQuery = t.p.withoutKeys(r.URL.RawQuery)
	r.RequestURI, r.Trailer, r.Close = "", nil, false
	t.p.clean(r.Header)
	put(r.Header, tok, t.route.Lists)
	if t.api != other {
		r.Header.Set("Accept-Encoding", "identity") // a compressed body can't be inspected
	}
	r.ContentLength = t.length
	r.Body = t.upload()
	// The transport itself resends requests that were never written. With one of these
	// headers it would also resend those that were, unless it can't read the body again.
	if c := t.call; c.length > 0 && c.again() && r.Header["Idempotency-Key"] == nil && r.Header["X-Idempotency-Key"] == nil {
		r.GetBody = func() (io.ReadCloser, error) { return &upload{data: c.body}, nil }
	}
	res, err := t.p.transport.RoundTrip(r)
	if ctx.Err() != nil {
		end()
		if err == nil {
			_ = res.Body.Close()
		}
		return nil, ctx.Err()
	}
	if err != nil {
		end()
		return nil, &Trouble{Kind: Unreachable, Provider: t.provider, Err: errors.New("no answer from " + base.Host)}
	}
	res.Body = watch(res.Body, end)
	return res, t.keepHome(res, base)
}

// baseOf is the base of tok's API, by its own record.
func baseOf(tok *broker.Token) (*url.URL, error) {
	if len(tok.Origins) == 0 {
		return nil, errors.New("its record has no API")
	}
	base, err := url.Parse(cmp.Or(tok.API.Base, tok.Origins[0]))
	if err != nil {
		return nil, errors.New("its record has no URL")
	}
	if origin := originOf(base); origin == "" || !slices.Contains(tok.Origins, origin) {
		return nil, errors.New("its record names an API where the token may not go")
	}
	return base, nil
}

// originOf is empty if base has no origin that a token may be sent to.
func originOf(base *url.URL) string {
	origin, _ := oauth.Origin(base.Scheme + "://" + base.Host)
	return origin
}

// join appends an escaped path to the base's.
func join(base *url.URL, path string) (plain, raw string) {
	raw = strings.TrimSuffix(base.EscapedPath(), "/") + path
	plain, err := url.PathUnescape(raw)
	if err != nil {
		return raw, ""
	}
	return plain, raw
}

// clean removes from a client's headers every credential, everything that contains the key,
// and everything that says where the request goes.
func (p *Proxy) clean(h http.Header) {
	for _, name := range credentials {
		h.Del(name)
	}
	h.Del("Expect") // the body is here already
	key := p.opt.Key.Reveal()
	for name, values := range h {
		if steers(name) || slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, key) }) {
			delete(h, name)
		}
	}
}

// withoutKeys is a query without the parameters that are a key. The rest stays exactly as
// it was written.
func (p *Proxy) withoutKeys(query string) string {
	if query == "" {
		return ""
	}
	key := p.opt.Key.Reveal()
	kept := slices.DeleteFunc(strings.Split(query, "&"), func(pair string) bool {
		name, value, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if plain, err := url.QueryUnescape(value); err == nil {
			value = plain
		}
		return slices.Contains([]string{"key", "api_key", "apikey", "access_token"}, strings.ToLower(name)) || strings.Contains(value, key) || strings.Contains(name, key)
	})
	return strings.Join(kept, "&")
}

// put sets tok's headers. In lists, they are added to the client's values.
func put(h http.Header, tok *broker.Token, lists []string) {
	for _, own := range tok.Headers {
		value := own.Value.Reveal()
		if slices.Contains(lists, own.Name) {
			var all []string
			for _, list := range append([]string{value}, h.Values(own.Name)...) {
				for item := range strings.SplitSeq(list, ",") {
					if item = strings.TrimSpace(item); item != "" && !slices.Contains(all, item) {
						all = append(all, item)
					}
				}
			}
			value = strings.Join(all, ",")
		}
		h.Set(own.Name, value)
	}
}

// keepHome turns a redirect within the API into one within the proxy, and refuses any
// other.
func (t *turn) keepHome(res *http.Response, base *url.URL) error {
	where := res.Header.Get("Location")
	if res.StatusCode < 300 || res.StatusCode > 399 || where == "" {
		return nil
	}
	to, err := res.Request.URL.Parse(where)
	path, inside := "", false
	if err == nil {
		path, inside = strings.CutPrefix(to.EscapedPath(), strings.TrimSuffix(base.EscapedPath(), "/"))
	}
	if err != nil || to.Scheme != base.Scheme || !strings.EqualFold(to.Host, base.Host) || !inside || !strings.HasPrefix(path, "/") {
		_ = res.Body.Close()
		return &Trouble{Kind: Redirected, Provider: t.provider}
	}
	home := "/" + t.provider + path
	if to.RawQuery != "" {
		home += "?" + t.p.withoutKeys(to.RawQuery)
	}
	res.Header.Set("Location", home)
	return nil
}
