package account

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/humantime"
	"github.com/authferry/authferry/keystore"
)

// Flow is a way to get a person's consent.
type Flow string

// The flows.
const (
	FlowBrowser Flow = "browser" // the answer comes to a listener on loopback
	FlowPaste   Flow = "paste"   // the person copies the answer
	FlowDevice  Flow = "device"  // the person enters a code elsewhere (RFC 8628)
	FlowClient  Flow = "client"  // nobody does: the client gets a token itself (RFC 6749 §4.4)
)

// LoginRequest says which login is wanted.
type LoginRequest struct {
	Provider string
	ClientID string        // empty: the provider's; with Renew also that of the old login
	Label    string        // of a new account; empty: the identity, else provider + number
	Pool     string        // of a new account; empty: the provider's own
	Renew    string        // the account whose login this has to be; empty: whoever logs in
	Flow     Flow          // empty: the first that the provider's data allows, in the order above
	Timeout  time.Duration // for the person; zero: five minutes
	// Remote is the remote MCP server that the login is for; Provider is its name. Nil: an
	// ordinary login.
	Remote *Remote
	// KnownClient: the login is LoginNeeded where a client would have to be registered.
	KnownClient bool
	// ExpiresIn is how long a long-lived token lasts; zero: as the provider's data says.
	ExpiresIn time.Duration
	// Proof is what the client proves itself with by FlowClient; empty: the secret that is
	// stored for it.
	Proof oauth.Proof
}

// Person is how Login reaches the person who logs in. The fields that the flow needs must
// be set.
type Person struct {
	Await func(redirect string)                     // browser: where on this machine the answer comes to; may be nil
	Open  func(address string)                      // browser and paste: the page to open
	Paste func(ctx context.Context) (string, error) // paste: the line that was copied
	Enter func(*oauth.Device)                       // device: where to enter which code
}

// LoggedIn is the result of a login.
type LoggedIn struct {
	Account index.Account
	Renewed bool // an existing account has a new grant
	// LongLived: it is a long-lived token, even if it was given as an API key.
	LongLived bool
}

const defaultLoginTimeout = 5 * time.Minute

// Login gets a grant with a person's consent and stores it: as a new account, or in place
// of the old grant of the same identity, whose label, pool and rank stay. Everything that
// decides where the secrets go is set again in the records. The keystore is tried before
// the person is asked, and the old grant stays until the new one is stored.
//
// Errors: Usage, LabelTaken, Fenced, LoginFailed (denied, timed out, refused, not the
// account to be renewed), ProviderUnreachable, Cancelled, and those of keystore and index.
func Login(ctx context.Context, f *folder.Folder, req LoginRequest, who Person) (*LoggedIn, error) {
	l, err := newLogin(ctx, f, req)
	if err != nil {
		return nil, err
	}
	timeout := req.Timeout
	if timeout <= 0 {
		timeout = defaultLoginTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errNobody{timeout})
	defer cancel()
	switch l.flow {
	case FlowClient:
		return l.byClient(ctx)
	case FlowDevice:
		return l.byDevice(ctx, who)
	case FlowPaste:
		return l.byPaste(ctx, who)
	}
	return l.byBrowser(ctx, who)
}

// login is a login in progress.
type login struct {
	f        *folder.Folder
	req      LoginRequest
	flow     Flow
	provider oauth.Provider
	endpoint oauth.Endpoint   // with the client's secret
	proof    oauth.Proof      // of a client with nobody behind it
	service  oauth.Service    // the remote MCP server that it is for
	reused   bool             // its client was registered for an earlier login
	withheld []string         // scopes that a person named, and the server did not grant
	renew    string           // account id
	others   bool             // another account of the provider is here already
	lock     *folder.Rotation // of the account, if it becomes a new one
}

