package broker

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
)

// AccountView is an account as list, info and status show it. No secret.
type AccountView struct {
	ID         string    `json:"id"`
	Label      string    `json:"label"`
	Provider   string    `json:"provider"`
	Pool       string    `json:"pool"`
	Kind       string    `json:"kind"`
	Identity   string    `json:"identity,omitempty"`
	Resource   string    `json:"resource,omitempty"` // of a remote MCP server's login: that server
	Service    string    `json:"service,omitempty"`  // its name for itself
	Scopes     []string  `json:"scopes,omitempty"`   // that such a login was asked for
	State      State     `json:"state"`
	Current    bool      `json:"current"`
	Rank       int       `json:"rank"`
	Generation int       `json:"generation"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	// NoRefresh: there is no refresh token, so the login ends with its access token.
	NoRefresh        bool      `json:"no_refresh,omitempty"`
	RefreshExpiresAt time.Time `json:"refresh_expires_at,omitzero"`
	AddedAt          time.Time `json:"added_at"`
	RefreshedAt      time.Time `json:"refreshed_at,omitzero"`
	// Backoff is there while the next refresh waits because the last one failed.
	Backoff *BackoffView `json:"backoff,omitempty"`
	Holds   []HoldView   `json:"holds,omitempty"`
	Usage   []UsageView  `json:"usage,omitempty"`

	// EndsSoon is when the login ends, if that is so soon that a person should know.
	EndsSoon time.Time `json:"-"`
	// Renew is what gives the account a new login.
	Renew fault.Remedy `json:"-"`
}

// BackoffView says since when refreshes fail, when the next one may try, and why.
// Stated: the provider asked for that time.
type BackoffView struct {
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
	Stated bool      `json:"stated"`
}

// HoldView is a hold that is not over.
type HoldView struct {
	Scope      string    `json:"scope"`
	Until      time.Time `json:"until"`
	Source     string    `json:"source"`
	Proven     bool      `json:"proven"`
	Cut        bool      `json:"cut,omitempty"`
	ReportedAt time.Time `json:"reported_at"`
}

// UsageView is a quota window as the provider last stated it; Used is a
// fraction, 1 is all of it.
type UsageView struct {
	Window   string    `json:"window"`
	Used     float64   `json:"used"`
	ResetsAt time.Time `json:"resets_at,omitzero"`
}

// PoolView is one pool with its accounts in rank order.
type PoolView struct {
	Name     string        `json:"name"`
	Provider string        `json:"provider"`
	Current  string        `json:"current,omitempty"`
	Reason   string        `json:"reason"`
	RetryAt  time.Time     `json:"retry_at,omitzero"`
	Accounts []AccountView `json:"accounts"`
}

// StatusView answers "what is my auth status?".
type StatusView struct {
	Keystore struct {
		Kind string `json:"kind"`
	} `json:"keystore"`
	Failover bool        `json:"failover"`
	Strategy string      `json:"strategy"`
	Pools    []PoolView  `json:"pools"`
	Proxies  []ProxyView `json:"proxies"` // that are running, the oldest first
}

// currentOf is what pool would use now: that is what a person calls current.
func (b *Broker) currentOf(idx *index.Index, pool string, now time.Time) choice {
	return choose(idx, b.everyday(idx, selected{pool: pool}), nil, now)
}

// view shows a at the moment now, as part of idx.
func (b *Broker) view(idx *index.Index, a *index.Account, now time.Time) AccountView {
	return viewAccount(a, b.currentOf(idx, a.Pool, now).account, now)
}

// viewAccount shows a at the moment now; current is its pool's, nil where it has none.
func viewAccount(a, current *index.Account, now time.Time) AccountView {
	v := AccountView{
		ID: a.ID, Label: a.Label, Provider: a.Provider, Pool: a.Pool, Kind: a.Kind, Identity: a.Identity,
		Resource: a.Resource, Service: a.Service, Scopes: a.Scopes,
		State: StateOf(a, now), Current: current != nil && current.ID == a.ID, Rank: a.Rank, Generation: a.Generation,
		ExpiresAt: seconds(a.ExpiresAt), RefreshExpiresAt: seconds(a.RefreshExpiresAt), AddedAt: seconds(a.AddedAt), RefreshedAt: seconds(a.RefreshedAt),
		NoRefresh: a.Kind == index.KindOAuth && a.Fingerprint == "", Renew: Renewal(a), EndsSoon: EndsSoon(a, now),
	}
	if f := a.Failure; backingOff(a, now) && a.Kind != index.KindAPIKey && !needsLogin(a, now) {
		v.Backoff = &BackoffView{Since: seconds(cmp.Or(f.Since, f.At)), Until: secondsUp(f.NextTryAt), Reason: f.Message, Stated: f.Stated}
	}
	for _, h := range a.Holds {
		if h.Until.After(now) {
			v.Holds = append(v.Holds, viewHold(h))
		}
	}
	for _, u := range a.Usage {
		if u.ResetsAt.IsZero() || u.ResetsAt.After(now) {
			v.Usage = append(v.Usage, UsageView{u.Window, u.Used, seconds(u.ResetsAt)})
		}
	}
	return v
}

func viewHold(h index.Hold) HoldView {
	until := secondsUp(h.Until)
	if h.Cut { // a cap is not exceeded
		until = seconds(h.Until)
	}
	return HoldView{h.Scope, until, h.Source, h.Proven, h.Cut, seconds(h.ReportedAt)}
}

// secondsUp is for the end of a wait, which is not shown earlier than it is.
func secondsUp(t time.Time) time.Time {
	if whole := seconds(t); whole.Equal(t) {
		return whole
	}
	return seconds(t.Add(time.Second))
}

func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// List returns every account, by provider, pool and rank. It touches neither
// network nor keystore, as do Info and Status.
func (b *Broker) List() ([]AccountView, error) {
	idx, err := b.ReadOrEmpty()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	views := []AccountView{}
	parts := byPool(idx)
	for _, pool := range idx.PoolsOf("") {
		current := b.currentOf(parts[pool], pool, now).account
		for _, a := range parts[pool].Members(pool) {
			views = append(views, viewAccount(a, current, now))
		}
	}
	return views, nil
}

// Info returns one account. Errors: NoAccount, Ambiguous.
func (b *Broker) Info(account string) (AccountView, error) {
	idx, err := b.Read()
	if err != nil {
		return AccountView{}, err
	}
	a, err := FindAccount(idx, account, "")
	if err != nil {
		return AccountView{}, err
	}
	return b.view(idx, a, time.Now()), nil
}

// ViewOf shows an account that a command returned, at this moment.
func (b *Broker) ViewOf(a *index.Account) AccountView {
	idx, err := b.ReadOrEmpty()
	if err != nil {
		idx = &index.Index{}
	}
	return b.view(idx, a, time.Now())
}

// Status returns every pool with who is current and why.
func (b *Broker) Status() (*StatusView, error) {
	idx, err := b.ReadOrEmpty()
	if err != nil {
		return nil, err
	}
	kind, err := b.Kind(idx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	c := b.Config()
	s := &StatusView{Failover: c.Failover, Strategy: c.Strategy, Pools: []PoolView{}, Proxies: b.Proxies()}
	s.Keystore.Kind = string(kind)
	parts := byPool(idx)
	for _, name := range idx.PoolsOf("") {
		idx := parts[name]
		p := PoolView{Name: name, Provider: idx.Pools[name].Provider, Accounts: []AccountView{}}
		ch := b.currentOf(idx, name, now)
		for _, a := range idx.Members(name) {
			p.Accounts = append(p.Accounts, viewAccount(a, ch.account, now))
		}
		p.Reason = ch.reason
		if ch.account != nil && c.Failover {
			p.Reason = b.meanwhile(idx, name, ch, now)
		}
		for _, a := range idx.Members(name) {
			if ch.account == nil || a.ID == ch.account.ID {
				break
			}
			if why := insteadOf(a, "", now); why != "" && !strings.HasPrefix(p.Reason, why) {
				p.Reason = why + p.Reason
				break
			}
		}
		if !c.Failover && ch.account != nil {
			p.Reason = "failover is off, so no other one is used"
		}
		if ch.account != nil {
			p.Current = ch.account.ID
		} else if e, ok := errors.AsType[*fault.Error](ch.err); ok {
			p.Reason, p.RetryAt = e.Message, secondsUp(e.RetryAt)
		}
		s.Pools = append(s.Pools, p)
	}
	slices.SortFunc(s.Pools, func(x, y PoolView) int { return strings.Compare(x.Provider+"\x00"+x.Name, y.Provider+"\x00"+y.Name) })
	return s, nil
}

// meanwhile is why a pool's current account is that, and who serves for it while its
// token can't be had.
func (b *Broker) meanwhile(idx *index.Index, pool string, ch choice, now time.Time) string {
	a := ch.account
	if !backingOff(a, now) || ready(a, now) {
		return ch.reason
	}
	why := quote(a.Label) + " can't be refreshed until " + a.Failure.NextTryAt.Local().Format(time.RFC3339) + " (" + a.Failure.Message + "); "
	next := choose(idx, b.everyday(idx, selected{pool: pool}), passings{{a.ID, failureError(a)}}, now)
	if next.account == nil || next.account.ID == a.ID {
		return why + "no other account can serve"
	}
	return why + quote(next.account.Label) + " serves meanwhile"
}

// byPool takes idx apart, so that who looks at every pool looks at every account
// once. In each part choose finds what it would find in the whole: the pool's
// accounts, and its current one even where that is another pool's by now.
func byPool(idx *index.Index) map[string]*index.Index {
	parts := map[string]*index.Index{}
	for _, a := range idx.Accounts {
		part := parts[a.Pool]
		if part == nil {
			part = &index.Index{Pools: idx.Pools}
			parts[a.Pool] = part
		}
		part.Accounts = append(part.Accounts, a)
	}
	for name, part := range parts {
		if current := idx.Pools[name].Current; current != "" && part.Account(current) == nil {
			if a := idx.Account(current); a != nil {
				part.Accounts = append(part.Accounts, *a)
			}
		}
	}
	return parts
}
