package main

import (
	"fmt"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/rotation"
)

type tokenCmd struct {
	jsonFlag
	selection
	MinTTL   time.Duration `name:"min-ttl" default:"${min_ttl}" help:"Refresh first if the token is valid for less."`
	Rejected string        `placeholder:"LEASE" help:"The API refused the token of this lease: print a newer one."`
	waiting
}

// waiting is embedded by every command that can wait for an account to be free.
type waiting struct {
	Wait    bool          `help:"Where every account is held, wait until one is free."`
	MaxWait time.Duration `placeholder:"D" help:"Wait no longer than this; implies --wait."`
}

func (c *tokenCmd) Run(a *app) error {
	t, err := c.get(a)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(newTokenDoc(t, time.Now()))
	}
	_, err = fmt.Fprintln(a.out, t.AccessToken.Reveal())
	return err
}

func (c *tokenCmd) get(a *app) (*broker.Token, error) {
	t, _, err := c.obtain(a)
	return t, err
}

// obtain is get; it also reports whether it had to wait for a free account.
func (c *tokenCmd) obtain(a *app) (t *broker.Token, waited bool, err error) {
	switch {
	case c.MaxWait < 0:
		return nil, false, &fault.Error{Code: fault.Usage, Message: "--max-wait can't be negative"}
	case !c.Wait && c.MaxWait == 0, c.MinTTL < 0:
		t, err = tokenOf(a, c.selection, c.MinTTL, c.Rejected)
		return t, false, err
	}
	over := func() {}
	defer func() { over() }()
	t, err = a.broker.WaitToken(a.ctx, broker.TokenRequest{Selection: c.resolve(), MinTTL: c.MinTTL, Rejected: c.Rejected}, c.MaxWait, func(why *fault.Error) {
		waited = true
		a.term.note("%s; waiting", why.Message)
		over = a.term.step(folder.Step{Doing: func() string { return "waiting for an account to be free" }, Until: why.RetryAt})
	})
	if err == nil {
		warnInUse(a, t)
	}
	return t, waited, err
}

func tokenOf(a *app, s selection, minTTL time.Duration, rejected string) (*broker.Token, error) {
	if minTTL < 0 {
		return nil, &fault.Error{Code: fault.Usage, Message: "--min-ttl can't be negative"}
	}
	t, err := a.broker.Token(a.ctx, broker.TokenRequest{Selection: s.resolve(), MinTTL: minTTL, Rejected: rejected})
	if err == nil {
		warnInUse(a, t)
	}
	if err != nil && a.ctx.Err() != nil {
		// After an interrupt, all other errors are due to that.
		return nil, errInterrupted
	}
	return t, err
}

var errInterrupted = &fault.Error{Code: fault.Cancelled, Message: "interrupted; a refresh in progress goes on in the background, and its result is kept"}

// tokenDoc is for plugins and tools. It has the secret in the clear, because that is what
// was asked for.
type tokenDoc struct {
	AccessToken string            `json:"access_token"`
	TokenType   string            `json:"token_type"`
	ExpiresAt   time.Time         `json:"expires_at,omitzero"`  // by this machine's clock; absent if no expiry is known
	ExpiresIn   *int64            `json:"expires_in,omitempty"` // seconds, at the time of printing
	Headers     map[string]string `json:"headers"`              // all that a request needs; remove any authorization and x-api-key of your own
	Origins     []string          `json:"origins"`              // the only places to send it to, and not across a redirect
	Resource    string            `json:"resource,omitempty"`   // the remote MCP server that it is for
	Lease       string            `json:"lease"`                // names this token, for a report and for --rejected
	Account     struct {
		ID       string `json:"id"`
		Label    string `json:"label"`
		Provider string `json:"provider"`
		Pool     string `json:"pool"`
	} `json:"account"`
}

func newTokenDoc(t *broker.Token, now time.Time) tokenDoc {
	d := tokenDoc{
		AccessToken: t.AccessToken.Reveal(), TokenType: t.TokenType, Lease: t.Lease,
		Headers: map[string]string{}, Origins: append([]string{}, t.Origins...), Resource: t.Resource,
	}
	if !t.ExpiresAt.IsZero() {
		left := max(0, int64(t.ExpiresAt.Sub(now)/time.Second))
		d.ExpiresAt, d.ExpiresIn = t.ExpiresAt.UTC().Truncate(time.Second), &left
	}
	for _, h := range t.Headers {
		d.Headers[h.Name] = h.Value.Reveal()
	}
	d.Account.ID, d.Account.Label, d.Account.Provider, d.Account.Pool = t.Account.ID, t.Account.Label, t.Account.Provider, t.Account.Pool
	return d
}

type headerCmd struct{ tokenCmd }

type headersDoc struct {
	Headers map[string]string `json:"headers"`
}

func (c *headerCmd) Run(a *app) error {
	t, err := c.get(a)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(headersDoc{newTokenDoc(t, time.Now()).Headers})
	}
	for _, h := range t.Headers {
		if _, err := fmt.Fprintf(a.out, "%s: %s\n", h.Name, h.Value.Reveal()); err != nil {
			return err
		}
	}
	return nil
}

type rotateCmd struct {
	Account    string `arg:""`
	Beyond     int    `arg:""`
	Rejected   bool
	Background bool
	Person     bool
	Now        bool
}

func (c *rotateCmd) Run(a *app) error {
	return rotation.Main(a.ctx, a.folder, c.Account,
		rotation.Wish{Beyond: c.Beyond, Rejected: c.Rejected, Background: c.Background, Person: c.Person, Now: c.Now}, a.out)
}