// newLogin refuses what can be refused before a person is asked.
func newLogin(ctx context.Context, f *folder.Folder, req LoginRequest) (*login, error) {
	p, err := req.provider(f)
	if err != nil {
		return nil, err
	}
	idx, err := f.ReadOrEmpty()
	if err != nil {
		return nil, err
	}
	l := &login{f: f, req: req, provider: p, endpoint: p.Endpoint()}
	if l.flow, err = flowOf(p, req.Flow); err != nil {
		return nil, err
	}
	if l.renew, err = renewable(idx, req, l.kind()); err != nil {
		return nil, err
	}
	l.others = slices.ContainsFunc(idx.Accounts, func(a index.Account) bool {
		return a.Provider == p.Name && a.Kind == index.KindOAuth && a.ID != l.renew && !a.Removing
	})
	if req.Remote != nil {
		return l, l.toRemote(ctx, idx)
	}
	l.endpoint.ClientID = cmp.Or(req.ClientID, p.ClientID)
	if l.endpoint.ClientID == "" && l.renew == "" {
		return nil, req.noClient(p)
	}
	o, err := f.Ready(ctx, idx)
	if err != nil {
		return nil, err
	}
	if l.endpoint.ClientID == "" {
		// Keep the client that the old login belongs to, if the server is the same.
		old, err := o.Grants(ctx, l.renew)
		if err != nil {
			return nil, err
		}
		if old.Best == nil || old.Best.Endpoint.TokenEndpoint != p.TokenEndpoint || old.Best.Endpoint.ClientID == "" {
			return nil, req.noClient(p)
		}
		l.endpoint.ClientID = old.Best.Endpoint.ClientID
	}
	if idx.Store != "" {
		cs, err := o.Store.ClientSecret(ctx, l.endpoint)
		if err != nil {
			return nil, err
		}
		l.endpoint.ClientSecret = keystore.NewSecret(cs.Secret)
	}
	return l, nil
}

func (req LoginRequest) noClient(p oauth.Provider) error {
	e := fault.Errorf(fault.Usage, "provider %s needs the client id of your own registration there; authferry has none", p.Name)
	if p.TokenCommand != "" {
		e.Message += "; " + p.TokenAdvice()
		next := fault.Remedy{Do: fault.Again, How: fault.Token}
		if req.Label == "" && req.Renew == "" {
			next.Label = "L"
		}
		return e.Try(next)
	}
	e.Next = []fault.Remedy{{Do: fault.Again, Name: "client-id", Value: "ID"}}
	if issuesKeys(p) {
		e.Next = append(e.Next, withKey(p.Name))
	}
	return e
}

// Ways are how a person can log in to p, the usual way first: the flows that it has, an
// API key, or a long-lived token that it issues. Where p has no client, a flow needs the
// client id of the person's own registration, and comes last.
func Ways(p oauth.Provider) (ways []fault.How) {
	for _, f := range flows(p) {
		ways = append(ways, fault.How(f))
	}
	if p.MCP != "" {
		return ways
	}
	var brought []fault.How
	if issuesKeys(p) {
		brought = append(brought, fault.APIKey)
	}
	if p.TokenCommand != "" || len(p.Prefixes[oauth.LongLivedToken]) > 0 || brought == nil && p.ClientID == "" {
		brought = append(brought, fault.Token)
	}
	if p.ClientID == "" {
		return append(brought, ways...)
	}
	return append(ways, brought...)
}

func issuesKeys(p oauth.Provider) bool {
	return p.TokenEndpoint == "" || len(p.APIKeyHeaders)+len(p.APIKeyEnv)+len(p.APIKeyOrigins)+len(p.Prefixes[oauth.APIKey]) > 0
}

// flows are those that p's data allows, the usual one first.
func flows(p oauth.Provider) (all []Flow) {
	if p.TokenEndpoint == "" {
		return nil
	}
	if p.AuthorizationEndpoint != "" {
		if loopback := p.RedirectURI != "" || p.PasteRedirectURI == ""; loopback && !shownPage(p) {
			all = append(all, FlowBrowser)
		}
		all = append(all, FlowPaste)
	}
	if p.DeviceAuthorizationEndpoint != "" {
		all = append(all, FlowDevice)
	}
	return all
}

