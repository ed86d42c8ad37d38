package takeover

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/ratelimit"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/broker/takeover/source"
	"github.com/authferry/authferry/keystore"
)

// Request says whose logins are to be taken over, and how.
type Request struct {
	Source   source.Source
	Path     string // empty: the source's keychain item
	Keep     bool   // leave the other program's login where it is
	ClientID string // that the grants were issued to; empty: the provider's
}

// Outcome is the result of taking over the logins of one file.
type Outcome struct {
	Title, Path string
	Logins      []Login         // that are taken
	Skipped     []Skipped       // that are not, with the reason
	Accounts    []index.Account // that were made
	Removed     int             // entries that were removed from the file
	Finish      fault.Remedy    // the command that removes the logins from the file
	LogIn       string          // the command that logs the other program in again
	Idle        bool            // there is nothing to do
	Advice      []Advice        // for the logins that can't be refreshed here
}

// Login is a login to be taken over, without secrets.
type Login struct {
	Entry     string    `json:"entry"`
	Label     string    `json:"label"`
	Was       string    `json:"renamed_from,omitempty"` // the label that it can't have
	Provider  string    `json:"provider"`
	Pool      string    `json:"pool"`
	Kind      string    `json:"kind"`
	Identity  string    `json:"identity,omitempty"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	NoRefresh bool      `json:"no_refresh,omitempty"` // it ends with its access token

	alien bool // as in candidate
}

// Advice is for a provider's logins that can't be refreshed here: which they are, what to
// use instead, and how.
type Advice struct {
	Text string
	Next fault.Remedy
}

// Skipped is a login that is not taken over, with what could be done about it.
type Skipped struct {
	source.Skipped
	Next []fault.Remedy `json:"-"`
}

func adviseOn(p oauth.Provider) Advice {
	how := fault.APIKey
	if p.TokenCommand != "" {
		how = fault.Token
	}
	return Advice{"a login of " + p.Name + " can't be refreshed here: " + p.TokenAdvice(), fault.Remedy{Do: fault.Login, Provider: p.Name, How: how, Label: "L"}}
}

// candidate is one login of a file, with what is decided about it.
type candidate struct {
	login  source.Login
	n      account.NewAccount
	was    string        // the label that it can't have
	reason string        // why it is skipped; empty: it is taken
	held   string        // the account that has this very grant already
	twin   bool          // the file has it twice
	whole  string        // the account that has its access token, and gets the rest
	next   *fault.Remedy // it is refused, and what helps
	alien  bool          // its refresh token belongs to another client
}

// takeover is a run of Plan or Run.
type takeover struct {
	f          *folder.Folder
	req        Request
	file       *source.File
	providers  *oauth.Providers
	idx        *index.Index
	names      []string // the file's, as the index has them; a link may lead to it too
	candidates []*candidate
	shallow    bool           // the keystore stays closed
	tried      map[string]int // the last number appended to a label
}

// Plan says what Run would do now; it changes nothing. Errors: Usage for a file that can't
// be used, NoAccount if there is none, and those of keystore and index.
func Plan(ctx context.Context, f *folder.Folder, req Request) (*Outcome, error) {
	t, err := newTakeover(ctx, f, req, false)
	if err != nil {
		return nil, err
	}
	return t.outcome(), nil
}

func newTakeover(ctx context.Context, f *folder.Folder, req Request, shallow bool) (*takeover, error) {
	t := &takeover{f: f, req: req, shallow: shallow, tried: map[string]int{}}
	var err error
	if t.file, err = openFile(ctx, f, req); err != nil {
		return nil, err
	}
	if t.providers, err = f.Providers(); err != nil {
		return nil, err
	}
	if t.idx, err = f.ReadOrEmpty(); err != nil {
		return nil, err
	}
	for _, a := range t.idx.Accounts {
		if a.Shared != "" && (a.Shared == t.file.Path || !folder.Strange(f, a.Shared)) && t.file.At(a.Shared) {
			t.names = append(t.names, a.Shared)
		}
	}
	if err := t.plan(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// plan decides about every login of the file.
func (t *takeover) plan(ctx context.Context) error {
	for _, l := range t.file.Logins {
		t.candidates = append(t.candidates, &candidate{login: l})
	}
	seen := map[string]*candidate{}
	for _, c := range t.candidates {
		t.admit(c)
		if c.reason != "" {
			continue
		}
		// One refresh token is one login, whatever its provider is called; an API key may
		// be for a gateway, under several names.
		key := record.Fingerprint(c.login.Secret())
		if !c.login.APIKey.Empty() {
			key += " " + c.login.Provider
		}
		if first := seen[key]; first != nil {
			c.twin, c.reason = c.login.Provider == first.login.Provider, "it is the same login as "+fault.Quote(first.login.Entry)
			continue
		}
		seen[key] = c
		if err := t.compare(ctx, c); err != nil {
			return err
		}
	}
	client, err := t.clientOf()
	if err != nil {
		return err
	}
	for _, c := range t.candidates {
		if c.reason == "" {
			t.settle(c, client)
		}
	}
	return nil
}

// admit checks the login against the providers, and for characters that no header can
// carry.
func (t *takeover) admit(c *candidate) {
	l := &c.login
	p, known := t.providers.Get(l.Provider)
	if l.Server != "" {
		if p, known = t.providers.Remote(l.Server); !known {
			c.reason = fmt.Sprintf("there is no provider for the MCP server %s here", fault.Quote(l.Server))
			if oauth.CheckServer(l.Server) == nil {
				c.next = &fault.Remedy{Do: fault.AddProvider, Name: "mcp", Value: l.Server}
			}
			return
		}
		c.n.Service = oauth.Service{Address: p.MCP, Registration: oauth.RegistrationGiven, Asked: l.Scopes}
	}
	if !known {
		c.reason = fmt.Sprintf("there is no provider %s here", fault.Quote(l.Provider))
		if (oauth.Provider{Name: l.Provider}).Validate() == nil {
			c.next = &fault.Remedy{Do: fault.AddProvider, Provider: l.Provider}
		}
		return
	}
	if l.RefreshToken.Empty() && oauth.CheckAccessToken(l.Secret().Reveal()) != nil {
		c.reason = "it has characters that no header can carry"
		return
	}
	c.n = account.NewAccount{
		Service: c.n.Service, Provider: p, AccessToken: l.AccessToken, RefreshToken: l.RefreshToken, APIKey: l.APIKey, Scopes: l.Scopes,
		ExpiresAt: within(l.ExpiresAt), RefreshExpiresAt: l.RefreshExpiresAt, Imported: true,
		Identity: oauth.Identity{Name: l.Identity.Name}, Disabled: l.Disabled,
	}
	switch what := p.Recognize(l.APIKey); what {
	case oauth.LongLivedToken: // its age is unknown
		c.n.AccessToken, c.n.APIKey, c.n.LongLived = l.APIKey, keystore.Secret{}, true
	case oauth.RefreshToken, oauth.AdminKey:
		c.reason = "it is not an API key, but " + map[oauth.Credential]string{oauth.RefreshToken: "a refresh token", oauth.AdminKey: "an admin key"}[what]
		return
	}
	if !c.n.LongLived && oauth.CheckAccessToken(l.AccessToken.Reveal()) != nil {
		c.n.AccessToken = keystore.Secret{} // the refresh token gives a better one
	}
	if p.IsIssuer(l.Identity.Issuer) {
		c.n.Identity = oauth.Identity(l.Identity)
		c.n.Identity.Issuer = p.Issuer
	}
	if name := c.n.Identity.Name; len(name) > 254 || strings.ContainsFunc(name, unicode.IsControl) {
		c.n.Identity.Name = ""
	}
	if now := time.Now(); l.HeldUntil.After(now) {
		h := index.Hold{Scope: "*", Until: l.HeldUntil, Source: t.req.Source.Name, ReportedAt: now.UTC().Truncate(time.Second)}
		if most := now.Add(ratelimit.GuessCap); h.Until.After(most) {
			h.Until, h.Cut = most.UTC(), true
		}
		c.n.Holds = []index.Hold{h}
	}
	if t.req.Keep {
		c.n.Shared = t.file.Path
	}
}

// within limits an expiry as for a token whose issue was seen.
func within(at time.Time) time.Time {
	if most := time.Now().AddDate(10, 0, 0).UTC(); at.After(most) {
		return most
	}
	return at
}

// compare looks whether the login, or another of its user, is here already.
func (t *takeover) compare(ctx context.Context, c *candidate) error {
	provider, secret, kind := c.n.Provider.Name, cmp.Or(c.login.APIKey, c.login.RefreshToken), index.KindOAuth
	if !c.n.APIKey.Empty() {
		kind = index.KindAPIKey
	}
	if a := record.KnownAs(t.idx, provider, kind, secret, c.n.Identity); a != nil && !a.Removing {
		c.held, c.reason = a.ID, "it is here already, as "+fault.Quote(a.Label)
		if slices.Contains(a.Spent, record.Fingerprint(secret)) {
			c.reason = "it is an earlier state of the login of account " + fault.Quote(a.Label) + ", which was refreshed since"
		}
		return nil
	}
	for i := range t.idx.Accounts {
		a := &t.idx.Accounts[i]
		if a.Removing || a.Provider != provider || a.Fingerprint != "" || a.Kind != index.KindOAuth || !c.login.APIKey.Empty() {
			continue
		}
		same, err := t.sameAccess(ctx, a, c)
		if err != nil {
			return err
		}
		if same && secret.Empty() {
			c.held, c.reason = a.ID, "it is here already, as "+fault.Quote(a.Label)
		} else if same {
			c.whole = a.ID
		}
	}
	if c.reason != "" || c.whole != "" {
		return nil
	}
	if a := account.OwnerOf(t.idx, c.n.Provider.Name, index.KindOAuth, c.n.Identity); a != nil {
		c.reason = fmt.Sprintf("account %s has another login of the same user already", fault.Quote(a.Label))
		return nil
	}
	for _, o := range t.candidates[:slices.Index(t.candidates, c)] {
		if who := c.n.Identity; who.Subject != "" && o.reason == "" && o.n.Provider.Name == c.n.Provider.Name && o.n.Identity == who {
			c.reason = "it is of the same user as " + fault.Quote(o.login.Entry) + ", which is taken"
		}
	}
	return nil
}

// sameAccess reports whether account a, which has only an access token, has the
// candidate's.
func (t *takeover) sameAccess(ctx context.Context, a *index.Account, c *candidate) (bool, error) {
	if t.shallow || c.login.AccessToken.Empty() {
		return slices.Contains(t.names, a.Shared), nil // the best that can be told without the keystore
	}
	o, err := t.f.Open(t.idx)
	if err != nil {
		return false, err
	}
	acc, _, err := o.Store.AccessOf(ctx, a.ID, a.Generation)
	return acc != nil && acc.AccessToken.Equal(c.login.AccessToken), err
}

// clientOf returns the client that a provider's grants were issued to. A client id given by
// the person is for one provider only: it must not be sent to another.
func (t *takeover) clientOf() (func(oauth.Provider) string, error) {
	var all, without []string
	for _, c := range t.candidates {
		if p := c.n.Provider; c.reason == "" && !c.n.RefreshToken.Empty() && c.login.ClientID == "" {
			all = append(all, p.Name)
			if p.ClientID == "" {
				without = append(without, p.Name)
			}
		}
	}
	meant := distinct(all)
	if len(meant) > 1 {
		meant = distinct(without)
	}
	if t.req.ClientID != "" && len(meant) != 1 && len(all) > 0 {
		return nil, fault.Errorf(fault.Usage, "--client-id is for the logins of one provider, and the file has some of %s; nothing was changed", strings.Join(distinct(all), " and ")).
			Try(clientOfEach(distinct(all))...)
	}
	return func(p oauth.Provider) string {
		if t.req.ClientID != "" && slices.Contains(meant, p.Name) {
			return t.req.ClientID
		}
		return p.ClientID
	}, nil
}

// clientOfEach gives each provider its client id.
func clientOfEach(providers []string) (next []fault.Remedy) {
	for _, name := range providers {
		next = append(next, fault.Remedy{Do: fault.AmendProvider, Provider: name, Name: "client-id"})
	}
	return next
}

func distinct(names []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// settle decides whether the login could be refreshed here, and its label.
func (t *takeover) settle(c *candidate, client func(oauth.Provider) string) {
	p := c.n.Provider
	c.n.ClientID = cmp.Or(c.login.ClientID, client(p))
	expired := !c.n.ExpiresAt.IsZero() && !c.n.ExpiresAt.After(time.Now())
	if !c.n.RefreshToken.Empty() && c.n.ClientID == "" {
		c.alien = true
		next := fault.Remedy{Do: fault.Import, Name: t.req.Source.Name, Path: t.unusualPath(), Value: "ID"}
		if p.TokenCommand != "" {
			next = adviseOn(p).Next
		}
		c.next = &next
		switch {
		case t.req.Keep && c.whole != "":
			c.next, c.held, c.reason = nil, c.whole, "its access token is here already, and its refresh token could not be used: provider "+p.Name+" has no client id"
			return
		case !t.req.Keep:
			c.reason = fmt.Sprintf("it could not be refreshed here: provider %s has no client id", p.Name)
			return
		case c.n.AccessToken.Empty() || expired:
			c.reason = fmt.Sprintf("its access token has expired, and it could not be refreshed here: provider %s has no client id", p.Name)
			return
		}
		c.next, c.n.RefreshToken = nil, keystore.Secret{} // what is not here can't log the other program out
	}
	if c.n.RefreshToken.Empty() && c.n.APIKey.Empty() && (expired || c.n.AccessToken.Empty()) {
		c.reason = "its access token has expired, and there is no refresh token"
		return
	}
	t.name(c)
}

// name finds a label that is free, both here and among the file's others.
func (t *takeover) name(c *candidate) {
	free := func(label string) bool {
		return len(t.idx.Labelled(c.n.Provider.Name, label)) == 0 && !slices.ContainsFunc(t.candidates, func(o *candidate) bool {
			return o != c && o.n.Provider.Name == c.n.Provider.Name && index.EqualLabel(o.n.Label, label)
		})
	}
	wanted := cmp.Or(c.login.Label, c.n.Identity.Name)
	label, err := index.CheckLabel(wanted)
	if err == nil && free(label) {
		c.n.Label = label
		return
	}
	c.was = c.login.Label
	if err != nil {
		label = c.n.Provider.Name
	}
	first := c.n.Provider.Name + "/" + label
	if t.tried[first] == 0 && err == nil {
		t.tried[first] = 1 // after "Work" comes "Work-2"
	}
	for {
		t.tried[first]++
		suffix := "-" + strconv.Itoa(t.tried[first])
		runes := []rune(label)
		c.n.Label = string(runes[:min(len(runes), 64-len(suffix))]) + suffix
		if free(c.n.Label) {
			return
		}
	}
}

// outcome is the plan as a person sees it.
func (t *takeover) outcome() *Outcome {
	o := &Outcome{
		Title: t.req.Source.Title, Path: t.file.Path, Skipped: skipped(t.file.Skipped),
		Finish: fault.Remedy{Do: fault.Import, Name: t.req.Source.Name, Path: t.unusualPath()},
		LogIn:  t.req.Source.Login, Idle: !t.busy(),
	}
	for _, c := range t.candidates {
		if a := adviseOn(c.n.Provider); c.alien && !slices.Contains(o.Advice, a) {
			o.Advice = append(o.Advice, a)
		}
		if c.reason != "" {
			s := Skipped{Skipped: source.Skipped{Entry: c.login.Entry, Reason: c.reason}}
			if c.next != nil && !c.alien {
				s.Next = []fault.Remedy{*c.next}
			}
			o.Skipped = append(o.Skipped, s)
			continue
		}
		kind := index.KindOAuth
		if !c.n.APIKey.Empty() {
			kind = index.KindAPIKey
		}
		pool, _, _ := t.idx.FindPool(c.n.Provider.Name)
		l := Login{
			Entry: c.login.Entry, Label: c.n.Label, Was: c.was, Provider: c.n.Provider.Name, Pool: pool, Kind: kind,
			Identity: c.n.Identity.Name, ExpiresAt: c.n.ExpiresAt.Truncate(time.Second),
			NoRefresh: kind == index.KindOAuth && c.n.RefreshToken.Empty() || c.alien, alien: c.alien,
		}
		if a := t.idx.Account(c.whole); a != nil {
			l.Label, l.Was, l.Pool = a.Label, "", a.Pool
		}
		o.Logins = append(o.Logins, l)
	}
	return o
}

func skipped(all []source.Skipped) (logins []Skipped) {
	for _, s := range all {
		logins = append(logins, Skipped{Skipped: s})
	}
	return logins
}

// unusualPath is the path of the file if it is not at a usual place.
func (t *takeover) unusualPath() string {
	if t.req.Path == "" || slices.Contains(t.req.Source.Places(), t.req.Path) {
		return ""
	}
	return t.req.Path
}
