package bridge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
)

// token asks the broker for a token; rejected is the lease of one that the server
// refused.
func (b *Bridge) token(ctx context.Context, rejected string) (*broker.Token, error) {
	tok, err := b.opt.Broker.Token(ctx, broker.TokenRequest{Selection: b.selection(), MinTTL: pool.DefaultMinTTL, Rejected: rejected, Server: b.opt.Server})
	switch {
	case ctx.Err() != nil:
		return nil, fault.Errorf(fault.Cancelled, "interrupted")
	case err != nil:
		return nil, err
	case !oauth.Covers(tok.Resource, b.opt.Server):
		return nil, fault.Errorf(fault.Fenced, "account %s is not for %s; nothing was sent", fault.Quote(tok.Account.Label), b.host())
	}
	return tok, nil
}

// selection is that of the options, or the session's account in it.
func (b *Bridge) selection() pool.Selection {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.opt.Selection
	if b.account != "" {
		s.Account = b.account
	}
	return s
}

// settled reports that the server has answered somebody.
func (b *Bridge) settled() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.account != ""
}

// settle makes the session tok's.
func (b *Bridge) settle(tok *broker.Token) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.account == "" {
		b.account = tok.Account.ID
	}
}

// first lets one request after the other try for the first answer: two at once could get
// theirs as two accounts.
func (b *Bridge) first(ctx context.Context) (leave func(), err error) {
	if b.settled() {
		return func() {}, nil
	}
	select {
	case b.opening <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if b.settled() {
		<-b.opening
		return func() {}, nil
	}
	return func() { <-b.opening }, nil
}

// most is how often one request is sent to the same account.
const most = 3

// turn is what has been done for one request.
type turn struct {
	b         *Bridge
	tok       *broker.Token
	scope     string
	sent      map[string]int // by account
	refreshed bool
	asked     bool // a person, or there is none
	renewed   bool // the session
}

// send sends a request until there is an answer for the client, which may be a refusal.
// build makes the request; s is the session that it is in and can be opened again. person:
// one may be asked for a login. Errors are *fault.Error, or the context's.
func (b *Bridge) send(ctx context.Context, person bool, build func(*broker.Token) (r *http.Request, s *session, err error)) (*http.Response, error) {
	leave, err := b.first(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	t := &turn{b: b, scope: b.opt.Selection.Scope, sent: map[string]int{}, asked: !person}
	t.tok, err = b.token(ctx, "")
	for {
		if err != nil {
			if err := t.ask(ctx, err); err != nil {
				return nil, err
			}
		}
		req, s, buildErr := build(t.tok)
		if buildErr != nil {
			return nil, buildErr
		}
		began := time.Now()
		res, tripErr := b.transport.RoundTrip(req)
		if ctx.Err() != nil {
			if tripErr == nil {
				_ = res.Body.Close()
			}
			return nil, ctx.Err()
		}
		if tripErr != nil {
			b.opt.Log.Info("request", "http", req.Method, "account", t.tok.Account.Label, "error", "no answer", "took", time.Since(began).Round(time.Millisecond))
			return nil, fault.Errorf(fault.ProviderUnreachable, "%s did not answer, or the connection broke; the request may have run", b.host()).Because(reason(tripErr))
		}
		b.opt.Log.Info("request", "http", req.Method, "account", t.tok.Account.Label, "status", res.StatusCode, "took", time.Since(began).Round(time.Millisecond))
		var again bool
		again, err = t.judge(ctx, res, s)
		if !again && err == nil {
			return res, nil
		}
		_ = res.Body.Close()
		if !again {
			return nil, err
		}
	}
}

// reason is what a person can do something with of a network's error: without the URL.
func reason(err error) error {
	if wrapped := errors.Unwrap(err); wrapped != nil {
		return wrapped
	}
	return err
}

// judge decides what an answer means for the request: it is for the client, or the
// request is sent again, with t.tok if err is nil.
func (t *turn) judge(ctx context.Context, res *http.Response, s *session) (again bool, err error) {
	b := t.b
	t.sent[t.tok.Account.ID]++
	b.mu.Lock()
	b.last = t.tok
	b.mu.Unlock()
	switch code := res.StatusCode; {
	case code >= 200 && code < 300:
		b.settle(t.tok)
		return false, nil
	case code >= 300 && code < 400:
		return false, fault.Errorf(fault.ProviderRefused, "%s redirects to another address, where no token is sent; has the server moved?", b.host())
	case code == http.StatusUnauthorized:
		if t.refreshed {
			e := fault.Errorf(fault.ProviderRefused, "%s refuses the token of account %s, which is a new one", b.host(), fault.Quote(t.tok.Account.Label))
			return true, e.Try(pool.Renewal(&t.tok.Account))
		}
		t.refreshed = true
		t.tok, err = b.token(ctx, t.tok.Lease)
		return true, err
	case s != nil && s.id != "" && !t.renewed && ended(res):
		t.renewed = true
		if err := b.reopen(ctx, s); err != nil {
			return false, err
		}
		t.tok, err = b.token(ctx, "")
		return true, err
	case code == http.StatusTooManyRequests || code == http.StatusPaymentRequired || code == http.StatusForbidden:
		return t.report(ctx, res)
	}
	return false, nil
}

// maxRefusal is how much of a refusal the broker gets to see.
const maxRefusal = 64 << 10

// report tells the broker of a limit, or of a login that was asked for too little.
func (t *turn) report(ctx context.Context, res *http.Response) (again bool, err error) {
	b, id := t.b, t.tok.Account.ID
	said, whole := beginning(res, maxRefusal)
	v, err := b.opt.Broker.Report(ctx, b.selection(), broker.ReportRequest{Lease: t.tok.Lease, Status: res.StatusCode, Header: res.Header, Body: said,
		HoldScope: t.scope, Attempt: t.sent[id]})
	res.Body = whole
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil && res.StatusCode == http.StatusForbidden:
		return false, nil // the server's own words say more
	case err != nil:
		return false, err
	case v.Action == broker.Retry && t.sent[id] < most:
		if err := wait(ctx, v.RetryAfter); err != nil {
			return false, err
		}
		t.tok, err = b.token(ctx, "")
		return true, err
	case v.Action == broker.Switch && !b.settled() && t.sent[id] < most:
		t.tok, err = b.token(ctx, "")
		return true, err
	case v.Action == broker.LogIn && v.Why != nil:
		return true, v.Why // it may be asked for
	case v.Action == broker.Wait || v.Action == broker.Switch || v.Action == broker.Retry:
		e := fault.Errorf(fault.AllHeld, "%s limits account %s", b.host(), fault.Quote(t.tok.Account.Label))
		if v.Why != nil {
			c := *v.Why
			e = &c
		}
		if e.RetryAt.IsZero() {
			e.RetryAt = v.RetryAt
		}
		return false, e
	}
	return false, nil
}

// ask has a person do what err wants, if that is a new login and there is a person.
func (t *turn) ask(ctx context.Context, err error) error {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || t.asked || t.b.opt.Login == nil || ctx.Err() != nil {
		return err
	}
	for _, next := range e.Next {
		if next.Do != fault.Login || next.Account == "" || next.How != "" {
			continue
		}
		t.asked = true
		if err := t.b.opt.Login(ctx, next.Account, next); err != nil {
			return err
		}
		t.refreshed = false
		t.tok, err = t.b.token(ctx, "")
		return err
	}
	return err
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// beginning reads the beginning of an answer's body, and returns one that is whole.
func beginning(res *http.Response, most int64) (text []byte, whole io.ReadCloser) {
	text, _ = io.ReadAll(io.LimitReader(res.Body, most)) // what broke off is judged as it is
	return text, &rewound{res.Body, text}
}

type rewound struct {
	io.ReadCloser
	text []byte
}

func (r *rewound) Read(p []byte) (int, error) {
	if len(r.text) > 0 {
		n := copy(p, r.text)
		r.text = r.text[n:]
		return n, nil
	}
	return r.ReadCloser.Read(p)
}