// flowOf is the flow that was asked for, else the provider's first.
func flowOf(p oauth.Provider, asked Flow) (Flow, error) {
	if asked == FlowClient && p.TokenEndpoint != "" {
		return asked, nil
	}
	var ways []fault.Remedy
	for _, f := range flows(p) {
		if asked == "" || asked == f {
			return f, nil
		}
		ways = append(ways, fault.Remedy{Do: fault.Again, How: fault.How(f)})
	}
	if ways != nil {
		return "", fault.Errorf(fault.Usage, "provider %s can't be logged in to by %s", p.Name, asked).Try(ways...)
	}
	if p.TokenEndpoint != "" {
		return "", fault.Errorf(fault.Usage, "provider %s has no authorization endpoint, so nobody can log in there", p.Name).
			Try(fault.Remedy{Do: fault.AmendProvider, Provider: p.Name, Name: "authorization-endpoint"})
	}
	return "", noLogin(p)
}

func noLogin(p oauth.Provider) error {
	return fault.Errorf(fault.Usage, "provider %s has no login, only API keys", p.Name).Try(withKey(p.Name))
}

// withKey is a login with an API key.
func withKey(provider string) fault.Remedy {
	return fault.Remedy{Do: fault.Login, Provider: provider, How: fault.APIKey, Label: "L"}
}

// shownPage: the redirect URI is a page elsewhere that shows the code.
func shownPage(p oauth.Provider) bool {
	u, err := url.Parse(p.RedirectURI)
	return err == nil && u.Scheme == "https"
}

// renewable finds the account that req renews; nil: none is named. A label that belongs to
// another login is refused here already.
func renewable(idx *index.Index, req LoginRequest, kind string) (id string, err error) {
	if req.Renew != "" {
		a, err := pool.FindAccount(idx, req.Renew, req.Provider)
		if err != nil {
			if other, elsewhere := pool.FindAccount(idx, req.Renew, ""); elsewhere == nil {
				err = fault.Errorf(fault.Usage, "account %s is one of %s", fault.Quote(other.Label), other.Provider).Try(pool.Renewal(other))
			}
			return "", err
		}
		switch {
		case a.Kind != kind && kind == index.KindAPIKey:
			return "", fault.Errorf(fault.Usage, "account %s is not an API key", fault.Quote(a.Label)).Try(pool.Renewal(a))
		case a.Kind != kind:
			return "", fault.Errorf(fault.Usage, "account %s is %s", fault.Quote(a.Label), kinds[a.Kind]).Try(pool.Renewal(a))
		}
		if _, err := pool.For(idx, a.Pool, a.Provider); err != nil {
			return "", err
		}
		return a.ID, inPool(idx, a, req.Pool)
	}
	if req.Label != "" {
		if _, err := index.CheckLabel(req.Label); err != nil {
			return "", fault.Errorf(fault.Usage, "invalid label").Because(err)
		}
		for _, a := range idx.Labelled(req.Provider, req.Label) {
			if a.Subject == "" || kind == index.KindAPIKey {
				return "", heldBy(a)
			}
		}
	}
	poolName := req.Provider
	switch {
	case req.Pool != "":
		if poolName, err = pool.CheckName(req.Pool); err != nil {
			return "", err
		}
	case len(idx.PoolsOf(req.Provider)) > 0:
		return "", nil // it may renew an account in any pool
	}
	_, err = pool.For(idx, poolName, req.Provider)
	return "", err
}

// heldBy is the error for a login under the label of account a, which it may be meant to
// renew.
func heldBy(a *index.Account) error {
	return labelTaken(a.Provider, a.Label, pool.Renewal(a), fault.Remedy{Do: fault.Again, Label: "L"})
}

// kinds are the kinds of account in words.
var kinds = map[string]string{index.KindOAuth: "a person's login", index.KindAPIKey: "an API key", index.KindClient: "a client on its own account"}

// inPool refuses a login that would move the account.
func inPool(idx *index.Index, a *index.Account, poolName string) error {
	if poolName == "" || pool.IsPool(idx, poolName, a.Pool) {
		return nil
	}
	return fault.Errorf(fault.Fenced, "account %s is in pool %s; a login does not move it", fault.Quote(a.Label), fault.Quote(a.Pool)).
		Try(fault.Remedy{Do: fault.Move, Account: pool.Reference(idx, a), Pool: poolName})
}

