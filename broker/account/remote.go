package account

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// RemoteRequest names a remote MCP server and says how to log in there.
type RemoteRequest struct {
	Address  string   // empty: that of Provider
	Provider string   // its name here; empty: that of the entry with Address, else a new one
	Issuer   string   // the required authorization server; empty: as the server says
	ClientID string   // of one's own registration, or a metadata document's address; empty: any
	Scopes   []string // to ask for; empty: as the server says
	Label    string   // of a new account
	Renew    string   // the account to be renewed
	Register bool     // register authferry again, even if it is registered already
	Service  bool     // the login is a client's own, without a person
}

// Remote is a remote MCP server as FindRemote found it, and what a login there would do. It
// is shown to a person, and Login carries it out.
type Remote struct {
	Server   *oauth.Remote
	Provider string // its name here
	New      bool   // there is no entry of that name yet
	Scopes   []string
	// Registration says where the client comes from: one of oauth's Registration…
	// constants.
	Registration string
	// Unrelated: the server and its authorization server have hosts in different domains.
	// Former is the issuer of the last login, if it was another one. Both need a person's
	// consent.
	Unrelated bool
	Former    string
	Register  bool

	entry oauth.Provider // as it will be in providers.toml
	named []string       // scopes that a person named for this login
}

// Limits for what a server may ask for. More is a mistake or an attack.
const (
	MaxScopes     = 32
	maxScopeBytes = 4 << 10
)

// FindRemote asks a remote MCP server and its authorization server for their metadata. It
// changes nothing. Errors: Usage, WrongResource, Fenced (another issuer than the required
// one), LoginFailed, ProviderUnreachable, NoAccount, Cancelled, and those of keystore and
// index.
func FindRemote(ctx context.Context, f *folder.Folder, req RemoteRequest) (*Remote, error) {
	ps, err := f.Providers()
	if err != nil {
		return nil, err
	}
	known, err := entryOf(ps, req)
	if err != nil {
		return nil, err
	}
	address := cmp.Or(known.MCP, req.Address)
	if err := oauth.CheckServer(address); err != nil {
		return nil, fault.Errorf(fault.Usage, "invalid address of an MCP server").Because(err).Try(fault.Remedy{Do: fault.Login, Provider: "https://mcp.example.com/mcp"})
	}
	if err := unnamed(f, known.Name, req); err != nil {
		return nil, err
	}
	timed, over := f.Within(ctx, f.HTTPTimeout, forProvider(oauth.HostOf(address)))
	find := f.Client.FindRemote
	if req.Service {
		find = f.Client.FindService
	}
	server, err := find(timed, address, req.Issuer)
	over()
	if err != nil && ctx.Err() != nil {
		return nil, fault.Errorf(fault.Cancelled, "interrupted; nothing was changed")
	}
	if err != nil {
		return nil, notFound(address, freeName(ps, address), err)
	}
	r := &Remote{Server: server, Provider: known.Name, New: known.MCP == "", Register: req.Register, named: req.Scopes}
	if r.Provider == "" {
		r.Provider = freeName(ps, address)
	}
	p := server.Provider
	p.Name, p.Source, p.Scopes = r.Provider, oauth.SourceOwn, known.Scopes
	p.Headers, p.Env, p.RedirectURI = known.Headers, known.Env, known.RedirectURI
	if known.Issuer != p.Issuer && !r.New {
		r.Former = known.Issuer
	}
	r.Unrelated = !related(address, p.Issuer)
	if err := r.client(req, known, &p); err != nil {
		return nil, err
	}
	r.entry = p
	return r, askFor(ctx, f, r, req)
}

// entryOf returns the provider that the request is about; without MCP if it is a new one.
func entryOf(ps *oauth.Providers, req RemoteRequest) (oauth.Provider, error) {
	if req.Address == "" {
		p, ok := ps.Get(req.Provider)
		if !ok || p.MCP == "" {
			return p, fault.Errorf(fault.Usage, "provider %s is not a remote MCP server", fault.Quote(req.Provider)).Try(fault.Remedy{Do: fault.ListProviders})
		}
		return p, nil
	}
	for _, p := range ps.All() {
		if p.MCP != "" && sameAddress(p.MCP, req.Address) && (req.Provider == "" || req.Provider == p.Name) {
			return p, nil
		}
	}
	if p, taken := ps.Get(req.Provider); taken {
		return p, fault.Errorf(fault.Usage, "there is another provider called %s; nothing was changed", fault.Quote(p.Name)).Try(fault.Remedy{Do: fault.ShowProvider, Provider: p.Name})
	}
	return oauth.Provider{Name: req.Provider}, nil
}