// errNobody is the cause of a login's context when the person took too long.
type errNobody struct{ after time.Duration }

func (e errNobody) Error() string {
	return "the login was not finished within " + humantime.Span(e.after)
}

// Check refuses what can be refused of a login before a person is asked for more: its
// label, its pool, the account to be renewed, and a keystore that can't be used. Errors:
// as from Login.
func Check(ctx context.Context, f *folder.Folder, req LoginRequest, how fault.How) error {
	idx, err := f.ReadOrEmpty()
	if err != nil {
		return err
	}
	if how == fault.APIKey || how == fault.Token {
		_, err = req.static(idx, how == fault.Token)
	} else {
		_, err = renewable(idx, req, index.KindOAuth)
	}
	if err == nil {
		_, err = f.Ready(ctx, idx)
	}
	return err
}

// failed makes an error for a person of the reason why a login failed.
func (l *login) failed(err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	again := fault.Remedy{Do: fault.Again}
	refusal, _ := errors.AsType[*oauth.Error](err)
	_, late := errors.AsType[errNobody](err)
	if l.reused && (late || refusal != nil && refusal.Code == "invalid_client") {
		again.Name = "register" // the server may have forgotten the client
		return fault.Errorf(fault.LoginFailed, "%v; nothing was changed", err).Try(again, fault.Remedy{Do: fault.Again, Name: "timeout", Value: "15m"})
	}
	if nobody, ok := errors.AsType[errNobody](err); ok {
		return fault.Errorf(fault.LoginFailed, "%v; nothing was changed", nobody).Try(fault.Remedy{Do: fault.Again, Name: "timeout", Value: "15m"})
	}
	if refused, ok := errors.AsType[*oauth.RefusedError](err); ok {
		return fault.Errorf(fault.LoginFailed, "%v; nothing was changed", refused).Try(again)
	}
	if e, ok := errors.AsType[*oauth.Error](err); ok {
		switch e.Class {
		case oauth.Unsent:
			if next, ok := e.Remedy(); ok {
				again = next
			}
			return fault.Errorf(fault.ProviderUnreachable, "%v; nothing was changed", e).Try(again)
		case oauth.Dead:
			if !l.proof.Empty() {
				return fault.Errorf(fault.LoginFailed, "the provider refused the client or its proof (HTTP %d, %s); nothing was changed", e.Status, e.Code).Try(again)
			}
			return fault.Errorf(fault.LoginFailed, "the provider refused the code: it was used already or is too old; nothing was changed").Try(again)
		case oauth.Misconfigured:
			if l.req.Remote != nil {
				return fault.Errorf(fault.LoginFailed, "%v; nothing was changed", e).Try(again)
			}
			return fault.Errorf(fault.LoginFailed, "%v; nothing was changed", e).Try(fault.Remedy{Do: fault.ShowProvider, Provider: l.provider.Name})
		}
		return fault.Errorf(fault.LoginFailed, "%v; nothing was changed", e).Try(again)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.Errorf(fault.Cancelled, "interrupted; nothing was changed")
	}
	return fault.Errorf(fault.LoginFailed, "%v; nothing was changed", err).Try(again)
}

// LoginKey stores an API key: as a new account, which needs a label, or in place of that of
// the account Renew. One with the prefix of a long-lived token is stored as such. Errors:
// as from Login.
func LoginKey(ctx context.Context, f *folder.Folder, req LoginRequest, key keystore.Secret) (*LoggedIn, error) {
	p, err := f.Provider(req.Provider)
	if err != nil {
		return nil, err
	}
	if p.Recognize(key) == oauth.LongLivedToken {
		return LoginToken(ctx, f, req, key)
	}
	if err := req.unfit(p, key); err != nil {
		return nil, err
	}
	return loginStatic(ctx, f, req, NewAccount{Provider: p, Label: req.Label, Pool: req.Pool, APIKey: key})
}