// unnamed refuses a login that could belong to an existing account or to a new one: few
// servers say whose login it is.
func unnamed(f *folder.Folder, provider string, req RemoteRequest) error {
	if req.Renew != "" || req.Label != "" || req.Service {
		return nil
	}
	idx, err := f.ReadOrEmpty()
	if err != nil {
		return err
	}
	for i := range idx.Accounts {
		if a := &idx.Accounts[i]; a.Provider == provider && a.Subject == "" && !a.Removing && a.Kind == index.KindOAuth {
			return fault.Errorf(fault.LabelTaken, "%s already has account %s, and doesn't say whose login this is: renew that account, or name a new one with --label", provider, fault.Quote(a.Label)).
				Try(pool.Renewal(a))
		}
	}
	return nil
}

func sameAddress(a, b string) bool {
	x, errX := url.Parse(a)
	y, errY := url.Parse(b)
	return errX == nil && errY == nil && x.RawQuery == y.RawQuery && oauth.Covers(a, b) && oauth.Covers(b, a)
}

// freeName is the server's host, with words of its path if that is taken.
func freeName(ps *oauth.Providers, address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "mcp"
	}
	plain := func(s string) string {
		s = strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("-._", r) {
				return r
			}
			return '-'
		}, strings.ToLower(s))
		return strings.Trim(s[:min(len(s), 60)], "-._")
	}
	free := func(name string) bool { _, taken := ps.Get(name); return name != "" && !taken }
	if name := plain(u.Host); free(name) {
		return name
	}
	name := plain(u.Host + u.Path)
	for i := 2; !free(name); i++ {
		name = plain(u.Host+u.Path) + "-" + strconv.Itoa(i)
	}
	return name
}

// related reports whether two addresses are in the same registrable domain (publicsuffix,
// with private rules). IP addresses are related only if equal.
func related(a, b string) bool {
	x, errX := url.Parse(a)
	y, errY := url.Parse(b)
	if errX != nil || errY != nil {
		return false
	}
	one, other := strings.ToLower(x.Hostname()), strings.ToLower(y.Hostname())
	if one == other {
		return true
	}
	if _, err := netip.ParseAddr(one); err == nil {
		return false
	}
	if _, err := netip.ParseAddr(other); err == nil {
		return false
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(one)
	theirs, errOther := publicsuffix.EffectiveTLDPlusOne(other)
	return err == nil && errOther == nil && domain == theirs
}

// client decides which client the login uses. The client of another provider is never used,
// even at the same issuer, unless a person names it for this login: a server can name any
// authorization server as its own.
func (r *Remote) client(req RemoteRequest, known oauth.Provider, p *oauth.Provider) error {
	switch {
	case req.ClientID != "":
		p.ClientID, p.Registration = req.ClientID, oauth.RegistrationGiven
		if strings.HasPrefix(req.ClientID, "https://") {
			p.Registration = oauth.RegistrationDocument
		}
	case known.ClientID != "" && known.Registration == oauth.RegistrationDocument:
		p.ClientID, p.Registration = known.ClientID, known.Registration // valid at any issuer
	case known.ClientID != "" && known.Registration == oauth.RegistrationGiven:
		if r.Former != "" {
			return fault.Errorf(fault.Fenced, "%s now sends logins to another authorization server, and client %s was registered at the old one; nothing was changed",
				known.Name, fault.Quote(known.ClientID)).Try(fault.Remedy{Do: fault.Again, Name: "client-id", Value: "ID"})
		}
		p.ClientID, p.Registration, p.AuthStyle = known.ClientID, known.Registration, known.AuthStyle
	case r.Server.CanRegister() && !req.Service:
		p.Registration = oauth.RegistrationDynamic
		if known.Registration == oauth.RegistrationDynamic {
			p.ClientID, p.AuthStyle = known.ClientID, known.AuthStyle
		}
	case req.Service:
		return fault.Errorf(fault.Usage, "a login without a person needs a client that is registered at the authorization server of %s", oauth.HostOf(r.Server.Address)).
			Try(fault.Remedy{Do: fault.Again, Name: "client-id", Value: "ID"})
	default:
		return fault.Errorf(fault.Usage, "the authorization server of %s doesn't register clients itself: register one there, with the redirect URI http://127.0.0.1/callback", oauth.HostOf(r.Server.Address)).
			Try(fault.Remedy{Do: fault.Again, Name: "client-id", Value: "ID"})
	}
	r.Registration = p.Registration
	return nil
}

// askFor decides which scopes to ask for: those that a person names, else those that the
// server names. A renewal also asks for all that its login has asked for before, because a
// server may take a missing scope for one that was given up.
func askFor(ctx context.Context, f *folder.Folder, r *Remote, req RemoteRequest) error {
	named := req.Scopes
	if len(named) == 0 {
		named = r.entry.Scopes
	}
	asked, err := askedBefore(ctx, f, r, req.Renew)
	if err != nil {
		return err
	}
	r.Scopes = slices.Clone(asked)
	add := func(scopes []string) {
		for _, s := range scopes {
			if !slices.Contains(r.Scopes, s) {
				r.Scopes = append(r.Scopes, s)
			}
		}
	}
	add(named)
	if len(named)+len(asked) == 0 {
		add(r.Server.Scopes)
	} else if slices.Contains(r.Server.Scopes, "offline_access") {
		add([]string{"offline_access"})
	}
	if size := len(strings.Join(r.Scopes, " ")); len(r.Scopes) > MaxScopes || size > maxScopeBytes {
		return fault.Errorf(fault.Usage, "%s asks for %d scopes (%d bytes), and a login takes %d at most (%d bytes); name those that you want", oauth.HostOf(r.Server.Address), len(r.Scopes), size, MaxScopes, maxScopeBytes).
			Try(fault.Remedy{Do: fault.Again, Name: "scope", Value: "SCOPE"})
	}
	return nil
}

// askedBefore returns the scopes of the login to be renewed, which must be of this server.
func askedBefore(ctx context.Context, f *folder.Folder, r *Remote, renew string) ([]string, error) {
	if renew == "" {
		return nil, nil
	}
	idx, err := f.Read()
	if err != nil {
		return nil, err
	}
	a, err := pool.FindAccount(idx, renew, r.Provider)
	if err != nil {
		return nil, err
	}
	o, err := f.Open(idx)
	if err != nil {
		return nil, err
	}
	stored, err := o.Grants(ctx, a.ID)
	if err != nil || stored.Best == nil {
		return nil, err
	}
	return stored.Best.Service.Asked, ofServer(stored.Best, r.Server.Resource, r.Server.Address, a.Label)
}

// ofServer refuses to replace g by a login for another server.
func ofServer(g *record.Grant, resource, address, label string) error {
	if g.Endpoint.Resource == resource && (g.Service.Address == address || sameAddress(g.Service.Address, address)) {
		return nil
	}
	was := cmp.Or(g.Service.Address, "another service")
	return fault.Errorf(fault.WrongResource, "account %s is for %s, and this login is for %s; nothing was changed", fault.Quote(label), was, cmp.Or(address, "another service")).
		Try(fault.Remedy{Do: fault.Login, Provider: cmp.Or(address, g.Provider), Label: "NEW-LABEL"})
}

// notFound makes an error for a person of the reason why a server's login was not found.
// What is no MCP server may be an issuer, and then a provider by that name.
func notFound(address, name string, err error) error {
	wrong, isWrong := errors.AsType[*oauth.WrongResourceError](err)
	other, isOther := errors.AsType[*oauth.NotTrustedError](err)
	failed, _ := errors.AsType[*oauth.Error](err)
	switch {
	case isWrong:
		return fault.Errorf(fault.WrongResource, "%v; nothing was changed", wrong)
	case isOther:
		return fault.Errorf(fault.Fenced, "%s does not send logins to %s; nothing was changed", oauth.HostOf(address), fault.Quote(other.Issuer)).Try(fault.Remedy{Do: fault.Login, Provider: address})
	case errors.Is(err, oauth.ErrOpen):
		return fault.Errorf(fault.Usage, "%s needs no login; if it is an OAuth or OpenID issuer, add it as a provider; nothing was changed", address).Try(fault.Remedy{Do: fault.AddProvider, Provider: name, Name: "issuer", Value: address})
	case errors.Is(err, oauth.ErrNoMetadata):
		return fault.Errorf(fault.Usage, "%s doesn't say where to log in, so it is not an MCP server with OAuth; nothing was changed", address).
			Try(fault.Remedy{Do: fault.AddProvider, Provider: name, Name: "issuer", Value: address})
	case failed != nil && (failed.Class == oauth.Unsent || failed.Class == oauth.Throttled):
		e := fault.Errorf(fault.ProviderUnreachable, "%s or its authorization server can't be reached; nothing was changed", oauth.HostOf(address)).Because(failed)
		if next, ok := failed.Remedy(); ok {
			e.Next = []fault.Remedy{next}
		}
		return e
	}
	return fault.Errorf(fault.LoginFailed, "no login is possible at %s; nothing was changed", oauth.HostOf(address)).Because(err)
}

// AddRemote stores a server that FindRemote found as a provider, without a login, and its
// client's secret if there is one. Scopes given here are what a login asks for; none: as
// the server says at the time.
func AddRemote(ctx context.Context, f *folder.Folder, r *Remote, scopes []string, secret keystore.Secret) error {
	p := r.entry
	p.Scopes = scopes
	return folder.AddProvider(ctx, f, p, secret)
}

// keepProvider writes the entry of a remote server, if it has changed.
func keepProvider(ctx context.Context, f *folder.Folder, p oauth.Provider) error {
	ps, err := f.Providers()
	if err != nil {
		return err
	}
	if now, ok := ps.Get(p.Name); ok && reflect.DeepEqual(now, p) {
		return nil
	}
	return folder.AddProvider(ctx, f, p, keystore.Secret{})
}

// provider is the data that the login uses: the entry's, or what was just found.
func (req LoginRequest) provider(f *folder.Folder) (oauth.Provider, error) {
	if req.Remote == nil {
		p, err := f.Provider(req.Provider)
		if err == nil && p.MCP != "" {
			err = fault.Errorf(fault.Usage, "provider %s is a remote MCP server, so it needs another kind of login", p.Name).Try(fault.Remedy{Do: fault.Login, Provider: p.Name})
		}
		return p, err
	}
	p := req.Remote.entry
	p.Scopes = req.Remote.Scopes
	if slices.Contains(p.Scopes, "openid") { // the server asked for this scope, so it may give the identity
		p.IdentityFrom = oauth.IdentityFromIDToken
	}
	return p, nil
}

// toRemote prepares l for a remote MCP server, and stores that as a provider.
func (l *login) toRemote(ctx context.Context, idx *index.Index) error {
	r := l.req.Remote
	o, err := l.f.Ready(ctx, idx)
	if err != nil {
		return err
	}
	l.service = oauth.Service{Address: r.Server.Address, Name: r.Server.Name, Registration: r.Registration, RedirectURI: l.provider.RedirectURI, Reach: r.Server.Reach(), Asked: r.Scopes}
	if r.Registration != oauth.RegistrationDynamic && idx.Store != "" {
		cs, err := o.Store.ClientSecret(ctx, l.endpoint)
		if err != nil {
			return err
		}
		l.endpoint.ClientSecret = keystore.NewSecret(cs.Secret)
	}
	if l.flow == FlowClient && !r.New {
		return nil // the logins of people have another client
	}
	return keepProvider(ctx, l.f, r.entry)
}

// client is the HTTP client for the login's server.
func (l *login) client() *oauth.Client {
	if l.req.Remote != nil {
		return l.req.Remote.Server.Client()
	}
	return &l.f.Client
}

// Discover reads a provider's endpoints from its issuer's discovery document.
func Discover(ctx context.Context, f *folder.Folder, issuer string) (oauth.Provider, error) {
	if err := oauth.CheckURL(issuer); err != nil {
		return oauth.Provider{}, fault.Errorf(fault.Usage, "invalid issuer URL").Because(err)
	}
	timed, over := f.Within(ctx, f.HTTPTimeout, forProvider(issuer))
	defer over()
	p, err := f.Client.Discover(timed, issuer)
	if err != nil && ctx.Err() != nil {
		return p, fault.Errorf(fault.Cancelled, "interrupted; nothing was changed")
	}
	if err != nil {
		failed := fault.Errorf(fault.ProviderUnreachable, "discovery at %s failed", issuer).
			Try(fault.Remedy{Do: fault.Again, Name: "token-endpoint", Value: "URL"}).Because(err)
		if e, ok := errors.AsType[*oauth.Error](err); ok {
			if next, ok := e.Remedy(); ok {
				failed.Next = []fault.Remedy{next}
			}
		}
		return p, failed
	}
	return p, nil
}

func forProvider(name string) func() string {
	return func() string { return "waiting for " + name + " to answer" }
}
